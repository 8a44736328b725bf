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


def array_type(dtype: str) -> str:
    """The type of the arrays between the products of an arithmetic in `dtype`.

    A CPU multiplies matrices in bfloat16 but emulates everything else in it, so there all but the
    factors of products is float32.
    """
    return "float32" if jax.default_backend() == "cpu" else dtype


def multiply(x: Array, kernel: Array, dtype: str, element_type: Any = None) -> jax.Array:
    """f[...,D] @ f[D,E] -> f[...,E] with factors of type `dtype`.

    The product has two axes: with more, XLA's CPU backend computes the gradient of the kernel from
    a transposed copy of the incoming gradient, which is slower.

    Args:
        element_type: the type of the result; None: `array_type` of `dtype`.
    """
    flat = x.reshape(-1, x.shape[-1])
    if dtype != array_type(dtype):
        product = _multiply_rounded(flat.astype(jnp.float32), kernel.astype(jnp.float32), dtype)
    else:
        product = jnp.matmul(
            flat.astype(dtype), kernel.astype(dtype), preferred_element_type=element_type
        )
    return product.reshape(*x.shape[:-1], kernel.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _multiply_rounded(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
    """f32[N,D] @ f32[D,E] -> f32[N,E], the factors of this product and of those of the gradient
    rounded to `dtype`."""
    return _round_and_multiply(x, kernel, dtype)[0]


def _round_and_multiply(
    x: jax.Array, kernel: jax.Array, dtype: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # With a result of the factors' type, or with factors of two types, XLA multiplies in float32.
    factors = x.astype(dtype), kernel.astype(dtype)
    return jnp.matmul(*factors, preferred_element_type=jnp.float32), factors


def _multiply_gradient(
    dtype: str, factors: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = factors
    rounded = gradient.astype(dtype)
    # XLA multiplies in float32 where a factor is a transposed matrix. The kernel need not be
    # transposed, and `x` is as an array of three axes, which XLA does not recognise.
    transposed = x[None].transpose(0, 2, 1).reshape(x.shape[::-1])
    columns = (((1,), (1,)), ((), ()))
    return (
        jax.lax.dot_general(rounded, kernel, columns, preferred_element_type=jnp.float32),
        jnp.matmul(transposed, rounded, preferred_element_type=jnp.float32),
    )


_multiply_rounded.defvjp(_round_and_multiply, _multiply_gradient)


def dense_layer(size: int, dtype: str, **settings: Any) -> nn.Dense:
    """A dense layer to `size` whose product has factors of type `dtype`."""

    def product(x: jax.Array, kernel: jax.Array, dimensions: Any, precision: Any) -> jax.Array:
        del dimensions, precision  # a dense layer contracts the last axis with the first
        return multiply(x, kernel, dtype)

    return nn.Dense(size, dtype=array_type(dtype), dot_general=product, **settings)
