"""GELU against its definition in double precision, and its gradient against the closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.models.ops import gelu

X = np.concatenate([np.linspace(-12, 12, 24001), [-1e30, -3e4, -0.0, 0.0, 3e4, 1e30]])


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def test_values_are_those_of_the_definition():
    found = np.asarray(gelu(jnp.asarray(X, jnp.float32)), np.float64)
    wanted = np.array([x * _phi(x) for x in X])
    np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=2e-6)


def test_gradients_are_those_of_the_definition():
    found = np.asarray(jax.grad(lambda x: gelu(x).sum())(jnp.asarray(X, jnp.float32)), np.float64)
    wanted = [
        _phi(x) + x * math.exp(-(min(abs(x), 1e3) ** 2) / 2) / math.sqrt(2 * math.pi) for x in X
    ]
    np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=5e-7)


def test_a_gradient_is_multiplied_by_the_one_that_comes_in():
    x = jnp.asarray([-1.0, 0.5, 2.0])
    (alone,) = jax.vjp(gelu, x)[1](jnp.ones(3))
    (scaled,) = jax.vjp(gelu, x)[1](jnp.asarray([2.0, -3.0, 0.0]))
    np.testing.assert_allclose(scaled, alone * np.array([2.0, -3.0, 0.0]), rtol=1e-6)


def test_bfloat16_is_as_exact_as_its_digits_allow():
    x = jnp.linspace(-4, 4, 801).astype(jnp.bfloat16)
    values, gradients = gelu(x), jax.grad(lambda x: gelu(x).sum())(x)
    assert values.dtype == gradients.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    wanted = [v * _phi(v) for v in exact]
    np.testing.assert_allclose(np.asarray(values, np.float64), wanted, rtol=2**-8, atol=1e-6)
    wanted = [_phi(v) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in exact]
    np.testing.assert_allclose(np.asarray(gradients, np.float64), wanted, rtol=2**-8, atol=1e-6)
