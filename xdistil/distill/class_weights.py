"""Weights of the classes in the loss on labels, for tasks whose classes are of unequal size."""

import difflib

import numpy as np

from xdistil.config import BALANCED, read_class_weights
from xdistil.data.examples import Task
from xdistil.data.label_sets import unpack_labels
from xdistil.data.packing import SoftLabels
from xdistil.data.subwords import Subwords
from xdistil.errors import InputError


def weigh_classes(
    text: str, field: str, task: Task, subwords: Subwords, soft: SoftLabels | None = None
) -> tuple[float, ...]:
    """A weight for each class, with a mean of 1 over the labelled words or texts.

    `balanced` gives a class with n of N labels the weight N / (classes n), where only classes that
    occur are counted, as in scikit-learn. A class that does not occur has the weight 1.

    In a multi-label task the weight of a label counts where a text has it, and is left as it is:
    `balanced` gives a label that n of N texts have the weight (N - n) / n, which PyTorch suggests
    for its pos_weight. A label that all or no texts have has the weight 1.

    Args:
        text: `balanced`, or `CLASS=WEIGHT` pairs separated by commas; classes that are not named
            have the weight 1. Empty: no weights.
        field: where the text stands in the config, for errors.
        task: whose classes are weighed.
        subwords: of the texts that the loss is computed on.
        soft: the probabilities of their labels, where these are learnt instead.

    Returns:
        One weight for each class; empty if the text is.

    Raises:
        InputError: a class that the task does not have.
    """
    if not text:
        return ()
    labels, known = task.labels, subwords.labels[subwords.label_mask]
    if task.multilabel:
        counts = unpack_labels(known, len(labels)).sum(axis=0)
        balanced = (len(known) - counts) / np.maximum(counts, 1)
    else:
        counts = np.bincount(known, minlength=len(labels))
        if soft is not None:
            counts = soft.values[soft.place[soft.place >= 0]].sum(axis=0, dtype=np.float64)
        balanced = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if text == BALANCED:
        return tuple(np.where((counts > 0) & (balanced > 0), balanced, 1.0).tolist())
    weights = np.ones(len(labels))
    for name, weight in read_class_weights(text, field).items():
        if name not in labels:
            near = difflib.get_close_matches(name, labels, 3) or labels
            raise InputError(
                f"{field} names {name!r}, which is no class of the task: write one of "
                f"{', '.join(near)}."
            )
        weights[labels.index(name)] = weight
    if task.multilabel:
        return tuple(weights.tolist())
    return tuple((weights * counts.sum() / (weights @ counts)).tolist())
