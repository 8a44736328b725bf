"""Words and entities of a text, with character offsets.

Offsets count Unicode code points, as Python indexes them: `text[start:end]` is the word or entity.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdistil.data.segmentation import UNITS, find_units, join_units, trim_span

_WORD = re.compile(r"\S+")  # splits where `str.split` does


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its predicted tag."""

    text: str
    start: int
    end: int
    tag: str  # IOB2; the tags of a text are legal
    score: float  # probability of the class; 0 for a word without a subword, whose tag is O


@dataclass(frozen=True, slots=True)
class Entity:
    """Words that form an entity: a B- tag and the I- tags after it."""

    type: str
    text: str  # as written, with everything between its words
    start: int
    end: int
    score: float  # mean of the scores of its words
    first: int  # index of its first word
    last: int  # index of its last word


def split_words(
    text: str, segmentation: str, joined: str = ""
) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The words of a text, and (start, end) of each: its units, or what `str.split` finds.

    Args:
        joined: marks that join the units beside them, as in the words of the training data.
    """
    if segmentation == UNITS:
        spans = join_units(text, find_units(text), joined) if joined else find_units(text)
    else:
        spans = [each.span() for each in _WORD.finditer(text)]
    return tuple(text[start:end] for start, end in spans), spans


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words joined by single spaces, and (start, end) of each in that text."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def find_entities(
    text: str, words: Sequence[Word], segmentation: str = UNITS
) -> tuple[Entity, ...]:
    """The entities of a text, from the legal IOB2 tags of its words, in text order.

    An entity of units neither begins nor ends with a dropped character, and words without a subword
    do not count in its score.
    """
    entities = []
    for first, after, type_ in find_spans([word.tag for word in words]):
        inside = words[first:after]
        start, end = inside[0].start, inside[-1].end
        scores = [word.score for word in inside]
        if segmentation == UNITS:
            start, end = trim_span(text, start, end)
            scores = [score for score in scores if score] or scores
        score = float(np.mean(scores))
        entities.append(Entity(type_, text[start:end], start, end, score, first, after - 1))
    return tuple(entities)


def find_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, word after the last, type) of each entity in legal IOB2 tags, in order."""
    spans = []
    for first, tag in enumerate(tags):
        if tag.startswith("B-"):
            after = first + 1
            while after < len(tags) and tags[after] == "I-" + tag[2:]:
                after += 1
            spans.append((first, after, tag[2:]))
    return spans
