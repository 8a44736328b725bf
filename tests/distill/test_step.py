"""One step: its arithmetic, what freezing costs, and what follows a loss that is not finite."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    init_params,
    losses_of,
    make_batch,
    make_bilstm,
    make_encoder,
    make_signals,
    make_vectors,
    same,
)
from xdistil.data.packing import Batch
from xdistil.distill.losses import LossConfig
from xdistil.distill.step import StepConfig, TrainState, compute_losses, init_state, train_step
from xdistil.distill.unfreezing import list_groups, merge_params, split_params
from xdistil.teacher.signals import Signals


def start(config: StepConfig, groups: tuple[str, ...], params: Any = None) -> TrainState:
    params = params or init_params(config.losses.model)
    return init_state(config, *split_params(params, groups), jax.random.key(3))


def take_steps(state: TrainState, config: StepConfig, batch: Batch, signals: Signals, rates: Any):
    for rate in rates:
        state, metrics = train_step(state, batch, signals, np.float32(rate), config=config)
    return jax.device_get((state.trainable, state.frozen)), metrics


# --- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_behind_a_loss_that_is_not_finite_nothing_changes_any_more(value):
    """The second of three steps fails; the third, sound by itself, leaves what reproduces it."""
    model, batch = make_bilstm(), make_batch(2)
    config = StepConfig(LossConfig(model, (("logits", 1.0),)), clip=1.0, weight_decay=0.1)
    sound = make_signals(batch)
    broken = sound._replace(logits=np.full_like(sound.logits, value))
    state, _ = train_step(
        start(config, ("head", "bilstm")), batch, sound, np.float32(0.1), config=config
    )
    before = jax.device_get((state.step, state.trainable, state.frozen, state.optimizer))
    state, metrics = train_step(state, batch, broken, np.float32(0.1), config=config)
    assert (int(state.failed), int(metrics.failed)) == (2, 2)
    state, metrics = train_step(state, batch, sound, np.float32(0.1), config=config)
    assert (int(state.failed), int(metrics.failed)) == (2, 2)
    after = jax.device_get((state.step, state.trainable, state.frozen, state.optimizer))
    assert same(after, before)


# --- arithmetic -----------------------------------------------------------------------------------


def adamw(params, gradient, moments, count, lr, clip, decay):
    """One step of AdamW in float64 on a flat {path: array}; returns parameters and moments."""
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    scale = min(1.0, clip / norm) if clip else 1.0
    result, after = {}, {}
    for path, x in params.items():
        g = gradient[path] * scale
        first = 0.9 * moments[path][0] + 0.1 * g
        second = 0.999 * moments[path][1] + 0.001 * g**2
        update = first / (1 - 0.9**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        if x.ndim > 1:
            update = update + decay * x
        result[path], after[path] = x - lr * update, (first, second)
    return result, after


def flatten(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf, np.float64) for path, leaf in leaves}


@pytest.mark.parametrize(("clip", "decay"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.3), (1e6, 0.3)])
def test_four_steps_are_those_of_adamw(clip, decay):
    """Clipping by the global norm, bias-corrected moments, decay on matrices only."""
    model, batch = make_bilstm(dropout=0.0), make_batch(2)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), clip=clip, weight_decay=decay)
    groups = ("head", "projection")
    params = init_params(model)
    signals = Signals(None, (), ())
    rates = [0.0, 1e-2, 3e-2, 2e-2]
    trainable, frozen = split_params(params, groups)

    def loss(tree: Any) -> Any:
        tallies = compute_losses(config, merge_params(tree, frozen), batch, signals, None)
        return tallies["labels"].mean()

    names = list(flatten(trainable))
    expected = flatten(trainable)
    moments = {name: (0.0, 0.0) for name in names}
    structure = jax.tree.structure(trainable)
    norms = []
    for count, lr in enumerate(rates, 1):
        tree = jax.tree.unflatten(structure, [np.float32(expected[name]) for name in names])
        gradient = flatten(jax.grad(loss)(tree))
        norms.append(np.sqrt(sum((g**2).sum() for g in gradient.values())))
        expected, moments = adamw(expected, gradient, moments, count, lr, clip, decay)
    assert min(norms) > 0.05  # so that the small bound does cut
    (found, _), metrics = take_steps(start(config, groups), config, batch, signals, rates)
    assert metrics.gradient_norm == pytest.approx(norms[-1], rel=1e-3)
    for name, value in flatten(found).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-4, atol=2e-6, err_msg=name)


def test_a_rate_of_zero_moves_nothing_but_the_moments():
    model, batch = make_bilstm(), make_batch(2)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), weight_decay=0.5)
    groups = list_groups(init_params(model))
    state = start(config, groups)
    before = jax.device_get(state)
    (found, _), metrics = take_steps(state, config, batch, Signals(None, (), ()), [0.0])
    assert same(found, before.trainable)
    assert metrics.gradient_norm > 0


def test_weights_scale_their_losses_in_the_sum():
    model, batch = make_bilstm(dropout=0.0), make_batch(2)
    signals = make_signals(batch)

    def norm(*weights: tuple[str, float]) -> float:
        config = StepConfig(LossConfig(model, weights))
        return float(take_steps(start(config, ("head",)), config, batch, signals, [0.0])[1][1])

    alone = norm(("logits", 1.0))
    assert norm(("logits", 3.0), ("labels", 1e-6)) == pytest.approx(3 * alone, rel=1e-4)
    assert norm(("logits", 1.0), ("labels", 1.0)) != pytest.approx(alone, rel=1e-2)


def test_metrics_hold_every_loss_by_name_unweighted():
    model, batch = make_bilstm(dropout=0.0), make_batch(2)
    signals = make_signals(batch)
    config = StepConfig(LossConfig(model, (("logits", 5.0), ("labels", 0.1))))
    params = init_params(model)
    expected = losses_of(config.losses, params, batch, signals)
    _, metrics = take_steps(start(config, ("head",)), config, batch, signals, [1e-3])
    assert set(metrics.losses) == {"logits", "labels"}
    found = {name: float(tally.mean()) for name, tally in metrics.losses.items()}
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_step_learns_relations():
    """Queries, keys, values and all below them move; what the loss does not read stays."""
    model = make_encoder(layers=1, dropout=0.0, attention_dropout=0.0)
    batch = make_batch(2)
    config = StepConfig(
        LossConfig(model, (("relations", 1.0),), relation_map=((1, 2),), relation_heads=2)
    )
    signals = Signals(None, (), (), None, make_vectors(batch, 12, 1))
    params = init_params(model)
    groups = [group for group in list_groups(params) if group != "head"]
    before = losses_of(config.losses, params, batch, signals)["relations"]
    (trainable, frozen), _ = take_steps(start(config, groups), config, batch, signals, [3e-3] * 12)
    after = merge_params(trainable, frozen)
    assert losses_of(config.losses, after, batch, signals)["relations"] < 0.9 * before
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), after, params)
    layer = moved["encoder"]["layer"]["0"]
    assert all(jax.tree.leaves([layer["attention"]["self"], moved["embeddings"]]))
    assert not any(jax.tree.leaves([layer["attention"]["output"], layer["output"]]))


def test_dropout_differs_by_step_and_not_by_run():
    model, batch = make_bilstm(dropout=0.5), make_batch(4)
    config, signals = StepConfig(LossConfig(model, (("labels", 1.0),))), Signals(None, (), ())
    groups = list_groups(init_params(model))

    def run() -> list[float]:
        state, found = start(config, groups), []
        for _ in range(3):
            state, metrics = train_step(state, batch, signals, np.float32(0), config=config)
            found.append(float(metrics.losses["labels"].mean()))
        return found

    first = run()
    assert len(set(first)) == 3
    assert run() == first
    expected = losses_of(config.losses, init_params(model), batch, signals)
    assert losses_of(config.losses, init_params(model), batch, signals) == expected


@pytest.mark.parametrize("make", [partial(make_encoder, layers=1), make_bilstm])
def test_bfloat16_computes_on_float32_parameters(make):
    batch = make_batch(2)
    signals = make_signals(batch)
    results = {}
    for dtype in ("float32", "bfloat16"):
        config = StepConfig(LossConfig(make(dtype=dtype), (("logits", 1.0),)), clip=1.0)
        state = start(config, list_groups(init_params(config.losses.model)))
        state, _ = train_step(state, batch, signals, np.float32(1e-2), config=config)
        leaves = jax.tree.leaves((state.trainable, state.optimizer))
        assert {str(leaf.dtype) for leaf in leaves} <= {"float32", "int32"}
        results[dtype] = losses_of(config.losses, state.trainable, batch, signals)["logits"]
    assert results["bfloat16"] != results["float32"]
    assert results["bfloat16"] == pytest.approx(results["float32"], rel=0.03)


# --- freezing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "count"), [(make_encoder, 2), (make_bilstm, 1), (make_bilstm, 3)])
def test_frozen_groups_stay_bit_by_bit_and_the_others_move(make, count):
    model, batch = make(), make_batch(4)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), clip=1.0, weight_decay=0.1)
    params = init_params(model)
    groups = list_groups(params)[:count]
    before = split_params(params, groups)
    (trainable, frozen), _ = take_steps(
        start(config, groups, params), config, batch, Signals(None, (), ()), [1e-2] * 3
    )
    assert same(frozen, before[1])
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), trainable, before[0])
    assert all(jax.tree.leaves(moved))


def test_no_optimizer_buffer_has_a_frozen_shape():
    model = make_bilstm()
    params = init_params(model)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), clip=1.0, weight_decay=0.1)
    for count in (1, 2, 3):
        groups = list_groups(params)[:count]
        trainable, _ = split_params(params, groups)
        leaves = jax.tree.leaves(start(config, groups).optimizer)
        shapes = sorted(leaf.shape for leaf in leaves if leaf.ndim)
        assert shapes == sorted(2 * [leaf.shape for leaf in jax.tree.leaves(trainable)])


def list_shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    """The shape of everything that a program computes, in its inner programs too."""
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from list_shapes(inner)
        if not any(hasattr(getattr(p, "jaxpr", p), "eqns") for p in equation.params.values()):
            yield from (variable.aval.shape for variable in equation.outvars)


def trace(config: StepConfig, groups: tuple[str, ...], batch: Batch, signals: Signals) -> Any:
    step = partial(train_step, config=config)
    return jax.make_jaxpr(step)(start(config, groups), batch, signals, np.float32(1)).jaxpr


def test_a_step_computes_nothing_of_a_frozen_matrix_shape():
    """No gradient, no moment, no update: of each frozen matrix the program only hands on itself."""
    model = make_bilstm(vocabulary_size=31, embedding_size=5, hidden_size=7)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), clip=1.0, weight_decay=0.1)
    batch, signals = make_batch(2), Signals(None, (), ())
    embedding, recurrent = (31, 5), (7, 28)
    whole = trace(config, ("head", "projection", "bilstm", "embeddings"), batch, signals)
    computed = list(list_shapes(whole))
    assert computed.count(embedding) > 5  # gradient, moments, update and more
    assert computed.count(recurrent) > 10
    assert [v.aval.shape for v in whole.outvars].count(embedding) == 3
    head_only = trace(config, ("head",), batch, signals)
    computed = list(list_shapes(head_only))
    assert embedding not in computed
    assert computed.count(recurrent) == 0
    shapes = [variable.aval.shape for variable in head_only.outvars]
    assert shapes.count(embedding) == 1
    assert shapes.count(recurrent) == 2  # one a direction


@pytest.mark.parametrize(
    "model",
    [
        make_bilstm(hidden_size=64, embedding_size=32, projection_size=64),
        make_encoder(hidden_size=128, intermediate_size=512, layers=4, dropout=0.0,
                     attention_dropout=0.0),
    ],
)  # fmt: skip
def test_a_head_only_step_costs_about_a_third_of_a_full_one(model):
    config, batch = StepConfig(LossConfig(model, (("logits", 1.0),)), clip=1.0), make_batch(16)
    groups = list_groups(init_params(model))

    def count_flops(trainable: tuple[str, ...]) -> float:
        lowered = train_step.lower(
            start(config, trainable), batch, make_signals(batch), np.float32(1), config=config
        )
        return lowered.compile().cost_analysis()["flops"]

    assert count_flops(groups[:1]) < 0.355 * count_flops(groups)
