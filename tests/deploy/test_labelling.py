"""Labels of plain texts: shapes, blank lines, independence of other texts, mistakes."""

import json
import logging

import numpy as np
import pytest

import xdistil
from tests.deploy.folders import CLASSES, TAGGING, WORDS, label_lines, make_folder, train_tokenizer
from xdistil.config import Data
from xdistil.data.examples import Task
from xdistil.deploy import jax_backend as jax_model
from xdistil.deploy import predictor as serving
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError

SHORT = write_preprocessing(Data(row_length=24, max_length=12))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def taggers(tmp_path_factory, tokenizer):
    """Opened models by kind and task, with rows of 24 subwords and windows of 12."""
    folder = tmp_path_factory.mktemp("models")
    return {
        (kind, task.kind): xdistil.load(
            str(make_folder(folder / f"{kind}-{task.kind}", kind, task, tokenizer, SHORT))
        )
        for kind, task in (
            ("bilstm", TAGGING),
            ("bert", TAGGING),
            ("bert", CLASSES),
            ("electra", CLASSES),
        )
    }


def _sentences(count: int) -> list[bytes]:
    generator = np.random.default_rng(11)
    sizes = generator.integers(1, 20, count)
    return [" ".join(generator.choice(WORDS, size)).encode() + b"\n" for size in sizes]


@pytest.mark.parametrize("kind", ["bilstm", "bert"])
def test_every_word_gets_one_legal_tag(taggers, kind):
    lines = _sentences(40)
    seen = set()
    for line, answer in zip(lines, label_lines(taggers[kind, "tagging"], *lines), strict=True):
        words, tags = answer.split("\t")
        assert words == line.decode().rstrip("\n")
        assert len(tags.split(" ")) == len(words.split(" "))
        before = "O"
        for tag in tags.split(" "):
            assert tag in TAGGING.labels
            assert not tag.startswith("I-") or before[2:] == tag[2:]
            before = tag
        seen.update(tags.split(" "))
    assert len(seen) > 2  # the random model says something that can differ


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("bilstm", "tagging"),
        ("bert", "tagging"),
        ("electra", "classification"),
    ],
)
def test_a_prediction_does_not_depend_on_other_texts(taggers, kind, task):
    opened = taggers[kind, task]
    lines = _sentences(30)
    together = label_lines(opened, *lines)
    assert [label_lines(opened, line)[0] for line in lines] == together
    assert label_lines(opened, *reversed(lines)) == together[::-1]
    assert len({answer.partition("\t")[2] for answer in together}) > 1


def test_the_batch_size_does_not_change_predictions(taggers, monkeypatch):
    lines = [*_sentences(9), b"\n", *_sentences(3)]
    whole = label_lines(taggers["bilstm", "tagging"], *lines)
    monkeypatch.setattr(serving, "_TOGETHER", 4)
    assert label_lines(taggers["bilstm", "tagging"], *lines) == whole


def test_blank_lines_stay_blank_and_in_place(taggers):
    for opened in (taggers["bilstm", "tagging"], taggers["bert", "classification"]):
        answers = label_lines(opened, b"\n", b"Anna\n", b"  \t \r\n", b"\r\n", b"Bob")
        assert [bool(answer) for answer in answers] == [False, True, False, False, True]


def test_any_white_space_separates_words(taggers):
    (answer,) = label_lines(
        taggers["bert", "tagging"], " Anna\u3000went\u00a0to \u2028 Berlin \n".encode()
    )
    words, tags = answer.split("\t")
    assert words == "Anna went to Berlin"
    assert len(tags.split(" ")) == 4


def test_lines_end_in_newline_or_carriage_return_newline_only(taggers):
    text = "Anna\x0bwent\x85to\u2028Berlin\rwith"
    (answer,) = label_lines(taggers["bert", "classification"], f"{text}\r\n".encode())
    shown, label = answer.split("\t")
    assert shown == text
    assert label in CLASSES.labels
    assert label_lines(taggers["bert", "classification"], b"Anna\r")[0].startswith("Anna\r\t")


