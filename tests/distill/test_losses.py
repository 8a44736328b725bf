"""The losses of a stage: what each compares, what it reads of the teacher, what it trains."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    TEACHER,
    init_params,
    losses_of,
    make_batch,
    make_bilstm,
    make_encoder,
    make_signals,
    make_vectors,
)
from tests.models.samples import run
from xdistil import config
from xdistil.data.label_sets import pack_labels
from xdistil.data.packing import Batch
from xdistil.distill import distances
from xdistil.distill.losses import (
    LOSSES,
    SIDE_PROJECTIONS,
    LossConfig,
    labels_loss,
    read_spec,
)
from xdistil.distill.step import StepConfig, eval_step
from xdistil.models.forward import apply_model
from xdistil.models.types import Output
from xdistil.teacher.signals import Signals, SignalSpec

WIDTH = TEACHER.hidden_size


def test_every_loss_that_a_config_may_name_has_a_row():
    assert tuple(LOSSES) == config.LOSSES


def test_logits_and_labels_alone_train_the_head():
    trained = {name for name, loss in LOSSES.items() if loss.trains_head}
    assert trained == {"logits", "labels"}


# Layers are counted from 1; the hidden state 0 is the embeddings.
MAPS = {"hidden_map": ((1, 0), (2, 5)), "attention_map": ((1, 2),), "relation_map": ((2, 5),)}


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("representation", SignalSpec(hidden=(0, 5))),
        ("attention", SignalSpec(attention=(1,))),
        ("relations", SignalSpec(vectors=(4,))),
        ("logits", SignalSpec(logits=True)),
        ("labels", SignalSpec()),
    ],
)
def test_each_loss_reads_its_own_signals(name, spec):
    """Whatever maps stand in the config for other losses."""
    losses = LossConfig(make_bilstm(), ((name, 1.0),), **MAPS)
    assert LOSSES[name].spec(losses) == read_spec(losses) == spec


def test_a_sum_reads_the_signals_of_all_its_losses_in_the_order_of_the_maps():
    """A map may fall: its layers are not sorted, for signals come in its order."""
    weights = (("labels", 1.0), ("representation", 1.0), ("logits", 0.5))
    losses = LossConfig(make_bilstm(), weights, hidden_map=((2, 5), (1, 3)))
    assert read_spec(losses) == SignalSpec(logits=True, hidden=(5, 3))


def test_logits_and_labels_count_labelled_subwords_and_states_all_real_ones():
    model, batch = make_bilstm(), make_batch(3)
    losses = LossConfig(
        model, (("representation", 1.0), ("logits", 1.0), ("labels", 1.0)), hidden_map=((1, 2),)
    )
    tallies = eval_step(
        init_params(model), batch, make_signals(batch, 1), config=StepConfig(losses)
    )
    assert tallies["representation"].count == 3 * 9
    assert tallies["logits"].count == tallies["labels"].count == 3 * 7


@pytest.mark.parametrize(("kind", "which"), [("mse", 2), ("cosine", 2), ("kl", 3)])
def test_a_bilstm_shows_its_projection_before_gelu_and_to_kl_after_it(kind, which):
    model, batch = make_bilstm(), make_batch(2)
    params = init_params(model)
    losses = LossConfig(model, (("representation", 1.0),), hidden_map=((1, 2),), hidden_loss=kind)
    states = run(model, params, batch).hidden
    expected = {
        index: losses_of(losses, params, batch, Signals(None, (np.asarray(states[index]),), ()))[
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
    both = LossConfig(model, (("representation", 1.0),), hidden_map=pairs)
    each = [
        losses_of(
            LossConfig(model, (("representation", 1.0),), hidden_map=(pair,)),
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
    side = {
        "kernel": generator.normal(size=(4, WIDTH)),
        "bias": generator.normal(size=WIDTH),
    }
    params = {**init_params(model), SIDE_PROJECTIONS: {"0": jax.tree.map(np.float32, side)}}
    signals = make_signals(batch, 1)
    losses = LossConfig(model, (("representation", 1.0),), hidden_map=((2, 2),))
    model_params = {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
    states = np.asarray(run(model, model_params, batch).hidden[2], np.float64)
    error = states @ side["kernel"] + side["bias"] - signals.hidden[0]
    expected = (error**2).mean(axis=-1)[batch.segment > 0].mean()
    found = losses_of(losses, params, batch, signals)["representation"]
    assert found == pytest.approx(expected, rel=1e-4)


def test_attention_compares_the_mapped_layers():
    """The student's second layer against the first signal, and within segments only."""
    model, batch = make_encoder(), make_batch(2)
    params, signals = init_params(model), make_signals(batch, 0, 1)
    maps = run(model, params, batch, attention=True).attention
    segment = batch.segment[:, None]
    pairs = (segment[..., :, None] == segment[..., None, :]) & (segment[..., None] > 0)
    squares = (np.asarray(maps[1]) - signals.attention[0]) ** 2
    expected = squares[np.broadcast_to(pairs, squares.shape)].mean()
    losses = LossConfig(model, (("attention", 1.0),), attention_map=((2, 1),))
    found = losses_of(losses, params, batch, signals)["attention"]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_attention_is_compared_as_the_config_says(kind):
    """Against the student's own maps nothing is lost; against those of another layer, by kind."""
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    maps = run(model, params, batch, attention=True).attention
    losses = LossConfig(model, (("attention", 1.0),), attention_map=((1, 1),), attention_loss=kind)
    own, other = (
        losses_of(losses, params, batch, Signals(None, (), (each,)))["attention"] for each in maps
    )
    assert own == pytest.approx(0.0, abs=1e-6)
    compare = {"mse": distances.attention_error, "kl": distances.attention_divergence}[kind]
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
    losses = LossConfig(model, (("representation", 1.0),), hidden_map=((0, 1), (2, 2)))
    shared = replace(losses, shared_projection=True)

    def loss(losses: LossConfig, *sides: Any) -> float:
        named = {str(index): side for index, side in enumerate(sides)}
        return losses_of(losses, {**params, SIDE_PROJECTIONS: named}, batch, signals)[
            "representation"
        ]

    assert loss(shared, first) == pytest.approx(loss(losses, first, first), rel=1e-6)
    assert loss(losses, first, second) != pytest.approx(loss(shared, first), rel=1e-3)


