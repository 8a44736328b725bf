"""Dropout by sixteen random bits a value."""

import jax
import jax.numpy as jnp
from flax import linen as nn

_BITS = 16


class Dropout(nn.Module):
    """Values are zero with probability `rate`, and divided by the probability of the others.

    The rate is rounded to a multiple of 2**-16. One random word of 32 bits serves two values, since
    drawing the words is what dropout costs on a CPU.
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
