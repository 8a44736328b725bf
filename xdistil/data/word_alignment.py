"""Which subword carries the value of which word, for any tokenizer.

Two tokenizers split a text into different subwords and windows, but its words are the same. A value
belongs to a word of a sentence (tagging) or to a whole example (classification). It is placed on
the first subword of the word, or of the segment. Where a word has several units, the others have
labels in training, but the word's value is that of its first unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from xdistil.data.decoding import ARGMAX, VITERBI, decode_tags, is_iob2
from xdistil.data.examples import Example, Task
from xdistil.data.label_sets import pack_labels, unpack_labels
from xdistil.data.streamed import count_inputs
from xdistil.data.tag_schemes import make_legal

if TYPE_CHECKING:  # programs that write signals start faster without tokenizers
    from xdistil.data.subwords import Subwords


@dataclass(frozen=True)
class WordAlignment:
    """The words of all examples, numbered consecutively, and the word that each subword carries."""

    number: np.ndarray  # i32[P] the word whose label is on the subword; -1: none
    count: int  # all words, with those that have no subword

    @property
    def spoken(self) -> np.ndarray:
        """bool[count] whether a word has a subword."""
        found = np.zeros(self.count, bool)
        found[self.number[self.number >= 0]] = True
        return found


def count_words(examples: Sequence[Example], task: Task) -> np.ndarray:
    """i64[E] values of each example: one per word (tagging), or one (classification)."""
    is_tagging = task.kind == "tagging"
    return count_inputs(examples) if is_tagging else np.ones(len(examples), np.int64)


def choose_decoding(task: Task) -> str:
    """How a model that learned the labels of a task is decoded: tags by `viterbi` if they can be
    IOB2, everything else by `argmax`."""
    return VITERBI if task.kind == "tagging" and is_iob2(task.labels) else ARGMAX


def align_words(subwords: "Subwords", examples: Sequence[Example], task: Task) -> WordAlignment:
    """Which word each of the examples' subwords carries; a word's value is on one subword."""
    sizes = count_words(examples, task)
    first = np.cumsum(sizes) - sizes
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    number = np.where(subwords.word >= 0, first[owner] + subwords.word, -1)
    return WordAlignment(number.astype(np.int32), int(sizes.sum()))


def find_sequences(
    known: np.ndarray, examples: Sequence[Example], task: Task, joins: bool
) -> np.ndarray:
    """bool[K] which of the K known words begin a sequence of tags that are decoded together.

    The arguments are those of `label_words`.
    """
    owner = np.repeat(np.arange(len(examples)), count_words(examples, task))
    place = np.flatnonzero(known)
    begins = np.diff(owner[place], prepend=-1) > 0
    return begins if joins else begins | (np.diff(place, prepend=-2) > 1)


def label_words(
    logits: np.ndarray,
    known: np.ndarray,
    examples: Sequence[Example],
    task: Task,
    decoding: str,
    joins: bool = False,
) -> list[tuple[str, ...]]:
    """Logits of every word (classification: of every example) -> labels by example.

    Tagging: one legal IOB2 tag per word, O for a word without logits. Classification: the most
    probable name. A multi-label task: those that are more probable than not.

    Args:
        logits: f[N,C]; those of a word that is not known mean nothing.
        known: bool[N] whether a word has logits.
        decoding: of tags, `viterbi` or `argmax`.
        joins: an entity continues over words without logits, which then are inside it.
    """
    if task.multilabel:
        return name_classes(pack_labels((logits > 0) & known[:, None]), examples, task)
    classes = np.where(known, logits.argmax(axis=-1), -1)
    if task.kind == "tagging" and decoding == VITERBI and known.any():
        begins = find_sequences(known, examples, task, joins)
        classes[known] = decode_tags(logits[known], begins, task.labels)
    return name_classes(classes, examples, task, joins)


def name_classes(
    classes: np.ndarray, examples: Sequence[Example], task: Task, joins: bool = False
) -> list[tuple[str, ...]]:
    """The class of every word (classification: of every example), -1: none -> labels by example.

    Tagging: one legal IOB2 tag per word, O for a word without a class. Classification: one name.
    A multi-label task: any number of names, from packed labels u8[N,W].

    Args:
        joins: an entity continues over words without a class, which then are inside it.
    """
    if task.multilabel:
        known = np.array(task.labels, object)
        return [tuple(known[row]) for row in unpack_labels(classes, len(known))]
    names = np.array([*task.labels, "O"], object)[classes]  # -1 is the last
    sizes = count_words(examples, task)
    first = np.cumsum(sizes) - sizes
    labels = [
        tuple(names[at : at + size])
        for at, size in zip(first.tolist(), sizes.tolist(), strict=True)
    ]
    if task.kind != "tagging":
        return labels
    if joins and (classes < 0).any():
        present = np.split(classes >= 0, (first + sizes)[:-1])
        labels = [_join(tags, mask) for tags, mask in zip(labels, present, strict=True)]
    return [make_legal(tags) for tags in labels]


def _join(tags: tuple[str, ...], known: np.ndarray) -> tuple[str, ...]:
    # Words that are not known get the tag of the next word that is, where that continues an entity
    # of the known word before.
    joined = list(tags)
    places = np.flatnonzero(known).tolist()
    for before, after in pairwise(places):
        if tags[after][0] in "IE" and tags[before][1:] == tags[after][1:]:
            joined[before + 1 : after] = [tags[after]] * (after - before - 1)
    return tuple(joined)


def label_subwords(
    subwords: "Subwords",
    logits: np.ndarray,
    examples: Sequence[Example],
    task: Task,
    decoding: str,
    joins: bool = False,
) -> list[tuple[str, ...]]:
    """Logits f[W,C] of the subwords that carry a word -> labels by example, as `label_words`."""
    words = align_words(subwords, examples, task)
    number = words.number[words.number >= 0]
    by_word = np.zeros((words.count, logits.shape[1]), logits.dtype)
    by_word[number] = logits
    return label_words(by_word, words.spoken, examples, task, decoding, joins)
