"""Words and entities of a text, and where in it they stand.

Places are counted in characters (Unicode code points, as Python indexes them): `text[start:end]` is
what stands there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WORD = re.compile(r"\S+")  # white space is what `str.split` takes for it


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its answer."""

    text: str
    start: int
    end: int
    tag: str  # of legal IOB2
    score: float  # probability of its class; 0 for a word without a subword, which is O


@dataclass(frozen=True, slots=True)
class Entity:
    """Words that a B- tag and its I- tags name together."""

    type: str
    text: str  # as it stands in the text, with whatever is between its words
    start: int
    end: int
    score: float  # mean of its words'
    first: int  # index of its first word
    last: int  # and of its last


def split_words(text: str) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The words that `str.split` finds in a text, and (start, end) of each."""
    found = list(_WORD.finditer(text))
    return tuple(each.group() for each in found), [each.span() for each in found]


def join_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Words with a space between every two, and (start, end) of each in this text."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def find_entities(text: str, words: Sequence[Word]) -> tuple[Entity, ...]:
    """The entities of a text, from the legal IOB2 tags of its words, in text order."""
    entities = []
    for first, after, type_ in find_spans([word.tag for word in words]):
        inside = words[first:after]
        start, end = inside[0].start, inside[-1].end
        score = float(np.mean([word.score for word in inside]))
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