def test_a_byte_order_mark_belongs_to_no_word(taggers):
    marked, plain = (
        label_lines(taggers["bert", "tagging"], m + b"Anna") for m in (b"\xef\xbb\xbf", b"")
    )
    assert marked == plain


def test_invisible_characters_between_words_change_no_tag(taggers):
    lines = ("\u200eAnna \u200b  Berlin\u200f".encode(), b"Anna Berlin")
    hidden, plain = label_lines(taggers["bert", "tagging"], *lines)
    assert hidden == plain


def test_a_text_longer_than_a_row_gets_all_its_tags(taggers):
    (answer,) = label_lines(taggers["bilstm", "tagging"], b"Berlin " * 200)
    assert len(answer.split("\t")[1].split(" ")) == 200


def test_a_pair_is_two_texts_and_both_count(taggers):
    opened = taggers["bert", "classification"]
    lines = [b"Anna went", b"Anna went\tBob stayed", b"Bob stayed\tAnna went", b"Clara\tslept"]
    answers = label_lines(opened, *lines)
    assert [answer.count("\t") for answer in answers] == [1, 2, 2, 2]
    assert [label_lines(opened, line)[0] for line in lines] == answers
    with pytest.raises(
        InputError, match=r"texts:2: 3 texts between tabs: a line must be one text, or"
    ):
        label_lines(opened, b"Anna", b"a\tb\tc")


def test_a_line_that_is_not_utf8_is_named(taggers):
    with pytest.raises(InputError, match=r"texts:3: byte 6 of the line, 0xff, is not UTF-8"):
        label_lines(taggers["bert", "tagging"], b"Anna", b"", b"Anna \xff")


def test_a_folder_without_a_head_is_refused(tmp_path, tokenizer):
    folder = make_folder(tmp_path / "model", "bert", None, tokenizer)
    with pytest.raises(InputError, match="has no head for tagging or classification"):
        open_model(str(folder))


def test_a_folder_whose_classes_are_no_tags_is_refused(tmp_path, tokenizer):
    folder = make_folder(tmp_path / "model", "bert", Task("tagging", ("NOUN", "VERB")), tokenizer)
    with pytest.raises(InputError, match="tags words with classes such as 'NOUN'"):
        open_model(str(folder))


def test_the_folder_sets_the_length_of_rows_and_windows(tmp_path, tokenizer):
    recorded = open_model(str(make_folder(tmp_path / "a", "bilstm", TAGGING, tokenizer, SHORT)))
    assert (recorded.row_length, recorded.max_length) == (24, 12)
    foreign = open_model(str(make_folder(tmp_path / "b", "bert", TAGGING, tokenizer)))
    assert (foreign.row_length, foreign.max_length) == (48, 48)  # as many as it has positions


def test_a_head_that_is_initialized_again_is_a_warning(tmp_path, tokenizer, caplog):
    folder = make_folder(tmp_path / "model", "bert", None, tokenizer)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForTokenClassification"]
    config["id2label"] = dict(enumerate(TAGGING.labels))
    (folder / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING, "xdistil"):
        open_model(str(folder))
    assert "is new and not trained" in caplog.text


def test_a_short_text_takes_a_short_row_and_few_shapes_are_compiled(taggers, monkeypatch):
    shapes = set()
    real = jax_model.iterate_batches

    def iterate(subwords, rows, batch_rows, padding_id):
        shapes.add((batch_rows, rows.subword.shape[1]))
        return real(subwords, rows, batch_rows, padding_id)

    monkeypatch.setattr(jax_model, "iterate_batches", iterate)
    for count in range(1, 60):
        taggers["bilstm", "tagging"].tag([("Anna",) * count])
    assert shapes == {(1, 16), (1, 24), (2, 24), (4, 24)}
