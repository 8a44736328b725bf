"""Texts that are made: of which tasks, for which teachers, and how many."""

import pytest

from tests.validation.experiments import make, put
from xdistil.config import MADE, MADE_OF_TAGGED
from xdistil.errors import InputError
from xdistil.validation.experiment import validate


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.task": "single"}, "but data.task is single"),
        (
            {"teacher.signals": "folder", "student.tokenizer": "folder"},
            "but teacher.signals does not answer texts that are made",
        ),
        (
            {"teacher.labels": "file", "student.tokenizer": "folder"},
            "but teacher.labels does not answer texts that are made",
        ),
        (
            {"student.kind": "checkpoint", "student.checkpoint": "folder"},
            "but there is no teacher to answer them",
        ),
    ],
)
def test_made_texts_fit_the_task_and_are_answered_by_a_model(changes, words):
    experiment = make()
    for path, value in changes.items():
        put(path, value)(experiment)
    validate(experiment)
    for name in MADE_OF_TAGGED if "data.task" in changes else MADE:
        put(f"data.{name}", 5)(experiment)
        with pytest.raises(InputError) as caught:
            validate(experiment)
        assert str(caught.value).startswith(f"data.{name} is 5, {words}")
        put(f"data.{name}", 0)(experiment)


def test_made_texts_fit_into_memory():
    experiment = make()
    put("data.spliced", 10_000_000)(experiment)
    validate(experiment)
    put("data.spliced", 10_000_001)(experiment)
    with pytest.raises(
        InputError, match=r"^data\.spliced is 10000001: it must be at most 10000000"
    ):
        validate(experiment)


def test_words_may_be_replaced_in_texts_that_are_classified():
    experiment = make()
    put("data.task", "single")(experiment)
    put("data.replaced", 5)(experiment)
    validate(experiment)
