"""Files of annotators' answers: what is read from each kind of line, and what is refused."""

import json

import pytest

from xdistil.annotators.answers import Span, digest_text, guess_task, read_answers
from xdistil.data.examples import Task
from xdistil.errors import InputError

TAGS = Task("tagging", ("O", "B-PER", "I-PER", "B-NEW_LOC", "I-NEW_LOC"))
CLASSES = Task("classification", ("bad", "good", "none"))
ANNA = {"start": 0, "end": 4, "label": "PER"}


def write(folder, *rows, name="a.jsonl"):
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(folder, *rows, task=TAGS):
    return read_answers([write(folder, *rows)], task)


@pytest.mark.parametrize(
    ("row", "text", "answers"),
    [
        ({"spans": [ANNA]}, "Anna ran", {"a": (Span(0, 4, "PER"),)}),
        ({"spans": [{**ANNA, "score": 0.25}]}, "Anna ran", {"a": (Span(0, 4, "PER", 0.25),)}),
        ({"spans": []}, "Anna ran", {"a": ()}),
        ({"spans": None}, "Anna ran", {"a": None}),
        ({"entities": [[0, 4, "New LOC"]]}, "Anna ran", {"a": (Span(0, 4, "NEW_LOC"),)}),
        ({"spans": [ANNA], "annotator": "Eve"}, "Anna ran", {"Eve": (Span(0, 4, "PER"),)}),
        ({"annotators": {"b": [ANNA], "c": None}}, "Anna ran",
         {"b": (Span(0, 4, "PER"),), "c": None}),
        ({"tokenized_text": ["Anna", "ran"], "ner": [[0, 0, "PER"]]}, "Anna ran",
         {"a": (Span(0, 4, "PER"),)}),
        ({"tokens": ["So", "Anna", "Lee"], "tags": ["O", "B-PER", "I-PER"]}, "So Anna Lee",
         {"a": (Span(3, 11, "PER"),)}),
    ],
)  # fmt: skip
def test_spans_of_each_kind_of_line(tmp_path, row, text, answers):
    if not {"tokens", "tokenized_text"} & row.keys():
        row = {"text": text, **row}
    row = json.loads(json.dumps(row).replace("New LOC", "NEW LOC"))
    (found,) = read(tmp_path, row)
    assert (found.inputs, found.answers) == ((text,), answers)
    assert found.place == f"{tmp_path / 'a.jsonl'}:1"


@pytest.mark.parametrize(
    ("row", "answers"),
    [
        ({"label": "good"}, {"a": {"good": 1.0}}),
        ({"label": 0}, {"a": {"bad": 1.0}}),
        ({"label": None}, {"a": None}),
        ({"label": "good", "score": 0.5}, {"a": {"good": 0.5, "bad": 0.25, "none": 0.25}}),
        ({"scores": {"good": 0.6, "bad": 0.2}}, {"a": {"good": 0.75, "bad": 0.25}}),
        ({"annotators": {"b": "bad", "c": {"good": 1}, "d": None}},
         {"b": {"bad": 1.0}, "c": {"good": 1.0}, "d": None}),
    ],
)  # fmt: skip
def test_classes_of_each_kind_of_line(tmp_path, row, answers):
    (found,) = read(tmp_path, {"text": "Fine.", **row}, task=CLASSES)
    assert found.inputs == ("Fine.",)
    assert {name: each and pytest.approx(each) for name, each in answers.items()} == found.answers


def test_a_file_an_annotator_and_texts_that_differ_in_blanks(tmp_path):
    first = write(tmp_path, {"text": "Anna , Bo", "spans": [ANNA]}, name="one.jsonl")
    second = write(
        tmp_path,
        {"text": "Anna, Bo", "spans": [{"start": 6, "end": 8, "label": "PER"}], "language": "DE"},
        name="two.jsonl",
    )
    (found,) = read_answers([first, second], TAGS)
    assert found.inputs == ("Anna , Bo",)
    assert found.language == "de"
    assert found.answers == {"one": (Span(0, 4, "PER"),), "two": (Span(7, 9, "PER"),)}


def test_texts_are_found_however_they_are_cut():
    typed, words = "Anna (Bo) ran.", ("Anna", "(", "Bo", ")", "ran\u200b", ".")
    assert digest_text((typed,), "tagging") == digest_text(words, "tagging")
    assert digest_text(("a b",), "classification") != digest_text(("ab",), "classification")


def note(first, after, **fields):
    value = {"start": first, "end": after, "labels": ["PER"]}
    return {"result": [{"value": value, "type": "labels"}], **fields}


