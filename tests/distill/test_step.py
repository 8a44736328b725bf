"""One step: its losses, its arithmetic, and what freezing costs."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    init_params,
    make_batch,
    make_bilstm,
    make_encoder,
    same,
)
from xdistil.data.packing import Batch
from xdistil.distill import losses
from xdistil.distill.step import (
    Recipe,
    TrainState,
    compute_losses,
    eval_step,
    init_state,
    train_step,
)
from xdistil.distill.unfreezing import SIDE_PROJECTIONS, list_groups, merge_params, split_params
from xdistil.models.forward import apply_model
from xdistil.models.types import QKV
from xdistil.teacher.signals import Signals

WIDTH = 8  # of the small teacher


def make_signals(batch: Batch, hidden: int = 0, attention: int = 0, seed: int = 5) -> Signals:
    """Random logits, and as many hidden states and attention maps of two heads as wanted."""
    generator = np.random.default_rng(seed)
    rows, length = batch.tokens.shape

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=(rows, *shape)).astype(np.float32)

    return Signals(
        draw(length, CLASSES),
        tuple(draw(length, WIDTH) for _ in range(hidden)),
        tuple(draw(2, length, length) for _ in range(attention)),
    )


def start(recipe: Recipe, groups: tuple[str, ...], params: Any = None) -> TrainState:
    params = params or init_params(recipe.model)
    return init_state(recipe, *split_params(params, groups), jax.random.key(3))


def take_steps(state: TrainState, recipe: Recipe, batch: Batch, signals: Signals, rates: Any):
    for rate in rates:
        state, metrics = train_step(state, batch, signals, np.float32(rate), recipe=recipe)
    return jax.device_get((state.trainable, state.frozen)), metrics


def losses_of(recipe: Recipe, params: Any, batch: Batch, signals: Signals) -> dict[str, float]:
    tallies = eval_step(params, batch, signals, recipe=recipe)
    return {name: float(tally.mean()) for name, tally in tallies.items()}


# --- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_behind_a_loss_that_is_not_finite_nothing_changes_any_more(value):
    """The second of three steps fails; the third, sound by itself, leaves what reproduces it."""
    model, batch = make_bilstm(), make_batch(2)
    recipe = Recipe(model, (("logits", 1.0),), clip=1.0, weight_decay=0.1)
    sound = make_signals(batch)
    broken = sound._replace(logits=np.full_like(sound.logits, value))
    state, _ = train_step(
        start(recipe, ("head", "bilstm")), batch, sound, np.float32(0.1), recipe=recipe
    )
    before = jax.device_get((state.step, state.trainable, state.frozen, state.optimizer))
    state, metrics = train_step(state, batch, broken, np.float32(0.1), recipe=recipe)
    assert (int(state.failed), int(metrics.failed)) == (2, 2)
    state, metrics = train_step(state, batch, sound, np.float32(0.1), recipe=recipe)
    assert (int(state.failed), int(metrics.failed)) == (2, 2)
    after = jax.device_get((state.step, state.trainable, state.frozen, state.optimizer))
    assert same(after, before)


# --- losses ---------------------------------------------------------------------------------------


def test_logits_and_labels_count_labelled_subwords_and_states_all_real_ones():
    model, batch = make_bilstm(), make_batch(3)
    recipe = Recipe(
        model, (("representation", 1.0), ("logits", 1.0), ("labels", 1.0)), hidden_map=((1, 2),)
    )
    tallies = eval_step(init_params(model), batch, make_signals(batch, 1), recipe=recipe)
    assert tallies["representation"].count == 3 * 9
    assert tallies["logits"].count == tallies["labels"].count == 3 * 7


@pytest.mark.parametrize(("kind", "which"), [("mse", 2), ("cosine", 2), ("kl", 3)])
def test_a_bilstm_shows_its_projection_before_gelu_and_to_kl_after_it(kind, which):
    model, batch = make_bilstm(), make_batch(2)
    params = init_params(model)
    recipe = Recipe(model, (("representation", 1.0),), hidden_map=((1, 2),), representation=kind)
    states = model.apply({"params": params}, batch).hidden
    expected = {
        index: losses_of(recipe, params, batch, Signals(None, (np.asarray(states[index]),), ()))[
            "representation"
        ]
        for index in (2, 3)
    }
    assert expected[which] == pytest.approx(0.0, abs=1e-6)
    assert expected[5 - which] > 1e-4


def test_several_hidden_states_count_equally():
    model, batch = make_encoder(), make_batch(2)
    params, signals = init_params(model), make_signals(batch, 2)
    pairs = ((0, 1), (2, 2))
    both = Recipe(model, (("representation", 1.0),), hidden_map=pairs)
    each = [
        losses_of(
            Recipe(model, (("representation", 1.0),), hidden_map=(pair,)),
            params,
            batch,
            Signals(None, (signals.hidden[i],), ()),
        )["representation"]
        for i, pair in enumerate(pairs)
    ]
    found = losses_of(both, params, batch, signals)["representation"]
    assert found == pytest.approx(sum(each) / 2, rel=1e-5)
    assert each[0] != pytest.approx(each[1], rel=1e-3)


def test_a_narrow_student_is_compared_through_its_side_projection():
    model, batch = make_encoder(hidden_size=4), make_batch(2)
    generator = np.random.default_rng(0)
    side = {"kernel": generator.normal(size=(4, WIDTH)), "bias": generator.normal(size=WIDTH)}
    params = {**init_params(model), SIDE_PROJECTIONS: {"0": jax.tree.map(np.float32, side)}}
    signals = make_signals(batch, 1)
    recipe = Recipe(model, (("representation", 1.0),), hidden_map=((2, 2),))
    model_params = {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
    states = np.asarray(model.apply({"params": model_params}, batch).hidden[2], np.float64)
    error = states @ side["kernel"] + side["bias"] - signals.hidden[0]
    expected = (error**2).mean(axis=-1)[batch.segment > 0].mean()
    found = losses_of(recipe, params, batch, signals)["representation"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_attention_compares_the_mapped_layers():
    """The student's second layer against the first signal, and within segments only."""
    model, batch = make_encoder(), make_batch(2)
    params, signals = init_params(model), make_signals(batch, 0, 1)
    maps = model.apply({"params": params}, batch, attention=True).attention
    segment = batch.segment[:, None]
    pairs = (segment[..., :, None] == segment[..., None, :]) & (segment[..., None] > 0)
    squares = (np.asarray(maps[1]) - signals.attention[0]) ** 2
    expected = squares[np.broadcast_to(pairs, squares.shape)].mean()
    recipe = Recipe(model, (("attention", 1.0),), attention_map=((2, 1),))
    found = losses_of(recipe, params, batch, signals)["attention"]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_attention_is_compared_as_the_recipe_says(kind):
    """Against the student's own maps nothing is lost; against those of another layer, by kind."""
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    maps = jax.device_get(model.apply({"params": params}, batch, attention=True).attention)
    recipe = Recipe(model, (("attention", 1.0),), attention_map=((1, 1),), attention=kind)
    own, other = (
        losses_of(recipe, params, batch, Signals(None, (), (each,)))["attention"] for each in maps
    )
    assert own == pytest.approx(0.0, abs=1e-6)
    compare = {"mse": losses.attention_error, "kl": losses.attention_divergence}[kind]
    assert other == pytest.approx(float(compare(*maps, batch.segment).mean()), rel=1e-5)
    assert other > 1e-3


