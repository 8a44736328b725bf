"""Each file format, byte by byte, and the error for each fault."""

import gzip
import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistil.data.formats import find_format, read_records, read_texts
from xdistil.data.layouts import guess_kind
from xdistil.data.lines import read_lines
from xdistil.errors import InputError


@pytest.fixture
def save(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def records_of(path, kind):
    return [tuple(record) for record in read_records(path, read_lines(path), kind)]


def texts_of(path, kind):
    return [record.inputs for record in read_texts(path, read_lines(path), kind)]


def refuses(path, line, words, kind="tagging", read=records_of):
    with pytest.raises(InputError, match=re.escape(f"{path}:{line}: ") + ".*" + words) as caught:
        read(path, kind)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_lines_end_in_newline_or_carriage_return_and_newline_only(save):
    odd = "a\u2028b\x85c\x0bd\x0ce\rf\x1cg"
    assert read_lines(save("a.tsv", f"{odd}\r\n\n{odd}")) == [odd, "", odd]


def test_a_byte_order_mark_is_not_part_of_the_first_word(save):
    assert read_lines(save("a.tsv", b"\xef\xbb\xbfa\tO\n")) == ["a\tO"]


def test_a_parquet_file_names_the_extra_that_it_needs(save, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = save("train.parquet", b"PAR1")
    with pytest.raises(InputError, match=r"parquet is .* `pip install 'xdistil\[parquet\]'`"):
        read_lines(path)


def test_a_compressed_file_reads_like_the_plain_one(save):
    assert read_lines(save("a.tsv.gz", gzip.compress("é\tO\n".encode()))) == ["é\tO"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.tsv", b"", "is empty"),
        ("a.tsv", b" \n\r\n", "is empty"),
        ("a.tsv", b"a\tb\rc\td\r", r"its lines end in \\r alone"),
        ("a.tsv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.tsv.gz", b"a\tO\n", "gzip"),
        ("a.tsv.gz", gzip.compress(b"a\tO\n" * 99, mtime=0)[:-12], "gzip"),
        ("a.tsv", b"a\tO\nb\xff\tO\n", ":2: these bytes are not UTF-8"),
        ("a.tsv", "a\tO\n\nb".encode("utf-16"), ":1: these bytes are not UTF-8"),
    ],
)
def test_a_file_without_readable_text_is_refused(save, name, content, words):
    path = save(name, content)
    with pytest.raises(InputError, match=re.escape(str(path)) + ".*" + words):
        read_lines(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gone\.tsv does not exist"):
        read_lines(tmp_path / "gone.tsv")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} cannot be read: Is a directory")):
        read_lines(tmp_path)


def test_the_extension_gives_the_format_and_the_content_that_of_txt(save):
    def form(name, content):
        path = save(name, content)
        return find_format(path, read_lines(path))

    assert form("a.tsv", "a\tO\n\n") == "tsv"
    assert form("a.conll", "a O\n") == "conll"
    assert form("a.jsonl", "{}\n") == "jsonl"
    assert form("a.csv.gz", gzip.compress(b"text,label\n")) == "csv"
    assert form("a.txt", "a b\tO O\n") == "tsv"
    assert form("a.txt", "a\tO\n\nb\tO\n") == "conll"
    assert form("a.txt", "a O\nb O\n") == "conll"
    with pytest.raises(InputError, match=r"a\.xlsx has no known extension"):
        form("a.xlsx", "a,O\n")


def test_the_majority_of_labels_gives_the_kind_of_task(save):
    def kind(name, content):
        path = save(name, content)
        return guess_kind(path, read_lines(path))

    assert kind("a.tsv", "a b\tfr:O B-PER\nc\tO\nd\tmistake\n") == "tagging"
    assert kind("a.tsv", "a\tA\na\tB\na\tO\n") == "classification"
    assert kind("a.tsv", "a\tb\ten:1\n") == "classification"
    assert kind("a.conll", "a O\n") == "tagging"
    assert kind("a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n') == "tagging"
    assert kind("a.jsonl", '{"text": "a", "label": "O"}\n') == "classification"


def test_task_files_give_words_or_texts_and_the_label_as_written(save):
    path = save("a.tsv", "fr:x y\u00a0z\tfr:O B-PER\nw\tO\n")
    assert records_of(path, "tagging") == [
        (1, ("fr:x", "y\u00a0z"), "fr:O B-PER", None),
        (2, ("w",), "O", None),
    ]
    assert records_of(save("b.tsv", " a  b \tc\ten:1\n"), "classification") == [
        (1, (" a  b ", "c"), "en:1", None)
    ]


@pytest.mark.parametrize(
    ("content", "line", "words", "kind"),
    [
        ("a\tO\nb O\n", 2, "no tab", "tagging"),
        ("a\tO\n\nb\tO\n", 2, "an empty line", "tagging"),
        ("a\tO\nb  c\tO O\n", 2, "an empty word", "tagging"),
        ("a\tO\n b\tO\n", 2, "an empty word", "tagging"),
        ("a\tO\n\tO\n", 2, "an empty word", "tagging"),
        ("a\tb\tO\n", 1, "3 columns", "tagging"),
        ("a\t1\n\t1\n", 2, "an empty text", "classification"),
        ("a\t1\nb\t\n", 2, "an empty label", "classification"),
        ("a\tO\nb\t\n", 2, "an empty label", "tagging"),
        ("a\t1\ntext\n", 2, "no tab", "classification"),
    ],
)
def test_a_faulty_line_of_a_task_file_is_refused(save, content, line, words, kind):
    refuses(save("a.tsv", content), line, words, kind)


def test_conll_columns_give_a_sentence_for_each_empty_line(save):
    content = (
        "-DOCSTART- -X- O O\n\n# id = 1\nEU NNP X fr:B-ORG\nrejects VBZ Y O\n\n\n"
        "# NN Z O\n! NN Z O\n \nx NN Z O"
    )
    path = save("a.conll", content)
    assert records_of(path, "tagging") == [
        (4, ("EU", "rejects"), "fr:B-ORG O", None),
        (8, ("#", "!"), "O O", None),
        (11, ("x",), "O", None),
    ]
    assert texts_of(path, "tagging") == [("EU", "rejects"), ("#", "!"), ("x",)]


def test_conll_columns_may_be_separated_by_tabs(save):
    path = save("a.txt", "# text = a O\na\u00a0b\t_\tO\nc\t_\tO\n\nd\t_\tB-PER\n")
    assert records_of(path, "tagging") == [
        (2, ("a\u00a0b", "c"), "O O", None),
        (5, ("d",), "B-PER", None),
    ]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("a O\nb\n", 2, "1 columns where 2"),
        ("a O\nb X O\n", 2, "3 columns where 2"),
        ("a\nb\n", 1, "1 columns where 2"),
        ("a\tO\nb c\tO\n", 2, "is not a word"),
        ("a\tO\n\tO\n", 2, "is not a word"),
        ("a\tO\nb\t\n", 2, "is not a tag"),
        ("a O\n# b c d\n", 2, "4 columns where 2"),
    ],
)
def test_a_faulty_line_of_conll_columns_is_refused(save, content, line, words):
    refuses(save("a.conll", content), line, words)


