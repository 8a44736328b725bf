"""MiniLM itself: against PyTorch layer by layer, saved and opened again, and with fewer
subwords."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models.samples import run
from xdistil.data.examples import Example, Task
from xdistil.data.packing import Batch, fill_batch, pack
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.models.families.bert import Encoder
from xdistil.models.hf.folder import Loaded, load_model, save_model
from xdistil.student.embeddings import svd_embeddings

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TAGGING = Task("tagging", LABELS)
ROWS = 2


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return load_tokenizer(str(model_folder))


@pytest.fixture(scope="module")
def sentences(data_folder: Path) -> list[Example]:
    lines = (data_folder / "wikiann5" / "transfer.txt").read_text("utf-8").split("\n")[:3000]
    return [Example(tuple(line.split(" ")), None, "und") for line in lines if line]


@pytest.fixture(scope="module")
def batch(tokenizer: Tokenizer, sentences: list[Example]) -> Batch:
    """A few packed rows of real sentences."""
    subwords = tokenize(sentences[:40], TAGGING, tokenizer, Cutting(64))
    return fill_batch(subwords, pack(subwords, 64, None), np.arange(ROWS), tokenizer.pad)


def segments(batch: Batch) -> list[tuple[int, np.ndarray, torch.Tensor]]:
    """Row, places and subwords of every segment."""
    found = []
    for row in range(ROWS):
        for number in range(1, batch.segment[row].max() + 1):
            places = np.flatnonzero(batch.segment[row] == number)
            found.append((row, places, torch.tensor(batch.tokens[row, places][None])))
    return found


def test_every_layer_of_packed_sentences_equals_pytorch_on_each_alone(
    model_folder: Path, batch: Batch
) -> None:
    loaded = load_model(str(model_folder))
    assert loaded.notes == ["Left out the pooler, which this task does not use."]
    ours = run(loaded.model, loaded.params, batch, attention=True)
    reference = transformers.AutoModel.from_pretrained(model_folder, attn_implementation="eager")
    for row, places, tokens in segments(batch):
        with torch.no_grad():
            theirs = reference.eval()(tokens, output_hidden_states=True, output_attentions=True)
        for mine, expected in zip(ours.hidden, theirs.hidden_states, strict=True):
            np.testing.assert_allclose(mine[row, places], expected[0], rtol=0, atol=1e-4)
        for mine, expected in zip(ours.attention, theirs.attentions, strict=True):
            inside = mine[row][:, places][:, :, places]
            np.testing.assert_allclose(inside, expected[0], rtol=0, atol=1e-4)


def make_tagger(model_folder: Path) -> Loaded:
    loaded = load_model(str(model_folder), task=TAGGING)
    assert isinstance(loaded.model, Encoder)
    # A fresh head says next to nothing; a wide one makes the comparison of logits sharp.
    head = {**loaded.params["classifier"], "kernel": 50 * loaded.params["classifier"]["kernel"]}
    return dataclasses.replace(loaded, params={**loaded.params, "classifier": head})


def test_a_tagger_opens_in_pytorch_with_the_same_logits(
    model_folder: Path, tokenizer: Tokenizer, batch: Batch, tmp_path: Path
) -> None:
    loaded = make_tagger(model_folder)
    save_model(tmp_path / "tagger", loaded.model, loaded.params, TAGGING, tokenizer, {})
    opened, report = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "tagger", output_loading_info=True
    )
    assert not any(report.values())
    ours = run(loaded.model, loaded.params, batch).logits
    assert ours.std() > 0.1
    for row, places, tokens in segments(batch):
        with torch.no_grad():
            theirs = opened.eval()(tokens).logits[0]
        np.testing.assert_allclose(ours[row, places], theirs, rtol=0, atol=1e-4)
    text = "Berlin is a city ."
    reopened = transformers.AutoTokenizer.from_pretrained(tmp_path / "tagger")
    assert reopened(text)["input_ids"] == tokenizer.backend.encode(text).ids


def test_a_trimmed_vocabulary_cuts_the_seen_text_the_same(
    tokenizer: Tokenizer, sentences: list[Example]
) -> None:
    subwords = tokenize(sentences, TAGGING, tokenizer, Cutting(512))
    kept = choose_subwords(tokenizer, count_ids(sentences, TAGGING, tokenizer))
    small = trim_tokenizer(tokenizer, kept)
    again = tokenize(sentences, TAGGING, small, Cutting(512))
    assert small.vocabulary_size == len(kept) < tokenizer.vocabulary_size / 2
    np.testing.assert_array_equal(kept[again.tokens], subwords.tokens)


def test_svd_of_the_word_embeddings_is_numpys(model_folder: Path) -> None:
    params = load_model(str(model_folder)).params
    table = params["embeddings"]["word_embeddings"]["embedding"][:4000]
    _, scales, _ = np.linalg.svd(table, full_matrices=False)
    ours = svd_embeddings(table, 50)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=0), scales[:50], rtol=1e-3)
