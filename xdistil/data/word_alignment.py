"""Values that belong to words, found in the rows of any tokenizer.

Two tokenizers cut a text into different pieces and windows, but its words are the same. A value
belongs to a word of a sentence (tagging) or to a whole example (classification), and stands in the
rows where labels stand: on the first piece of the word, or of the segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.tag_schemes import make_legal

if TYPE_CHECKING:  # a program that writes signals should not wait for tokenizers
    from xdistil.data.subwords import Pieces


@dataclass(frozen=True)
class Words:
    """The words of examples one after another, and which of them each piece carries."""

    number: np.ndarray  # i32[P] of the word whose label stands at the piece; -1: none does
    count: int  # of all words, those without a piece too

    @property
    def spoken(self) -> np.ndarray:
        """bool[count] whether a word has a piece."""
        found = np.zeros(self.count, bool)
        found[self.number[self.number >= 0]] = True
        return found


def count_words(examples: Sequence[Example], task: Task) -> np.ndarray:
    """i64[E] values that belong to each example: one a word (tagging), or one (classification)."""
    is_tagging = task.kind == "tagging"
    return np.array([len(e.inputs) if is_tagging else 1 for e in examples], np.int64)


def find_words(pieces: "Pieces", examples: Sequence[Example], task: Task) -> Words:
    """Which word each of the examples' pieces carries."""
    sizes = count_words(examples, task)
    first = np.cumsum(sizes) - sizes
    owner = np.repeat(pieces.example, np.diff(pieces.start))
    number = np.where(pieces.label_mask, first[owner] + pieces.word, -1)
    return Words(number.astype(np.int32), int(sizes.sum()))


def name_classes(
    classes: np.ndarray, examples: Sequence[Example], task: Task
) -> list[tuple[str, ...]]:
    """A class for every word (of classification: example), -1: none -> labels of each example.

    Tagging: one legal IOB2 tag a word, O for a word without a class. Classification: one name.
    """
    names = np.array([*task.labels, "O"], object)[classes]  # -1 is the last
    sizes = count_words(examples, task)
    first = np.cumsum(sizes) - sizes
    labels = [
        tuple(names[at : at + size])
        for at, size in zip(first.tolist(), sizes.tolist(), strict=True)
    ]
    return [make_legal(tags) for tags in labels] if task.kind == "tagging" else labels


def label_pieces(
    pieces: "Pieces", classes: np.ndarray, examples: Sequence[Example], task: Task
) -> list[tuple[str, ...]]:
    """Classes i64[P], those that stand where labels do, -> labels of each example, as
    `name_classes` has them."""
    words = find_words(pieces, examples, task)
    by_word = np.full(words.count, -1)
    by_word[words.number[pieces.label_mask]] = classes[pieces.label_mask]
    return name_classes(by_word, examples, task)
