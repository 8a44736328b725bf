"""Logits of words -> classes: the most probable ones, or the most probable legal IOB2 tags.

The most probable tag of each word alone may continue an entity that never began. Where a model
learned IOB2 tags, the most probable of all legal sequences of tags is predicted instead, which
Viterbi's algorithm finds (A. Viterbi, Error bounds for convolutional codes, 1967). Words are
independent given the text: a sequence is as probable as the product of its tags.
"""

from collections.abc import Iterator, Sequence

import numpy as np

ARGMAX = "argmax"  # the most probable class of each word
VITERBI = "viterbi"  # the most probable legal tags of each sentence
DECODINGS = (ARGMAX, VITERBI)

_TOGETHER = 512  # sequences that are decoded at once, to limit memory
_LEAST = 1e-300  # a sum that divides


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
    broken = np.unique(np.cumsum(begins)[~legal[before, tags]] - 1)
    for first, length in _iterate_parts(begins, broken):
        _decode_part(logits, first, length, legal, tags)
    return tags


def weigh_tags(logits: np.ndarray, begins: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """f32[N,C] the probability of each tag of each word: the share of the legal sequences with it.

    It is the marginal of a sequence of tags, by the forward and backward sums of Rabiner (1989).
    Logits of a word may differ by some hundreds. The arguments are those of `decode_tags`.
    """
    legal = np.array(find_legal(labels)).astype(np.float64)
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities = np.zeros(logits.shape, np.float32)
    for first, length in _iterate_parts(begins, np.arange(np.count_nonzero(begins))):
        _weigh_part(shares, first, length, legal, probabilities)
    return probabilities


def _iterate_parts(
    begins: np.ndarray, chosen: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(first word, number of words) of the chosen sequences, some at a time, the longest first."""
    first = np.flatnonzero(begins)
    length = np.diff(first, append=len(begins))
    chosen = chosen[np.argsort(-length[chosen], kind="stable")]
    for at in range(0, len(chosen), _TOGETHER):
        part = chosen[at : at + _TOGETHER]
        yield first[part], length[part]


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


def _weigh_part(
    shares: np.ndarray,
    first: np.ndarray,
    length: np.ndarray,
    legal: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    """Writes the probabilities of the tags of sequences, the longest first."""
    steps = range(length[0])
    active = [np.count_nonzero(length > step) for step in steps]
    forward: list[np.ndarray] = []  # [S,C] for each step: sums over the tags before a word
    sums = legal[-1] * shares[first]
    for step in steps:
        if step:
            sums = (forward[-1][: active[step]] @ legal[:-1]) * shares[first[: active[step]] + step]
        forward.append(_normalise(sums))
    behind = np.ones_like(forward[0])  # sums over the tags after a word
    for step in reversed(steps):
        here = first[: active[step]] + step
        probabilities[here] = _normalise(forward[step] * behind[: active[step]])
        behind[: active[step]] = _normalise((shares[here] * behind[: active[step]]) @ legal[:-1].T)


def _normalise(sums: np.ndarray) -> np.ndarray:
    return sums / (np.add.reduce(sums, axis=-1, keepdims=True) + _LEAST)
