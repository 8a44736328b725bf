"""Operations that take much of the time of training on a CPU: dropout, GELU, dense layers."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.data.packing import Array

_BITS = 16


class Dropout(nn.Module):
    """Sets values to zero with probability `rate` and divides the others by 1 - rate.

    The rate is rounded to a multiple of 2**-16. Two values share a random word of 32 bits, since
    drawing the words takes most of the time of dropout on a CPU.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """f[...,D] -> f[...,D]; draws from the stream `dropout` unless `deterministic`."""
        if deterministic or self.rate == 0:
            return x
        width = x.shape[-1]
        key = self.make_rng("dropout")
        words = jax.random.bits(key, (*x.shape[:-1], -(-width // 2)), jnp.uint32)
        halves = jnp.concatenate([words & 0xFFFF, words >> _BITS], axis=-1)[..., :width]
        dropped = round(self.rate * 2**_BITS)
        kept = max(2**_BITS - dropped, 1) / 2**_BITS
        return jnp.where(halves >= dropped, x / kept, 0)


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """x Phi(x), Phi the normal distribution function; f[...] -> f[...] of the same precision.

    The gradient computes what it needs again from `x`: on a CPU this takes less time than storing
    and reading intermediate arrays as wide as a feed-forward part.
    """
    wide = x.astype(jnp.float32)  # in bfloat16 1 + erf loses a small Phi
    return (wide * _phi(wide)).astype(x.dtype)


def _phi(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return gelu(x), x


def _backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    wide = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * jnp.square(wide)) / math.sqrt(2 * math.pi)
    return ((gradient * (_phi(wide) + wide * density)).astype(x.dtype),)


gelu.defvjp(_forward, _backward)


def multiply(x: Array, kernel: Array, element_type: Any = None) -> jax.Array:
    """f[...,D] @ f[D,E] -> f[...,E].

    The product has two axes: with more, XLA's CPU backend computes the gradient of the kernel from
    a transposed copy of the incoming gradient, which is slower.

    Args:
        element_type: the type of the result; None: that of the arguments.
    """
    flat = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel, preferred_element_type=element_type)
    return flat.reshape(*x.shape[:-1], kernel.shape[-1])


def _dot_general(x: Array, kernel: Array, dimensions: Any, precision: Any) -> jax.Array:
    del dimensions, precision  # a Dense contracts the last axis with the first
    return multiply(x, kernel)


Dense = partial(nn.Dense, dot_general=_dot_general)
