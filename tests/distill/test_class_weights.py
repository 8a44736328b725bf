"""Weights of classes by hand, from counts, and in the loss."""

from dataclasses import replace

import numpy as np
import pytest

from tests.distill.small import make_bilstm, make_texts
from xdistil.config import Data, Experiment, Stage, Student, Teacher
from xdistil.data.examples import Task
from xdistil.data.label_sets import pack_labels
from xdistil.data.packing import SoftLabels
from xdistil.data.subwords import Subwords
from xdistil.distill import distances
from xdistil.distill.class_weights import weigh_classes
from xdistil.distill.stages import plan_stages
from xdistil.errors import InputError
from xdistil.teacher.interface import NoTeacher
from xdistil.validation.experiment import validate

CLASSES = Task("classification", ("neg", "neu", "pos"))


def make_labels(*counts: int) -> Subwords:
    """Subwords with so many labels of each class, and one place without a label."""
    labels = np.array([0, *(c for c, n in enumerate(counts) for _ in range(n))], np.int32)
    mask = np.arange(len(labels)) > 0
    empty = np.zeros(len(labels), np.int32)
    return Subwords(empty, empty, labels, mask, empty, empty, empty)


@pytest.mark.parametrize(
    ("text", "counts", "expected"),
    [
        ("balanced", (6, 3, 1), (10 / 18, 10 / 9, 10 / 3)),
        ("balanced", (6, 0, 2), (8 / 12, 1.0, 8 / 4)),
        # The mean of 2, 1 and 1 over the ten labels is 1.6.
        ("neg=2", (6, 3, 1), (2 / 1.6, 1 / 1.6, 1 / 1.6)),
        (" pos = 4, neu=0.5 ", (5, 4, 1), (1 / 1.1, 0.5 / 1.1, 4 / 1.1)),
    ],
)
def test_weights_have_a_mean_of_one(text, counts, expected):
    subwords = make_labels(*counts)
    weights = weigh_classes(text, "plan[0].class_weights", CLASSES, subwords)
    assert weights == pytest.approx(expected)
    assert np.dot(weights, counts) == pytest.approx(sum(counts))


def test_without_a_text_there_are_no_weights():
    assert weigh_classes("", "plan[0].class_weights", CLASSES, make_labels(1, 2, 3)) == ()


def test_a_class_that_the_task_lacks_is_refused():
    with pytest.raises(InputError, match=r"^plan\[0\].class_weights names 'neq', .*: write one of"):
        weigh_classes("neq=2", "plan[0].class_weights", CLASSES, make_labels(1, 1, 1))


def make_experiment(**fields: str) -> Experiment:
    return Experiment(
        data=Data(folder="here"),
        teacher=Teacher(model="there"),
        student=Student(embedding_size=8),
        plan=(Stage(name="x", **fields),),
    )


@pytest.mark.parametrize("text", ["neg", "neg=", "=2", "neg=0", "neg=-1", "neg=nan", "a=1,a=2"])
def test_what_is_no_pair_is_refused(text):
    experiment = make_experiment(loss="labels", data="train", class_weights=text)
    with pytest.raises(InputError, match=r"^plan\[0\].class_weights is .*neutral=0.5"):
        validate(experiment)


def test_weights_without_the_labels_loss_are_refused():
    experiment = make_experiment(loss="logits", class_weights="balanced")
    with pytest.raises(InputError, match=r"only the labels loss"):
        validate(experiment)


def test_the_loss_is_the_weighted_mean():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    labels, mask = np.array([[1, 2, 0]]), np.array([[True, True, False]])
    tally = distances.cross_entropy(logits, labels, mask, (9.0, 0.3, 0.2))
    assert tally.sum == pytest.approx(-0.3 * np.log(0.25) - 0.2 * np.log(0.8), rel=1e-5)
    assert tally.count == pytest.approx(0.5)
    assert tally.mean() == pytest.approx(tally.sum / 0.5)


def test_a_stage_has_the_weights_of_its_own_texts():
    texts, task = make_texts(), Task("tagging", ("a", "b", "c"))
    plan = (Stage(name="x", loss="labels", data="train", class_weights="balanced"),)
    (run,) = plan_stages(plan, "plan", make_bilstm(), NoTeacher(), texts, task=task)
    subwords = texts["train"].subwords
    counts = np.bincount(subwords.labels[subwords.label_mask], minlength=3)
    present = np.count_nonzero(counts)
    expected = counts.sum() / (present * counts[counts > 0])
    found = np.array(run.step.losses.class_weights)[counts > 0]
    assert found == pytest.approx(expected)
    assert run.step.losses.weights == (("labels", 1.0),)


def test_probabilities_of_labels_are_parts_of_counts():
    """Two subwords have labels: 1.5 of them a, 0.5 b, and c does not occur."""
    texts, task = make_texts(), Task("tagging", ("a", "b", "c"))
    place = np.full(len(texts["train"].subwords.tokens), -1)
    place[[3, 5]] = 0, 1
    values = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    soft = replace(texts["train"], soft_labels=SoftLabels(values, place))
    plan = (Stage(name="x", loss="labels", data="silver", class_weights="balanced"),)
    texts = {**texts, "silver": soft}
    (run,) = plan_stages(plan, "plan", make_bilstm(), NoTeacher(), texts, task=task)
    assert run.step.losses.class_weights == pytest.approx((2 / 3, 1.0, 1.0))


# Of six texts none, one, three and all have these labels.
SEVERAL = Task("classification", ("never", "once", "half", "always"), multilabel=True)


def make_sets() -> Subwords:
    sets = np.zeros((7, 4), bool)
    sets[1:, 3], sets[1:4, 2], sets[1, 1] = True, True, True
    empty = np.zeros(7, np.int32)
    return Subwords(empty, empty, pack_labels(sets), np.arange(7) > 0, empty, empty, empty)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("balanced", (1, 5, 1, 1)), (" half = 3, once=0.5", (1, 0.5, 3, 1))],
)
def test_weights_of_several_labels_are_those_of_their_texts(text, expected):
    assert weigh_classes(text, "plan[0].class_weights", SEVERAL, make_sets()) == expected


def test_the_stages_of_a_task_with_several_labels_know_it():
    texts = make_texts()
    sets = np.random.default_rng(0).random((len(texts["train"].subwords.tokens), 4)) > 0.5
    packed = replace(texts["train"].subwords, labels=pack_labels(sets))
    texts = {**texts, "train": replace(texts["train"], subwords=packed)}
    plan = (Stage(name="x", loss="labels", data="train", class_weights="once=7"),)
    (run,) = plan_stages(plan, "plan", make_bilstm(), NoTeacher(), texts, task=SEVERAL)
    assert run.step.losses.multilabel
    assert run.step.losses.class_weights == (1.0, 7.0, 1.0, 1.0)
