"""Devices: the mesh, and host arrays laid out over it.

Rows of a batch are split over all devices of all processes, parameters are copied to every device;
`jax.jit` then inserts the sums across devices by itself. A teacher too large for one device has
its parameters spread over the axis `shard`, and each layer is gathered when it is needed.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xdistil.errors import InputError

_ROWS = PartitionSpec(("data", "shard"))


def make_mesh(shards: int = 1) -> Mesh:
    """A mesh of every device with the axes `data` and, of size `shards`, `shard`.

    Raises:
        InputError: the devices cannot be divided so.
    """
    devices = jax.device_count()
    if devices % shards:
        raise InputError(
            f"mesh.teacher_shards is {shards}, which does not divide the {devices} devices: set "
            f"it to a divisor of {devices}."
        )
    # Explicit axes, the default, make an embedding look-up with sharded ids raise.
    return jax.make_mesh(
        (devices // shards, shards), ("data", "shard"), axis_types=(AxisType.Auto, AxisType.Auto)
    )


def shard_rows(mesh: Mesh, tree):
    """Host arrays [b, ...], this process's share of the rows, as global arrays [B, ...].

    Args:
        tree: pytree of NumPy arrays whose first axis divides by this process's devices.
    """
    sharding = NamedSharding(mesh, _ROWS)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)


def replicate(mesh: Mesh, tree):
    """A pytree of arrays, the same on every process, copied to every device."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x), sharding), tree)


def spread(mesh: Mesh, tree):
    """A pytree of arrays, the same on every process, spread over the axis `shard`.

    Each is cut along its longest axis that divides by the shards, as in fully sharded data
    parallelism; one without such an axis is copied.
    """
    return jax.tree.map(
        lambda x: jax.device_put(np.asarray(x), NamedSharding(mesh, _cut(mesh, np.shape(x)))), tree
    )


def _cut(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    shards = mesh.shape["shard"]
    axes = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * longest, "shard")
