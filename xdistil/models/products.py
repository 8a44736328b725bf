"""Products of a batch with a matrix, taken as one product of two matrices."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.models.structs import Array


def multiply(x: Array, kernel: Array, element_type: Any = None) -> jax.Array:
    """f[...,D] @ f[D,E] -> f[...,E].

    Of more axes than two XLA's CPU backend makes the gradient of the kernel from a transposed copy
    of the gradient that comes in, which is slower.

    Args:
        element_type: of the result; None: that of the arguments.
    """
    flat = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel, preferred_element_type=element_type)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def _dot_general(x: Array, kernel: Array, dimensions: Any, precision: Any) -> jax.Array:
    del dimensions, precision  # a Dense contracts the last axis with the first
    return multiply(x, kernel)


Dense = partial(nn.Dense, dot_general=_dot_general)