def test_relations_of_the_mapped_layers_are_summed_over_queries_keys_and_values():
    """Student of 2 heads and width 8 against vectors of width 12, in 4 parts."""
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    own = jax.device_get(apply_model(model, params, batch, vectors=True).vectors)
    theirs = make_vectors(batch, 12, 2)
    losses = LossConfig(
        model, (("relations", 1.0),), relation_map=((2, 5), (1, 3)), relation_heads=4
    )
    expected = np.mean(
        [
            sum(
                float(distances.relation_divergence(ours, target, batch.segment, 4).mean())
                for ours, target in zip(own[layer - 1], targets, strict=True)
            )
            for layer, targets in zip((2, 1), theirs, strict=True)
        ]
    )
    tally = eval_step(params, batch, Signals(None, (), (), None, theirs), config=StepConfig(losses))
    assert tally["relations"].mean() == pytest.approx(expected, rel=1e-5)
    assert tally["relations"].count == 4 * 18
    same_as_own = Signals(None, (), (), None, (own[1], own[0]))
    assert losses_of(losses, params, batch, same_as_own)["relations"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_equal_logits_cost_nothing(kind):
    model, batch = make_encoder(), make_batch(2)
    params = init_params(model)
    logits = np.array(run(model, params, batch).logits)
    losses = LossConfig(model, (("logits", 1.0),), logits_loss=kind, temperature=2.0)
    assert losses_of(losses, params, batch, Signals(logits, (), ()))["logits"] < 1e-6
    logits[..., 0] += 1.0
    expected = 1 / CLASSES if kind == "mse" else None
    found = losses_of(losses, params, batch, Signals(logits, (), ()))["logits"]
    assert found == pytest.approx(expected, rel=1e-4) if expected else found > 1e-3


def test_what_padding_holds_changes_no_loss():
    model, batch = make_encoder(), make_batch(2)
    weights = (("representation", 1.0), ("attention", 1.0), ("logits", 1.0), ("labels", 1.0))
    losses = LossConfig(model, weights, hidden_map=((2, 2),), attention_map=((1, 1),))
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
    expected = losses_of(losses, params, batch, signals)
    assert losses_of(losses, params, other, spoilt) == pytest.approx(expected, rel=1e-6)


def test_a_subword_without_values_of_the_teacher_teaches_nothing():
    """Where they are those of words, some places have none; all others are as NumPy has them."""
    model, batch = make_encoder(), make_batch(2)
    weights = (("representation", 1.0), ("logits", 1.0))
    losses = LossConfig(model, weights, hidden_map=((2, 2),))
    params, signals = init_params(model), make_signals(batch, 1)
    present = batch.label_mask & (np.arange(12) % 3 == 1)
    absent = ~present[..., None]
    partial_ = Signals(
        np.where(absent, np.nan, signals.logits),
        (np.where(absent, np.inf, signals.hidden[0]),),
        (),
        present=present,
    )
    output = run(model, params, batch)
    expected = {
        "representation": np.square(output.hidden[2] - signals.hidden[0])[present].mean(),
        "logits": np.square(output.logits - signals.logits)[present].mean(),
    }
    assert losses_of(losses, params, batch, partial_) == pytest.approx(expected, rel=1e-5)


def test_several_labels_have_losses_of_their_own():
    """The table's rows for logits and labels, and the config that a task of several makes."""
    logits, teacher = (np.array([[[2.0, -1.0, 0.5], [9.0, 9.0, 9.0]]]) * sign for sign in (1, -1))
    row = np.array([[1, 1]], np.int32)
    has = np.array([[[True, False, True], [True, True, True]]])
    batch = Batch(row, row, row, row, pack_labels(has), np.array([[True, False]]))
    output = Output(logits=logits, hidden=(), attention=None)
    losses = LossConfig(make_bilstm(), (), logits_loss="kl", temperature=2.0, multilabel=True)
    found = LOSSES["logits"].compute(losses, {}, output, batch, Signals(teacher, (), ()))
    p, q = 1 / (1 + np.exp(-teacher[0, 0] / 2)), 1 / (1 + np.exp(-logits[0, 0] / 2))
    expected = 4 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()
    assert (found.sum, found.count) == (pytest.approx(expected, rel=1e-5), 1)
    losses = replace(losses, class_weights=(1.0, 1.0, 4.0))
    found = LOSSES["labels"].compute(losses, {}, output, batch, Signals(None, (), ()))
    q = 1 / (1 + np.exp(-logits[0, 0]))
    expected = -(np.log(q[0]) + np.log(1 - q[1]) + 4 * np.log(q[2])) / 3
    assert found.mean() == pytest.approx(expected, rel=1e-5)


def test_where_annotators_voted_their_probabilities_are_the_labels():
    batch = make_batch(2)
    signals = make_signals(batch)
    losses = LossConfig(make_bilstm(), (("labels", 1.0),), class_weights=(1.0, 2.0, 3.0))
    output = Output(make_signals(batch, seed=1).logits, (), None)
    targets = np.zeros((*batch.tokens.shape, CLASSES), np.float32)
    targets[0, 1] = 0.25, 0.5, 0.25
    found = labels_loss(losses, {}, output, batch, signals._replace(targets=targets))
    expected = distances.soft_cross_entropy(output.logits, targets, losses.class_weights)
    assert (found.sum, found.count) == (expected.sum, 2.0)
    assert labels_loss(losses, {}, output, batch, signals).count != 2.0
