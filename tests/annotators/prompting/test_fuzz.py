"""Random answers: none ends in a traceback, and what can be found is found."""

import json
import random

import pytest

from tests.annotators.prompting.stand_in import DAMAGES, answer, mark, write_text
from xdistil.annotators.prompting.answer_values import Choice
from xdistil.annotators.prompting.occurrences import Quoted
from xdistil.annotators.prompting.replies import read_reply
from xdistil.annotators.prompting.types import Type, Types

TYPES = Types("tagging", (Type("PER", "", ("person",)), Type("LOC", "", ())))
CLASSES = Types("classification", (Type("good", "", ()), Type("bad", "", ())))
PARTS = (
    *('"', "'", "“", "\\", "\\u12", "\\ud800", "{", "}", "[", "]", "(", ")", ":", ",", "\n", "```"),
    *("<PER>", "</PER>", "<", ">", "[PER]", "[/PER]", "|PER]", "](LOC)", "<think>", "</think>"),
    *(
        "null",
        "NaN",
        "1e999",
        "9" * 50,
        "-",
        "//",
        "/*",
        "…",
        "&lt;",
        "\u200b",
        "\u0301",
        "ﬁ",
        "😀",
    ),
    *('"text"', '"label"', '"start"', "good", "bad", "Anna", "\x00", " "),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_an_answer_means_survives_its_damage(damage):
    generator = random.Random(damage)
    for _ in range(40):
        text = write_text(generator)
        reply = read_reply(answer(text, damage, generator), text, TYPES)
        assert reply.answer is not None
        assert list(reply.answer) == mark(text), (text, reply)


def test_no_answer_ends_in_a_traceback():
    generator = random.Random(0)
    for _ in range(800):
        text = write_text(generator)
        said = list(answer(text, generator.choice(DAMAGES), generator))
        for _ in range(generator.randint(1, 12)):
            at = generator.randrange(len(said) + 1)
            if generator.random() < 0.5:
                said.insert(at, generator.choice(PARTS))
            else:
                del said[at : at + generator.choice((1, 3, 20))]
        for types in (TYPES, CLASSES):
            reply = read_reply("".join(said), text, types)
            for span in reply.answer or () if not isinstance(reply.answer, Choice) else ():
                assert 0 <= span.start < span.end <= len(text)
                assert span.type in types.names


def test_words_that_occur_once_are_found_whatever_they_are():
    generator = random.Random(1)
    letters = "ab é\u0301’'“\"-–\u200b\u00a0ﬁ東[{<,:\\"
    for _ in range(1500):
        text = "".join(generator.choice(letters) for _ in range(generator.randint(1, 20)))
        start = generator.randrange(len(text))
        end = generator.randint(start + 1, len(text))
        words = text[start:end]
        if text.find(words) == text.rfind(words):
            assert Quoted(text).find(words) == ([(start, end)], True)
            if words.strip():
                said = json.dumps([{"text": words, "label": "PER", "start": -3}])
                ((first, after, *_),) = read_reply(said, text, TYPES).answer
                assert (first, after) == (start, end)


@pytest.mark.parametrize("part", ["[", "{", '{"', "[{", "<PER>", "[a](", "“", '{"a":', "(", "//"])
def test_long_answers_take_time_in_proportion(part):
    assert read_reply(part * 1000, "Anna", TYPES).answer is None