def test_conll_columns_may_begin_with_the_number_of_the_word(save, caplog):
    caplog.set_level(logging.INFO, "xdistil")
    universal = (
        "# sent_id = 1\n1-2\tam\t_\t_\n1\tan\t_\tO\n2\tdem\t_\tO\n2.1\t_\t_\t_\n"
        "3\tSee\t_\tB-LOC\n\n# sent_id = 2\n1\t7\t_\tO\n"
    )
    path = save("a.conll", universal)
    assert records_of(path, "tagging") == [
        (3, ("an", "dem", "See"), "O O B-LOC", None),
        (9, ("7",), "O", None),
    ]
    assert "2 rows of word ranges or empty nodes" in caplog.text
    path = save("b.conll", "0 Ann B-PER\n1 lebt O\n\n0 1 O\n")
    assert [record[1] for record in records_of(path, "tagging")] == [("Ann", "lebt"), ("1",)]


@pytest.mark.parametrize(
    ("content", "first_words"),
    [
        ("1 O\n2 O\n", ("1", "2")),  # no column is left for a word
        ("1 CD O\n3 CD O\n", ("1", "3")),  # they count nothing
        ("1 CD O\n2 CD O\n\nof IN O\n", ("1", "2")),
        ("1 CD O\n", ("1",)),
        ("1-2 CD O\nwon VB O\n", ("1-2", "won")),
    ],
)
def test_numbers_that_are_words_stay_words(save, content, first_words):
    assert records_of(save("a.conll", content), "tagging")[0][1] == first_words


