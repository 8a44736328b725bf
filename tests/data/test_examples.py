"""Written files are read again, with any characters; invalid files are refused."""

import codecs
import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.data.strategies import CLASSES, TAGGING, hostile, tagged, texts
from xdistil.data.examples import Example, Task, read_file, write_tsv
from xdistil.errors import InputError


def test_written_examples_are_read_again(tmp_path):
    examples = [
        Example(("a\u2028b", "B-PER"), ("B-LOC", "O"), "fr"),
        Example(("c",), ("O",), "und"),
    ]
    path = tmp_path / "out.tsv"
    write_tsv(path, examples, [example.labels for example in examples])
    assert path.read_bytes().decode() == "a\u2028b B-PER\tfr:B-LOC O\nc\tO\n"
    assert read_file(path) == examples
    pairs = [Example(("a b", "c"), ("yes",), "fr"), Example(("d\te\nf", "g"), ("no",), "und")]
    write_tsv(path, pairs, [("no",), ("yes",)])
    assert path.read_text() == "a b\tc\tfr:no\nd e f\tg\tyes\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tsv"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "out.tsv"
    path.write_text("old")
    examples = [Example(("a",), None, "und"), Example(("b",), None, "und")]
    with pytest.raises(ValueError, match="zip"):
        write_tsv(path, examples, [("O",)])
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tsv"]


def test_a_gold_file_is_read_with_the_labels_of_the_task(tmp_path):
    path = tmp_path / "gold.tsv"
    path.write_text("a\tde:1\nb\t0\n")
    task = Task("classification", ("neg", "pos"))
    assert [(each.labels, each.language) for each in read_file(path, task)] == [
        (("pos",), "de"),
        (("neg",), "und"),
    ]
    path.write_text("a\tB-PER\n")
    with pytest.raises(InputError, match=re.escape(f"{path}:1: label 'B-PER' is not among")):
        read_file(path, task)
    assert read_file(path) == [Example(("a",), ("B-PER",), "und")]


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
def test_words_of_any_characters_are_read_unchanged_in_every_format(
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
def test_written_sentences_of_any_characters_are_read_again(tmp_path_factory, examples, language):
    path = tmp_path_factory.mktemp("written") / "a.tsv"
    examples = [Example(each.inputs, each.labels, language) for each in examples]
    write_tsv(path, examples, [each.labels for each in examples])
    assert read_file(path, TAGGING) == examples


@hostile
@given(st.lists(st.tuples(texts, texts, st.sampled_from(CLASSES.labels)), min_size=1, max_size=4))
@example([("\ufeff \r", "\r", "neg")])
def test_written_texts_of_any_characters_are_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "a.tsv"
    for width in (1, 2):
        examples = [Example(row[:width], row[2:], "und") for row in rows]
        write_tsv(path, examples, [each.labels for each in examples])
        assert read_file(path, CLASSES) == examples


JUNK = [
    *(b"a", b"1", b" ", b"\t", b"\n", b"\r\n", b"O", b"B-PER", b"I-", b"en:", b"#", b"1-2", b'"a"'),
    *(b'{"text":', b'"label": 1', b'{"tokens": ["a"], "tags": ["O"]}', b"}", b"[", b"{", b"\x00"),
    *(b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"-DOCSTART-", b"9" * 5000),
    *(
        b'{"text": "a b", "label": [[0, 1, "X"]]}',
        b'"ner_tags": [0]',
        b'"',
        b",",
        b";",
        b"text,label",
    ),
    *(b'{"tokenized_text": ["a"], "ner": [[0, 0, "X"]]}', b"text\tlabel", b"de:", b"U-X", b"per"),
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
    for extension in ("tsv", "csv", "conll", "txt", "jsonl"):
        path = folder / f"a.{extension}{'.gz' * zipped}"
        path.write_bytes(gzip.compress(content) if zipped else content)
        for task in (None, TAGGING, CLASSES):
            examples, sentence = read_or_refuse(path, task)
            assert bool(examples) != bool(sentence)
            assert all(each.inputs and each.labels for each in examples)
            assert "\n" not in sentence
            assert not sentence or str(path) in sentence
            assert len(sentence) < 1000


def test_the_number_of_a_class_whose_name_is_another_number_is_no_label(tmp_path: Path):
    path = tmp_path / "a.tsv"
    path.write_text("a\t1\nb\t0\n")
    with pytest.raises(InputError, match=r"a\.tsv:2: label '0' is not among"):
        read_file(path, Task("classification", ("1", "2", "5")))


def test_a_label_of_thousands_of_digits_is_a_label(tmp_path: Path):
    path = tmp_path / "a.tsv"
    path.write_text(f"a\t{'9' * 5000}\nb\t{'8' * 5000}\n")
    assert [each.labels[0][0] for each in read_file(path)] == ["9", "8"]
