"""Heads that do not predict one class: several classes with a sigmoid; numbers are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import xdistil
from tests.deploy.folders import CLASSES, make_folder, train_tokenizer
from xdistil.cli import predict
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_export import cut, export_onnx
from xdistil.errors import InputError
from xdistil.models.hf.folder import load_model, read_task, save_model
from xdistil.models.hf.head import check_head

MULTILABEL = {"problem_type": "multi_label_classification"}
TEXTS = ("Anna went to Berlin", "Bob", "Clara stayed in New York")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A multi-label model with its ONNX file."""
    base = tmp_path_factory.mktemp("heads")
    tokenizer = train_tokenizer(base / "tokenizer")
    path = make_folder(base / "many", "bert", CLASSES, tokenizer, MULTILABEL)
    export_onnx(open_model(str(path)), path, [Example((text,), None, "en") for text in TEXTS])
    return path


@pytest.mark.parametrize("backend", ["jax", "onnx"])
def test_a_multilabel_head_gives_all_classes_above_the_threshold(folder, backend):
    opened = open_model(str(folder))
    subwords = cut(opened, [Example((text,), None, "en") for text in TEXTS])
    expected = 1 / (1 + np.exp(-opened.compute_logits(subwords)[subwords.label_mask]))
    middle = float(np.median(expected))
    for threshold in (0.0, middle, 0.999999):
        model = xdistil.load(str(folder), backend=backend, threshold=threshold)
        for found, row in zip(model.classify(TEXTS), expected, strict=True):
            np.testing.assert_allclose(list(found.scores.values()), row, atol=1e-5)
            above = [name for name, value in found.scores.items() if value > threshold]
            assert found.labels == tuple(above)
            assert found.label == CLASSES.labels[row.argmax()]
            assert found.score == found.scores[found.label]


def test_a_head_for_one_class_has_no_list_of_labels(folder, tmp_path):
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    model = xdistil.load(str(make_folder(tmp_path / "one", "bert", CLASSES, tokenizer)))
    (found,) = model.classify(["Anna"])
    assert found.labels is None
    assert sum(found.scores.values()) == pytest.approx(1)


def test_the_command_writes_all_classes(folder, tmp_path, capsys):
    source = tmp_path / "in.txt"
    source.write_text("Anna went\n\nBob\n")
    given = [f"--model={folder}", f"--input={source}"]
    assert predict.main([*given, "--output-format=jsonl", "--threshold=0"]) == 0
    first, blank, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["labels"] == list(CLASSES.labels)
    assert "label" not in first
    assert blank == {"text": "", "labels": [], "scores": {}}
    assert predict.main([*given, "--threshold=0"]) == 0
    assert capsys.readouterr().out == "Anna went\tbad,fine,good\n\nBob\tbad,fine,good\n"
    assert predict.main([*given, "--output-format=csv", "--threshold=0.999999"]) == 0
    assert capsys.readouterr().out == "text,label\nAnna went,\n,\nBob,\n"


@pytest.mark.parametrize(
    ("tags", "others"),
    [
        ("S-PER I-PER E-PER O B-PER", "U-PER I-PER L-PER O B-PER"),
        ("S-PER I-PER E-PER O B-PER", "w_PER m_PER e_PER o b_PER"),
        ("I-PER I-LOC I-ORG O I-MISC", "PER LOC ORG O MISC"),
    ],
)
def test_heads_with_tags_of_other_schemes_find_the_same_entities(
    folder, tmp_path, caplog, tags, others
):
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    make_folder(tmp_path / "it", "bert", Task("tagging", tuple(tags.split())), tokenizer)
    expected = xdistil.load(str(tmp_path / "it")).tag(TEXTS)
    assert any(each.entities for each in expected)
    assert "are read as" not in caplog.text
    config = json.loads((tmp_path / "it/config.json").read_text())
    for number, name in enumerate(others.split()):
        config["id2label"][str(number)] = name
    (tmp_path / "it/config.json").write_text(json.dumps(config))
    assert xdistil.load(str(tmp_path / "it")).tag(TEXTS) == expected
    assert "The tags of the head are read as tags of IOB and BIOES" in caplog.text


def test_a_threshold_lies_between_zero_and_one(folder):
    with pytest.raises(InputError, match="threshold is 1; it must lie in"):
        xdistil.load(str(folder), threshold=1)


def test_the_folder_says_that_a_text_has_several_classes(folder, tmp_path):
    task = read_task(str(folder))
    assert task == Task("classification", CLASSES.labels, multilabel=True)
    loaded = load_model(str(folder))
    tokenizer = load_tokenizer(str(folder))
    save_model(tmp_path / "again", loaded.model, loaded.params, task, tokenizer, {})
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert read_task(str(tmp_path / "again")) == task
    save_model(tmp_path / "one", loaded.model, loaded.params, CLASSES, tokenizer, {})
    assert "problem_type" not in json.loads((tmp_path / "one" / "config.json").read_text())


def test_a_head_for_one_class_is_none_for_several(folder):
    with pytest.raises(InputError, match=r"^it has a head for multilabel, and the task is classif"):
        check_head(read_task(str(folder)), "it", "do this", CLASSES.name, CLASSES.labels)


def test_classes_with_commas_are_not_written_between_commas(tmp_path, capsys):
    task = Task("classification", ("good", "bad, or so"))
    folder = make_folder(
        tmp_path / "model", "bert", task, train_tokenizer(tmp_path / "tokenizer"), MULTILABEL
    )
    (tmp_path / "in.txt").write_text("Anna\n")
    assert predict.main([f"--model={folder}", f"--input={tmp_path / 'in.txt'}"]) == 2
    assert "separates classes by commas, and 'bad, or so' has one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "extra", "sentence"),
    [
        (("LABEL_0",), {}, "has a head with one output, 'LABEL_0', which is a number"),
        (("LABEL_0",), {"problem_type": "regression"}, "problem_type is 'regression'; it must be"),
        (("a", "b"), {"problem_type": "regression"}, "problem_type is 'regression'; it must be"),
        (("a", "b"), {"problem_type": 3}, "problem_type is 3; it must be"),
    ],
)
def test_a_head_that_predicts_numbers_is_refused(tmp_path, labels, extra, sentence):
    task = Task("classification", labels)
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    folder = make_folder(tmp_path / "model", "bert", task, tokenizer, extra)
    for backend in ("jax", "onnx"):
        with pytest.raises(InputError, match=sentence):
            xdistil.load(str(folder), backend=backend)
    with pytest.raises(InputError, match=sentence):
        read_task(str(folder))


def test_a_multilabel_head_may_have_one_class(tmp_path):
    task = Task("classification", ("toxic",))
    folder = make_folder(
        tmp_path / "model", "bert", task, train_tokenizer(tmp_path / "tokenizer"), MULTILABEL
    )
    (found,) = xdistil.load(str(folder), threshold=0.0).classify(["Anna"])
    assert found.labels == ("toxic",)
