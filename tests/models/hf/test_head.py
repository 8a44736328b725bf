"""Which heads can be used, for which tasks."""

from typing import Any

import pytest

from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.models.hf.head import check_head

TAGGING = Task("tagging", ("O", "B-PER", "E-PER"))
CLASSES = Task("classification", ("good", "bad"))


@pytest.mark.parametrize("own", [TAGGING, CLASSES], ids=lambda task: task.kind)
def test_a_head_that_is_asked_for_passes_with_labels_in_any_order(own: Task) -> None:
    assert check_head(own, "it") is own
    assert check_head(own, "it", "x", own.kind, own.labels[::-1], len(own.labels)) is own


@pytest.mark.parametrize(
    ("own", "asked", "sentence"),
    [
        (None, {}, "it has no head for tagging or classification: do this."),
        (
            CLASSES,
            {"kind": "tagging"},
            "it has a head for classification, and the task is tagging: do this.",
        ),
        (
            CLASSES,
            {"labels": ("good", "ugly")},
            "it does not predict the task's labels (id2label of its config.json lacks 'ugly' and "
            "also has 'bad'): do this.",
        ),
        (
            CLASSES,
            {"labels": ("good",)},
            "it does not predict the task's labels (id2label of its config.json also has 'bad'): "
            "do this.",
        ),
        (
            Task("tagging", ("O", "NOUN")),
            {},
            "it tags words with classes such as 'NOUN': only O and B-, I-, E- or S- with a type "
            "are tags of entities.",
        ),
        (
            Task("classification", ("good",)),
            {"min_classes": 2},
            "it has 1 class, 'good', and needs 2: do this.",
        ),
    ],
)
def test_any_other_is_refused_in_one_sentence(
    own: Task | None, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_head(own, "it", "do this", **asked)
    assert str(caught.value) == sentence
