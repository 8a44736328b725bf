"""Damaged answers of language models, and the spans or classes that each of them means."""

import json

import pytest

from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.replies import read_reply
from xdistil.annotators.prompting.types import Type, Types

TYPES = Types("tagging", (Type("PER", "", ("person", "people")), Type("NEW_LOC", "", ())))
CLASSES = Types("classification", tuple(Type(name, "", ()) for name in ("good", "bad", "so so")))
TEXT = "Anna met Bob in New York. Anna left."
ANNA, BOB, YORK = Span(0, 4, "PER"), Span(9, 12, "PER"), Span(16, 24, "NEW_LOC")
AGAIN = Span(26, 30, "PER")
BOTH = '{"text": "Bob", "label": "PER"}, {"text": "New York", "label": "NEW LOC"}'


def read(answer, text=TEXT, types=TYPES):
    return read_reply(answer, text, types)


@pytest.mark.parametrize(
    ("answer", "spans", "repairs"),
    [
        (f'{{"entities": [{BOTH}]}}', [BOB, YORK], []),
        ('{"entities": []}', [], []),
        ("[]", [], []),
        ('{"entities": []', [], ["cut off"]),
        (f"Sure!\n```json\n[{BOTH}]\n```\nI hope [1] helps.", [BOB, YORK], ["text around it"]),
        (f'<think>[{{"text": "Anna", "label": "PER"}}]</think>[{BOTH}]', [BOB, YORK], []),
        (f'[{{"text": "Anna", "label": "PER"}}] No: [{BOTH}]', [BOB, YORK], ["text around it"]),
        (f"[{BOTH},]", [BOB, YORK], ["damaged JSON"]),
        (f"[{BOTH.replace('}, {', '} {')}]", [BOB, YORK], ["damaged JSON"]),
        (f"[{BOTH}".replace('"', "'"), [BOB, YORK], ["cut off"]),
        (f"[{BOTH}]".replace('"', "“"), [BOB, YORK], ["damaged JSON"]),
        (f"[{BOTH}] // all".replace('"text"', "text"), [BOB, YORK], ["damaged JSON"]),
        (f"[{BOTH[:-10]}", [BOB], ["cut off"]),
        (f"[{BOTH[:-1]}", [BOB, YORK], ["cut off"]),
        (BOTH.replace("}, {", "}\n{"), [BOB, YORK], []),
        ('{"PER": ["Bob"], "new-loc": "New York"}', [BOB, YORK], []),
        ('{"PER": ["Anna"]}', [ANNA, AGAIN], []),
        ('[{"PER": ["Anna"]}]', [ANNA, AGAIN], []),
        ('{"Bob": "PER", "New York": "new loc"}', [BOB, YORK], []),
        ('[["Bob", "PER"], ["NEW_LOC", "New York"]]', [BOB, YORK], []),
        ("[('Bob', 'PER'), (16, 24, 'NEW_LOC')]", [BOB, YORK], ["damaged JSON"]),
        ('[{"word": "Bob", "entity": "B-PER"}]', [BOB], []),
        ('[{"entity": "Bob", "type": "People", "span": [9, 12]}]', [BOB], []),
        ('{"result": {"answer": {"entities": [' + BOTH + "]}}}", [BOB, YORK], []),
    ],
)
def test_json_in_every_shape(answer, spans, repairs):
    reply = read(answer)
    assert (reply.answer, reply.repairs) == (tuple(spans), repairs)


@pytest.mark.parametrize(
    ("answer", "spans"),
    [
        ("Anna met <PER>Bob</PER> in <NEW_LOC>New York</NEW_LOC>. Anna left.", [BOB, YORK]),
        ("Here it is:\n```\nAnna met Bob in New York. <PER>Anna</PER> left.\n```", [AGAIN]),
        ("[PER]Anna[/PER] met Bob in [NEW_LOC]New York[/NEW_LOC]", [ANNA, YORK]),
        ("Anna met [Bob](PER) in [New York|NEW_LOC]. Anna left.", [BOB, YORK]),
        ('<entity type="person">Anna</entity> met Bob in New <PER>York. An', [ANNA]),
        ("anna met <PER>bob</PER> in New York. <PER>anna</PER> left.", [BOB, AGAIN]),
        ("Anna  met Bob in New York.\nAnna left.", []),
        (json.dumps({"text": "Anna met <PER>Bob</PER> in New York."}), [BOB]),
    ],
)
def test_marked_text(answer, spans):
    assert read(answer).answer == tuple(spans)


