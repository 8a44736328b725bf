"""`xdistil trim`: a smaller folder, or one sentence and nothing written."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.hf.test_trim_folder import write_folder
from xdistil.cli.trim import main
from xdistil.data.tokenizer import load_tokenizer

ENGLISH, GERMAN = "the zz\ten:O O\n", "teach yy\tde:O O\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 61 subwords: 5 special ones, 52 letters and the, ##each, zz, yy."""
    return write_folder("wordpiece", tmp_path_factory.mktemp("trim") / "whole")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts in every format."""
    (tmp_path / "train.tsv").write_text((ENGLISH + GERMAN) * 2)
    (tmp_path / "plain.txt").write_text("the the\tyy\n\nteach\n")
    with gzip.open(tmp_path / "zipped.txt.gz", "wt") as file:
        file.write("zz\n")
    (tmp_path / "rows.jsonl").write_text('{"text": "yy", "label": "good", "language": "fr"}\n')
    (tmp_path / "columns.conll").write_text("the O\nzz O\n\n")
    return tmp_path


def trim(model: Path, folder: Path, texts: str, *more: str) -> int:
    files = ",".join(str(folder / name) for name in texts.split(","))
    return main([f"--model={model}", f"--texts={files}", f"--output={folder / 'small'}", *more])


def list_words(folder: Path) -> set[str]:
    return {"the", "##each", "zz", "yy"} & set(load_tokenizer(str(folder)).backend.get_vocab())


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        ("train.tsv", (), {"the", "##each", "zz", "yy"}),
        ("train.tsv", ("--languages=en",), {"the", "zz"}),
        ("train.tsv", ("--languages=en, de",), {"the", "##each", "zz", "yy"}),
        ("train.tsv,plain.txt", ("--least-count=3",), {"the", "yy", "##each"}),
        ("train.tsv,plain.txt", ("--limit=58",), {"the"}),
        ("plain.txt", (), {"the", "yy", "##each"}),
        ("zipped*", (), {"zz"}),
        ("rows.jsonl,columns.conll", (), {"yy", "the", "zz"}),
        ("rows.jsonl,columns.conll", ("--languages=fr",), {"yy"}),
    ],
)
def test_subwords_of_the_texts_stay(model, folder, texts, more, words, capsys):
    assert trim(model, folder, texts, *more) == 0
    assert list_words(folder / "small") == words
    table = capsys.readouterr().out.splitlines()
    numbers = {line[:16].strip(): line[16:].split() for line in table[1:5]}
    assert table[0].split() == ["before", "after"]
    assert numbers["subwords"] == ["61", str(57 + len(words))]
    before, after = (int(each.replace(",", "")) for each in numbers["parameters"])
    assert before - after == (4 - len(words)) * 18
    for name, file in (("model bytes", "model.safetensors"), ("tokenizer bytes", "tokenizer*")):
        sizes = [
            f"{sum(path.stat().st_size for path in where.glob(file)):,}"
            for where in (model, folder / "small")
        ]
        assert numbers[name] == sizes


def test_it_reports_the_share_of_split_subwords_and_the_files_not_copied(model, folder, capsys):
    (model / "vocab.txt").write_text("the\n")
    try:
        assert trim(model, folder, "plain.txt", "--least-count=2") == 0
    finally:
        (model / "vocab.txt").unlink()
    last = capsys.readouterr().out.splitlines()[-2:]
    # "the the", "yy", and "teach", which is "t" and "##each".
    assert last == ["2 of 5 subwords in the texts are now split further", "not copied: vocab.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--texts=T", "--output=O"], "--model is missing: name a folder."),
        (["--model=M", "--output=O"], "--texts is missing: name files."),
        (["--model=M", "--texts=T"], "--output is missing: name a new folder."),
        (["--model=M", "--texts=T", "--ouput=O"], "'--ouput' is not an option .* --output"),
        (["--model=M", "--texts=T", "--output=O", "more"], "'more' is not an option"),
        (["--limit=few"], "invalid int value: 'few'"),
        (["--model=M", "--texts=T", "--output=O", "--limit=-1"], "--limit is -1; "),
        (["--model=M", "--texts=T", "--output=O", "--least-count=0"], "--least-count is 0; "),
        (["--model=M", "--texts=T", "--output=."], "--output=. exists: name a new folder."),
        (
            ["--model=M", "--texts=T", "--output=no/O"],
            "--output=no/O is in a folder that does not exist: create no",
        ),
        (["--model=M", "--texts=T", "--output=O"], "--texts: no file matches 'T'."),
        (["--model=M", "--texts=,", "--output=O"], "--texts is ',': name files"),
    ],
)
def test_mistakes_in_the_arguments_are_reported_in_a_sentence(
    arguments, words, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert re.match(f"xdistil trim: .*{words}", told)
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("texts", "more", "words"),
    [
        ("nothing.txt", (), "nothing.txt is empty."),
        ("unknown.txt", (), "has no subword that the tokenizer knows."),
        (
            "train.tsv",
            ("--languages=en,it",),
            "--languages names 'it', but the texts are in",
        ),
        ("train.tsv", ("--limit=56",), "--limit is 56, but 57 subwords .* make it 57 or more."),
        ("untagged.tsv", (), "untagged.tsv:1: no tab"),
        ("other.pdf", (), "other.pdf has no known extension"),
        ("folder.txt", (), "folder.txt cannot be read"),
    ],
)
def test_unusable_texts_leave_nothing_behind(model, folder, texts, more, words, capsys):
    (folder / "nothing.txt").write_text(" \n")
    (folder / "unknown.txt").write_text("中文 ÷\n")
    (folder / "untagged.tsv").write_text("the zz\n")
    (folder / "other.pdf").write_text("the zz\n")
    (folder / "folder.txt").mkdir()
    before = set(folder.iterdir())
    assert trim(model, folder, texts, *more) == 2
    told = capsys.readouterr().err
    assert re.search(words, told)
    assert told.count("\n") == 1
    assert set(folder.iterdir()) == before


def test_an_existing_output_stays(model, folder, capsys):
    (folder / "small").mkdir()
    assert trim(model, folder, "plain.txt") == 2
    assert "small exists: name a new folder." in capsys.readouterr().err
    assert not list((folder / "small").iterdir())


def test_a_model_without_its_tokenizers_unknown_subword_is_refused(folder, capsys):
    model = write_folder("wordpiece", folder / "whole")
    path = model / "tokenizer.json"
    raw = json.loads(path.read_text().replace("[UNK]", "[ANY]"))
    raw["model"]["unk_token"] = "[UNK]"
    path.write_text(json.dumps(raw))
    assert trim(model, folder, "plain.txt") == 2
    assert re.search(r"has no tokenizer that can be used: .*\[UNK\]", capsys.readouterr().err)
    assert not (folder / "small").exists()


def test_a_folder_that_cannot_be_written_is_reported_and_removed(
    model, folder, capsys, monkeypatch
):
    monkeypatch.setattr("xdistil.models.hf.trim_folder.os.rename", _fail)
    assert trim(model, folder, "plain.txt") == 2
    assert "small cannot be written: " in capsys.readouterr().err
    assert not list(folder.glob("*small*")) + list(folder.glob(".*small*"))


def _fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_it_runs_as_a_command(model, folder):
    done = subprocess.run(
        [sys.executable, "-m", "xdistil", "trim", "--texts=T"],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "xdistil trim: --model is missing: name a folder.\n"
