"""Examples that stay in their files, beside the same examples in a list."""

import gzip
import json
import logging
import tracemalloc
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import wrap
from xdistil.config import Data
from xdistil.data import packing as packing_module
from xdistil.data import subwords as subwords_module
from xdistil.data.corpus import hold_out, keep_languages, read_transfer, take_evenly
from xdistil.data.examples import Example, Task
from xdistil.data.lines import FileLines, read_lines
from xdistil.data.packing import load_packed, pack, pack_languages, save_packed
from xdistil.data.streamed import (
    JoinedExamples,
    StreamedExamples,
    count_inputs,
    cut_blocks,
    number_languages,
    stream_examples,
    take_examples,
)
from xdistil.data.subword_counts import count_subwords
from xdistil.data.subwords import (
    Cutting,
    Subwords,
    first_examples,
    join_subwords,
    subwords_fingerprint,
    tokenize,
    tokenize_blocks,
)
from xdistil.data.trim_tokenizer import count_ids
from xdistil.errors import InputError

TAGGING, CLASSES = Task("tagging", ("O",)), Task("classification", ("yes", "no"))
WORDS = ["new", "york", "berlin", "☂", "the", "teacher", "reads", "文"]


def write_sentences(folder: Path) -> tuple[list[tuple[Path, str]], list[Example]]:
    """A file of each format for tagging, and what is in them."""
    draw = np.random.default_rng(0)
    sentences = [tuple(draw.choice(WORDS, size)) for size in (1, 7, 3, 2, 5, 4, 1, 9)]
    lines = [" ".join(each) for each in sentences]
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf" + f"{lines[0]}\n\n{lines[1]}\r\n".encode())
    (folder / "b.tsv.gz").write_bytes(gzip.compress(f"{lines[2]}\n{lines[3]}".encode()))
    rows = [f"{i}\t{word}\tO" for i, word in enumerate(sentences[4], 1)]
    rows += ["", *(f"{i}\t{word}\tO" for i, word in enumerate(sentences[5], 1))]
    (folder / "c.conll").write_text("\n".join(rows))
    objects = ({"tokens": sentences[6], "language": "fr"}, {"tokens": sentences[7]})
    (folder / "d.jsonl").write_text("\n".join(map(json.dumps, objects)))
    names = (("a.txt", ""), ("b.tsv.gz", "de"), ("c.conll", ""), ("d.jsonl", "de"))
    spoken = ("und", "und", "de", "de", "und", "und", "fr", "de")
    examples = [Example(*each) for each in zip(sentences, [None] * 8, spoken, strict=True)]
    return [(folder / name, language) for name, language in names], examples


def write_texts(folder: Path) -> tuple[list[tuple[Path, str]], list[Example]]:
    """Files of pairs of texts, and what is in them."""
    pairs = [
        ("new york", "berlin"),
        ("the teacher", "reads the teacher"),
        ("文", "a b"),
        ("☂", "c"),
    ]
    (folder / "a.txt").write_text("".join(f"{a}\t{b}\n" for a, b in pairs[:2]))
    rows = ({"text_a": a, "text_b": b, "language": "fr"} for a, b in pairs[2:])
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    examples = [Example(pair, None, "de") for pair in pairs[:2]]
    examples += [Example(pair, None, "fr") for pair in pairs[2:]]
    return [(folder / "a.txt", "de"), (folder / "b.jsonl", "")], examples


@pytest.fixture(params=[TAGGING, CLASSES], ids=lambda task: task.kind)
def both(request, tmp_path) -> tuple[Task, StreamedExamples, list[Example]]:
    task = request.param
    paths, examples = (write_sentences if task is TAGGING else write_texts)(tmp_path)
    return task, stream_examples(paths, task.kind, raw=False, width=0), examples


def test_every_format_reads_as_a_list_does(both):
    _, streamed, examples = both
    assert streamed == examples == list(streamed)
    assert len(streamed) == len(examples)
    assert [streamed[i] for i in range(-len(examples), len(examples))] == examples * 2
    assert streamed[1:3] == examples[1:3]
    with pytest.raises(IndexError):
        streamed[len(examples)]
    assert streamed != [*examples[:-1], examples[0]]
    blocks = list(cut_blocks(streamed, 3))
    assert list(map(len, blocks))[:-1] == [3] * (len(blocks) - 1)
    assert list(chain.from_iterable(blocks)) == examples


