"""Prediction: offsets, backends that agree, and an environment without JAX."""

import contextlib
import dataclasses
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdistil
from tests.data.strategies import hostile, is_legal, sentences
from tests.deploy.folders import (
    CLASSES,
    TAGGING,
    WORDS,
    label_lines,
    make_folder,
    train_tokenizer,
)
from xdistil.config import Data
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Example
from xdistil.data.packing import pack
from xdistil.data.segmentation import cut_words, trim_span
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import load_tokenizer, open_tokenizer
from xdistil.data.word_alignment import label_subwords
from xdistil.deploy import jax_backend
from xdistil.deploy.jax_backend import open_model
from xdistil.deploy.onnx_export import export_onnx
from xdistil.deploy.predictor import Tagged, Tagger
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError
from xdistil.models.forward import predict_rows

KINDS = ("bilstm", "bert", "classes")

# A program that cannot import JAX, Flax or transformers.
WITHOUT = """
import json, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "transformers", "torch", "onnx"):
            raise ImportError(name + " is refused")
sys.meta_path.insert(0, Refuse())
import xdistil
texts = json.loads(sys.argv[2])
tagged = xdistil.load(sys.argv[1] + "/bert", backend="onnx").tag(texts)
classified = xdistil.load(sys.argv[1] + "/classes", backend="onnx").classify(texts)
print(json.dumps([[[w.tag for w in t.words] for t in tagged], [c.label for c in classified]]))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Folders `bilstm`, `bert` and `classes`, each with its ONNX file; windows of 12 subwords."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(folder / "tokenizer")
    for name in KINDS:
        task = CLASSES if name == "classes" else TAGGING
        kind = "bilstm" if name == "bilstm" else "bert"
        # Without the preprocessing in config.json only the ONNX file says how long texts may be.
        extra = {} if name == "bert" else write_preprocessing(Data(row_length=24, max_length=12))
        path = make_folder(folder / name, kind, task, tokenizer, extra)
        shown = [tuple(WORDS[:size]) for size in range(1, 9)]
        inputs = shown if task is TAGGING else [(" ".join(words), "Bob slept") for words in shown]
        export_onnx(open_model(str(path)), path, [Example(each, None, "en") for each in inputs])
    return folder


def _open(folders: Path, name: str, backend: str):
    return xdistil.load(str(folders / name), backend=backend)


@cache
def _open_once(folders: Path, name: str, backend: str):
    return _open(folders, name, backend)


def _draw(count: int) -> list[str]:
    generator = np.random.default_rng(count)
    return [" ".join(generator.choice(WORDS, size)) for size in generator.integers(1, 30, count)]


def _ask(opened, texts):
    return opened.classify(texts) if hasattr(opened, "classify") else opened.tag(texts)


def _scores(answers) -> list[float]:
    if isinstance(answers[0], Tagged):
        return [word.score for each in answers for word in each.words]
    return [score for each in answers for score in each.scores.values()]


def _labels(answers) -> list[str]:
    if isinstance(answers[0], Tagged):
        return [word.tag for each in answers for word in each.words]
    return [each.label for each in answers]


@pytest.mark.parametrize("name", KINDS)
def test_backends_agree_with_each_other_and_with_the_model_on_packed_rows(folders, name):
    texts = _draw(40)
    ours, theirs = (_ask(_open(folders, name, backend), texts) for backend in ("jax", "onnx"))
    assert _labels(ours) == _labels(theirs)
    np.testing.assert_allclose(_scores(ours), _scores(theirs), atol=1e-4, rtol=0)
    assert len(set(_labels(ours))) > 1
    split = [(text,) if name == "classes" else tuple(text.split()) for text in texts]
    opened = open_model(str(folders / name))
    examples = [Example(each, None, "und") for each in split]
    settings = Cutting(opened.max_length, opened.segmentation, opened.overlap)
    subwords = tokenize(examples, opened.task, opened.tokenizer, settings)
    rows = pack(subwords, opened.row_length, seed=3)
    logits = predict_rows(opened.model, opened.params, subwords, rows, 4, opened.tokenizer.pad)
    expected = label_subwords(subwords, logits, examples, opened.task, ARGMAX)
    assert _labels(ours) == [label for labels in expected for label in labels]


@pytest.mark.usefixtures("compile_fully")
@pytest.mark.parametrize("name", KINDS)
def test_other_texts_and_threads_change_nothing(folders, name):
    texts = _draw(30)
    for backend in ("jax", "onnx"):
        opened = _open(folders, name, backend)
        alone = [_ask(opened, [text])[0] for text in texts]
        together = _ask(opened, texts)
        assert _labels(together) == _labels(alone)
        np.testing.assert_allclose(_scores(together), _scores(alone), atol=1e-5, rtol=0)
        with ThreadPoolExecutor(8) as pool:
            asked = list(pool.map(lambda _, opened=opened: _ask(opened, texts), range(16)))
        assert all(answers == together for answers in asked)


def test_probabilities_are_those_of_the_logits(folders):
    opened = _open(folders, "classes", "onnx")
    (answer,) = opened.classify(["Anna went"])
    subwords = tokenize(
        [Example(("Anna went",), None, "und")], CLASSES, opened.predictor.tokenizer, Cutting(12)
    )
    logits = open_model(str(folders / "classes")).compute_logits(subwords)[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(list(answer.scores.values()), expected, atol=1e-5)
    assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]


@pytest.mark.parametrize("backend", ["jax", "onnx"])
def test_texts_words_blanks_and_words_without_subwords(folders, backend):
    opened = _open(folders, "bilstm", backend)
    text = "Anna \u200b Berlin"
    blank, raw, words, long = opened.tag([" ", text, text.split(), "Berlin " * 200])
    assert (blank.words, blank.entities) == ((), ())
    # In text the invisible character is no word; in words it gets a tag.
    assert [word.text for word in raw.words] == ["Anna", "Berlin"]
    assert [word.text for word in words.words] == text.split(" ")
    assert words.words[1].score == 0.0
    assert [word.tag for word in raw.words] == [words.words[0].tag, words.words[2].tag]
    assert len(long.words) == 200
    assert (long.words[-1].start, long.words[-1].end) == (7 * 199, 7 * 199 + 6)
    assert opened.tag([]) == []


def test_text_and_words_have_the_same_units_and_a_word_the_tag_of_its_first(folders):
    predictor = _open(folders, "bilstm", "onnx").predictor
    opened = Tagger(dataclasses.replace(predictor, max_length=512))
    text = "Anna-Lee went (Berlin) to 文文, \u200e Bob's"
    apart = list(cut_words((*text.split(" "),)))
    typed, units, words = opened.tag([text, apart, text.split(" ")])
    assert [(w.text, w.tag, w.score) for w in typed.words] == [
        (w.text, w.tag, w.score) for w in units.words
    ]
    first = {word.start: word.score for word in typed.words}
    assert [w.score for w in words.words] == [first.get(w.start, 0.0) for w in words.words]
    assert [w.text for w in words.words] == text.split(" ")


def test_marks_of_the_record_join_units_to_words_that_have_one_tag(folders, tmp_path):
    shutil.copytree(folders / "bilstm", tmp_path / "joined")
    config = json.loads((tmp_path / "joined" / "config.json").read_text())
    assert config["xdistil"]["joined"] == ""
    config["xdistil"]["joined"] = "-"
    (tmp_path / "joined" / "config.json").write_text(json.dumps(config))
    opened = _open(tmp_path, "joined", "onnx")
    typed, words = opened.tag(["Anna-Lee, Bob", ["Anna-Lee", ",", "Bob"]])
    assert [word.text for word in typed.words] == ["Anna-Lee", ",", "Bob"]
    assert [(w.tag, w.score) for w in typed.words] == [(w.tag, w.score) for w in words.words]
    assert label_lines(opened, b"Anna-Lee, Bob")[0].startswith("Anna-Lee , Bob\t")


@pytest.mark.parametrize("backend", ["jax", "onnx"])
def test_a_folder_says_how_its_tags_are_decoded(folders, tmp_path, backend):
    """The best of all legal tags of three words. A score is the share of the legal tags with it."""
    shutil.copytree(folders / "bilstm", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["xdistil"]["decoding"] == "argmax"
    config["xdistil"]["decoding"] = "viterbi"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    words = list(product(WORDS, repeat=3))[:400]
    plain = _open(folders, "bilstm", backend).predictor.predict(words)
    opened = _open(tmp_path, "model", backend)
    legal = [
        tags
        for tags in product(range(len(TAGGING.labels)), repeat=3)
        if is_legal([TAGGING.labels[tag] for tag in tags])
    ]
    differ = 0
    for inputs, before, tagged in zip(words, plain, opened.tag(words), strict=True):
        shares = {tags: before.scores[np.arange(3), list(tags)].prod() for tags in legal}
        best = max(legal, key=shares.__getitem__)
        expected = tuple(TAGGING.labels[tag] for tag in best)
        assert tuple(word.tag for word in tagged.words) == expected, inputs
        scores = [
            sum(share for tags, share in shares.items() if tags[at] == best[at])
            / sum(shares.values())
            for at in range(3)
        ]
        np.testing.assert_allclose([word.score for word in tagged.words], scores, rtol=1e-4)
        differ += expected != before.labels
    assert 20 < differ < 380


@hostile
@given(found=st.lists(sentences, min_size=1, max_size=4))
def test_words_that_are_handed_over_get_a_tag_each(folders, found):
    opened = _open_once(folders, "bilstm", "onnx")
    for inputs, tagged in zip(found, opened.tag(found), strict=True):
        assert tuple(word.text for word in tagged.words) == inputs
        assert tagged.text == " ".join(inputs)
        for word in tagged.words:
            assert tagged.text[word.start : word.end] == word.text
        for entity in tagged.entities:
            assert tagged.text[entity.start : entity.end] == entity.text
            assert trim_span(tagged.text, entity.start, entity.end) == (entity.start, entity.end)


def test_folders_of_earlier_versions_split_at_white_space(folders, tmp_path):
    """One that says `str.split`, or nothing: words are whole, and windows do not overlap."""
    shutil.copytree(folders / "bilstm", tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    text = "Berlin, Anna. \u200e " * 9
    examples = [Example(tuple(text.split()), None, "und")]
    for record in ({"words": "str.split", "row_length": 24, "max_length": 12}, {}):
        config["xdistil"] = record
        (tmp_path / "old" / "config.json").write_text(json.dumps(config))
        opened = _open(tmp_path, "old", "jax")
        (tagged,) = opened.tag([text])
        assert [word.text for word in tagged.words] == text.split()
        length = opened.predictor.max_length
        subwords = tokenize(examples, TAGGING, opened.predictor.tokenizer, Cutting(length))
        logits = opened.predictor.compute_logits(subwords)
        carried = logits[subwords.word >= 0]
        expected = label_subwords(subwords, carried, examples, TAGGING, ARGMAX)
        assert [tuple(word.tag for word in tagged.words)] == expected
    config["xdistil"] = {"words": "sentencepiece"}
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"xdistil.words is 'sentencepiece'; it must be str.split"):
        _open(tmp_path, "old", "jax")


def test_it_runs_where_jax_flax_and_transformers_cannot_be_imported(folders):
    texts = _draw(5)
    command = [sys.executable, "-c", WITHOUT, str(folders), json.dumps(texts)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    tags, labels = json.loads(done.stdout)
    tagged = _open(folders, "bert", "jax").tag(texts)
    assert tags == [[word.tag for word in each.words] for each in tagged]
    assert labels == _labels(_open(folders, "classes", "jax").classify(texts))


def test_a_tokenizer_opened_without_transformers_is_the_same(folders):
    plain = open_tokenizer(folders / "bert", words=True)
    whole = load_tokenizer(str(folders / "bert"), words=True)
    for name in ("cls", "sep", "pad", "unk", "vocabulary_size", "typed"):
        assert getattr(plain, name) == getattr(whole, name) is not None
    examples = [Example(tuple(text.split()), None, "und") for text in _draw(9)]
    ours, theirs = (tokenize(examples, TAGGING, each, Cutting(12)) for each in (plain, whole))
    for name, values in vars(ours).items():
        np.testing.assert_array_equal(values, getattr(theirs, name))


def test_mistakes_are_one_sentence(folders, tmp_path):
    opened = _open(folders, "bert", "onnx")
    with pytest.raises(InputError, match="`tag` takes a list of texts, not 'Anna'"):
        opened.tag("Anna")
    for wrong in (3, "\ud800", ["a", 3]):
        with pytest.raises(InputError, match=r"^Text 1 is .*must be a text or a list of words"):
            opened.tag(["Anna", wrong])
    with pytest.raises(InputError, match=r"^Text 0 is .*must be a text or a pair of texts"):
        _open(folders, "classes", "onnx").classify([("a", "b", "c")])
    with pytest.raises(InputError, match="backend is 'torch'; it must be jax, onnx, int8"):
        xdistil.load(str(folders / "bert"), backend="torch")
    with pytest.raises(InputError, match=r"model_quantized.onnx does not exist: `xdistil export`"):
        xdistil.load(str(folders / "bert"), backend="int8")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folders / "bert" / name).read_bytes())
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"model.onnx is not an ONNX file that can be run"):
        xdistil.load(str(tmp_path), backend="onnx")


def test_the_service_of_the_docs_returns_the_models_predictions(folders, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"<!-- service -->\n```python\n(.*?)```", page, re.DOTALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for word, other in (
        ('"FOLDER"', repr(str(folders / "bert"))),
        ('"int8"', '"onnx"'),
        ('("0.0.0.0", 8000)', repr(("127.0.0.1", port))),
    ):
        assert shown.count(word) == 1
        shown = shown.replace(word, other)
    (tmp_path / "service.py").write_text(shown, encoding="utf-8")
    here = str(Path(__file__).parents[2])
    service = subprocess.Popen(
        [sys.executable, str(tmp_path / "service.py")],
        env={**os.environ, "PYTHONPATH": here},
        stderr=subprocess.DEVNULL,
    )

    def ask(body: bytes) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/", body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    try:
        for _ in range(600):
            with contextlib.suppress(ConnectionRefusedError):
                ask(b"[]")
                break
            time.sleep(0.1)
        texts = _draw(20)
        tagged = _open(folders, "bert", "onnx").tag(texts)
        expected = [[dataclasses.asdict(entity) for entity in each.entities] for each in tagged]
        assert any(expected)
        assert ask(json.dumps(texts).encode()) == (200, expected)
        code, told = ask(b'"one text"')
        assert (code, list(told)) == (400, ["error"])
    finally:
        service.kill()
        service.wait()


def test_a_forked_process_is_told_how_to_use_a_model(folders, monkeypatch):
    opened = _open(folders, "bilstm", "jax")
    monkeypatch.setattr(jax_backend.os, "getpid", lambda: jax_backend._process + 1)
    with pytest.raises(InputError, match="which was forked from it: call xdistil"):
        opened.tag(["Anna"])
    with pytest.raises(InputError, match="which was forked from it"):
        _open(folders, "bilstm", "jax")
    assert _open(folders, "bilstm", "onnx").tag(["Anna"])