def test_one_projection_is_read_by_all_layers_when_shared():
    model, batch = make_encoder(hidden_size=4), make_batch(2)
    generator = np.random.default_rng(0)

    def draw_side() -> dict[str, np.ndarray]:
        shapes = {"kernel": (4, WIDTH), "bias": (WIDTH,)}
        drawn = {name: generator.normal(size=shape) for name, shape in shapes.items()}
        return {name: values.astype(np.float32) for name, values in drawn.items()}

    first, second = draw_side(), draw_side()
    params, signals = init_params(model), make_signals(batch, 2)
    recipe = Recipe(model, (("representation", 1.0),), hidden_map=((0, 1), (2, 2)))
    shared = dataclasses.replace(recipe, shared_projection=True)

    def loss(recipe: Recipe, *sides: Any) -> float:
        named = {str(index): side for index, side in enumerate(sides)}
        return losses_of(recipe, {**params, SIDE_PROJECTIONS: named}, batch, signals)[
            "representation"
        ]

    assert loss(shared, first) == pytest.approx(loss(recipe, first, first), rel=1e-6)
    assert loss(recipe, first, second) != pytest.approx(loss(shared, first), rel=1e-3)


def make_vectors(batch: Batch, width: int, count: int, seed: int = 6) -> tuple[QKV, ...]:
    generator = np.random.default_rng(seed)
    shape = (3, *batch.tokens.shape, width)
    return tuple(QKV(*generator.normal(size=shape).astype(np.float32)) for _ in range(count))


