"""Prediction with files of every format: input, output and errors."""

import gzip
import json
from pathlib import Path

import pytest

import xdistil
from tests.deploy.folders import CLASSES, TAGGING, make_folder, train_tokenizer
from xdistil.cli.predict import main
from xdistil.config import Data
from xdistil.data import text_stream as streams
from xdistil.data.text_stream import read_stream
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError

SENTENCES = [("Anna", "went", "to", "Berlin"), ("Bob",)]
FILES = {
    "in.txt": "Anna went  to Berlin\nBob\n",
    "in.tsv": "Anna went to Berlin\ten:O O O O\nBob\tO\n",
    "in.conll": "# c\nAnna\tO\nwent\tO\nto\tO\nBerlin\tO\n\nBob\tO\n",
    "in.json": '[{"tokens": ["Anna", "went", "to", "Berlin"]},\n{"content":\n" Bob"}]\n',
    "in.jsonl": '{"tokens": ["Anna", "went", "to", "Berlin"], "id": 3}\r\n{"text": " Bob"}\n',
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer(folder / "tokenizer")
    short = write_preprocessing(Data(row_length=24))
    make_folder(folder / "tagging", "bilstm", TAGGING, tokenizer, short)
    make_folder(folder / "classes", "bert", CLASSES, tokenizer, short)
    return folder


def _label(models: Path, sentences: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    answers = xdistil.load(str(models / "tagging")).predictor.predict(sentences)
    return [answer.labels for answer in answers]


@pytest.mark.parametrize("name", [*FILES, "in.conll.gz"])
def test_every_format_is_read_by_its_ending_and_by_name(models, tmp_path, capfdbinary, name):
    source = tmp_path / name
    content = FILES[name.removesuffix(".gz")].encode()
    source.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    labels = _label(models, SENTENCES)
    expected = "".join(
        f"{' '.join(words)}\t{' '.join(tags)}\n"
        for words, tags in zip(SENTENCES, labels, strict=True)
    )
    given = [f"--model={models}/tagging", "--output-format=tsv"]
    assert main([*given, f"--input={source}"]) == 0
    assert capfdbinary.readouterr().out.decode() == expected
    if not name.endswith(".gz"):
        form = {"txt": "text"}.get(name[3:], name[3:])
        plain = source.rename(tmp_path / "in")
        assert main([*given, f"--input={plain}", f"--format={form}"]) == 0
        assert capfdbinary.readouterr().out.decode() == expected


def test_json_lines_have_offsets_and_scores(models, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out.jsonl"
    source.write_bytes("Anna\u3000went to  Berlin\r\n\nBob\n".encode())
    assert main([f"--model={models}/tagging", f"--input={source}", f"--output={target}"]) == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["text"] for row in rows] == ["Anna\u3000went to  Berlin", "", "Bob"]
    assert rows[0]["offsets"] == [[0, 4], [5, 9], [10, 12], [14, 20]]
    assert (rows[1]["tokens"], rows[1]["entities"]) == ([], [])
    for row in rows:
        assert all(0.2 <= score <= 1 for score in row["scores"])
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    assert any(row["entities"] for row in rows)


def test_conll_is_read_as_it_was_written(models, tmp_path):
    source, target = tmp_path / "in.txt", tmp_path / "out.conll"
    source.write_text("Anna went\n\nBob\n")
    assert main([f"--model={models}/tagging", f"--input={source}", f"--output={target}"]) == 0
    labels = _label(models, [("Anna", "went"), ("Bob",)])
    rows = [line.split("\t") for line in target.read_text().splitlines()]
    assert rows == [["Anna", labels[0][0]], ["went", labels[0][1]], [""], ["Bob", *labels[1]], [""]]


def test_classes_in_json_lines_and_in_a_task_file(models, tmp_path, capfdbinary):
    source = tmp_path / "in.tsv"
    source.write_text("Anna went\tgood\nBob\tAnna\tbad\n")
    model = f"--model={models}/classes"
    assert main([model, f"--input={source}", "--output-format=jsonl"]) == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [set(row) for row in rows] == [
        {"text", "label", "scores"},
        {"text_a", "text_b", "label", "scores"},
    ]
    for row in rows:
        assert row["label"] == max(row["scores"], key=row["scores"].get)
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "content", "arguments", "sentence"),
    [
        (
            "tagging",
            "Anna\tO\nBob\n",
            ["--format=tsv"],
            "in:2: no tab: a line must be words<TAB>tags.",
        ),
        ("tagging", "Anna O\n", ["--format=jsonl"], "in:1: this line is not valid JSON."),
        ("tagging", "{}", ["--format=jsonl"], "in:1: there is no field 'tokens' or 'text': the"),
        (
            "classes",
            '{"text": "a\\nb"}',
            ["--format=jsonl", "--output-format=tsv"],
            "a text with a tab or line end",
        ),
        ("classes", "Anna\n", ["--output-format=conll"], "CoNLL columns hold tags of words"),
        ("tagging", "Anna\n", ["--backend=onnx"], "model.onnx does not exist: `xdistil export`"),
        ("tagging", "Anna\n", ["--format=xml"], "Argument --format: invalid choice: 'xml'"),
    ],
)
def test_an_invalid_line_is_refused_in_one_sentence(
    models, tmp_path, capsys, model, content, arguments, sentence
):
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text(content)
    given = [f"--model={models}/{model}", f"--input={source}", f"--output={target}", *arguments]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not target.exists()


