"""Texts with any number of labels: how files list them, what is understood, what is refused."""

import json
import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.folders import read, refuses, told
from xdistil.config import Data, Experiment, Stage, Student, Teacher
from xdistil.data.corpus import draw_evenly
from xdistil.data.examples import Example, Task, read_file, write_tsv
from xdistil.data.label_lists import are_lists, read_cell, write_list
from xdistil.errors import InputError
from xdistil.validation.experiment import validate

NAMES = ("art", "food", "sport")
SETS = (("art", "food"), (), ("sport",), ("food", "art"), ("food", "sport", "art"))
TEXTS = tuple(f"a day {i}" for i in range(len(SETS)))
EXPECTED = [
    Example((text,), tuple(sorted(names)), "und") for text, names in zip(TEXTS, SETS, strict=True)
]
ROWS = "".join(
    json.dumps({"text": text, "labels": names}) + "\n"
    for text, names in zip(TEXTS, SETS, strict=True)
)


def table(between: str, cells) -> str:
    return "".join(f"{text}{between}{cell}\n" for text, cell in zip(TEXTS, cells, strict=True))


LISTS = [json.dumps(names) for names in SETS]
PYTHON = [str(list(names)) for names in SETS]


def csv_rows(cells) -> str:
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return "sentence,labels\n" + table(",", quoted)


def studio(names) -> list[dict]:
    chosen = [{"value": {"choices": list(names)}}] if names else []
    return [{"result": chosen}]


CATS = "".join(
    json.dumps({"text": text, "cats": {name: float(name in names) for name in NAMES}}) + "\n"
    for text, names in zip(TEXTS, SETS, strict=True)
)
STUDIO = json.dumps(
    [
        {"data": {"text": text}, "annotations": studio(names)}
        for text, names in zip(TEXTS, SETS, strict=True)
    ]
)


@pytest.mark.parametrize(
    ("train", "extension", "fields", "how"),
    [
        (ROWS, "jsonl", {}, "because train.jsonl has lists of labels"),
        (
            ROWS.replace("labels", "mood"),
            "jsonl",
            {"columns": "text:text,label:mood"},
            "by the col",
        ),
        (CATS, "jsonl", {}, "JSON lines, spaCy (cats)"),
        (STUDIO, "json", {}, "Label Studio (choices)"),
        (table("\t", LISTS), "tsv", {}, "labels: in lists"),
        (table("\t", PYTHON), "tsv", {}, "labels: in lists"),
        (csv_rows(LISTS), "csv", {}, "labels in 2"),
        (csv_rows(PYTHON), "csv", {}, "because train.csv has lists of labels"),
        (
            table("\t", map("; ".join, SETS)),
            "tsv",
            {"task": "multilabel"},
            "separated by semicolon, ",
        ),
        (
            table("\t", map("|".join, SETS)),
            "tsv",
            {"task": "multilabel"},
            "recognised; set data.sep",
        ),
        (csv_rows(map(",".join, SETS)), "csv", {"task": "multilabel"}, "separated by comma"),
        (
            table("\t", map(" ".join, SETS)),
            "tsv",
            {"separator": "space"},
            "as data.separator=space",
        ),
        (
            table("\t", map(" ".join, SETS)),
            "tsv",
            {"separator": "space", "columns": "text:1,label:2", "task": "multilabel"},
            "as data.task=multilabel says",
        ),
    ],
)
def test_labels_are_read_from_every_format(tmp_path, train, extension, fields, how):
    corpus = read(tmp_path, train, extension, **fields)
    assert corpus.task == Task("classification", NAMES, multilabel=True)
    assert corpus.train == EXPECTED
    overview = told(corpus)
    assert "classification of single texts, any number of labels each" in overview
    assert how.replace("labels in 2", "label in 2") in overview
    assert "texts by label in train, dev: art 3, 3; food 3, 3; sport 2, 2" in overview
    assert "texts without any label 1, 1" in overview
    assert "read: a day 0 -> art + food" in overview


