"""The words of prompts: what they say of types and examples."""

import pytest

from xdistil.annotators.prompting.prompts import join_typed, write_example, write_instructions
from xdistil.annotators.prompting.types import Type, Types
from xdistil.data.examples import Example

TYPES = Types("tagging", (Type("PER", "people", ()), Type("LOC", "", ())))
PERSON = Example(
    ("“", "Bo", "”", "(", "Rome", ")", "."), ("O", "B-PER", "O", "O", "B-LOC", "O", "O"), "en"
)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("“ Hi , ( Bo ) ! ” said O ' Brien .", "“Hi, (Bo)!” said O ' Brien."),
        ("東 京 に 行 く 。", "東京に行く。"),
        ("東 京 2 Tage", "東京 2 Tage"),
        ("Anna", "Anna"),
    ],
)
def test_words_are_joined_as_they_are_typed(words, text):
    joined, places = join_typed(words.split())
    assert joined == text
    assert [joined[start:end] for start, end in places] == words.split()


def test_examples_in_both_styles():
    json_, marked = (write_example(PERSON, TYPES, style) for style in ("json", "marked"))
    assert json_ == (
        "Text:\n“Bo” (Rome).\n\nAnswer:\n"
        '{"entities": [{"text": "Bo", "label": "PER"}, {"text": "Rome", "label": "LOC"}]}'
    )
    assert marked.endswith("Answer:\n“<PER>Bo</PER>” (<LOC>Rome</LOC>).")


def test_instructions():
    told = write_instructions(TYPES, "Names in novels.", "json", ["one", "two"])
    assert told.startswith(
        "Names in novels.\n\nThese are the types:\n- PER: people\n- LOC\n\nAnswer with"
    )
    assert told.endswith("\n\nExamples:\n\none\n\ntwo")
    assert "<PER>...</PER>" in write_instructions(TYPES, "", "marked", [])
