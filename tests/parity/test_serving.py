"""Entities as transformers' token-classification pipeline finds them, and where it differs."""

from pathlib import Path

import numpy as np
import pytest
import transformers
from tokenizers import normalizers

import xdistil
from tests.deploy.folders import (
    TAGGING,
    WORDS,
    draw_params,
    make_folder,
    make_model,
    train_tokenizer,
)
from xdistil.config import Data
from xdistil.data.examples import Example
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.models.hf.folder import save_model


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our tagger and their pipeline of one BERT with random weights."""
    folder: Path = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(folder / "tokenizer")
    path = str(make_folder(folder / "bert", "bert", TAGGING, tokenizer))
    theirs = transformers.pipeline("token-classification", path, aggregation_strategy="first")
    return xdistil.load(path), theirs


def _places(found) -> list[tuple]:
    return [(each["entity_group"], each["start"], each["end"]) for each in found]


def test_entities_places_and_scores_are_equal_where_words_are_alike(both):
    ours, theirs = both
    generator = np.random.default_rng(3)
    spaces = (" ", "  ", "\u3000", "\t")
    texts = [
        "".join(word + str(generator.choice(spaces)) for word in generator.choice(WORDS, size))
        for size in generator.integers(1, 7, 60)
    ]
    seen = set()
    for text, tagged in zip(texts, ours.tag(texts), strict=True):
        expected = theirs(text)
        assert [(e.type, e.start, e.end) for e in tagged.entities] == _places(expected)
        scores = [entity.score for entity in tagged.entities]
        np.testing.assert_allclose(scores, [e["score"] for e in expected], atol=1e-5)
        seen.update(entity.type for entity in tagged.entities)
    assert seen == {"PER", "LOC"}
    assert any(e.last > e.first for tagged in ours.tag(texts) for e in tagged.entities)


@pytest.fixture(scope="module")
def each_word(tmp_path_factory):
    """Both of a BERT to which every word is an entity of its own: what they take for words."""
    folder: Path = tmp_path_factory.mktemp("models")
    words = Example((*WORDS, "Jose\u0301", "."), None, "en")
    train_wordpiece([words], 150, folder / "tokenizer")
    tokenizer = load_tokenizer(str(folder / "tokenizer"))
    tokenizer.backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=True)
    model = make_model("bert", TAGGING, tokenizer.vocabulary_size)
    params = draw_params(model)
    params["classifier"]["bias"][TAGGING.labels.index("B-LOC")] = 1000
    extra = write_preprocessing(Data(row_length=32))
    save_model(folder / "bert", model, params, TAGGING, tokenizer, extra)
    path = str(folder / "bert")
    theirs = transformers.pipeline("token-classification", path, aggregation_strategy="first")
    return xdistil.load(path), theirs


@pytest.mark.parametrize(
    ("text", "own", "other"),
    [
        ("Anna Lee", [(0, 4), (5, 8)], [(0, 4), (5, 8)]),
        ("Berlin, (Bob's.", [(0, 6), (6, 7), (8, 9), (9, 12), (12, 13), (13, 14), (14, 15)], None),
        ("文文Bob", [(0, 1), (1, 2), (2, 5)], None),
        # A symbol is a word of its own here.
        ("5€", [(0, 1), (1, 2)], [(0, 2)]),
        # A word that ends in an accent apart ends before it there: the tokenizer strips accents.
        ("Lee Jose\u0301 Bob", [(0, 3), (4, 9), (10, 13)], [(0, 3), (4, 8), (10, 13)]),
        ("Lee Jo\u0301se Bob", [(0, 3), (4, 9), (10, 13)], [(0, 3), (4, 9), (10, 13)]),
    ],
)
def test_words_and_known_differences(each_word, text, own, other):
    ours, theirs = each_word
    (tagged,) = ours.tag([text])
    assert [(word.start, word.end) for word in tagged.words] == own
    assert [(each["start"], each["end"]) for each in theirs(text)] == (other or own)