def test_relations_of_the_mapped_layers_are_summed_over_queries_keys_and_values():
    """Student of 2 heads and width 8 against vectors of width 12, in 4 parts."""
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    own = jax.device_get(apply_model(model, params, batch, vectors=True).vectors)
    theirs = make_vectors(batch, 12, 2)
    recipe = Recipe(model, (("relations", 1.0),), relation_map=((2, 5), (1, 3)), relation_heads=4)
    expected = np.mean(
        [
            sum(
                float(losses.relation_divergence(ours, target, batch.segment, 4).mean())
                for ours, target in zip(own[layer - 1], targets, strict=True)
            )
            for layer, targets in zip((2, 1), theirs, strict=True)
        ]
    )
    tally = eval_step(params, batch, Signals(None, (), (), None, theirs), recipe=recipe)
    assert tally["relations"].mean() == pytest.approx(expected, rel=1e-5)
    assert tally["relations"].count == 4 * 18
    same_as_own = Signals(None, (), (), None, (own[1], own[0]))
    assert losses_of(recipe, params, batch, same_as_own)["relations"] == pytest.approx(0, abs=1e-6)


def test_a_step_learns_relations():
    """Queries, keys, values and all below them move; what the loss does not read stays."""
    model = make_encoder(layers=1, dropout=0.0, attention_dropout=0.0)
    batch = make_batch(2)
    recipe = Recipe(model, (("relations", 1.0),), relation_map=((1, 2),), relation_heads=2)
    signals = Signals(None, (), (), None, make_vectors(batch, 12, 1))
    params = init_params(model)
    groups = [group for group in list_groups(params) if group != "head"]
    before = losses_of(recipe, params, batch, signals)["relations"]
    (trainable, frozen), _ = take_steps(start(recipe, groups), recipe, batch, signals, [3e-3] * 12)
    after = merge_params(trainable, frozen)
    assert losses_of(recipe, after, batch, signals)["relations"] < 0.9 * before
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), after, params)
    layer = moved["encoder"]["layer"]["0"]
    assert all(jax.tree.leaves([layer["attention"]["self"], moved["embeddings"]]))
    assert not any(jax.tree.leaves([layer["attention"]["output"], layer["output"]]))


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_equal_logits_cost_nothing(kind):
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    logits = np.array(model.apply({"params": params}, batch).logits)
    recipe = Recipe(model, (("logits", 1.0),), logits=kind, temperature=2.0)
    assert losses_of(recipe, params, batch, Signals(logits, (), ()))["logits"] < 1e-6
    logits[..., 0] += 1.0
    expected = 1 / CLASSES if kind == "mse" else None
    found = losses_of(recipe, params, batch, Signals(logits, (), ()))["logits"]
    assert found == pytest.approx(expected, rel=1e-4) if expected else found > 1e-3


def test_what_padding_holds_changes_no_loss():
    model, batch = make_encoder(), make_batch(2)
    weights = (("representation", 1.0), ("attention", 1.0), ("logits", 1.0), ("labels", 1.0))
    recipe = Recipe(model, weights, hidden_map=((2, 2),), attention_map=((1, 1),))
    params, signals = init_params(model), make_signals(batch, 1, 1)
    padding = batch.segment == 0
    spoilt = Signals(
        np.where(padding[..., None], np.nan, signals.logits),
        tuple(np.where(padding[..., None], np.inf, x) for x in signals.hidden),
        tuple(np.where(padding[:, None, :, None], np.nan, x) for x in signals.attention),
    )
    other = batch._replace(
        tokens=np.where(padding, 9, batch.tokens),
        labels=np.where(batch.label_mask, batch.labels, 2),
    )
    expected = losses_of(recipe, params, batch, signals)
    assert losses_of(recipe, params, other, spoilt) == pytest.approx(expected, rel=1e-6)


