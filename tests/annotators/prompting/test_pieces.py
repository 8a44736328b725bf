"""Texts of files, the pieces they are cut into, and the identifiers of pieces."""

import json
import random

import pytest

from xdistil.annotators.prompting.pieces import (
    belongs_to,
    cut_pieces,
    list_identifiers,
    parse_identifier,
    read_typed_texts,
)
from xdistil.data.segmentation import drop_blanks, find_units
from xdistil.errors import InputError


@pytest.mark.parametrize(
    ("text", "longest", "pieces"),
    [
        (" Anna ran. ", 11, [" Anna ran. "]),
        ("Somebody slept. Somebody ran away.", 30, ["Somebody slept.", "Somebody ran away."]),
        ("One line\nof two lines of text", 24, ["One line", "of two lines of text"]),
        ("Saint-Denis is far", 12, ["Saint-Denis", "is far"]),
        ("Saint-Denis", 8, ["Saint-", "Denis"]),
        ("abcdefgh ij", 3, ["abcdefgh", "ij"]),
        ("東京都に行く", 2, ["東京", "都に", "行く"]),
    ],
)
def test_texts_are_cut_between_sentences_then_blanks_then_units(text, longest, pieces):
    assert [text[start:end] for start, end in cut_pieces(text, longest)] == pieces


def test_pieces_hold_all_units_of_a_text_and_cut_none():
    generator = random.Random(0)
    for _ in range(300):
        text = "".join(generator.choice("ab. \n,東é-") for _ in range(generator.randint(1, 60)))
        longest = generator.randint(1, 20)
        pieces = cut_pieces(text, longest)
        joined = "".join(drop_blanks(text[start:end]) for start, end in pieces)
        assert joined == drop_blanks(text)
        units = find_units(text)
        inside = [u for u in units if any(a <= u[0] and u[1] <= b for a, b in pieces)]
        assert inside == units
        widest = max((end - start for start, end in units), default=0)
        assert all(end - start <= max(longest, widest) for start, end in pieces)


def test_texts_of_each_format(tmp_path):
    rows = [
        {"text": "Anna ran.", "language": "DE", "id": 7},
        {"tokens": ["Bob", "slept"]},
        {"text": "Anna  ran ."},
    ]
    files = {
        "a.txt": "Anna ran.\n\n Anna ran .\nBob, too\n",
        "b.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "c.json": json.dumps(rows),
        "d.csv": 'id,text\n1,"Anna ran."\n2,Bob\n',
    }
    found = {}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        found[name] = read_typed_texts(tmp_path / name, "tagging")
    assert list(found["a.txt"].by_number.values()) == [
        (1, ("Anna ran.",), "und"),
        (4, ("Bob, too",), "und"),
    ]
    assert found["a.txt"][1:] == (1, 1)  # repeated, blank
    for name in ("b.jsonl", "c.json"):
        texts = list(found[name].by_number.values())
        assert texts == [(1, ("Anna ran.",), "de"), (2, ("Bob slept",), "und")]
    assert [text.content for text in found["d.csv"].by_number.values()] == ["Anna ran.", "Bob"]
    pairs = tmp_path / "e.txt"
    pairs.write_text("one\ttwo\none two\n")
    texts = read_typed_texts(pairs, "classification").by_number
    assert [text.inputs for text in texts.values()] == [("one", "two"), ("one two",)]
    (tmp_path / "f.txt").write_text(" \n\u200b\n")
    with pytest.raises(InputError, match=r"f\.txt has no text"):
        read_typed_texts(tmp_path / "f.txt", "tagging")


def test_identifiers_lead_back_to_their_pieces(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Anna slept here. Bob ran.\nAnna slept there. Bob ran.\n")
    first, second = read_typed_texts(path, "tagging").by_number.values()
    listed = list(list_identifiers(first, cut_pieces(first.content, 20), 2))
    assert [piece for _, piece in listed] == ["Anna slept here.", "Bob ran."] * 2
    names = [name for name, _ in listed]
    assert len(set(names)) == 4
    parsed = [parse_identifier(name) for name in names]
    assert [(p.number, p.start, p.end, p.run) for p in parsed[1:3]] == [
        (1, 17, 25, 1),
        (1, 0, 16, 2),
    ]
    assert all(belongs_to(each, first) for each in parsed)
    assert not belongs_to(parsed[0], second)
    assert not belongs_to(parsed[1]._replace(end=99), first)
    for name in ("", "1-2-3", "1-0-16-1-xyz", names[0] + " ", names[0].replace("-", "_")):
        assert parse_identifier(name) is None
