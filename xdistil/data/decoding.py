"""Logits of words -> classes: the most probable ones, or the most probable legal IOB2 tags.

The most probable tag of each word alone may continue an entity that never began. Where a model
learned IOB2 tags, the most probable of all legal sequences of tags is predicted instead, which
Viterbi's algorithm finds (A. Viterbi, Error bounds for convolutional codes, 1967). Words are
independent given the text: a sequence is as probable as the product of its tags.
"""

from collections.abc import Sequence

import numpy as np

ARGMAX = "argmax"  # the most probable class of each word
VITERBI = "viterbi"  # the most probable legal tags of each sentence
DECODINGS = (ARGMAX, VITERBI)

_TOGETHER = 512  # sequences that are decoded at once, to limit memory


def is_iob2(labels: Sequence[str]) -> bool:
    """Whether tags can be IOB2: each begins or continues an entity, or is O, and each entity that a
    tag continues can begin."""
    known = set(labels)
    return all(
        label == "O" or label[0] == "B" or (label[0] == "I" and "B" + label[1:] in known)
        for label in labels
    )


def find_legal(labels: Sequence[str]) -> tuple[tuple[bool, ...], ...]:
    """C + 1 rows of C: whether a tag of IOB2 may follow another; the last row is the start."""
    before = [*labels, "O"]
    return tuple(
        tuple(after[0] != "I" or old[1:] == after[1:] for after in labels) for old in before
    )


def decode_tags(logits: np.ndarray, begins: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The most probable legal IOB2 tags i64[N] of sequences of words.

    Args:
        logits: f[N,C] of the words of all sequences, one sequence after the other.
        begins: bool[N] where a word is the first of its sequence.
        labels: the C tags, for which `is_iob2` is true.
    """
    tags = logits.argmax(axis=-1)
    legal = np.array(find_legal(labels))
    before = np.where(begins, len(labels), np.roll(tags, 1))
    broken = ~legal[before, tags]
    first = np.flatnonzero(begins)
    length = np.diff(first, append=len(tags))
    chosen = np.unique(np.cumsum(begins)[broken] - 1)
    chosen = chosen[np.argsort(-length[chosen], kind="stable")]
    for at in range(0, len(chosen), _TOGETHER):
        part = chosen[at : at + _TOGETHER]
        _decode_part(logits, first[part], length[part], legal, tags)
    return tags


def _decode_part(
    logits: np.ndarray, first: np.ndarray, length: np.ndarray, legal: np.ndarray, tags: np.ndarray
) -> None:
    """Writes the tags of sequences, the longest first, into `tags`."""
    allowed = np.where(legal, 0.0, -np.inf)
    total = allowed[-1] + logits[first]  # [S,C] of the best sequence that ends in each tag
    best = np.zeros((length[0], *total.shape), np.min_scalar_type(total.shape[1]))
    for step in range(1, length[0]):
        active = np.count_nonzero(length > step)
        candidates = total[:active, :, None] + allowed[:-1]
        best[step, :active] = candidates.argmax(axis=1)
        total[:active] = candidates.max(axis=1) + logits[first[:active] + step]
    last = total.argmax(axis=-1)
    for step in reversed(range(length[0])):
        active = np.count_nonzero(length > step)
        tags[first[:active] + step] = last[:active]
        last[:active] = best[step, np.arange(active), last[:active]]
