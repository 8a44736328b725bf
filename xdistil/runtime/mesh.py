"""Devices and processes: the mesh, host arrays laid out over it, and what processes agree on.

Rows of a batch are split over all devices of all processes, parameters are copied to every device;
`jax.jit` then inserts the sums across devices by itself. A teacher too large for one device has
its parameters spread over the axis `shard`, and each layer is gathered when it is needed.
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
    """A mesh of every device with the axes `data` and, of size `shards`, `shard`.

    Raises:
        InputError: the devices cannot be divided so, or shards would lie in several processes.
    """
    devices = jax.device_count()
    if shards > 1 and jax.process_count() > 1:
        raise InputError(
            f"mesh.teacher_shards is {shards}, but the run has {jax.process_count()} processes, "
            "and shards lie on the devices of one: set it to 1."
        )
    if devices % shards:
        raise InputError(
            f"mesh.teacher_shards is {shards}, which does not divide the {devices} devices: set "
            f"it to a divisor of {devices}."
        )
    # Explicit axes, the default, make an embedding look-up with sharded ids raise.
    return jax.make_mesh(
        (devices // shards, shards), ("data", "shard"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def shard_batch(mesh: Mesh, tree):
    """Host arrays [b, ...], this process's share of the rows, as global arrays [B, ...].

    Args:
        tree: pytree of NumPy arrays whose first axis divides by this process's devices.
    """
    sharding = NamedSharding(mesh, _ROWS)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)


def start_processes(distributed: str) -> None:
    """Joins the processes of a run, before anything else touches the devices.

    Args:
        distributed: empty for one process; `auto` where JAX finds the others by itself (SLURM,
            Open MPI, a TPU pod); or `HOST:PORT,INDEX,COUNT`, HOST:PORT being the first process's.

    Raises:
        InputError: no cluster is found.
    """
    if not distributed or jax.distributed.is_initialized():
        return
    address, index, count = None, None, None
    if distributed != "auto":
        address, *numbers = distributed.split(",")
        index, count = map(int, numbers)
    try:
        # By default a process that died is noticed after a minute and a half.
        jax.distributed.initialize(
            address, count, index, heartbeat_timeout_seconds=10, shutdown_timeout_seconds=30
        )
    except ValueError as error:
        raise InputError(
            "distributed=auto finds no cluster that JAX knows: write "
            f"--config.distributed=HOST:PORT,INDEX,COUNT for every process ({error})."
        ) from error


def main_process_first(work: Callable[[bool], _Outcome]) -> _Outcome:
    """The outcome of `work(True)` on the first process, and then of `work(False)` on the others."""
    first = jax.process_index() == 0
    if not first:
        wait_for_all("work of the first process")
    outcome = work(first)
    if first:
        wait_for_all("work of the first process")
    return outcome


def local_rows(values: np.ndarray) -> np.ndarray:
    """The contiguous block of a batch's rows that this process reads.

    Args:
        values: [B, ...] of all rows; B divides by the processes.
    """
    size = len(values) // jax.process_count()
    return values[jax.process_index() * size :][:size]


def gather_rows(values: jax.Array) -> np.ndarray:
    """A global array [B, ...] that is split by rows, whole and on the host of every process."""
    if values.is_fully_addressable:
        return np.asarray(values)
    return np.asarray(multihost_utils.process_allgather(values, tiled=True))


def fetch_local_rows(values: jax.Array) -> np.ndarray:
    """The rows of a global array [B, ...] that lie on this process's devices, in order."""
    shards = sorted(values.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def global_max(value: int) -> int:
    """The largest of the processes' values; all of them must ask at the same point."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def wait_for_all(place: str) -> None:
    """Returns when every process has come here; `place` names the point in errors."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(place)


def replicate(mesh: Mesh, tree):
    """A pytree of arrays, the same on every process, copied to every device."""
    return jax.tree.map(lambda x: _lay_out(mesh, x, PartitionSpec()), tree)


def shard_params(mesh: Mesh, tree):
    """A pytree of arrays, the same on every process, spread over the axis `shard`.

    Each is cut along its longest axis that divides by the shards, as in fully sharded data
    parallelism; one without such an axis is copied.
    """
    return jax.tree.map(lambda x: _lay_out(mesh, x, _cut(mesh, np.shape(x))), tree)


def _lay_out(mesh: Mesh, x, spec: PartitionSpec) -> jax.Array:
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_lay_out(mesh, jax.random.key_data(x), spec))
    x, sharding = np.asarray(x), NamedSharding(mesh, spec)
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    # Across processes device_put would first compare the arrays of all of them.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def _cut(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    shards = mesh.shape["shard"]
    axes = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * longest, "shard")
