"""The task and the classes of a model folder's head, from its config.json."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdistil.data.examples import Task
from xdistil.data.tag_notation import find_notation
from xdistil.data.tag_schemes import is_tag, predictable_tags
from xdistil.errors import InputError, show

HEADS = {"tagging": "ForTokenClassification", "classification": "ForSequenceClassification"}
MULTILABEL = "multi_label_classification"
_PROBLEMS = ("single_label_classification", MULTILABEL)  # values of problem_type
_NO_LABEL = re.compile(r"[\t\n\r\ud800-\udfff]")
_SHOWN = 6  # labels that a message lists


def read_head(raw: dict[str, Any], where: Path) -> Task | None:
    """The task of the head that a config.json names; None: it names none.

    Tags of BILOU and other schemes have the names that `tag_schemes` knows, each its own: U-PER is
    S-PER, and in a head of bare types PER is I-PER.
    """
    architectures = raw.get("architectures") or [""]
    if not isinstance(architectures, list) or not isinstance(architectures[0], str):
        raise InputError(
            f"{where}: architectures is {show(architectures)}; it must be a list of names."
        )
    for kind, suffix in HEADS.items():
        if architectures[0].endswith(suffix):
            # Heads that tag words have no type of problem.
            several = kind == "classification" and raw.get("problem_type") == MULTILABEL
            labels = _read_labels(raw.get("id2label"), where)
            return Task(kind, _rename_tags(labels) if kind == "tagging" else labels, several)
    return None


def describe_tags(raw: dict[str, Any], task: Task) -> str:
    """How the names of a head's tags are read, where not as they are written; else "".

    Args:
        raw: the content of config.json.
        task: of the head, as `read_head` reads it.
    """
    named = raw.get("id2label")
    if task.kind != "tagging" or not named:
        return ""
    written = [named[str(index)] for index in range(len(named))]
    pairs = sorted((old, new) for old, new in zip(written, task.labels, strict=True) if old != new)
    if not pairs:
        return ""
    shown = ", ".join(f"{old} as {new}" for old, new in pairs[:_SHOWN])
    return f"The tags of the head are read as tags of IOB and BIOES: {shown}."


def _rename_tags(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The classes in the scheme that their tags are in; as they are where that is none."""
    if all(map(is_tag, labels)):
        return labels
    try:
        notation = find_notation(labels, (), "auto", "id2label")
    except InputError:
        return labels
    renamed = tuple(map(notation.read, labels))
    of_letters = all(any(map(str.isalpha, name[2:])) for name in renamed if name != "O")
    is_scheme = of_letters and all(map(is_tag, renamed)) and len(set(renamed)) == len(labels)
    return renamed if is_scheme else labels


def check_problem(raw: dict[str, Any], task: Task, where: str) -> None:
    """Checks that a head predicts classes.

    Args:
        raw: the content of config.json.
        task: of the head, as `read_head` reads it.
        where: the beginning of an error.

    Raises:
        InputError: the head computes numbers and no classes.
    """
    if task.kind != "classification":
        return
    problem = raw.get("problem_type")
    if problem not in (None, *_PROBLEMS):
        raise InputError(
            f"{where}: problem_type is {show(problem)}; it must be {' or '.join(_PROBLEMS)}, whose "
            "heads predict classes."
        )
    if len(task.labels) == 1 and not task.multilabel:
        raise InputError(
            f"{where} has a head with one output, {show(task.labels[0])}, which is a number "
            "(regression) and no class: name a model with a head for two classes or more."
        )


def _read_labels(labels: Any, where: Path) -> tuple[str, ...]:
    """The classes of a head, in order, from its id2label."""
    if labels is None:  # HF does not write its default, two classes
        return ("LABEL_0", "LABEL_1")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{where}: id2label is {show(labels)}; it must name classes by number.")
    numbers = [str(index) for index in range(len(labels))]
    if set(labels) != set(numbers):
        raise InputError(f"{where}: id2label must name the classes 0 to {len(labels) - 1}.")
    names = [labels[number] for number in numbers]
    for number, name in zip(numbers, names, strict=True):
        # A line of output is a text, a tab and a class.
        if not isinstance(name, str) or not name or _NO_LABEL.search(name):
            raise InputError(
                f"{where}: id2label names class {number} {show(name)}; it must be a text without "
                "tabs and line ends, not empty."
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{where}: id2label names {show(twice[0])} twice; names must differ.")
    return tuple(names)


def check_head(
    own: Task | None,
    name: str,
    remedy: str = "name a fine-tuned model, such as the student or the teacher folder of a run",
    kind: str = "",
    labels: Sequence[str] = (),
    min_classes: int = 1,
) -> Task:
    """The task of a model's head, which is one that can be used.

    Args:
        own: the task, as `read_head` reads it; None: the model has no head.
        name: the model, the beginning of an error.
        remedy: what would be right, the end of an error.
        kind: the name of the task that the head must be for; "": any.
        labels: what its classes must be, in any order; empty: any.
        min_classes: the smallest number of classes, where a text has one of them.

    Raises:
        InputError: there is no head, or it is not as the arguments ask, or tags words with classes
            that are no tags of entities.
    """
    if own is None:
        raise InputError(f"{name} has no head for tagging or classification: {remedy}.")
    if kind and own.name != kind:
        raise InputError(f"{name} has a head for {own.name}, and the task is {kind}: {remedy}.")
    differences = []
    if labels and (missing := [label for label in labels if label not in own.labels]):
        differences.append(f"lacks {list_labels(missing)}")
    if labels and (unknown := [label for label in own.labels if label not in labels]):
        differences.append(f"also has {list_labels(unknown)}")
    if differences and kind == "tagging" and _alike(own.labels, labels):
        raise InputError(
            f"{name} has the tags {list_labels(sorted(own.labels))}, which are of another scheme "
            "than the IOB2 tags of the task, so the student's tags have no logits of theirs: "
            f"{remedy}."
        )
    if differences:
        raise InputError(
            f"{name} does not predict the task's labels (id2label of its config.json "
            f"{' and '.join(differences)}): {remedy}."
        )
    if own.kind == "tagging" and not all(map(is_tag, own.labels)):
        odd = next(label for label in own.labels if not is_tag(label))
        raise InputError(
            f"{name} tags words with classes such as {show(odd)}, which are tags of entities in no "
            "scheme (IOB, BIOES, BILOU, BMES, or bare types beside O): name another model, or "
            "correct id2label in its config.json."
        )
    if len(own.labels) < min_classes and not own.multilabel:
        raise InputError(
            f"{name} has {len(own.labels)} class, {list_labels(list(own.labels))}, and needs "
            f"{min_classes}: {remedy}."
        )
    return own


def _alike(own: Sequence[str], labels: Sequence[str]) -> bool:
    # Whether two heads tag the same types of entities.
    return set(predictable_tags(own)) == set(predictable_tags(labels))


def list_labels(labels: list[str]) -> str:
    """The first labels, for a message, and how many more there are."""
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ", ".join(map(show, labels[:_SHOWN])) + more
