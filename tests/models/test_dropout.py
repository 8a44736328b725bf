"""Dropout drops at its rate, keeps the mean, and no value's fate tells that of another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xdistil.models.ops import Dropout


def drop(rate, x, seed=0):
    return np.asarray(Dropout(rate).apply({}, x, False, rngs={"dropout": jax.random.key(seed)}))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("width", [1, 7, 64, 385])
def test_the_share_of_zeros_is_the_rate_in_every_column(rate, width):
    rows = 200_000 // width
    kept = drop(rate, jnp.ones((rows, width))) > 0
    deviation = (rate * (1 - rate)) ** 0.5
    assert abs((~kept).mean() - rate) < 5 * deviation / kept.size**0.5
    assert np.abs((~kept).mean(0) - rate).max() < 5.5 * deviation / rows**0.5


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_is_scaled_to_the_same_mean(rate):
    x = jax.random.normal(jax.random.key(1), (50, 64))
    found = drop(rate, x)
    kept = found != 0
    np.testing.assert_allclose(found[kept], np.asarray(x)[kept] / (1 - rate), rtol=2**-15)
    assert abs(drop(rate, jnp.ones((1000, 1000))).mean() - 1) < 5 * (rate / (1 - rate)) ** 0.5 / 1e3


def test_columns_are_independent_of_each_other():
    # Two columns share a random word; correlations of 40,000 rows are within 6 / 200.
    kept = (drop(0.5, jnp.ones((40_000, 16))) > 0).astype(np.float64)
    correlation = np.corrcoef(kept.T) - np.eye(16)
    assert np.abs(correlation).max() < 0.03


def test_keys_and_rows_differ():
    ones = jnp.ones((4, 256))
    first = drop(0.5, ones)
    assert (first != drop(0.5, ones, seed=1)).any(-1).all()
    assert len({row.tobytes() for row in first}) == 4
    np.testing.assert_array_equal(first, drop(0.5, ones))


def test_nothing_is_drawn_without_dropout():
    x = jnp.arange(6.0).reshape(2, 3)
    for rate, deterministic in ((0.0, False), (0.5, True)):
        np.testing.assert_array_equal(Dropout(rate).apply({}, x, deterministic), x)


def test_a_rate_of_one_drops_all_and_its_gradient_is_zero():
    x = jnp.ones((2, 3))
    assert not drop(1.0, x).any()
    gradient = jax.grad(
        lambda x: Dropout(1.0).apply({}, x, False, rngs={"dropout": jax.random.key(0)}).sum()
    )(x)
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_gradients_pass_where_values_do():
    x = jax.random.normal(jax.random.key(2), (8, 33)) + 5
    rngs = {"dropout": jax.random.key(3)}
    gradient = jax.grad(lambda x: Dropout(0.25).apply({}, x, False, rngs=rngs).sum())(x)
    np.testing.assert_array_equal(gradient != 0, drop(0.25, x, seed=3) != 0)
    assert drop(0.25, jnp.ones((2, 4), jnp.bfloat16)).dtype == jnp.bfloat16
