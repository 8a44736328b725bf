"""Files of predictions beside a file of gold labels, counted text by text."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xdistil.data.examples import Example, Task, read_file
from xdistil.data.layouts import guess_kind
from xdistil.data.lines import read_lines
from xdistil.errors import InputError
from xdistil.evaluation.metrics import count_matches


class Gold(NamedTuple):
    """A file of gold labels."""

    path: Path
    task: Task
    examples: Sequence[Example]


def read_gold(path: Path) -> Gold:
    """A file in any format of a task file, of which nothing else is known.

    Raises:
        InputError: it cannot be read as such.
    """
    examples = read_file(path)
    return Gold(path, Task.of(guess_kind(path, read_lines(path)), ()), examples)


def count_file(path: Path, gold: Gold) -> np.ndarray:
    """The counts i64[N,3] of a file of predictions, as `metrics.count_matches` returns them.

    Raises:
        InputError: it has not the texts of the gold file, or no labels of this kind.
    """
    return count_matches(gold.task, gold.examples, _read_predictions(path, gold))


def _read_predictions(path: Path, gold: Gold) -> list[tuple[str, ...]]:
    predicted = read_file(path, repair=True, width=len(gold.examples[0].inputs))
    if len(predicted) != len(gold.examples):
        raise InputError(
            f"{path} has {len(predicted):,} texts and {gold.path} {len(gold.examples):,}: both "
            "must have the same texts."
        )
    labels = []
    for number, (guess, example) in enumerate(zip(predicted, gold.examples, strict=True), 1):
        if guess.inputs != example.inputs:
            raise InputError(
                f"Text {number} of {path} is not that of {gold.path}: both must have the same "
                "texts in the same order."
            )
        labels_differ = len(guess.labels or ()) != len(example.labels or ())
        if guess.labels is None or (labels_differ and not gold.task.multilabel):
            raise InputError(f"Text {number} of {path} has other labels than {gold.path}.")
        labels.append(guess.labels)
    return labels
