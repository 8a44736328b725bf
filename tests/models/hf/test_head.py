"""Which heads can be used, for which tasks."""

from pathlib import Path
from typing import Any

import pytest

from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.models.hf.head import check_head, describe_tags, read_head

TAGGING = Task("tagging", ("O", "B-PER", "E-PER"))
CLASSES = Task("classification", ("good", "bad"))


def read(*names: str, kind: str = "Token") -> tuple[str, ...]:
    id2label = {str(index): name for index, name in reversed(list(enumerate(names)))}
    raw = {"architectures": [f"BertFor{kind}Classification"], "id2label": id2label}
    task = read_head(raw, Path("config.json"))
    assert task is not None
    changed = [(old, new) for old, new in zip(names, task.labels, strict=True) if old != new]
    told = describe_tags(raw, task)
    assert bool(told) == bool(changed)
    assert all(f"{old} as {new}" in told for old, new in changed)
    return task.labels


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        ("O B-X I-X L-X U-X", "O B-X I-X E-X S-X"),
        ("U-X O B-Y L-Y", "S-X O B-Y E-Y"),
        ("B-X M-X E-X S-X O", "B-X I-X E-X S-X O"),
        ("O B-X M-X E-X W-X", "O B-X I-X E-X S-X"),
        ("O PER LOC", "O I-PER I-LOC"),
        ("O B I", "O B-ENTITY I-ENTITY"),
        ("o b-x i-x", "O B-x I-x"),
        ("B_X I_X O", "B-X I-X O"),
        # Read as they are written.
        ("O B-X I-X", "O B-X I-X"),
        ("I-X O", "I-X O"),
        ("S-X E-X O", "S-X E-X O"),
        # Tags of no scheme, which are refused where a head for tags is needed.
        ("NOUN VERB", "NOUN VERB"),
        ("LABEL_0 LABEL_1", "LABEL_0 LABEL_1"),
        ("O . , ?", "O . , ?"),
        ("O X-B X-I", "O X-B X-I"),
        ("O B-X Y", "O B-X Y"),
        ("O B-X C-X", "O B-X C-X"),
    ],
)
def test_the_tags_of_a_head_are_read_in_their_scheme(names: str, tags: str) -> None:
    assert read(*names.split()) == tuple(tags.split())
    assert read(*names.split(), kind="Sequence") == tuple(names.split())


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
            "it tags words with classes such as 'NOUN', which are tags of entities in no scheme "
            "(IOB, BIOES, BILOU, BMES, or bare types beside O): name another model, or correct "
            "id2label in its config.json.",
        ),
        (
            TAGGING,
            {"kind": "tagging", "labels": ("O", "B-PER", "I-PER")},
            "it has the tags 'B-PER', 'E-PER', 'O', which are of another scheme than the IOB2 tags "
            "of the task, so the student's tags have no logits of theirs: do this.",
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
