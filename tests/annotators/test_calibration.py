"""Temperatures of votes: against a search, by hand, and on answers whose gold is known."""

import itertools

import numpy as np
import pytest

from xdistil.annotators.agreement import calibrate_votes, choose_votes, compare_with_gold
from xdistil.annotators.answers import AnsweredText, Span
from xdistil.annotators.calibration import (
    RIDGE,
    SMOOTHING,
    Calibration,
    calibrate,
    measure_loss,
)
from xdistil.data.examples import Example, Task

LABELS = ("O", "B-P", "I-P")
TASK = Task("tagging", LABELS)


def objective(probabilities: np.ndarray, gold: np.ndarray, inverse: np.ndarray) -> float:
    """What a fit makes smallest, written out."""
    size = probabilities.shape[1]
    powers = ((1 - SMOOTHING) * probabilities + SMOOTHING / size) ** inverse
    found = powers / powers.sum(axis=1, keepdims=True)
    loss = -sum(np.log(row[right]) for row, right in zip(found, gold, strict=True))
    return loss + RIDGE / 2 * sum((each - 1) ** 2 for each in inverse)


def test_temperatures_are_the_best_of_a_search():
    draw = np.random.default_rng(0)
    true = draw.dirichlet((1, 0.5), 300)
    gold = np.array([draw.choice(2, p=row) for row in true])
    voted = true ** [3, 1.5]
    voted /= voted.sum(axis=1, keepdims=True)
    found = calibrate(voted, gold, ("a", "b"))
    best = objective(voted, gold, 1 / found.temperatures)
    # It is convex, so that nothing beside it being better is enough.
    for by in itertools.product((-0.01, 0, 0.01), repeat=2):
        assert objective(voted, gold, 1 / found.temperatures + by) >= best
    assert found.before == pytest.approx(measure_loss(voted, gold))
    assert found.after == pytest.approx(measure_loss(found.apply(voted), gold), abs=1e-12)
    assert found.after < found.before
    assert found.units == 300


def test_a_temperature_has_bounds_and_a_label_without_gold_stays_nearly_as_it_is():
    voted = np.tile([0.9, 0.1, 0.0], (2000, 1))
    found = calibrate(voted, np.ones(2000, int), LABELS)
    # Gold is always the label that votes say less often: O is lowered as far as it may be.
    assert found.temperatures[0] == pytest.approx(1 / 20)
    assert found.temperatures[1] == pytest.approx(20)
    assert found.apply(voted)[0].argmax() == 1
    few = calibrate(np.array([[0.6, 0.4, 0.0]]), np.array([0]), LABELS)
    assert few.temperatures == pytest.approx([1, 1, 1], abs=0.35)


def test_calibrated_targets_by_hand():
    given = Calibration(("a", "b"), np.array([1.0, 2.0]), 1, 0.0, 0.0)
    votes = np.array([[0.36, 0.64], [0.0, 0.0]])
    low, high = (1 - SMOOTHING) * votes[0] + SMOOTHING / 2
    wanted = low / (low + high**0.5)
    assert given.apply(votes) == pytest.approx(np.array([[wanted, 1 - wanted], [0, 0]]))
    assert wanted == pytest.approx(0.36 / (0.36 + 0.8), abs=1e-3)


def test_units_without_votes_or_gold_do_not_count():
    voted = np.array([[0.5, 0.5], [0.0, 0.0], [0.9, 0.1]])
    gold = np.array([0, 1, -1])
    assert calibrate(voted, gold, ("a", "b")).units == 1
    assert calibrate(voted, np.array([-1, 1, -1]), ("a", "b")) is None
    assert measure_loss(voted, gold) == pytest.approx(np.log(2))


def make_answers(count: int) -> tuple[list[AnsweredText], list[Example]]:
    """Texts whose names only one of three annotators knows, each another third of them."""
    texts, gold = [], []
    for number in range(count):
        answers = {name: () for name in "abc"}
        answers["abc"[number % 3]] = (Span(5, 8, "P"),)
        texts.append(AnsweredText((f"n{number:03} Bob ran",), "en", f"f:{number}", answers))
        gold.append(Example((f"n{number:03}", "Bob", "ran"), ("O", "B-P", "O"), "en"))
    return texts, gold


def test_what_one_of_three_marks_is_an_entity_once_shares_are_calibrated():
    texts, gold = make_answers(60)
    fits = calibrate_votes(texts, gold[:55], TASK)
    assert (fits["share"].units, set(fits)) == (165, {"share", "learned"})
    _, combined = compare_with_gold(texts, gold, TASK, {"share": fits["share"]})
    assert list(combined) == ["majority", "share", "learned", "share, calibrated"]
    assert (combined["share"].whole.f1, combined["share, calibrated"].whole.f1) == (0, 1)
    how, scores = choose_votes(texts, gold, TASK, {"share": fits["share"]})
    assert scores["share"] == 1
    assert scores["majority"] == 0
    assert how == ("learned" if scores["learned"] == 1 else "share")
    assert calibrate_votes(texts, [], TASK) == {}


def test_classes_have_temperatures_too():
    texts = [AnsweredText((f"{n}",), "en", "f", {"a": {"no": 0.6, "yes": 0.4}}) for n in range(60)]
    gold = [Example((f"{n}",), ("yes" if n % 3 else "no",), "en") for n in range(60)]
    found = calibrate_votes(texts, gold, Task("classification", ("no", "yes")), ("share",))["share"]
    row = found.apply(np.array([[0.6, 0.4]]))[0]
    assert row == pytest.approx([1 / 3, 2 / 3], abs=0.02)  # how often each of them is right
