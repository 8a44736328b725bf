"""Words and entities with character offsets, against values worked out by hand and seqeval."""

import numpy as np
import pytest
from seqeval.scheme import IOB2, Entities

from xdistil.data.segmentation import SPACES, UNITS
from xdistil.data.spans import (
    Entity,
    Word,
    find_entities,
    find_spans,
    join_words,
    split_words,
)
from xdistil.data.tag_schemes import make_legal


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Anna", [(0, 4)]),
        (" \u00a0Anna\u3000 Lee\r\n", [(2, 6), (8, 11)]),
        ("Ame\u0301lie x", [(0, 7), (8, 9)]),  # a mark is a character of its own
        ("\u05e9\u05dc\u05d5\u05dd \u05d1", [(0, 4), (5, 6)]),  # logical order, right to left
        ("\U0001f1e9\U0001f1ea \U0001f600x", [(0, 2), (3, 5)]),  # code points, not UTF-16 units
        ("a\u200bb c\u2028d\x1ce", [(0, 3), (4, 5), (6, 7), (8, 9)]),  # no space is no border
        ("\ufeffa\x85b", [(0, 2), (3, 4)]),
        (" \n", []),
    ],
)
def test_offsets_of_words(text, spans):
    words, found = split_words(text, SPACES)
    assert found == spans
    assert list(words) == text.split() == [text[start:end] for start, end in spans]


def test_entities_have_offsets_and_the_mean_score_of_their_words():
    text = "x New  York Anna\tBob"
    tags = {"x": "O", "New": "B-LOC", "York": "I-LOC", "Anna": "B-PER", "Bob": "B-PER"}
    words, spans = split_words(text, SPACES)
    scores = (0.9, 0.5, 0.7, 0.4, 0.3)
    tagged = [
        Word(word, *span, tags[word], score)
        for word, span, score in zip(words, spans, scores, strict=True)
    ]
    found = find_entities(text, tagged, SPACES)
    assert found == (
        Entity("LOC", "New  York", 2, 11, pytest.approx(0.6), 1, 2),
        Entity("PER", "Anna", 12, 16, 0.4, 3, 3),
        Entity("PER", "Bob", 17, 20, 0.3, 4, 4),
    )


def test_entities_of_units_have_no_dropped_characters_at_their_ends():
    words, spans = split_words("x \u200bAnna. \u200e Lee\u200f", UNITS)
    assert words == ("x", "Anna", ".", "Lee")
    assert spans == [(0, 1), (3, 7), (7, 8), (11, 14)]
    given = ("\u200eAnna", "\u200e", "Lee\u200f")  # words as they are handed over
    text, spans = join_words(given)
    parts = zip(given, spans, ("B-PER", "I-PER", "I-PER"), (0.5, 0.0, 0.7), strict=True)
    tagged = [Word(word, *span, tag, score) for word, span, tag, score in parts]
    entity = Entity("PER", "Anna \u200e Lee", 1, 11, pytest.approx(0.6), 0, 2)
    assert find_entities(text, tagged) == (entity,)


def test_joined_words_keep_their_offsets():
    assert join_words(("New", "York", "x")) == ("New York x", [(0, 3), (4, 8), (9, 10)])
    assert join_words(()) == ("", [])


def test_spans_of_tags():
    tags = ("B-LOC", "I-LOC", "B-LOC", "O", "B-PER", "I-PER", "I-PER")
    assert find_spans(tags) == [(0, 2, "LOC"), (2, 3, "LOC"), (4, 7, "PER")]
    assert find_spans(("O", "O")) == find_spans(()) == []


def test_spans_are_the_entities_of_strict_seqeval():
    generator = np.random.default_rng(3)
    choices = ["B-LOC", "I-LOC", "B-A-B", "I-A-B", "O", "O"]
    drawn = [tuple(generator.choice(choices, size).tolist()) for size in range(1, 60)]
    legal = [make_legal(tags) for tags in drawn]
    expected = [
        [(each.start, each.end, each.tag) for each in entities]
        for entities in Entities(legal, IOB2).entities
    ]
    assert [find_spans(tags) for tags in legal] == expected
    assert sum(end - first > 1 for spans in expected for first, end, _ in spans) > 50


def test_marks_that_join_words_make_one_word_of_text() -> None:
    text = "(Saint-Denis - ok)"
    units = ("(", "Saint", "-", "Denis", "-", "ok", ")")
    assert split_words(text, UNITS)[0] == units
    words, spans = split_words(text, UNITS, "-")
    assert words == ("(", "Saint-Denis", "-", "ok", ")")
    assert [text[start:end] for start, end in spans] == list(words)