def test_a_subword_without_values_of_the_teacher_teaches_nothing():
    """Where they are those of words, some places have none; all others are as NumPy has them."""
    model, batch = make_encoder(), make_batch(2)
    weights = (("representation", 1.0), ("logits", 1.0))
    recipe = Recipe(model, weights, hidden_map=((2, 2),))
    params, signals = init_params(model), make_signals(batch, 1)
    present = batch.label_mask & (np.arange(12) % 3 == 1)
    absent = ~present[..., None]
    partial_ = Signals(
        np.where(absent, np.nan, signals.logits),
        (np.where(absent, np.inf, signals.hidden[0]),),
        (),
        present=present,
    )
    output = model.apply({"params": params}, batch)
    expected = {
        "representation": np.square(output.hidden[2] - signals.hidden[0])[present].mean(),
        "logits": np.square(output.logits - signals.logits)[present].mean(),
    }
    assert losses_of(recipe, params, batch, partial_) == pytest.approx(expected, rel=1e-5)


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
    recipe = Recipe(model, (("labels", 1.0),), clip=clip, weight_decay=decay)
    groups = ("head", "projection")
    params = init_params(model)
    signals = Signals(None, (), ())
    rates = [0.0, 1e-2, 3e-2, 2e-2]
    trainable, frozen = split_params(params, groups)

    def loss(tree: Any) -> Any:
        tallies = compute_losses(recipe, merge_params(tree, frozen), batch, signals, None)
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
    (found, _), metrics = take_steps(start(recipe, groups), recipe, batch, signals, rates)
    assert metrics.gradient_norm == pytest.approx(norms[-1], rel=1e-3)
    for name, value in flatten(found).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-4, atol=2e-6, err_msg=name)


def test_a_rate_of_zero_moves_nothing_but_the_moments():
    model, batch = make_bilstm(), make_batch(2)
    recipe = Recipe(model, (("labels", 1.0),), weight_decay=0.5)
    groups = list_groups(init_params(model))
    state = start(recipe, groups)
    before = jax.device_get(state)
    (found, _), metrics = take_steps(state, recipe, batch, Signals(None, (), ()), [0.0])
    assert same(found, before.trainable)
    assert metrics.gradient_norm > 0


def test_weights_scale_their_losses_in_the_sum():
    model, batch = make_bilstm(dropout=0.0), make_batch(2)
    signals = make_signals(batch)

    def norm(*weights: tuple[str, float]) -> float:
        recipe = Recipe(model, weights)
        return float(take_steps(start(recipe, ("head",)), recipe, batch, signals, [0.0])[1][1])

    alone = norm(("logits", 1.0))
    assert norm(("logits", 3.0), ("labels", 1e-6)) == pytest.approx(3 * alone, rel=1e-4)
    assert norm(("logits", 1.0), ("labels", 1.0)) != pytest.approx(alone, rel=1e-2)


def test_metrics_hold_every_loss_by_name_unweighted():
    model, batch = make_bilstm(dropout=0.0), make_batch(2)
    signals = make_signals(batch)
    recipe = Recipe(model, (("logits", 5.0), ("labels", 0.1)))
    params = init_params(model)
    expected = losses_of(recipe, params, batch, signals)
    _, metrics = take_steps(start(recipe, ("head",)), recipe, batch, signals, [1e-3])
    assert set(metrics.losses) == {"logits", "labels"}
    found = {name: float(tally.mean()) for name, tally in metrics.losses.items()}
    assert found == pytest.approx(expected, rel=1e-5)


