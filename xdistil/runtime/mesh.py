"""Devices and processes: the mesh, arrays sharded over it, and collective calls of the processes.

The rows of a batch are split over all devices of all processes, and parameters are replicated;
`jax.jit` inserts the sums across devices. The parameters of a teacher that is too large for one
device are sharded over the axis `shard`, and each layer is gathered when it is needed.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xdistil.errors import InputError

_Outcome = TypeVar("_Outcome")
_ROWS = PartitionSpec(("data", "shard"))


def make_mesh(shards: int = 1) -> Mesh:
    """A mesh of all devices with the axes `data` and `shard`; `shard` has the size `shards`.

    Raises:
        InputError: `shards` does not divide the devices, or there are several processes.
    """
    devices = jax.device_count()
    if shards > 1 and jax.process_count() > 1:
        raise InputError(
            f"mesh.teacher_shards is {shards}, but a run with {jax.process_count()} processes "
            "cannot shard the teacher: set it to 1."
        )
    if devices % shards:
        raise InputError(
            f"mesh.teacher_shards is {shards}, which does not divide the {devices} devices: set "
            f"it to a divisor of {devices}."
        )
    # With explicit axes, the default, an embedding lookup with sharded ids raises an error.
    return jax.make_mesh(
        (devices // shards, shards), ("data", "shard"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def shard_batch(mesh: Mesh, tree):
    """Host arrays [b, ...], this process's rows, as global arrays [B, ...].

    Args:
        tree: pytree of NumPy arrays whose first axis is a multiple of this process's devices.
    """
    sharding = NamedSharding(mesh, _ROWS)
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


def fetch_local_rows(values: jax.Array) -> np.ndarray:
    """The rows of a global array [B, ...] on this process's devices, in order."""
    shards = sorted(values.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def global_max(value: int) -> int:
    """The largest value of all processes, which must all call this at the same point."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def wait_for_all(place: str) -> None:
    """Waits until all processes call this; `place` names the point in errors."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


def replicate(mesh: Mesh, tree):
    """Copies a pytree of arrays, which is the same on every process, to every device."""
    return jax.tree.map(lambda x: _place(mesh, x, PartitionSpec()), tree)


def shard_params(mesh: Mesh, tree):
    """Shards a pytree of arrays, which is the same on every process, over the axis `shard`.

    Each array is sharded along its longest axis that the shards divide, as in fully sharded data
    parallelism. An array without such an axis is replicated.
    """
    return jax.tree.map(lambda x: _place(mesh, x, _cut(mesh, np.shape(x))), tree)


def _place(mesh: Mesh, x, spec: PartitionSpec) -> jax.Array:
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(mesh, jax.random.key_data(x), spec))
    x, sharding = np.asarray(x), NamedSharding(mesh, spec)
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    # With several processes device_put would compare the arrays of all of them first.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def _cut(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    shards = mesh.shape["shard"]
    axes = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * longest, "shard")