def test_languages_and_sizes_are_those_of_a_list(both):
    _, streamed, examples = both
    halves = JoinedExamples(streamed.take(np.arange(2)), streamed.take(np.arange(2, len(examples))))
    assert list(halves) == examples
    assert [halves[0], halves[-1]] == [examples[0], examples[-1]]
    for each in (streamed, halves, JoinedExamples(examples[:3], streamed[3:])):
        names, codes = number_languages(each)
        assert [names[code] for code in codes] == [example.language for example in examples]
        assert names == list(dict.fromkeys(example.language for example in examples))
        assert count_inputs(each).tolist() == [len(example.inputs) for example in examples]
    for first in range(len(examples)):  # languages are numbered in the order of what is left
        (ours, places), (theirs, indices) = map(
            number_languages, (streamed[first:], examples[first:])
        )
        assert (ours, places.tolist()) == (theirs, indices.tolist())


def test_selections_are_those_of_a_list(both):
    _, streamed, examples = both
    joined = JoinedExamples(streamed[:2], examples[2:])  # of files and in memory
    for limit in range(len(examples)):
        assert take_evenly(streamed, limit) == take_evenly(examples, limit)
        assert list(take_evenly(joined, limit)) == take_evenly(examples, limit)
    in_files = take_examples(joined, np.array([0, 2])).first
    assert isinstance(in_files, StreamedExamples)  # they stay there
    assert in_files == examples[:1]
    for language in ("de", "fr", "und"):
        assert keep_languages(streamed, [language]) == keep_languages(examples, [language])
    ours, theirs = hold_out(streamed, 0.3, 1), hold_out(examples, 0.3, 1)
    assert all(map(StreamedExamples.__eq__, ours, theirs))
    twice = take_examples(streamed.take(np.array([0, 2, 3])), np.array([1, 2]))
    assert twice == [examples[2], examples[3]]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy")), min_size=1, max_size=30),
    st.sampled_from([0.1, 0.3, 0.7]),
)
def test_held_out_are_the_sentences_drawn_among_the_distinct_ones(sentences, fraction):
    examples = [Example((word,), None, language) for word, language in sentences]
    generator, held = np.random.default_rng(5), set()
    for language in sorted({language for _, language in sentences}):
        distinct = list(dict.fromkeys(word for word, spoken in sentences if spoken == language))
        count = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
        order = generator.permutation(len(distinct))[:count]
        held |= {(distinct[i], language) for i in order}
    rest, dev = hold_out(examples, fraction, 5)
    assert dev == [each for each in examples if (each.inputs[0], each.language) in held]
    assert rest == [each for each in examples if (each.inputs[0], each.language) not in held]


def same_subwords(ours: Subwords, theirs: Subwords) -> bool:
    return subwords_fingerprint(ours) == subwords_fingerprint(theirs)


def test_blocks_of_texts_in_files_have_the_subwords_of_a_list(both, tmp_path, monkeypatch):
    """In blocks of two examples, with words forgotten after every block."""
    task, streamed, examples = both
    tokenizer = wrap("wordpiece")
    whole = tokenize(examples, task, tokenizer, Cutting(8))
    counts = count_subwords(examples, task, whole, tokenizer)
    ids = count_ids(examples, task, tokenizer)
    monkeypatch.setattr(subwords_module, "BLOCK", 2)
    monkeypatch.setattr("xdistil.data.subword_counts.BLOCK", 2)
    monkeypatch.setattr("xdistil.data.word_subwords._MOST_WORDS", 0)
    parts = list(tokenize_blocks(streamed, task, tokenizer, Cutting(8)))
    assert len(parts) == len(examples) / 2
    assert same_subwords(join_subwords(parts), whole)
    assert count_subwords(streamed, task, whole, tokenizer) == counts
    assert count_ids(streamed, task, tokenizer).tolist() == ids.tolist()
    prefix = tokenize(examples[:3], task, tokenizer, Cutting(8))
    assert same_subwords(first_examples(whole, 3), prefix)
    for rows in (pack(whole, 8, 3), pack_languages(whole, 8, 3, examples, 2.0)):
        alone = not len(rows.quota)
        save_packed(
            tmp_path / "packed",
            parts,
            lambda subwords, folder, alone=alone: (
                pack(subwords, 8, 3, folder)
                if alone
                else pack_languages(subwords, 8, 3, streamed, 2.0, folder)
            ),
        )
        loaded, of_file = load_packed(tmp_path / "packed")
        assert same_subwords(loaded, whole)
        for name, values in vars(rows).items():
            assert getattr(of_file, name).tolist() == values.tolist()
            assert getattr(of_file, name).dtype == values.dtype


