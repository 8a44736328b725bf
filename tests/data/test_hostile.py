"""Texts of any characters and files of any bytes: nothing is lost, nothing shifts."""

import codecs
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.conftest import BUILDERS, wrap
from xdistil.data.examples import Example, Task, read_file, write_tsv
from xdistil.data.packing import collect_predictions, pack
from xdistil.data.subwords import tokenize
from xdistil.data.tag_schemes import make_legal
from xdistil.errors import InputError

TAGGING = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
CLASSES = Task("classification", ("neg", "pos"))
TOKENIZERS = {name: wrap(name) for name in BUILDERS}

hostile = settings(derandomize=True, deadline=None, max_examples=60)

# Marks, right to left, without width, joined emoji, flags, NUL, line ends of Unicode, byte order
# mark, the last code point, a full-width form; and subwords that tokenizers treat as their own.
ODD = [
    *("e\u0301", "\u0301", "\u0915\u094d\u0937", "\u05e9\u05dc", "\u202eab\u202c", "\u200b"),
    *("\u200d", "👩\u200d👩\u200d👧", "🇩🇪", "\x00", "\u2028", "\x85", "\x0b", "\x1c", "\ufeff"),
    *("\U0010ffff", "ｆｕｌｌ", "文", "ß", "İ", "[SEP]", "[UNK]", "##lin", "▁the", "ab", "1", "#"),
]
characters = st.one_of(
    st.sampled_from(ODD), st.characters(exclude_characters=" \t\n\r", exclude_categories=["Cs"])
)
words = st.lists(characters, min_size=1, max_size=6).map("".join)
sentences = st.lists(words, min_size=1, max_size=6).map(tuple)
texts = st.lists(st.one_of(characters, st.sampled_from(" \r")), min_size=1, max_size=9).map("".join)


