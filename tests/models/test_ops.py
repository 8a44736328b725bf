"""Dropout by its statistics, GELU against its definition in float64, gradients of products."""

import functools
import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import samples
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.registry import FAMILIES
from xdistil.models.ops import Dropout, array_type, dense_layer, gelu, multiply
from xdistil.runtime.arithmetic import multiplies_in_bfloat16

X = np.concatenate([np.linspace(-12, 12, 24001), [-1e30, -3e4, -0.0, 0.0, 3e4, 1e30]])


@functools.partial(jax.jit, static_argnums=0)
def _drop(rate, x, key):
    return Dropout(rate).apply({}, x, False, rngs={"dropout": key})


def drop(rate, x, seed=0):
    return np.asarray(_drop(rate, x, jax.random.key(seed)))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("width", [1, 7, 64, 385])
def test_the_share_of_zeros_is_the_rate_in_every_column(rate, width):
    rows = 200_000 // width
    kept = drop(rate, np.ones((rows, width), np.float32)) > 0
    deviation = (rate * (1 - rate)) ** 0.5
    assert abs((~kept).mean() - rate) < 5 * deviation / kept.size**0.5
    assert np.abs((~kept).mean(0) - rate).max() < 5.5 * deviation / rows**0.5


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_is_scaled_to_the_same_mean(rate):
    x = jax.random.normal(jax.random.key(1), (50, 64))
    found = drop(rate, x)
    kept = found != 0
    np.testing.assert_allclose(found[kept], np.asarray(x)[kept] / (1 - rate), rtol=2**-15)
    assert (
        abs(drop(rate, np.ones((1000, 1000), np.float32)).mean() - 1)
        < 5 * (rate / (1 - rate)) ** 0.5 / 1e3
    )


def test_columns_are_independent_of_each_other():
    # Two columns share a random word; correlations of 40,000 rows are within 6 / 200.
    kept = (drop(0.5, np.ones((40_000, 16), np.float32)) > 0).astype(np.float64)
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


def _round(x: jax.Array) -> np.ndarray:
    """To the eight binary digits of bfloat16; exact in float64."""
    return np.asarray(x.astype(jnp.bfloat16), np.float64)


# Rows, width and columns: a single one of each, odd numbers, and sizes of layers.
SIZES = ((1, 1, 1), (1, 64, 3), (3, 1, 5), (2, 7, 1), (64, 33, 130), (256, 192, 64))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_products_and_gradients_have_rounded_factors_and_long_sums(sizes):
    rows, width, columns = sizes
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (rows, width))
    kernel = jax.random.normal(keys[1], (width, columns))
    incoming = jax.random.normal(keys[2], (rows, columns))
    product, pull = jax.vjp(partial(multiply, dtype="bfloat16"), x, kernel)
    of_x, of_kernel = jax.jit(pull)(incoming)
    wanted = (
        (product, _round(x) @ _round(kernel)),
        (of_x, _round(incoming) @ _round(kernel).T),
        (of_kernel, _round(x).T @ _round(incoming)),
    )
    for ours, exact in wanted:
        assert ours.dtype == array_type("bfloat16") == "float32"
        np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=2e-5)


@pytest.mark.skipif(
    not multiplies_in_bfloat16(jax.local_devices()[0]), reason="the CPU has no bfloat16 products"
)
@pytest.mark.usefixtures("compile_fully")
@pytest.mark.parametrize(("width", "size"), [(64, 96), (96, 384), (384, 96)])
def test_no_product_of_a_step_is_computed_in_float32(width, size):
    """XLA converts the factors back to float32 where it has no product for their layout."""
    layer = dense_layer(size, "bfloat16")
    x = jnp.ones((4, 32, width))
    params = layer.init(jax.random.key(0), x)
    step = jax.jit(jax.grad(lambda params, x: (layer.apply(params, x) ** 2).sum(), argnums=(0, 1)))
    program = step.lower(params, x).compile().as_text()
    found: list[list[str]] = []
    for computation in program.split("\n}"):
        types = dict(re.findall(r"%(\S+) = (\w+)\[", computation))
        dots = re.findall(r" dot\(%(\S+), %(\S+)\)", computation)
        found += [[types[factor] for factor in factors] for factors in dots]
    assert found == [["bf16", "bf16"]] * 3


@pytest.mark.parametrize("kind", ["tagging", "classification"])
@pytest.mark.parametrize("config", samples.CONFIGS, ids=lambda config: config.model_type)
def test_the_gradient_of_a_kernel_adds_up_over_one_axis(config: EncoderConfig, kind: str) -> None:
    """A sum over rows and positions at once needs a transposed copy on a CPU."""
    model = samples.make_encoder(config, kind, 3)
    batch = samples.pack_row(samples.make_segments(), config.padding_id)
    batch = jax.tree.map(lambda x: np.concatenate([x, x]), batch)

    def add_up(params):
        return model.apply({"params": params}, batch).logits.sum()

    program = jax.jit(jax.grad(add_up)).lower(samples.make_params(model)).as_text()
    # Products by heads have batching_dims before these.
    contracted = re.findall(r"dot_general %\S+, %\S+, contracting_dims = \[([\d, ]*)\]", program)
    assert contracted
    assert not [axes for axes in contracted if "," in axes]


@pytest.mark.parametrize(
    "config", [*samples.CONFIGS, samples.BILSTM], ids=lambda config: config.model_type
)
def test_gradients_of_embeddings_add_up_in_float32(
    config: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum of many terms in bfloat16 stops at 256 times the last one."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # whose arrays are bfloat16
    model = FAMILIES[config.model_type].build(config, "tagging", 3).clone(dtype="bfloat16")
    batch = samples.pack_row(samples.make_segments(), config.padding_id)

    def add_up(params):
        return model.apply({"params": params}, batch).hidden[0].astype(jnp.float32).sum()

    program = str(jax.make_jaxpr(jax.grad(add_up))(samples.make_params(model)))
    assert "bf16" in program
    assert set(re.findall(r":(\w+)\[[\d,]*\] = scatter-add", program)) == {"f32"}