def test_pairs_and_numbers_and_names_of_numbers(tmp_path):
    rows = [
        {"premise": "a", "hypothesis": "b", "labels": [2, 0]},
        {"premise": "c", "hypothesis": "d", "labels": []},
        {"premise": "e", "hypothesis": "f", "labels": [10]},
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    corpus = read(tmp_path, content, "jsonl")
    assert corpus.task.labels == ("0", "2", "10")
    assert [each.labels for each in corpus.train] == [("0", "2"), (), ("10",)]
    assert corpus.train[0].inputs == ("a", "b")
    names = [f"n{i}" for i in range(11)]
    info = {"features": {"labels": {"feature": {"names": names}, "_type": "Sequence"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    corpus = read(tmp_path, content, "jsonl")
    assert [each.labels for each in corpus.train] == [("n0", "n2"), (), ("n10",)]


def test_languages_stand_before_the_labels_or_in_a_field(tmp_path):
    expected = [("en", ("art", "food")), ("de", ()), ("de", ("sport",))]
    rows = 'a\ten:["art", "food"]\nb\tde:[]\nc\tde:["sport"]\n'
    assert [(e.language, e.labels) for e in read(tmp_path, rows).train] == expected
    rows = "a\ten:art;food\nb\tde:\nc\tde:sport\n"
    corpus = read(tmp_path, rows, task="multilabel")
    assert [(e.language, e.labels) for e in corpus.train] == expected
    assert corpus.task.labels == NAMES
    rows = [{"text": "a", "labels": names, "language": language} for language, names in expected]
    (tmp_path / "train.tsv").unlink()
    (tmp_path / "dev.tsv").unlink()
    corpus = read(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "jsonl")
    assert [(e.language, e.labels) for e in corpus.train] == expected


def test_a_list_of_one_label_each_is_a_class(tmp_path):
    rows = '{"text": "a", "label": ["x"]}\n{"text": "b", "label": ["y"]}\n'
    corpus = read(tmp_path, rows, "jsonl")
    assert corpus.task == Task("classification", ("x", "y"))
    corpus = read(tmp_path, rows, "jsonl", task="multilabel")
    assert corpus.task == Task("classification", ("x", "y"), multilabel=True)


def test_labels_tsv_gives_their_order_and_may_name_others(tmp_path):
    corpus = read(tmp_path, ROWS, "jsonl", labels="sport food art war")
    assert corpus.task.labels == ("sport", "food", "art", "war")
    assert corpus.train[4].labels == ("sport", "food", "art")
    numbers = table("\t", ["[2, 1]", "[]", "[0]", "[1, 2]", "[1, 0, 2]"])
    (tmp_path / "train.jsonl").unlink()
    (tmp_path / "dev.jsonl").unlink()
    corpus = read(tmp_path, numbers)
    assert [set(each.labels) for each in corpus.train] == [set(each) for each in SETS]


@pytest.mark.parametrize(
    ("cells", "fields", "words"),
    [
        (
            ["art;food", "art", "food"],
            {},
            "class 'art;food' lists 2 labels .*separator=semicolon if",
        ),
        (["art food", "art", "food"], {}, "class 'art food' lists 2 labels .*=space if a text may"),
        (["joy|awe", "awe|fear", "fear|joy"], {}, r"tsv:2: the class 'awe.fear' lists 2 labels"),
        (
            ["2,7", "2", "7"],
            {},
            "class '2,7' lists 2 labels of other texts: set data.separator=comma",
        ),
        (
            ["a;b", "c,d", "a"],
            {"task": "multilabel"},
            r"train.tsv:1: .* ',', as in 'c,d', or by ';'",
        ),
        (
            ["art food", "art", "food"],
            {"task": "multilabel"},
            r"tsv:1: .* one label or 2 labels: set",
        ),
        (["a;a", "b", "c"], {"task": "multilabel"}, r"train.tsv:1: label 'a' is listed twice"),
        (["a", "", "a"], {"task": "multilabel"}, "has one label, 'a': name the separator"),
        (["", "", ""], {"task": "multilabel"}, "no text has a label: name the column"),
        (["a;A", "b", ""], {"task": "multilabel"}, "'A' and 'a' differ in case"),
        (["0.5;1.5", "0.5", ""], {"task": "multilabel"}, "fractions .*: name them in a labels.tsv"),
        (["a", "b", ""], {}, r"train.tsv:3: an empty label.*; .*data.task=multilabel"),
        (["a;b", "b", "a"], {"task": "single", "separator": "comma"}, "separator is comma, but"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(tmp_path, cells, fields, words):
    rows = "".join(f"a text {i}\t{cell}\n" for i, cell in enumerate(cells))
    if "separator" in fields:
        experiment = Experiment(
            data=Data(folder="x", **fields),
            teacher=Teacher(model="x"),
            student=Student(embedding_size=8),
            plan=(Stage(name="a", loss="logits"),),
        )
        with pytest.raises(InputError, match=words):
            validate(experiment)
    else:
        refuses(words, tmp_path, rows, **fields)


def test_classes_with_separators_in_their_names_are_classes(tmp_path):
    names = ("Ulm, DE", "Bonn, DE", "good", "very good")
    corpus = read(tmp_path, "".join(f"{i}\t{name}\n" for i, name in enumerate(names)))
    assert corpus.task == Task("classification", tuple(sorted(names)))


def test_lists_are_refused_where_one_label_is_said(tmp_path):
    refuses(
        ":1: 2 labels where one is .*set data.task=multilabel",
        tmp_path,
        ROWS,
        "jsonl",
        task="single",
    )


@pytest.mark.parametrize("label", ["", " ", "a\tb", "a\nb"])
def test_labels_in_lists_are_one_line_each(tmp_path, label):
    rows = ROWS + json.dumps({"text": "x", "labels": ["art", label]}) + "\n"
    refuses("train.jsonl:6: label .* is empty, or contains a tab", tmp_path, rows, "jsonl")


def test_labels_that_train_lacks(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        dev = ROWS.replace('"food"', '"film"', 1)
        corpus = read(tmp_path, ROWS, "jsonl", dev)
    assert "dev.jsonl has classes that train lacks, and counts them: 'film' (1)" in caplog.text
    assert corpus.task.labels == ("art", "film", "food", "sport")
    dev = ROWS.replace("food", "film").replace("art", "war")
    refuses(
        "different labels: 'film' .3., 'war' .3. of dev are not in train",
        tmp_path,
        ROWS,
        "jsonl",
        dev,
    )
    refuses("dev.jsonl:1: label 'war' is not among", tmp_path, ROWS, "jsonl", dev, "art food sport")


def test_single_labels_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = read(tmp_path, "a\tart\nb\t\nc\tfood\n", task="multilabel")
    assert "no text has more than one label" in caplog.text
    assert "one in a cell, because nothing separates several (data.separator)" in told(corpus)


def test_written_lists_are_read_again(tmp_path):
    task = Task("classification", ('a "b", c', "de:x", "d|e;f", "[g]", "ü"), multilabel=True)
    sets = [(), task.labels, ("[g]",), ("de:x", "ü"), ("d|e;f",)]
    examples = [
        Example((f"text\t{i}", "two"), each, language)
        for i, (each, language) in enumerate(
            zip(sets, ("und", "en", "de", "und", "en"), strict=True)
        )
    ]
    write_tsv(tmp_path / "predicted.tsv", examples, sets, multilabel=True)
    for known in (None, task):
        found = read_file(tmp_path / "predicted.tsv", known)
        assert [each.language for each in found] == [each.language for each in examples]
        assert [set(each.labels) for each in found] == [set(each) for each in sets]
    assert (tmp_path / "predicted.tsv").read_text().splitlines()[0] == "text 0\ttwo\t[]"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1).map(str.strip)))
def test_any_names_go_through_a_list(names):
    assert read_cell(write_list(names)).labels == tuple(names)
    assert read_cell(f"de:{write_list(names)}") == ("de", tuple(names), True)


@pytest.mark.parametrize("cell", ["['a' 'b']", "[a, b]", "['a', b]", "[1.5]", "[None]", "['a']x"])
def test_what_is_no_list_is_one_label(cell):
    assert read_cell(cell) == ("", (cell,), False)
    assert not are_lists([cell, '["a", "b"]'])


def test_numbers_are_lists_where_they_are_several_or_none():
    assert are_lists(["[1]", "[2, 7]"])
    assert are_lists(["[1]", "[]"])
    assert not are_lists(["[1]", "[2]"])
    assert not are_lists(["", " "])


def test_escapes_are_those_of_json_or_of_python():
    assert read_cell(r'["\ud83d\ude00", "\/"]').labels == ("\U0001f600", "/")
    assert read_cell(r"['\xfc', 'a\'b']").labels == ("ü", "a'b")


def test_rows_without_annotations_do_not_say_the_kind_of_task(tmp_path):
    empty = [json.dumps({"text": f"nothing {i}", "label": []}) for i in range(4)]
    topics = [json.dumps({"text": "a", "label": ["art", "food"]})]
    spans = [json.dumps({"text": "Ada slept", "label": [[0, 3, "PER"]]})]
    for row, expected in ((topics, ("art", "food")), (spans, ("B-PER", "O"))):
        corpus = read(tmp_path, "\n".join(empty + row), "jsonl")
        assert corpus.train[-1].labels == expected
        assert corpus.train[0].labels == (() if row is topics else ("O", "O"))
    found = [{"value": {"start": 0, "end": 3, "labels": ["PER"]}}]
    rows = [{"data": {"text": "Ada slept"}, "annotations": [{"result": []}]} for _ in range(3)]
    rows.append({"data": {"text": "Ada slept"}, "annotations": [{"result": found}]})
    folder = tmp_path / "studio"
    folder.mkdir()
    corpus = read(folder, json.dumps(rows), "json")
    assert [each.labels for each in corpus.train[2:]] == [("O", "O"), ("B-PER", "O")]


def test_a_limit_draws_labels_evenly():
    """Most texts have a, a tenth each has b or c beside it."""
    task = Task("classification", ("a", "b", "c"), multilabel=True)
    sets = [("a",)] * 80 + [("a", "b")] * 10 + [("a", "c")] * 10
    examples = [Example((f"text {i}",), each, "en") for i, each in enumerate(sets)]
    drawn = draw_evenly(examples, task, 24, seed=1)
    assert Counter(each.labels for each in drawn) == {("a",): 8, ("a", "b"): 8, ("a", "c"): 8}
