"""Devices and processes: the mesh, arrays sharded over it, and collective calls of the processes.

The rows of a batch are split over all devices of all processes, and parameters are replicated;
`jax.jit` inserts the sums across devices. The parameters of a teacher that is too large for one
device are sharded over the axis `shard`, which may span processes, and each layer is gathered when
it is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xdistil.errors import InputError

_Outcome = TypeVar("_Outcome")
BY_ROWS = PartitionSpec(("data", "shard"))  # of a batch over all devices
_WHOLE = PartitionSpec()


def make_mesh(shards: int = 1) -> Mesh:
    """A mesh of all devices with the axes `data` and `shard`; `shard` has the size `shards`.

    Raises:
        InputError: `shards` does not divide the devices.
    """
    devices = jax.device_count()
    if devices % shards:
        raise InputError(
            f"mesh.teacher_shards is {shards}, which does not divide the {devices} devices: set "
            f"it to a divisor of {devices}."
        )
    # With explicit axes, the default, an embedding lookup with sharded ids raises an error.
    return jax.make_mesh(
        (devices // shards, shards), ("data", "shard"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a state stay on a mesh with shards: as `shard_params` or `replicate` put
    them. Hashable, so that a compiled step may depend on it."""

    mesh: Mesh
    sharded: bool

    @property
    def shards(self) -> int:
        """Parts of each array."""
        return self.mesh.shape["shard"] if self.sharded else 1

    def pin(self, tree):
        """The same arrays inside of `jax.jit`, which would be free to move them."""
        return jax.tree.map(
            lambda x: jax.lax.with_sharding_constraint(
                x, NamedSharding(self.mesh, _cut(self.shards, x.shape))
            ),
            tree,
        )


def shard_batch(mesh: Mesh, tree):
    """Host arrays [b, ...], this process's rows, as global arrays [B, ...].

    Args:
        tree: pytree of NumPy arrays whose first axis is a multiple of this process's devices.
    """
    sharding = NamedSharding(mesh, BY_ROWS)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)


def start_processes(distributed: str) -> None:
    """Connects the processes of a run; call it before anything else uses the devices.

    Args:
        distributed: empty for one process; `auto` if JAX can find the others (SLURM, Open MPI, a
            TPU pod); or `HOST:PORT,INDEX,COUNT` with the address of the first process.

    Raises:
        InputError: JAX finds no cluster.
    """
    if not distributed or jax.distributed.is_initialized():
        return
    address, index, count = None, None, None
    if distributed != "auto":
        address, *numbers = distributed.split(",")
        index, count = map(int, numbers)
    try:
        # The default timeouts notice a lost process only after a minute and a half.
        jax.distributed.initialize(
            address, count, index, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=30
        )
    except ValueError as error:
        raise InputError(
            "distributed=auto finds no cluster that JAX knows: set "
            f"--config.distributed=HOST:PORT,INDEX,COUNT for every process ({error})."
        ) from error


def main_process_first(work: Callable[[bool], _Outcome]) -> _Outcome:
    """Runs `work(True)` on the first process, then `work(False)` on the others."""
    first = jax.process_index() == 0
    if not first:
        wait_for_all("work of the first process")
    outcome = work(first)
    if first:
        wait_for_all("work of the first process")
    return outcome


def local_rows(values: np.ndarray) -> np.ndarray:
    """The contiguous block of rows of a batch that this process reads.

    Args:
        values: [B, ...], all rows; B is a multiple of the number of processes.
    """
    size = len(values) // jax.process_count()
    return values[jax.process_index() * size :][:size]


def gather_rows(values: jax.Array) -> np.ndarray:
    """A global array [B, ...] that is sharded by rows, as a whole on every host."""
    if values.is_fully_addressable:
        return np.asarray(values)
    return np.asarray(multihost_utils.process_allgather(values, tiled=True))


def fetch(tree):
    """A pytree of arrays as host arrays, whole on every process.

    All processes must call this at the same point: it gathers one sharded array after the other.
    """

    def gather(x) -> np.ndarray:
        if is_on_one_host(x):
            return jax.device_get(x)
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(gather, tree)


def is_on_one_host(x) -> bool:
    """Whether this process holds the whole of an array; if so, every process does."""
    return not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated


def keep(tree):
    """A copy of a pytree of arrays that no step donates.

    Host arrays; arrays that are sharded over several processes stay sharded on the devices.
    """
    if all(map(is_on_one_host, jax.tree.leaves(tree))):
        return jax.device_get(tree)
    return _copy(tree)


@jax.jit
def _copy(tree):
    return jax.tree.map(jnp.copy, tree)


def fetch_local_rows(values: jax.Array) -> np.ndarray:
    """The rows of a global array [B, ...] on this process's devices, in order."""
    shards = sorted(values.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def gather_all(value: np.generic) -> np.ndarray:
    """[processes] the values of all processes, which must all call this at the same point."""
    return np.asarray(multihost_utils.process_allgather(value)).reshape(jax.process_count())


def global_max(value: int) -> int:
    """The largest value of all processes, which must all call this at the same point."""
    return value if jax.process_count() == 1 else int(gather_all(np.int32(value)).max())


def wait_for_all(place: str) -> None:
    """Waits until all processes call this; `place` names the point in errors."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


def replicate(mesh: Mesh, tree):
    """Copies a pytree of arrays, which is the same on every process, to every device."""
    return jax.tree.map(lambda x: _place(mesh, x, _WHOLE), tree)


def shard_params(mesh: Mesh, tree):
    """Shards a pytree of arrays, which is the same on every process, over the axis `shard`.

    Each array is sharded along its longest axis that the shards divide, as in fully sharded data
    parallelism. An array without such an axis is replicated.
    """
    return jax.tree.map(lambda x: _place(mesh, x, _cut(mesh.shape["shard"], np.shape(x))), tree)


def count_bytes(tree, shards: int) -> int:
    """Bytes on each device of a pytree of arrays, or of shapes, that so many of them share."""

    def count(x) -> int:
        size = math.prod(x.shape) * x.dtype.itemsize
        return size // shards if _cut(shards, x.shape) != _WHOLE else size

    return sum(map(count, jax.tree.leaves(tree)))


def _place(mesh: Mesh, x, spec: PartitionSpec) -> jax.Array:
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(mesh, jax.random.key_data(x), spec))
    sharding = NamedSharding(mesh, spec)
    there = x.sharding if isinstance(x, jax.Array) else None
    if isinstance(there, NamedSharding) and there.is_equivalent_to(sharding, x.ndim):
        return x
    x = np.asarray(x)
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    # With several processes device_put would compare the arrays of all of them first.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def _cut(shards: int, shape: tuple[int, ...]) -> PartitionSpec:
    axes = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not axes:
        return _WHOLE
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * longest, "shard")