def tag(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Legal tags of every kind, told by place and word."""
    return make_legal([TAGGING.labels[(i + len(word)) % 5] for i, word in enumerate(inputs)])


tagged = st.lists(sentences.map(lambda inputs: Example(inputs, tag(inputs), "und")), max_size=4)


# Readers


WRITERS = {
    "tsv": lambda e: [" ".join(e.inputs) + "\t" + " ".join(e.labels)],
    "conll": lambda e: [*(f"{w}\t_\t{t}" for w, t in zip(e.inputs, e.labels, strict=True)), ""],
    "txt": lambda e: [*(f"{w}\t{t}" for w, t in zip(e.inputs, e.labels, strict=True)), ""],
    "numbered.conll": lambda e: [
        *(f"{i}\t{w}\t{t}" for i, (w, t) in enumerate(zip(e.inputs, e.labels, strict=True), 1)),
        "",
    ],
    "jsonl": lambda e: [json.dumps({"tokens": e.inputs, "tags": e.labels})],
}
FIRST = Example(("a", "b"), ("B-PER", "O"), "und")


@hostile
@given(tagged, st.sampled_from(sorted(WRITERS)), st.booleans(), st.booleans(), st.booleans())
def test_words_of_any_characters_are_read_as_they_stand_in_every_format(
    tmp_path_factory, examples, form, marked, returned, zipped
):
    examples = [FIRST, *examples]
    end = "\r\n" if returned else "\n"
    lines = [line for each in examples for line in WRITERS[form](each)]
    content = codecs.BOM_UTF8 * marked + "".join(line + end for line in lines).encode()
    path = tmp_path_factory.mktemp("read") / (f"a.{form}" + ".gz" * zipped)
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read_file(path, TAGGING) == examples


@hostile
@given(tagged.filter(bool), st.sampled_from(["und", "fr", "zh-Hans"]))
@example([Example(("\ufeffa", "b\rc"), ("O", "B-LOC"), "und")], "fr")
def test_what_is_written_is_read_again(tmp_path_factory, examples, language):
    path = tmp_path_factory.mktemp("written") / "a.tsv"
    examples = [Example(each.inputs, each.labels, language) for each in examples]
    write_tsv(path, examples, [each.labels for each in examples])
    assert read_file(path, TAGGING) == examples


@hostile
@given(st.lists(st.tuples(texts, texts, st.sampled_from(CLASSES.labels)), min_size=1, max_size=4))
@example([("\ufeff \r", "\r", "neg")])
def test_texts_that_are_written_are_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "a.tsv"
    for width in (1, 2):
        examples = [Example(row[:width], row[2:], "und") for row in rows]
        write_tsv(path, examples, [each.labels for each in examples])
        assert read_file(path, CLASSES) == examples


JUNK = [
    *(b"a", b"1", b" ", b"\t", b"\n", b"\r\n", b"O", b"B-PER", b"I-", b"en:", b"#", b"1-2", b'"a"'),
    *(b'{"text":', b'"label": 1', b'{"tokens": ["a"], "tags": ["O"]}', b"}", b"[", b"{", b"\x00"),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"-DOCSTART-", b"9" * 5000),
]
junk = st.lists(st.sampled_from(JUNK), max_size=25).map(b"".join)


def read_or_refuse(path: Path, task: Task | None) -> tuple[list[Example], str]:
    try:
        return read_file(path, task), ""
    except InputError as error:
        return [], str(error)


@hostile
@given(st.one_of(junk, st.binary(max_size=40)), st.booleans())
@example(b"a\tO\nb\t" + b"9" * 5000, False)
@example(b"1\ta\tO\n2\tb\tO\n1-2\tab\t_\n", True)
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory, content, zipped):
    folder = tmp_path_factory.mktemp("junk")
    for extension in ("tsv", "conll", "txt", "jsonl"):
        path = folder / f"a.{extension}{'.gz' * zipped}"
        path.write_bytes(gzip.compress(content) if zipped else content)
        for task in (None, TAGGING, CLASSES):
            examples, sentence = read_or_refuse(path, task)
            assert bool(examples) != bool(sentence)
            assert all(each.inputs and each.labels for each in examples)
            assert "\n" not in sentence
            assert not sentence or str(path) in sentence
            assert len(sentence) < 1000


# Subwords, rows, and predictions of words again


def predict(subwords, rows, task: Task) -> np.ndarray:
    """A fake model, i32[R,T]: it tags a subword by itself alone, a text by all of its subwords."""
    tokens = np.where(rows.subword >= 0, subwords.tokens[rows.subword], 0)
    if task.kind == "classification":
        segment = rows.segment + np.arange(len(rows.segment))[:, None] * (rows.segment.max() + 1)
        tokens = np.bincount(segment.ravel(), tokens.ravel()).astype(np.int64)[segment]
    return (tokens * 7 // 3 % len(task.labels)).astype(np.int32)


def answer(inputs, tokenizer, task, seed, max_length=12, row_length=16):
    unlabelled = [Example(each, None, "und") for each in inputs]
    subwords = tokenize(unlabelled, task, tokenizer, max_length)
    rows = pack(subwords, row_length, seed)
    predicted = predict(subwords, rows, task)
    return collect_predictions(subwords, rows, predicted, unlabelled, task)


def expect(inputs, tokenizer) -> tuple[str, ...]:
    """What `predict` says of each word, from the tokenizer's answer to that word alone."""
    tags = []
    for word in inputs:
        ids = tokenizer.backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids
        tags.append(TAGGING.labels[ids[0] * 7 // 3 % 5] if ids else "O")
    return make_legal(tags)


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(found=st.lists(sentences, min_size=1, max_size=6), seed=st.none() | st.integers(0, 9))
def test_a_prediction_belongs_to_its_word_whatever_stands_beside(name, found, seed):
    tokenizer = TOKENIZERS[name]
    together = answer(found, tokenizer, TAGGING, seed)
    assert together == [expect(inputs, tokenizer) for inputs in found]
    assert together == [answer([inputs], tokenizer, TAGGING, None)[0] for inputs in found]


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(found=st.lists(texts, min_size=1, max_size=6), seed=st.none() | st.integers(0, 9))
def test_a_text_is_answered_alike_alone_and_among_others(name, found, seed):
    tokenizer = TOKENIZERS[name]
    for inputs in ([(text,) for text in found], [(text, text[::-1]) for text in found]):
        together = answer(inputs, tokenizer, CLASSES, seed)
        assert [len(labels) for labels in together] == [1] * len(inputs)
        assert together == [answer([each], tokenizer, CLASSES, None)[0] for each in inputs]


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(examples=tagged.filter(bool), seed=st.none() | st.integers(0, 9))
def test_every_gold_word_that_has_a_subword_is_scored_exactly_once(name, examples, seed):
    tokenizer = TOKENIZERS[name]
    subwords = tokenize(examples, TAGGING, tokenizer, 12)
    rows = pack(subwords, 16, seed)
    at = rows.subword[rows.subword >= 0]
    assert sorted(at) == list(range(len(subwords.tokens)))
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    scored = [
        (int(owner[i]), int(subwords.word[i]), TAGGING.labels[subwords.labels[i]])
        for i in at
        if subwords.label_mask[i]
    ]
    backend = tokenizer.backend
    assert sorted(scored) == [
        (i, j, label)
        for i, each in enumerate(examples)
        for j, (word, label) in enumerate(zip(each.inputs, each.labels, strict=True))
        if backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids
    ]


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("character", ["a", "文", "\u0301", "\x00"])
def test_a_word_of_a_hundred_thousand_characters_shifts_nothing(name, character):
    tokenizer = TOKENIZERS[name]
    long = character * 100_000
    inputs = ("the", long, "ab", "the")
    assert answer([inputs], tokenizer, TAGGING, None)[0] == expect(inputs, tokenizer)


def test_a_label_of_thousands_of_digits_is_a_label(tmp_path: Path):
    path = tmp_path / "a.tsv"
    path.write_text(f"a\t{'9' * 5000}\nb\t{'8' * 5000}\n")
    assert [each.labels[0][0] for each in read_file(path)] == ["9", "8"]