def test_a_truncated_gzip_file_is_refused(models, tmp_path, capsys):
    source = tmp_path / "in.txt.gz"
    source.write_bytes(gzip.compress(b"Anna went\n" * 99)[:-12])
    assert main([f"--model={models}/tagging", f"--input={source}"]) == 2
    assert "is not a whole gzip file: compress it again." in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "tsv", "conll", "jsonl"])
def test_a_file_is_read_no_further_than_needed_and_its_lines_are_counted(form):
    row = {"text": b"a\n", "tsv": b"a\tO\n", "conll": b"a\tO\n\n", "jsonl": b'{"text": "a"}\n'}
    taken = 0

    def read():
        nonlocal taken
        for _ in range(10_000):
            for line in row[form].splitlines(keepends=True):
                taken += 1
                yield line

    texts = read_stream(read(), "file", form, "tagging")
    assert next(texts).line == 1
    assert taken <= 2048
    step = 2 if form == "conll" else 1
    lines = [text.line for text in texts]
    assert lines == [1 + step * index for index in range(1, 10_000)]
    bad = [*[row[form]] * 3, b"\xff\n"] if form != "conll" else [b"a\tO\n", b"\n", b"\xff\n"]
    with pytest.raises(InputError, match=f"file:{len(bad)}: byte 1 of the line, 0xff"):
        list(read_stream(bad, "file", form, "tagging"))


@pytest.mark.parametrize(
    ("lines", "found", "told"),
    [
        ("en:Ann\tB-PER\nen:went\tO\n\nen:Bob\tO\n", [("Ann", "went"), ("Bob",)], True),
        ("de:Ann O B-PER\nde:: O O\n\nfr:x O O\n", [("Ann", ":"), ("x",)], True),
        ("en:Ann\nen:went\n\nen:Bob\n", [("Ann", "went"), ("Bob",)], True),
        ("en:Ann\nen:went\n", [("Ann", "went")], True),
        ("en:Ann\n", [("en:Ann",)], False),
        ("Ann\nwent\n\n#\nBob\n", [("Ann", "went"), ("#", "Bob")], False),
        ("Ann 3 a\nwent 4 b\n\nen:x 5 c\n", [("Ann", "went"), ("en:x",)], False),
        ("Ann\tO\nen:x\tO\n\nen:Bob\tO\n", [("Ann", "en:x"), ("en:Bob",)], False),
    ],
)
def test_columns_to_predict_need_no_tags_and_lose_their_languages(lines, found, told, caplog):
    content = lines.encode().splitlines(keepends=True)
    texts = list(read_stream(content, "file", "conll", "tagging"))
    assert [text.inputs for text in texts] == found
    assert ("the language stands before each word" in caplog.text) is told


def test_a_word_and_its_tag_are_no_text_that_is_typed():
    for row in (b"Ann\tB-PER\n", b"en:Ann\tNN\tO\n"):
        with pytest.raises(InputError, match=r"file:2: .* is a word and its tag: set --format=con"):
            list(read_stream([b"\n", row], "file", "text", "tagging"))
        assert len(list(read_stream([b"a b\n", row], "file", "text", "tagging"))) == 2
    assert len(list(read_stream([b"Ann\tO\n"], "file", "text", "classification"))) == 1


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_fields_are_named_by_the_user(form):
    lines = [b'{"id": 3, "note": "Ann went", "text": "x", "b": "y"}\n']

    def read(columns, kind="classification"):
        return list(read_stream(lines, "file", form, kind, columns=columns))

    assert [text.inputs for text in read("text:note")] == [("Ann went",)]
    task = [b'{"data": {"note": "Ann went", "url": "x"}, "annotations": []}']
    (text,) = read_stream(task, "file", form, "classification", columns="text:note")
    assert text.inputs == ("Ann went",)
    assert [text.inputs for text in read("text_a:b,text_b:note")] == [("y", "Ann went")]
    (text,) = read("text:note", "tagging")
    assert (text.inputs, text.raw) == (("Ann", "went"), "Ann went")
    assert text.fields["id"] == 3
    with pytest.raises(InputError, match="file:1: there is no field 'c', which --columns names"):
        read("text:c")


@pytest.mark.parametrize("content", ['{"id": 3}', '{"tokens": ["a"]}', '{"body_text": "a"}', "{}"])
def test_a_classifier_without_text_says_what_the_field_is_called(content):
    with pytest.raises(InputError, match="file:1: there is no field 'text', or 'text_a' and 'te"):
        list(read_stream([content.encode()], "file", "jsonl", "classification"))


def test_the_first_sentences_of_conll_columns_determine_the_columns(monkeypatch):
    def read(*sentences: str) -> list[tuple[str, ...]]:
        lines = "\n\n".join(sentences).encode().splitlines(keepends=True)
        return [text.inputs for text in read_stream(lines, "file", "conll", "tagging")]

    monkeypatch.setattr(streams, "_SENTENCES", 1)
    numbered = "1\tAnna\tO\n2\twent\tO"
    # One row alone does not tell a number from a word.
    assert read("# c", numbered, "1\tBob\tO") == [("Anna", "went"), ("Bob",)]
    with pytest.raises(InputError, match="file:4: 'Bob' is not a word number"):
        read(numbered, "Bob\tNN\tO")
    with pytest.raises(InputError, match="file:3: 3 columns where 2 were expected"):
        read("Anna\tO", "Bob\tNN\tO")
    with pytest.raises(InputError, match="file:3: 1 columns where 2 were expected"):
        read("Anna\tO", "Bob O")
