"""All real task folders read whole, and every word of them finds its label again."""

import time
from collections import Counter

import numpy as np
import pytest

from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Task, read_file, write_tsv
from xdistil.data.packing import pack
from xdistil.data.subword_counts import count_subwords
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tag_schemes import make_legal
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.word_alignment import label_subwords

ENTITIES = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")
# labels, sentences of train, dev, test and transfer, languages, texts of an example
SETS = {
    "wikiann5": (ENTITIES, (49_905, 9_993, 19_911, 97_724), 5, 0),
    "manylang": (ENTITIES, (50_149, 12_988, 23_515, 51_996), 69, 0),
    "sst2": (("negative", "positive"), (20_000, 872, 1_821, 10_000), 1, 1),
    "afrisenti12": (("negative", "neutral", "positive"), (16_000, 2_000, 2_000, 6_000), 12, 1),
    "nli4": (("entailment", "neutral", "contradiction"), (20_000, 2_000, 2_000, 6_000), 4, 2),
}


@pytest.fixture(scope="session")
def tokenizer(model_folder):
    return load_tokenizer(str(model_folder))


@pytest.fixture(scope="session", params=SETS)
def corpus(request, data_folder):
    return request.param, read_corpus(Data(folder=str(data_folder / request.param)), seed=0)


def test_a_set_has_its_sentences_labels_and_languages(corpus):
    name, read = corpus
    labels, counts, languages, texts = SETS[name]
    assert read.task.labels == labels
    assert read.task.kind == ("classification" if texts else "tagging")
    splits = (read.train, read.dev, read.test, read.transfer)
    assert tuple(map(len, splits)) == counts
    assert len({example.language for example in read.train}) == languages
    if texts:
        assert {len(example.inputs) for split in splits for example in split} == {texts}


def test_a_written_set_reads_back(corpus, tmp_path):
    _, read = corpus
    write_tsv(tmp_path / "test.tsv", read.test, [example.labels for example in read.test])
    assert read_file(tmp_path / "test.tsv", read.task) == read.test


@pytest.mark.parametrize("row_length", [32, 256])
def test_gold_labels_laid_in_rows_come_back_to_every_word(corpus, tokenizer, row_length):
    name, read = corpus
    examples = read.train if name == "sst2" else read.test
    subwords = tokenize(examples, read.task, tokenizer, Cutting(row_length))
    rows = pack(subwords, row_length, seed=0)
    assert np.sort(rows.subword[rows.subword >= 0]).tolist() == list(range(len(subwords.tokens)))
    logits = np.eye(len(read.task.labels))[subwords.labels[subwords.word >= 0]]
    collected = label_subwords(subwords, logits, examples, read.task, ARGMAX)
    if read.task.kind == "classification":
        assert collected == [example.labels for example in examples]
        return
    encode = tokenizer.backend.encode
    has_subword = {
        word: bool(encode([word], is_pretokenized=True, add_special_tokens=False).ids)
        for word in {word for example in examples for word in example.inputs}
    }
    expected = [
        make_legal(
            [
                tag if has_subword[word] else "O"
                for word, tag in zip(e.inputs, e.labels, strict=True)
            ]
        )
        for e in examples
    ]
    assert collected == expected
    silent = Counter(e.language for e in examples for word in e.inputs if not has_subword[word])
    assert (silent["th"] > 0) == (name == "manylang")


def test_sentences_are_cut_into_what_the_tokenizer_makes_of_them(corpus, tokenizer):
    _, read = corpus
    examples = read.dev[::7]
    tagging = read.task.kind == "tagging"
    subwords = tokenize(examples, read.task, tokenizer, Cutting(4096))
    found = [
        example.inputs if tagging or len(example.inputs) > 1 else example.inputs[0]
        for example in examples
    ]
    encodings = tokenizer.backend.encode_batch(found, is_pretokenized=tagging)
    assert subwords.tokens.tolist() == [i for encoding in encodings for i in encoding.ids]
    assert subwords.token_type.tolist() == [i for encoding in encodings for i in encoding.type_ids]


def test_the_scripts_the_tokenizer_cannot_write_are_told(data_folder, tokenizer):
    read = read_corpus(Data(folder=str(data_folder / "manylang")), seed=0)
    subwords = tokenize(read.test, read.task, tokenizer, Cutting(64))
    counts = count_subwords(read.test, read.task, subwords, tokenizer)
    poor = {language for language, count in counts.items() if count.unknown > 0.05}
    assert {"ml", "am", "my", "th"} & set(counts) <= poor
    assert not {"de", "en", "ru"} & poor
    assert counts["ml"].unknown == pytest.approx(0.83, abs=0.01)


def test_wikiann5_has_as_many_subwords_as_were_counted_elsewhere(data_folder, tokenizer):
    read = read_corpus(Data(folder=str(data_folder / "wikiann5")), seed=0)
    for examples, count in ((read.train, 827_515), (read.transfer, 2_351_724)):
        assert len(tokenize(examples, read.task, tokenizer, Cutting(4096)).tokens) == count


def test_limits_take_the_first_sentences_of_each_language_evenly(data_folder):
    fields = {"limit": 10_000, "transfer_limit": 20_000}
    read = read_corpus(Data(folder=str(data_folder / "wikiann5"), **fields), seed=0)
    assert set(Counter(example.language for example in read.train).values()) == {2_000}
    assert len(read.transfer) == 20_000


def test_reading_cutting_and_packing_cost_less_than_the_tokenizer_alone(data_folder, tokenizer):
    path = data_folder / "wikiann5" / "train.tsv"
    task = Task("tagging", ENTITIES)
    lines = path.read_text("utf-8").split("\n")[:-1]
    sentences = [line.split("\t")[0].split(" ") for line in lines]
    ours, bare = [], []
    for _ in range(3):
        began = time.perf_counter()
        pack(tokenize(read_file(path, task), task, tokenizer, Cutting(64)), 64, seed=0)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        tokenizer.backend.encode_batch(sentences, is_pretokenized=True)
        bare.append(time.perf_counter() - began)
    assert min(ours) <= min(bare) / 0.85
