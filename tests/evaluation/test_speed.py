"""Speed with a clock that the models advance, and once with real models."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.deploy.folders import TAGGING, draw_params, make_model
from xdistil.data.subwords import Subwords
from xdistil.evaluation import speed
from xdistil.evaluation.speed import Runner, measure_speed


def _subwords(lengths: list[int], examples: list[int], first_token: int) -> Subwords:
    """Segments whose tokens count upwards from `first_token` plus 100 for each example."""
    tokens = [
        first_token + 100 * example + np.arange(length)
        for length, example in zip(lengths, examples, strict=True)
    ]
    total = sum(lengths)
    return Subwords(
        tokens=np.concatenate(tokens).astype(np.int32),
        token_type=np.zeros(total, np.int8),
        labels=np.zeros(total, np.int32),
        label_mask=np.zeros(total, bool),
        word=np.full(total, -1, np.int32),
        start=np.concatenate([[0], np.cumsum(lengths)]),
        example=np.array(examples, np.int32),
    )


def _runner(name: str, subwords: Subwords) -> Runner:
    model: Any = SimpleNamespace(name=name, dtype="float32")
    return Runner(model, {}, subwords, padding_id=7)


@pytest.fixture
def calls(monkeypatch):
    """Replaces model and clock: every call is recorded and takes the time set for the model."""
    clock = SimpleNamespace(now=0.0)
    recorded = []
    cost = {"teacher": [0.03, 0.05, 0.04], "student": [0.01]}

    def predict(params, batch, *, model):
        of_model = [name for name, _ in recorded if name == model.name]
        costs = cost[model.name]
        clock.now += costs[len(of_model) % len(costs)]
        recorded.append((model.name, batch))
        return np.zeros(1)

    monkeypatch.setattr(speed, "compute_logits", predict)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock.now)
    return recorded


def test_speedup_is_the_ratio_within_each_round_of_an_interleaved_run(calls):
    subwords = _subwords([5] * 40, list(range(40)), 0)
    measured = measure_speed(_runner("teacher", subwords), _runner("student", subwords), 64, 1.0)
    # After the two warm-ups the teacher takes 0.04, 0.03, 0.05, ... and the student always 0.01:
    # three rounds take 0.15 s, so half a second is over in the tenth, at 0.50 with 0.04.
    batch = measured["batch_32"]
    assert batch["rounds"] == 10
    assert batch["min"] == pytest.approx(3.0)
    assert batch["median"] == pytest.approx(4.0)
    assert batch["max"] == pytest.approx(5.0)
    assert batch["teacher_seconds"]["median"] == pytest.approx(0.04)
    assert batch["student_seconds"]["max"] == pytest.approx(0.01)
    names = [name for name, _ in calls]
    assert names == ["teacher", "student"] * (len(names) // 2)


def test_there_is_a_minimum_of_rounds(calls):
    subwords = _subwords([5] * 3, [0, 1, 2], 0)
    measured = measure_speed(_runner("teacher", subwords), _runner("student", subwords), 64, 1e-9)
    assert measured["single"]["rounds"] == 5


def test_both_models_get_the_same_sentences_one_per_row(calls):
    # The second tokenizer cuts example 2 into two windows: it is left out for both.
    teacher = _runner("teacher", _subwords([5, 9, 4, 6], [0, 1, 2, 3], 1000))
    student = _runner("student", _subwords([7, 18, 3, 3, 8], [0, 1, 2, 2, 3], 5000))
    measured = measure_speed(teacher, student, 24, 1e-9)
    assert measured["batch_32"]["row_length"] == 32
    assert measured["single"]["row_length"] == 24
    shapes = {batch.tokens.shape for _, batch in calls}
    assert shapes == {(32, 32), (1, 24)}
    for (_, left), (_, right) in zip(calls[::2], calls[1::2], strict=True):
        examples = (np.asarray(left.tokens)[:, 0] - 1000) // 100
        assert np.array_equal(examples, (np.asarray(right.tokens)[:, 0] - 5000) // 100)
        assert set(examples.tolist()) <= {0, 1, 3}
    for batch in (batch for name, batch in calls if name == "student"):
        filled = np.asarray(batch.segment) == 1
        lengths = {5000: 7, 5100: 18, 5300: 8}
        expected = [lengths[first] for first in np.asarray(batch.tokens)[:, 0].tolist()]
        assert filled.sum(1).tolist() == expected
        positions = np.tile(np.arange(filled.shape[1]), (len(filled), 1))
        assert np.array_equal(np.asarray(batch.position), np.where(filled, positions, 0))
        assert (np.asarray(batch.tokens)[~filled] == 7).all()


def test_a_longer_sentence_lengthens_the_rows_to_the_next_multiple_of_16(calls):
    subwords = _subwords([5, 33], [0, 1], 0)
    measured = measure_speed(_runner("teacher", subwords), _runner("student", subwords), 64, 1e-9)
    assert measured["batch_32"]["row_length"] == 48
    assert measured["single"]["row_length"] == 64


def test_nothing_is_measured_without_time_or_sentences(calls):
    subwords = _subwords([5], [0], 0)
    windows = _subwords([5, 5], [0, 0], 0)
    teacher, student = _runner("teacher", subwords), _runner("student", subwords)
    assert measure_speed(teacher, student, 64, 0.0) is None
    assert measure_speed(_runner("teacher", windows), student, 64, 1.0) is None
    assert not calls


def test_real_models_are_timed_with_their_type_threads_and_device():
    subwords = _subwords([6, 3, 5], [0, 0, 1], 1)
    runners = [
        Runner(model, draw_params(model), subwords, 0)
        for model in (make_model(kind, TAGGING, 120) for kind in ("bert", "bilstm"))
    ]
    measured = measure_speed(*runners, row_length=16, seconds=0.02)
    assert measured["dtype"] == "float32"
    assert measured["device"] == "cpu"
    assert measured["threads"] >= 1
    for setting in ("batch_32", "single"):
        each = measured[setting]
        assert 0 < each["min"] <= each["median"] <= each["max"]
        assert each["student_seconds"]["min"] > 0
