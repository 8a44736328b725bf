"""Doubts of a student, and texts that are drawn by them."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    init_params,
    make_batch,
    make_bilstm,
    make_plan,
    make_signals,
    make_teacher,
    make_texts,
    run_plan,
)
from xdistil.config import Stage
from xdistil.data.packing import Batch
from xdistil.distill import trainer as training
from xdistil.distill.doubts import choose_sampling, encode_doubts, measure_doubts, weigh_doubts
from xdistil.distill.losses import LossConfig
from xdistil.distill.stages import plan_stages
from xdistil.distill.step import StepConfig
from xdistil.errors import InputError
from xdistil.models.forward import apply_model
from xdistil.models.types import Params
from xdistil.teacher.signals import Signals

STUDENT = make_bilstm()
PARAMS = init_params(STUDENT)
BATCH = make_batch(3)
NOTHING = Signals(None, (), ())


def measure(batch: Batch, signals: Signals, params: Params = PARAMS, **changes: Any) -> np.ndarray:
    losses = LossConfig(STUDENT, (("labels", 1.0),), **changes)
    return np.asarray(measure_doubts(params, batch, signals, config=StepConfig(losses)))


def student_logits() -> np.ndarray:
    return np.asarray(apply_model(STUDENT, PARAMS, BATCH).logits, np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def average(doubt: np.ndarray, known: np.ndarray) -> list[float]:
    return [float(row[here].mean()) for row, here in zip(doubt, known, strict=True)]


def test_doubt_is_the_teachers_certainty_that_the_student_lacks():
    signals = make_signals(BATCH)
    assert signals.logits is not None
    teacher, student = softmax(signals.logits.astype(np.float64)), softmax(student_logits())
    doubt = np.zeros(teacher.shape[:2])
    for place in np.ndindex(*doubt.shape):
        label = teacher[place].argmax()
        doubt[place] = teacher[place][label] * (1 - student[place][label])
    expected = average(doubt, BATCH.label_mask)
    assert measure(BATCH, signals) == pytest.approx(expected, rel=1e-5)
    present = BATCH.label_mask & (BATCH.position == 1)
    found = measure(BATCH, signals._replace(present=present))
    assert found == pytest.approx(average(doubt, present), rel=1e-5)


def test_a_gold_label_is_certain():
    student = softmax(student_logits())
    doubt = 1 - np.take_along_axis(student, np.asarray(BATCH.labels)[..., None], -1)[..., 0]
    assert measure(BATCH, NOTHING) == pytest.approx(average(doubt, BATCH.label_mask), rel=1e-5)


def test_votes_are_as_certain_as_they_agree():
    """Whatever their weight; a unit without votes has no doubt, and a row of such units none."""
    targets = np.zeros((*BATCH.tokens.shape, CLASSES), np.float32)
    targets[0, 1] = [0.1, 0.15, 0.25]  # half a vote
    targets[1, 2] = [0.0, 0.0, 1.0]
    targets[1, 3] = [0.6, 0.4, 0.0]
    student = softmax(student_logits())
    expected = [
        0.5 * (1 - student[0, 1, 2]),
        ((1 - student[1, 2, 2]) + 0.6 * (1 - student[1, 3, 0])) / 2,
        0.0,
    ]
    found = measure(BATCH, NOTHING._replace(targets=targets))
    assert found == pytest.approx(expected, rel=1e-5)


def test_each_of_several_labels_is_had_or_lacked():
    signals = make_signals(BATCH)
    assert signals.logits is not None
    teacher = 1 / (1 + np.exp(-signals.logits.astype(np.float64)))
    student = 1 / (1 + np.exp(-student_logits()))
    doubt = np.where(teacher > 0.5, teacher * (1 - student), (1 - teacher) * student).mean(-1)
    found = measure(BATCH, signals, multilabel=True)
    assert found == pytest.approx(average(doubt, BATCH.label_mask), rel=1e-5)
    gold = np.asarray(BATCH.labels)[..., None] == np.arange(CLASSES)
    packed = BATCH._replace(labels=np.packbits(gold, axis=-1, bitorder="little"))
    doubt = np.where(gold, 1 - student, student).mean(-1)
    found = measure(packed, NOTHING, multilabel=True)
    assert found == pytest.approx(average(doubt, BATCH.label_mask), rel=1e-5)


def test_half_of_an_epoch_is_drawn_by_doubt():
    weights = weigh_doubts(encode_doubts(np.array([0.0, 0.1, 0.3, 0.0], np.float32)))
    assert weights == pytest.approx([0.5, 1.0, 2.0, 0.5], abs=1e-4)  # the mean is 0.1
    assert weigh_doubts(encode_doubts(np.zeros(3, np.float32))).tolist() == [1.0, 1.0, 1.0]


REPRESENTATION = Stage(name="representation", loss="representation")
LOGITS = Stage(name="logits", loss="logits", unfreeze="gradual", sampling="doubtful")
LABELS = Stage(name="labels", loss="labels", data="train", sampling="doubtful")


def plan(*stages: Stage):
    return plan_stages(stages, "plan", STUDENT, make_teacher(), make_texts())


@pytest.mark.parametrize(
    ("stages", "trained", "expected"),
    [
        ((REPRESENTATION, LOGITS, LABELS), False, [0, 0, 1, 1, 1, 1]),
        ((LOGITS,), True, [1, 1, 1, 1]),
        ((Stage(name="plain", loss="logits"), REPRESENTATION, LABELS), False, [0, 0, 1]),
    ],
)
def test_texts_are_drawn_by_doubt_once_a_head_was_trained(stages, trained, expected):
    chosen = choose_sampling(plan(*stages), trained)
    assert [stage.samples_doubtful for stage in chosen] == list(map(bool, expected))


def test_a_stage_without_predictions_before_it_is_refused():
    with pytest.raises(InputError) as raised:
        choose_sampling(plan(REPRESENTATION, LABELS), False)
    assert str(raised.value) == (
        "plan[1].sampling is doubtful, but no stage run before it trains the head, so the student "
        "has no predictions yet: set it in a later stage, or plan[1].unfreeze=gradual."
    )


@pytest.mark.parametrize("cache", ["always", "never", "auto"])
def test_a_stage_draws_the_rows_that_the_student_doubts_before_its_first_step(
    tmp_path, monkeypatch, cache
):
    """Wherever the teacher's logits come from: stored, computed, or stored while computed."""
    real, given = training.batches.make_batches, []

    def make_batches(*arguments: Any, **settings: Any) -> Any:
        given.append(settings["weights"])
        return real(*arguments, **settings)

    monkeypatch.setattr(training.batches, "make_batches", make_batches)
    stages = (Stage(name="logits", loss="logits", epochs=2.0, lr=1e-2),)
    teacher = make_teacher(cache=cache)
    made = make_plan(stages, tmp_path, STUDENT, teacher)
    made = made._replace(stages=(replace(made.stages[0], samples_doubtful=True),))
    decided = jax.tree.map(lambda values: 5 * values, PARAMS)
    run_plan(made, decided)
    (weights,) = given
    texts, rows = made.stages[0].train, make_texts()["transfer"].rows
    doubts = []
    for index in range(len(rows.subword)):
        batch = training.batches.fill_batch(texts.subwords, rows, np.array([index]), 0)
        batch = jax.tree.map(np.asarray, batch)
        logits = apply_model(teacher.model, teacher.params, batch).logits
        doubts.append(float(measure(batch, NOTHING._replace(logits=logits), decided)[0]))
    assert weights == pytest.approx(0.5 + np.array(doubts) / (2 * np.mean(doubts)), rel=2e-3)
    assert min(weights) < 0.8