def test_a_file_is_logged_once_and_checked_at_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "xdistil")
    (tmp_path / "t.txt").write_text("a\n\nb\n")
    (tmp_path / "s.conll").write_text("1\ta\tO\n2-3\tbc\tO\n2\tb\tO\n")
    paths = [(tmp_path / name, "") for name in ("t.txt", "s.conll", "t.txt")]
    streamed = stream_examples(paths, "tagging", False, 0)
    assert list(streamed) == list(streamed)
    assert caplog.text.count("1 empty lines skipped") == 2  # two files
    assert caplog.text.count("1 rows of word ranges") == 1
    (tmp_path / "u.txt").write_text("a\nb\tc\n")
    with pytest.raises(InputError, match=r"u\.txt:2: 2 columns"):
        stream_examples([(tmp_path / "u.txt", "")], "tagging", False, 0)
    (tmp_path / "v.txt").write_text("a\tb\nc\n")
    with pytest.raises(InputError, match=r"v\.txt:2: 1 texts where 2 were expected"):
        stream_examples([(tmp_path / "v.txt", "")], "classification", False, 0)


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("a\nb\n")
    streamed = stream_examples([(path, "")], "tagging", False, 0)
    path.write_text("a\nbc\n")
    with pytest.raises(InputError, match=r"t\.txt was changed while it was read: start again\."):
        list(streamed)


@pytest.mark.parametrize(
    "content",
    [
        b"a\n\nb",
        b"a\r\nb\r\n",
        "a\u2028b\x85c\rd\n\n".encode(),
        b"\xef\xbb\xbf\xef\xbb\xbfa\n",
        b"\na",
    ],
)
def test_lines_of_a_file_are_those_of_its_text(tmp_path, content):
    for path, stored in (
        (tmp_path / "a.txt", content),
        (tmp_path / "a.gz", gzip.compress(content)),
    ):
        path.write_bytes(stored)
        assert list(FileLines(path)) == list(FileLines(path)) == read_lines(path)


@pytest.mark.parametrize(
    "content", [b"", b" \n\r\n", b"\xef\xbb\xbf\n", b"a\nb\xff\n", b"\xef\xbb\xbfa\rb\r", None]
)
def test_what_is_wrong_with_a_file_is_told_as_of_its_text(tmp_path, content):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    told = []
    for read in (read_lines, FileLines):
        with pytest.raises(InputError) as caught:
            list(read(path))
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_text_takes_a_few_bytes_until_it_is_tokenised(tmp_path):
    """Sentences of ten words, of which as a list each would take more than 100 bytes."""
    texts = 5000
    draw = np.random.default_rng(0)
    lines = (" ".join(f"word{i}" for i in draw.integers(500, size=10)) for _ in range(texts))
    (tmp_path / "transfer.txt").write_text("\n".join(lines))
    data = Data(transfer=str(tmp_path / "transfer.txt"))
    tracemalloc.start()
    examples = read_transfer(data, TAGGING)
    held, peak = tracemalloc.get_traced_memory()
    assert held < 12 * texts
    assert peak < 40 * texts
    tokenizer = wrap("wordpiece")
    tracemalloc.reset_peak()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subwords_module, "BLOCK", 100)
        patch.setattr("xdistil.data.subword_counts.BLOCK", 100)
        patch.setattr(packing_module, "_BLOCK", 100)
        parts = tokenize_blocks(examples, TAGGING, tokenizer, Cutting(64))
        save_packed(tmp_path / "packed", parts, lambda each, folder: pack(each, 64, 0, folder))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    subwords, _ = load_packed(tmp_path / "packed")
    assert len(subwords.tokens) > 50 * texts  # 14 bytes of files each, 12 more in rows
    assert peak < 300 * texts
