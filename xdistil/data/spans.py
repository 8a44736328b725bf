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
    """The entities that the legal IOB2 tags of a text's words name, in their order."""
    entities: list[Entity] = []
    first = 0
    for index, word in enumerate(words):
        if word.tag.startswith("B-"):
            first = index
        following = words[index + 1].tag if index + 1 < len(words) else "O"
        if word.tag != "O" and not following.startswith("I-"):
            inside = words[first : index + 1]
            start, end = inside[0].start, word.end
            score = float(np.mean([each.score for each in inside]))
            entity = Entity(word.tag[2:], text[start:end], start, end, score, first, index)
            entities.append(entity)
    return tuple(entities)
