"""Devices: the data mesh, and host arrays laid out over it.

One axis, `data`, over all devices of all processes. Rows of a batch are split along it, parameters
are copied to every device; `jax.jit` then inserts the sums across devices by itself.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh() -> Mesh:
    """A mesh of every device with the single axis `data`."""
    # Explicit axes, the default, make an embedding look-up with sharded ids raise.
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def shard_rows(mesh: Mesh, tree):
    """Host arrays [b, ...], this process's share of the rows, as global arrays [B, ...].

    Args:
        tree: pytree of NumPy arrays whose first axis divides by this process's devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)


def replicate(mesh: Mesh, tree):
    """A pytree of arrays, the same on every process, copied to every device."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x), sharding), tree)
