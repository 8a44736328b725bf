"""Word embeddings from the teacher's hidden states: what a subword means in texts.

The table of an encoder says what a subword is before its layers have read anything. The mean of its
states in context is closer to what the student learns to imitate.
"""

import numpy as np

from xdistil.data.packing import Array
from xdistil.models.subword_means import SubwordMeans


def complete_means(means: SubwordMeans, table: Array) -> np.ndarray:
    """A row for every subword: its mean state, or what its word embedding predicts of it; f32[V,D].

    A subword that does not occur has a word embedding and no state, and the two may differ in width
    and in direction. A linear map from one to the other is fitted on the subwords that occur, by
    ridge regression around the means of both. The penalty is the mean squared length of the word
    embeddings: it counts as much as one of them, and keeps the map small where few subwords occur.

    Args:
        means: of at least one subword.
        table: f[V,E] the teacher's word embeddings.
    """
    table = np.asarray(table, np.float32)
    rows = np.empty((len(table), means.values.shape[1]), np.float32)
    rows[means.subwords] = means.values
    missing = np.setdiff1d(np.arange(len(table)), means.subwords)
    if not len(missing):
        return rows
    known, states = table[means.subwords].astype(np.float64), means.values.astype(np.float64)
    centre, mean = known.mean(axis=0), states.mean(axis=0)
    known -= centre
    states -= mean
    penalty = np.square(known).sum() / len(known) or 1.0  # of equal rows, which predict nothing
    gram = known.T @ known + penalty * np.eye(known.shape[1])
    weights = np.linalg.solve(gram, known.T @ states)
    rows[missing] = (table[missing] - centre) @ weights + mean
    return rows