def test_dropout_differs_by_step_and_not_by_run():
    model, batch = make_bilstm(dropout=0.5), make_batch(4)
    recipe, signals = Recipe(model, (("labels", 1.0),)), Signals(None, (), ())
    groups = list_groups(init_params(model))

    def run() -> list[float]:
        state, found = start(recipe, groups), []
        for _ in range(3):
            state, metrics = train_step(state, batch, signals, np.float32(0), recipe=recipe)
            found.append(float(metrics.losses["labels"].mean()))
        return found

    first = run()
    assert len(set(first)) == 3
    assert run() == first
    expected = losses_of(recipe, init_params(model), batch, signals)
    assert losses_of(recipe, init_params(model), batch, signals) == expected


@pytest.mark.parametrize("make", [partial(make_encoder, layers=1), make_bilstm])
def test_bfloat16_computes_on_float32_parameters(make):
    batch = make_batch(2)
    signals = make_signals(batch)
    results = {}
    for dtype in ("float32", "bfloat16"):
        recipe = Recipe(make(dtype=dtype), (("logits", 1.0),), clip=1.0)
        state = start(recipe, list_groups(init_params(recipe.model)))
        state, _ = train_step(state, batch, signals, np.float32(1e-2), recipe=recipe)
        leaves = jax.tree.leaves((state.trainable, state.optimizer))
        assert {str(leaf.dtype) for leaf in leaves} <= {"float32", "int32"}
        results[dtype] = losses_of(recipe, state.trainable, batch, signals)["logits"]
    assert results["bfloat16"] != results["float32"]
    assert results["bfloat16"] == pytest.approx(results["float32"], rel=0.03)


# --- freezing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "count"), [(make_encoder, 2), (make_bilstm, 1), (make_bilstm, 3)])
def test_frozen_groups_stay_bit_by_bit_and_the_others_move(make, count):
    model, batch = make(), make_batch(4)
    recipe = Recipe(model, (("labels", 1.0),), clip=1.0, weight_decay=0.1)
    params = init_params(model)
    groups = list_groups(params)[:count]
    before = split_params(params, groups)
    (trainable, frozen), _ = take_steps(
        start(recipe, groups, params), recipe, batch, Signals(None, (), ()), [1e-2] * 3
    )
    assert same(frozen, before[1])
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), trainable, before[0])
    assert all(jax.tree.leaves(moved))


def test_no_optimizer_buffer_has_a_frozen_shape():
    model = make_bilstm()
    params = init_params(model)
    recipe = Recipe(model, (("labels", 1.0),), clip=1.0, weight_decay=0.1)
    for count in (1, 2, 3):
        groups = list_groups(params)[:count]
        trainable, _ = split_params(params, groups)
        leaves = jax.tree.leaves(start(recipe, groups).optimizer)
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


def trace(recipe: Recipe, groups: tuple[str, ...], batch: Batch, signals: Signals) -> Any:
    step = partial(train_step, recipe=recipe)
    return jax.make_jaxpr(step)(start(recipe, groups), batch, signals, np.float32(1)).jaxpr


def test_a_step_computes_nothing_of_a_frozen_matrix_shape():
    """No gradient, no moment, no update: of each frozen matrix the program only hands on itself."""
    model = make_bilstm(vocabulary_size=31, embedding_size=5, hidden_size=7)
    recipe = Recipe(model, (("labels", 1.0),), clip=1.0, weight_decay=0.1)
    batch, signals = make_batch(2), Signals(None, (), ())
    embedding, recurrent = (31, 5), (7, 28)
    whole = trace(recipe, ("head", "projection", "bilstm", "embeddings"), batch, signals)
    computed = list(list_shapes(whole))
    assert computed.count(embedding) > 5  # gradient, moments, update and more
    assert computed.count(recurrent) > 10
    assert [v.aval.shape for v in whole.outvars].count(embedding) == 3
    head_only = trace(recipe, ("head",), batch, signals)
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
    recipe, batch = Recipe(model, (("logits", 1.0),), clip=1.0), make_batch(16)
    groups = list_groups(init_params(model))

    def count_flops(trainable: tuple[str, ...]) -> float:
        lowered = train_step.lower(
            start(recipe, trainable), batch, make_signals(batch), np.float32(1), recipe=recipe
        )
        return lowered.compile().cost_analysis()["flops"]

    assert count_flops(groups[:1]) < 0.355 * count_flops(groups)
