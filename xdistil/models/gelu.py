"""GELU x Phi(x), Hendrycks and Gimpel 2016 (arXiv 1606.08415), with the error function."""

import math

import jax
import jax.numpy as jnp


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """x Phi(x), Phi the normal distribution function; f[...] -> f[...] of the same precision.

    What the gradient needs of it is computed anew from `x`: on a CPU that takes less time than to
    write down intermediate arrays as wide as a feed-forward part and to read them again.
    """
    wide = x.astype(jnp.float32)  # 1 + erf keeps no digit of a small Phi in bfloat16
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
