"""Weights of the classes in the loss on labels, for tasks whose classes are of unequal size."""

import difflib
from collections.abc import Sequence

import numpy as np

from xdistil.config import BALANCED, read_class_weights
from xdistil.data.subwords import Subwords
from xdistil.errors import InputError


def weigh_classes(
    text: str, field: str, labels: Sequence[str], subwords: Subwords
) -> tuple[float, ...]:
    """A weight for each class, with a mean of 1 over the labelled words or texts.

    `balanced` gives a class with n of N labels the weight N / (classes n), where only classes that
    occur are counted, as in scikit-learn. A class that does not occur has the weight 1.

    Args:
        text: `balanced`, or `CLASS=WEIGHT` pairs separated by commas; classes that are not named
            have the weight 1. Empty: no weights.
        field: where the text stands in the config, for errors.
        labels: the classes of the task, in order.
        subwords: of the texts that the loss is computed on.

    Returns:
        One weight for each class; empty if the text is.

    Raises:
        InputError: a class that the task does not have.
    """
    if not text:
        return ()
    counts = np.bincount(subwords.labels[subwords.label_mask], minlength=len(labels))
    if text == BALANCED:
        occurs = counts > 0
        weights = np.where(occurs, counts.sum() / (occurs.sum() * np.maximum(counts, 1)), 1.0)
        return tuple(weights.tolist())
    weights = np.ones(len(labels))
    for name, weight in read_class_weights(text, field).items():
        if name not in labels:
            near = difflib.get_close_matches(name, labels, 3) or labels
            raise InputError(
                f"{field} names {name!r}, which is no class of the task: write one of "
                f"{', '.join(near)}."
            )
        weights[list(labels).index(name)] = weight
    return tuple((weights * counts.sum() / (weights @ counts)).tolist())