def test_json_lines_give_fields(save):
    rows = [
        {"tokens": ["a", "b"], "tags": ["B-PER", "O"], "language": "fr", "id": 7},
        {"tokens": ["c"], "tags": ["O"]},
    ]
    path = save("a.jsonl", "".join(json.dumps(row) + "\r\n" for row in rows))
    assert records_of(path, "tagging") == [
        (1, ("a", "b"), "B-PER O", "fr"),
        (2, ("c",), "O", None),
    ]
    rows = [
        {"text": "a\tb\nc", "label": 0, "language": "fr"},
        {"text_a": "d", "text_b": "e", "label": "pos"},
    ]
    path = save("b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert records_of(path, "classification") == [
        (1, ("a\tb\nc",), "0", "fr"),
        (2, ("d", "e"), "pos", None),
    ]


@pytest.mark.parametrize(
    ("row", "words", "kind"),
    [
        ("{", "not valid JSON", "tagging"),
        ("[" * 100_000, "not valid JSON", "tagging"),
        ("[]", "not a JSON object", "tagging"),
        ('{"tags": ["O"]}', "'tokens' is missing", "tagging"),
        ('{"tokens": [], "tags": []}', "'tokens' is", "tagging"),
        ('{"tokens": ["a"]}', "'tags' is missing", "tagging"),
        ('{"tokens": "a", "tags": ["O"]}', "'tokens' is", "tagging"),
        ('{"tokens": [1], "tags": ["O"]}', "'tokens' is", "tagging"),
        ('{"tokens": ["a b"], "tags": ["O"]}', "is not a word", "tagging"),
        ('{"tokens": [""], "tags": ["O"]}', "is not a word", "tagging"),
        ('{"tokens": ["a"], "tags": ["O O"]}', "is not a tag", "tagging"),
        ('{"tokens": ["\\ud83d"], "tags": ["O"]}', "surrogate", "tagging"),
        ('{"text": "a"}', "'label' is missing", "classification"),
        ('{"text": "a", "label": 1.5}', "'label' is 1.5", "classification"),
        ('{"text": "a", "label": "x\\ty"}', "contains a tab or a line end", "classification"),
        ('{"text": "a", "label": "x\\n"}', "contains a tab or a line end", "classification"),
        ('{"text": "a", "label": 1.0}', "'label' is 1.0", "classification"),
        ('{"text": "", "label": "1"}', "'text' is", "classification"),
        ('{"text_a": "a", "label": "1"}', "'text_b' is missing", "classification"),
        ('{"text": "a", "label": "1", "language": 3}', "'language' is 3", "classification"),
        ('{"text": "a", "label": "1", "language": "a:b"}', "is not a language", "classification"),
    ],
)
def test_a_faulty_json_line_is_refused(save, row, words, kind):
    good = '{"tokens": ["a"], "tags": ["O"], "text": "a", "label": "1"}'
    refuses(save("a.jsonl", f"{good}\n{row}\n"), 2, words, kind)


def test_texts_have_the_columns_of_the_labelled_files_without_the_label(save):
    assert texts_of(save("a.txt", "a b\n\nc\n"), "tagging") == [("a", "b"), ("c",)]
    assert texts_of(save("a.tsv", "a b\tc\n"), "classification") == [("a b", "c")]
    rows = '{"tokens": ["a", "b"]}\n{"tokens": ["c"], "language": "fr"}\n'
    assert texts_of(save("a.jsonl", rows), "tagging") == [("a", "b"), ("c",)]
    refuses(save("b.txt", "a\na b\tO O\n"), 2, "2 columns", "tagging", texts_of)
    # Prediction reads lines with other white space between words as well.
    assert texts_of(save("b.txt", "a\na  b\n a b\na b \nc\u00a0d\n"), "tagging") == [
        ("a",),
        *[("a", "b")] * 3,
        ("c\u00a0d",),
    ]


characters = st.characters(exclude_characters=" \t\n", exclude_categories=["Cs"])
words = st.lists(st.text(characters, min_size=1), min_size=1, max_size=5)


@given(st.lists(words, min_size=1, max_size=4))
def test_any_unicode_words_are_read_unchanged(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("words") / "a.tsv"
    lines = [" ".join(found) + "\t" + " ".join("O" * len(found)) + "\n" for found in sentences]
    path.write_bytes(("x\tO\n" + "".join(lines)).encode())
    read = [record[1] for record in records_of(path, "tagging")]
    assert read == [("x",), *map(tuple, sentences)]