@pytest.mark.parametrize(
    ("start", "end", "found", "reasons"),
    [
        (0, 4, ANNA, []),
        (26, 30, AGAIN, []),
        (20, 24, AGAIN, ["wrong offsets"]),
        (13, 17, ANNA, ["wrong offsets"]),  # as near to both: the first
        (13.0, "17", ANNA, ["wrong offsets"]),
        (10**30, 10**31, AGAIN, ["wrong offsets"]),
        (-5, -1, ANNA, ["wrong offsets"]),
        (0, 3, ANNA, ["wrong offsets"]),  # an inclusive end
        (None, None, ANNA, ["several places"]),
    ],
)
def test_words_with_offsets_stand_where_they_are_nearest(start, end, found, reasons):
    entity = {"text": "Anna", "label": "PER", "start": start, "end": end}
    reply = read(json.dumps([entity]))
    assert reply.answer == (found,)
    assert [reason for reason, _ in reply.notes] == reasons


def test_places_are_shared_among_entities_with_the_same_words():
    anna = {"text": "Anna", "label": "PER"}
    assert read(json.dumps([anna, anna])).answer == (ANNA, AGAIN)
    assert read(json.dumps([anna, anna])).notes == []
    moved = [{**anna, "start": 11}, {**anna, "start": 12}]
    assert read(json.dumps(moved)).answer == (ANNA, AGAIN)
    right = [{**anna, "start": 1, "end": 5}, {**anna, "start": 0, "end": 4}]
    assert read(json.dumps(right)).answer == (ANNA, AGAIN)
    reply = read(json.dumps([anna, anna, anna]))
    assert reply.answer == (ANNA, AGAIN)
    assert [reason for reason, _ in reply.notes] == ["named twice"]
    ana = {"text": "ana", "label": "PER"}
    assert read([ana, ana], "banana").answer == (Span(1, 4, "PER"), Span(3, 6, "PER"))
    inside = [{"text": "Rome", "label": "NEW_LOC"}, {"text": "New Rome", "label": "NEW_LOC"}]
    for said in (inside, inside[::-1], {"NEW_LOC": ["Rome", "New Rome"]}):
        reply = read(said, "New Rome, Rome")
        assert reply.answer == (Span(0, 8, "NEW_LOC"), Span(10, 14, "NEW_LOC"))
        assert reply.notes == []
    behind = [{"text": "Bob", "label": "PER"}, anna]  # the next Anna behind Bob
    assert read(json.dumps(behind)).answer == (BOB, AGAIN)


@pytest.mark.parametrize(
    ("text", "words", "start", "end"),
    [
        ("in New\u00a0York.", "New  York", 3, 11),
        ("in NewYork.", "New York", 3, 10),
        ("Rene\u0301 ran", "Ren\u00e9", 0, 5),
        ("Ren\u00e9 ran", "Rene\u0301", 0, 4),
        ("the “Big” one", '"Big"', 4, 9),
        ("O’Brien ran", "O'Brien", 0, 7),
        ("Jean\u2013Luc ran", "Jean-Luc", 0, 8),
        ("ＩＢＭ ran", "IBM", 0, 3),
        ("１２ ran", "12", 0, 2),
        ("ﬁne", "fin", 0, 2),
        ("a STRASSE b", "Straße", 2, 9),
        ("say Anna now", '"Anna."', 4, 8),
        ("R&D team", "R&amp;D", 0, 3),
        ("東京都に", "東京", 0, 2),
        ("Ann and Annabel", "Ann", 0, 3),
        ("Annabel and Ann", "Ann", 12, 15),
        ("unhappy", "happy", 2, 7),
        ("\u200bAn\u200bna ran", "Anna", 1, 6),
    ],
)
def test_words_that_are_written_otherwise(text, words, start, end):
    answer = json.dumps([{"text": words, "label": "PER"}])
    assert read(answer, text).answer == (Span(start, end, "PER"),)


