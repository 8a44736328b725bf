"""The BiLSTM student against a NumPy reference, on packed rows, and its hand-written gradient."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.samples import (
    BILSTM,
    LENGTHS,
    make_params,
    make_segments,
    pack_row,
    run,
    run_with_dropout,
)
from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig, read_config, write_config
from xdistil.models.lstm import LSTM
from xdistil.models.types import Params

MODEL = BiLSTM(BILSTM, classes=5)
DEEP = BiLSTM(dataclasses.replace(BILSTM, layers=3), classes=5)


@pytest.fixture(scope="module")
def params() -> Params:
    """Random parameters, biases included."""
    return make_params(MODEL)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def walk(inputs: np.ndarray, direction: dict) -> np.ndarray:
    """A textbook LSTM over one segment f64[T,E] -> f64[T,H], from a zero state."""
    size = direction["recurrent_kernel"].shape[0]
    hidden, cell, states = np.zeros(size), np.zeros(size), []
    for x in inputs:
        gates = x @ direction["input_kernel"] + hidden @ direction["recurrent_kernel"]
        i, f, g, o = np.split(gates + direction["bias"], 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.array(states)


def reference(params: Params, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Projection before its GELU, after it, and logits of one segment i32[T], in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    both = params["embeddings"]["word_embeddings"]["embedding"][tokens]
    for name in ("lstm", "lstm_1", "lstm_2"):
        if name in params:
            ahead = walk(both, params[name]["forward"])
            behind = walk(both[::-1], params[name]["backward"])[::-1]
            both = np.concatenate([ahead, behind], axis=1)
    projected = both @ params["projection"]["kernel"] + params["projection"]["bias"]
    erf = np.vectorize(math.erf)
    activated = projected * (1 + erf(projected / np.sqrt(2))) / 2
    return (
        projected,
        activated,
        activated @ params["classifier"]["kernel"] + params["classifier"]["bias"],
    )


def largest_difference(params: Params, batch: Batch, model: BiLSTM = MODEL) -> float:
    """The largest difference of a row of the five segments from the reference on each segment, as a
    share of the largest value."""
    output = run(model, params, batch)
    worst, first = 0.0, 0
    for segment, length in zip(make_segments(), LENGTHS, strict=True):
        places = slice(first, first + length)
        ours = (*output.hidden[-2:], output.logits)
        for mine, expected in zip(ours, reference(params, segment.tokens[0]), strict=True):
            worst = max(worst, np.abs(mine[0, places] - expected).max() / np.abs(expected).max())
        first += length
    return worst


def test_packed_segments_equal_the_reference_on_each_alone(params: Params) -> None:
    assert largest_difference(params, pack_row(make_segments(), 4)) < 1e-5


def test_layers_read_the_states_of_the_one_before_segment_by_segment() -> None:
    params, row = make_params(DEEP), pack_row(make_segments(), 4)
    assert set(params) == {"embeddings", "lstm", "lstm_1", "lstm_2", "projection", "classifier"}
    assert largest_difference(params, row, DEEP) < 1e-5
    joined = row._replace(segment=np.where(row.segment == 2, 1, row.segment))
    assert largest_difference(params, joined, DEEP) > 1e-2


def test_the_head_reads_the_features_of_the_last_layer_alone() -> None:
    params, row = make_params(DEEP), pack_row(make_segments(), 4)
    output = run(DEEP, params, row)
    assert [state.shape[-1] for state in output.hidden] == [7, 18, 18, 18, 12, 12]
    above = {name: params[name] for name in ("projection", "classifier")}
    features = output.hidden[DEEP.features]
    again = DEEP.apply({"params": above}, row, features=features)
    np.testing.assert_allclose(again.logits, output.logits, atol=1e-6)


@pytest.mark.parametrize("number", range(5))
def test_a_packed_segment_equals_itself_alone(params: Params, number: int) -> None:
    row = pack_row(make_segments(), 4)
    together = run(MODEL, params, row)
    alone = run(MODEL, params, make_segments()[number])
    places = row.segment[0] == number + 1
    scale = np.abs(alone.logits).max()
    assert np.abs(together.logits[0, places] - alone.logits[0]).max() < 1e-5 * scale


def test_a_state_carried_into_the_next_segment_is_seen(params: Params) -> None:
    row = pack_row(make_segments(), 4)
    joined = np.where(row.segment == 2, 1, row.segment)
    assert largest_difference(params, row._replace(segment=joined)) > 1e-2


def test_a_state_carried_back_from_padding_is_seen(params: Params) -> None:
    row = pack_row(make_segments(), 4)
    joined = np.where(row.segment == 0, 5, row.segment)
    assert largest_difference(params, row._replace(segment=joined)) > 1e-2


def test_every_padding_subword_starts_from_zero(params: Params) -> None:
    row = pack_row(make_segments(), 4)
    output = run(MODEL, params, row)
    padding = output.hidden[2][row.segment == 0]
    single = reference(params, np.array([4]))[0]
    np.testing.assert_allclose(padding, np.repeat(single, 4, axis=0), atol=1e-5)


def plain(params: Params, inputs: jax.Array, keep: dict[str, np.ndarray]) -> jax.Array:
    """The same BiLSTM as two ordinary scans, for JAX to differentiate by itself.

    `keep` bool[B,T] of each direction is false where the state starts from zero.
    """
    outputs = []
    for name in ("forward", "backward"):
        weights = params[name]

        def step(state: tuple, given: tuple, weights: Params = weights) -> tuple:
            x, goes_on = given
            cell, hidden = (jnp.where(goes_on[:, None], s, 0.0) for s in state)
            gates = x @ weights["input_kernel"] + weights["bias"]
            i, f, g, o = jnp.split(gates + hidden @ weights["recurrent_kernel"], 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (cell, hidden), hidden

        zero = jnp.zeros((inputs.shape[0], weights["recurrent_kernel"].shape[0]))
        given = (jnp.swapaxes(inputs, 0, 1), keep[name].T)
        outputs.append(jax.lax.scan(step, (zero, zero), given, reverse=name == "backward")[1])
    return jnp.swapaxes(jnp.concatenate(outputs, axis=-1), 0, 1)


def test_the_gradient_is_that_of_a_plain_recurrence(params: Params) -> None:
    segment = np.array([[1, 1, 2, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1, 1]], np.int32)
    keep = {
        "forward": np.array([[0, 1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1, 1]], bool),
        "backward": np.array([[1, 0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]], bool),
    }
    inputs = jax.random.normal(jax.random.key(5), (2, 7, BILSTM.embedding_size))
    weights = jax.random.normal(jax.random.key(6), (2, 7, 2 * BILSTM.hidden_size))
    layer = LSTM(BILSTM.hidden_size, "float32")

    def ours(params: Params, inputs: jax.Array) -> jax.Array:
        return (layer.apply({"params": params}, inputs, segment) * weights).sum()

    def theirs(params: Params, inputs: jax.Array) -> jax.Array:
        return (plain(params, inputs, keep) * weights).sum()

    mine = jax.jit(jax.grad(ours, argnums=(0, 1)))(params["lstm"], inputs)
    expected = jax.jit(jax.grad(theirs, argnums=(0, 1)))(params["lstm"], inputs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), mine, expected)


@pytest.mark.parametrize(
    ("embedding", "hidden", "millions"),
    [
        (300, 600, 31.8),
        (200, 600, 22.5),
        (300, 400, 29.4),
        (200, 400, 20.2),
        (100, 600, 13.1),
        (100, 400, 11.1),
        (50, 600, 8.5),
        (300, 200, 27.7),
        (200, 200, 18.7),
        (50, 400, 6.5),
        (100, 200, 9.6),
        (50, 200, 5.1),
        (300, 100, 27.0),
        (200, 100, 18.1),
        (100, 100, 9.2),
        (50, 100, 4.7),
    ],
)
def test_parameters_are_as_many_as_the_paper_prints(
    embedding: int, hidden: int, millions: float
) -> None:
    # Table 16 of the paper, V = 88.5K subwords, a teacher 768 wide and 11 classes.
    config = BiLSTMConfig(88_500, embedding, hidden, 768)
    shapes = jax.eval_shape(BiLSTM(config, 11).init_params, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert round(count / 1e6, 1) == millions
    lstm = 8 * ((embedding + hidden) * hidden + hidden)
    assert count == 88_500 * embedding + lstm + (2 * hidden * 768 + 768) + (768 * 11 + 11)


def test_further_layers_add_what_their_inputs_need() -> None:
    counts = []
    for layers in (1, 2, 4):
        config = BiLSTMConfig(1_000, 50, 30, 64, layers=layers)
        shapes = jax.eval_shape(BiLSTM(config, 11).init_params, jax.random.key(0))
        counts.append(sum(leaf.size for leaf in jax.tree.leaves(shapes)))
    further = 8 * (3 * 30 * 30 + 30)
    assert np.diff(counts).tolist() == [further, 2 * further]


def test_a_fresh_lstm_remembers_and_rotates() -> None:
    size = BILSTM.hidden_size
    row = np.ones((1, 1), np.int32)
    layer = LSTM(size, "float32")
    fresh = jax.jit(layer.init)(jax.random.key(0), np.zeros((1, 1, 7)), row)["params"]
    for direction in fresh.values():
        np.testing.assert_array_equal(direction["bias"], np.repeat([0.0, 1.0, 0.0, 0.0], size))
        for gate in np.split(np.asarray(direction["recurrent_kernel"]), 4, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(size), atol=1e-5)


def test_dropout_falls_after_the_embeddings_and_after_the_bilstm(params: Params) -> None:
    row = pack_row(make_segments(), 4)

    def apply(rate: float, weights: Params) -> list[jax.Array]:
        model = MODEL.clone(config=dataclasses.replace(BILSTM, dropout=rate))
        output = run_with_dropout(model, weights, row)
        return [*output.hidden, output.logits]

    table = params["embeddings"]["word_embeddings"]["embedding"]
    embedded = apply(0.5, params)[0]
    dropped = embedded == 0
    assert 0.3 < dropped.mean() < 0.7
    np.testing.assert_allclose(embedded[~dropped], 2 * table[row.tokens][~dropped], rtol=1e-6)
    # With zero embeddings only the second dropout can make two equal subwords differ.
    silent = {**params, "embeddings": {"word_embeddings": {"embedding": 0 * table}}}
    padding = apply(0.5, silent)[2][row.segment == 0]
    assert np.abs(padding[0] - padding[1]).max() > 1e-2
    still = apply(0.0, params)[4]
    np.testing.assert_allclose(still, run(MODEL, params, row).logits, atol=1e-6)


def test_dropout_falls_between_layers(params: Params) -> None:
    two = MODEL.clone(config=dataclasses.replace(BILSTM, layers=2, dropout=0.5))
    weights, row = make_params(two), pack_row(make_segments(), 4)
    # The first layer gives the same states everywhere: zero input weights, and no recurrence.
    weights["lstm"] = jax.tree.map(lambda leaf: 0 * leaf + (leaf.ndim == 1), weights["lstm"])
    states = run_with_dropout(two, weights, row).hidden
    padding = row.segment == 0
    lower, upper = (state[padding] for state in states[1:3])
    np.testing.assert_array_equal(lower[0], lower[1])
    assert np.abs(upper[0] - upper[1]).max() > 1e-2


def test_without_classes_there_is_no_head(params: Params) -> None:
    bare = BiLSTM(BILSTM)
    fresh = make_params(bare)
    assert set(fresh) == {"embeddings", "lstm", "projection"}
    assert run(bare, fresh, make_segments()[0], attention=True)[::2] == (None, None)


def test_bfloat16_arithmetic_is_near_float32_with_float32_gradients(params: Params) -> None:
    row = pack_row(make_segments(), 4)
    rough = MODEL.clone(dtype="bfloat16")

    def total(weights: Params, model: BiLSTM) -> jax.Array:
        return (model.apply({"params": weights}, row).logits ** 2).mean()

    rough_gradient, exact_gradient = (
        jax.jit(jax.grad(total), static_argnums=1)(params, m) for m in (rough, MODEL)
    )
    for ours, theirs in zip(
        jax.tree.leaves(rough_gradient), jax.tree.leaves(exact_gradient), strict=True
    ):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()


def test_config_reads_back_what_it_wrote_and_refuses_the_rest() -> None:
    raw = write_config(BILSTM)
    assert "layers" not in raw  # the file of earlier versions, which had one layer
    assert read_config(raw, "here") == BILSTM
    assert read_config(write_config(DEEP.config), "here") == DEEP.config
    wrong = ({"hidden_size": None}, {"hidden_size": "9"}, {"dropout": -0.1}, {"layers": 0})
    for change in (*wrong, {"layers": None}):
        with pytest.raises(InputError, match=next(iter(change))):
            read_config(raw | change, "here")