def test_annotations_of_label_studio_are_annotators(tmp_path):
    notes = [
        note(0, 4, completed_by=7),
        note(0, 2, was_cancelled=True),
        note(0, 2, completed_by={"id": 3, "email": "eve@x.org"}),
        {"result": []},
    ]
    (text,) = read(tmp_path, {"data": {"text": "Anna ran"}, "annotations": notes})
    assert text.inputs == ("Anna ran",)
    assert {name: [each[:2] for each in spans] for name, spans in text.answers.items()} == {
        "7": [(0, 4)],
        "eve@x.org": [(0, 2)],
        "annotation 3": [],
    }
    twice = [note(0, 4, completed_by=7), note(0, 2, completed_by=7)]
    with pytest.raises(InputError, match=r"a.jsonl:1: '7' has completed two annotations of this"):
        read(tmp_path, {"data": {"text": "Anna ran"}, "annotations": twice})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "a.jsonl:1: this line is not valid JSON."),
        ([{"spans": [ANNA]}], "a.jsonl:1: field 'text' is missing"),
        ([{"text": "Anna"}], "a.jsonl:1: this line has no answer: it needs text and spans"),
        ([{"text": "Bo", "spans": [ANNA]}],
         "a.jsonl:1: span 0 to 4 does not lie in the text, which has 2 characters."),
        ([{"text": "Bo", "spans": []}, {"text": "Anna", "spans": [{**ANNA, "start": -1}]}],
         "a.jsonl:2: span -1 to 4 does not lie in the text"),
        ([{"text": "Anna", "spans": [{"start": 3, "end": 1, "label": "PER"}]}],
         "a.jsonl:1: span 3 to 1 ends before it starts."),
        ([{"text": "Anna", "spans": [{**ANNA, "label": "PERS"}]}],
         r"a.jsonl:1: 'PERS' is not a type of the task \(did you mean PER\?\)."),
        ([{"text": "Anna", "spans": [{**ANNA, "score": 1.5}]}],
         "a.jsonl:1: score 1.5 is not a number from 0 to 1."),
        ([{"text": "Anna", "spans": ["PER"]}], "a.jsonl:1: 'PER' is no span with start"),
        ([{"text": "Anna", "annotators": [[]]}], "a.jsonl:1: field 'annotators' must hold"),
        ([{"text": "Anna", "annotators": {"b": "PER"}}], "a.jsonl:1: 'PER' is no list of spans"),
        ([{"text": "Anna", "spans": [ANNA]}, {"text": "Anna", "spans": []}],
         "a.jsonl:2: this text stands in .*a.jsonl:1 too, with another answer of 'a': give each"),
        ([{"tokens": ["a", "b"], "tags": ["O", "I-PER"]}],
         "a.jsonl:1: tag 'I-PER' continues no entity."),
    ],
)  # fmt: skip
def test_faults_are_told_with_file_and_line(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, *rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "god"}, r"a.jsonl:1: 'god' is not a class of the task \(did you mean good\?\)."),
        ({"label": 7}, "a.jsonl:1: 7 is not a class of the task"),
        ({"scores": {"good": 0}}, "a.jsonl:1: the scores .* are all 0."),
        ({}, "a.jsonl:1: this line has no answer: it needs label, scores or annotators."),
    ],
)
def test_faults_of_classes_are_told(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, {"text": "Fine.", **row}, task=CLASSES)


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        (
            [
                {"text": "So", "annotators": {"a": None, "b": None}},
                {"text": "Anna ran", "annotators": {"a": None, "b": [ANNA]}},
                {"text": "Rome ran", "spans": [{"start": 0, "end": 4, "label": "a place"}]},
                {"tokens": ["Bo"], "tags": ["B-PER"]},
            ],
            Task("tagging", ("B-PER", "B-a_place", "I-PER", "I-a_place", "O")),
        ),
        (
            [
                {"text": "Fine", "annotators": {"a": "good", "b": {"bad": 0.5, "none": 0.5}}},
                {"text": "Well", "label": "fair", "score": 0.5},
            ],
            Task("classification", ("bad", "fair", "good", "none")),
        ),
    ],
)
def test_the_task_is_that_of_all_labels_in_the_answers(tmp_path, rows, task):
    assert guess_task([write(tmp_path, *rows)]) == task
    assert len(read_answers([write(tmp_path, *rows)], task)) == len(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "So", "spans": []}], "teacher.labels names no label: no annotator marked any"),
        ([{"text": "So", "label": "good"}], "teacher.labels has the class 'good' alone: name ans"),
        ([{"text": "So", "spans": [{**ANNA, "end": 9}]}], r"a.jsonl:1: span 0 to 9 does not lie"),
    ],
)
def test_answers_that_give_no_task_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        guess_task([write(tmp_path, *rows)])