@pytest.mark.parametrize(
    ("entity", "reason", "told"),
    [
        ({"text": "Carl", "label": "PER"}, "not in the text", "'Carl' as 'PER'"),
        ({"text": "Bob", "label": "ORG"}, "unknown type", "'Bob' as 'ORG'"),
        ({"label": "PER", "start": 9, "end": 99}, "offsets outside of the text", "9 to 99 as"),
        ({"text": " ", "label": "PER"}, "no words", "' ' as 'PER'"),
        ({"text": "m\u0301", "label": "PER"}, "not in the text", "as 'PER'"),
    ],
)
def test_entities_that_are_lost(entity, reason, told):
    reply = read(json.dumps([{"text": "Bob", "label": "PER"}, entity]))
    assert reply.answer == (BOB,)
    ((found, words),) = reply.notes
    assert found == reason
    assert told in words


@pytest.mark.parametrize(
    ("text", "answer", "words"),
    [
        (
            "the " + '"Big" one' + " ran",
            '[{"text": "the "Big" one", "label": "PER",}]',
            'the "Big" one',
        ),
        ("O'Brien ran", "[{'text': 'O'Brien', 'label': 'PER'}]", "O'Brien"),
        ("a “b, c” d", '[{"text": "“b, c”", "label": "PER",}]', "“b, c”"),
        ("a\nb c", '[{"text": "a\nb", "label": "PER",}]', "a\nb"),
        ("{a} b", '{"PER": ["{a}"],}', "{a}"),
        ("<b>Bob</b> ran", "<b><PER>Bob</PER></b> ran", "Bob"),
        ("Anna Lee met Bob", "<PER>Anna <NEW_LOC>Lee</PER> met Bob</PER>", "Anna Lee"),
        ("a ﬁ b", '[{"text": "f", "label": "PER"}, {"text": "ﬁ", "label": "PER"}]', "ﬁ"),
    ],
)
def test_quotes_and_marks_inside_of_entities(text, answer, words):
    at = text.find(words)
    assert read(answer, text).answer == (Span(at, at + len(words), "PER"),)


def test_what_stands_in_the_text_is_no_mark():
    reply = read("<b>Anna</b> met <PER>Bob</PER>", "<b>Anna</b> met Bob")
    assert (reply.answer, reply.notes) == ((Span(16, 19, "PER"),), [])


def test_scores_are_kept_where_they_are_shares():
    for score, kept in ((0.5, 0.5), ("0.25", 0.25), (7, 1.0), ("high", 1.0), (10**400, 1.0)):
        (span,) = read([{"text": "Bob", "label": "PER", "score": score}]).answer
        assert span == BOB._replace(score=kept)


@pytest.mark.parametrize(
    "answer",
    [
        "I am sorry, but I cannot do that.",
        "null",
        "[1, 2]",
        "[[[",
        '{"a": "b"}',
        "{PER}",
        "[{text: Bob, label: PER",
        '{"entities": [{"text": "An',
    ],
)
def test_what_is_no_answer_is_none(answer):
    assert read(answer).answer is None


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("good", ("good", None)),
        ("**So so**", ("so so", None)),
        ('{"label": "BAD", "score": 0.75}', ("bad", 0.75)),
        ("```json\n{'label': 'bad',}\n```", ("bad", None)),
        ('{"label": ["bad"]}', ("bad", None)),
        ('{"good": 0.25, "bad": 0.75}', ("bad", 0.75, {"good": 0.25, "bad": 0.75})),
        ('{"scores": {"Good": "0.9", "x": 3}}', ("good", 0.9, {"good": 0.9})),
        ('{"good": 0, "bad": 0}', None),
        ('[{"label": "good", "score": 0.1}, {"label": "bad", "score": 0.9}]', ("bad", 0.9)),
        ("The text praises the soup.\nLabel: good.", ("good", None)),
        ('The class is "so so".', ("so so", None)),
        ("{'label': 'good'", ("good", None)),
        ("It is not good.", None),
        ('Either "good" or "bad".', None),
        ('{"label": "great"}', None),
        ("", None),
    ],
)
def test_classes(answer, choice):
    found = read(answer, "Fine soup.", CLASSES).answer
    assert found == (choice and (*choice, None)[:3])
