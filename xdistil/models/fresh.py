"""Fresh parameters of any module that reads packed rows."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.models.structs import Batch, Params


def draw_params(model: nn.Module, key: jax.Array) -> Params:
    """Fresh float32 parameters, drawn with `key` by the initializers of the model's parts."""
    row = jnp.zeros((1, 1), jnp.int32)
    batch = Batch(row, row, row, row, row, row > 0)
    return jax.jit(model.init)(key, batch)["params"]
