"""Long sentences -> windows of whole words, and in which of them each word has its label."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from xdistil.data.examples import Example
from xdistil.data.segmentation import find_sentence_ends


class Windows(NamedTuple):
    """W segments of sentences, in the order of the sentences; words count over all of them."""

    first: np.ndarray  # i64[W] the first word of each
    end: np.ndarray  # i64[W] the word after its last
    labelled: np.ndarray  # i64[W] the first word that has its label here; the next window's ends it
    example: np.ndarray  # i32[W] the sentence


def cut_windows(
    examples: Sequence[Example],
    first_word: np.ndarray,
    subword_start: np.ndarray,
    room: int,
    overlap: int,
) -> Windows:
    """The windows of sentences, of at most `room` subwords each.

    Args:
        first_word: i64[examples+1] where the words of each sentence begin.
        subword_start: i64[words+1] where the subwords of each word begin; a word has at most
            `room`.
        overlap: as in `Cutting`.
    """
    # Where windows overlap, a text of several sentences that is too long is cut between them first:
    # models read single sentences best.
    total = subword_start[first_word[1:]] - subword_start[first_word[:-1]]
    bounds = np.stack([first_word[:-1], first_word[1:], first_word[:-1]], axis=1)
    parts, owners = [bounds[total <= room]], [np.flatnonzero(total <= room).astype(np.int32)]
    for example in np.flatnonzero(total > room).tolist():
        first = first_word[example]
        stops = find_sentence_ends(examples[example].inputs) if overlap else []
        borders = [first, *(first + stop for stop in stops), first_word[example + 1]]
        windows = []
        for at, last in pairwise(borders):
            windows += _cut_sentence(at, last, subword_start, room, overlap)
        parts.append(np.array(windows, np.int64))
        owners.append(np.full(len(windows), example, np.int32))
    merged, owner = np.concatenate(parts), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    first, end, labelled = merged[order].T
    return Windows(first, end, labelled, owner[order])


def _cut_sentence(
    at: int, last: int, subword_start: np.ndarray, room: int, overlap: int
) -> list[tuple[int, int, int]]:
    # (first, end, labelled) of the windows of the words at:last. A window takes as many whole words
    # as fit. The next one begins at most `overlap` subwords before its end, and the words that both
    # have are labelled where they are further from an edge.
    labelled = at
    windows = []
    while True:
        reach = np.searchsorted(subword_start, subword_start[at] + room, side="right") - 1
        end = min(reach, last)
        windows.append((at, end, labelled))
        if end == last:
            return windows
        # The next word fits in too.
        reach = max(subword_start[end] - overlap, subword_start[end + 1] - room)
        at = max(np.searchsorted(subword_start[: end + 1], reach), at + 1) if overlap else end
        middle = (subword_start[at] + subword_start[end] - 1) // 2
        labelled = at + np.searchsorted(subword_start[at:end], middle, side="right")
