"""What is refused before any training, and what a dry run prints of a run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import train
from tests.experiment.tiny_run import PARTS, arguments


def edit(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def second(new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [lines[0], new, *lines[2:]]


BAD_DATA = {
    "no folder": (shutil.rmtree, ["task", "not a folder"]),
    "no train": (remove("train.tsv"), ["no train file"]),
    "no dev": (remove("dev.tsv"), ["no dev file", "data.dev_fraction"]),
    "empty train": (edit("train.tsv", lambda lines: []), ["train.tsv"]),
    "empty dev": (edit("dev.tsv", lambda lines: []), ["dev.tsv"]),
    "tags missing": (edit("train.tsv", second(b"one two\ten:O")), ["train.tsv:2"]),
    "unknown label": (edit("dev.tsv", second(b"one\ten:B-ORG")), ["dev.tsv:2", "B-ORG"]),
    "illegal tags": (edit("train.tsv", second(b"a b\ten:O I-PER")), ["train.tsv:2"]),
    "no tab": (edit("train.tsv", second(b"one two O O")), ["train.tsv:2"]),
    "not UTF-8": (edit("train.tsv", second(b"\xff\xfe\ten:O")), ["train.tsv:2", "UTF-8"]),
    "transfer not UTF-8": (edit("transfer.txt", second(b"a \xff")), ["transfer.txt:2", "UTF-8"]),
    "test not UTF-8": (edit("test.tsv", second(b"a \xff\ten:O O")), ["test.tsv:2", "UTF-8"]),
}


def check_refused(arguments_: list[str], words: list[str], workdir: Path, capsys: Any) -> None:
    assert train.main(arguments_) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    last = printed.err.splitlines()[-1]
    assert last.startswith("train.py: ")
    assert last.endswith(".")
    for word in words:
        assert word in last
    left = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
    assert not left & {"teacher", "student", "config.json", "metrics.jsonl", "results.json"}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_end_before_any_training(config, data, tmp_path, capsys, name):
    damage, words = BAD_DATA[name]
    shutil.copytree(data, tmp_path / "task")
    damage(tmp_path / "task")
    workdir = tmp_path / "run"
    check_refused(arguments(config, tmp_path / "task", workdir), words, workdir, capsys)


ATTENTION = ("--config.plan[1].loss=logits+attention", "--config.student.kind=transformer")
IMPOSSIBLE = {
    "attention of a BiLSTM": (
        ATTENTION[:1],
        ["plan[1].loss has attention", "the student has none"],
    ),
    "unequal heads": (
        (*ATTENTION, "--config.student.hidden_size=12", "--config.student.heads=3"),
        ["plan[1].loss", "3 heads", "student.heads=2"],
    ),
    "no such layer": (
        ("--config.plan[0].hidden_map=2",),
        ["plan[0].hidden_map", "teacher layer 2"],
    ),
    "embeddings too wide": (("--config.student.embedding_size=9",), ["student.embedding_size"]),
    "rows too long": (("--config.data.row_length=600",), ["data.row_length is 600", "512"]),
    "no such language": (("--config.data.languages=en,fr",), ["data.languages", "'fr'", "el, en"]),
    "no such teacher": (("--config.teacher.model=./nowhere",), ["./nowhere"]),
    "no such checkpoint": (
        ("--config.student.kind=transformer", "--config.student.checkpoint=./nowhere"),
        ["./nowhere"],
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_impossible_ends_before_any_training(config, data, tmp_path, capsys, name):
    more, words = IMPOSSIBLE[name]
    workdir = tmp_path / "run"
    check_refused(arguments(config, data, workdir, *more), words, workdir, capsys)


def test_a_workdir_that_is_a_file_is_refused(config, data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train.main(arguments(config, data, tmp_path / "file")) == 2
    assert "--workdir=" in capsys.readouterr().err


def test_a_dry_run_tells_data_and_plan_and_leaves_nothing(config, data, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert train.main(arguments(config, data, workdir, "--dry-run")) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("JAX ")  # and the device, before an empty line
    assert printed.splitlines()[2].startswith("task: tagging (a tag per word)")
    table = printed[printed.index("\nlanguage ") + 1 :].splitlines()
    header, *lines, all_three = (line.split() for line in table[:5])
    assert header[:5] == ["language", "train", "dev", "test", "transfer"]
    assert [line[0] for line in lines] == ["en", "el", "und"]
    counts = np.array([[int(number.replace("-", "0")) for number in line[1:5]] for line in lines])
    assert counts.sum(axis=0).tolist() == [60, 16, 20, 40]
    assert sorted(counts.sum(axis=1), reverse=True) == counts.sum(axis=1).tolist()
    assert all_three[:6] == ["all", "3", "60", "16", "20", "40"]
    assert "\nteacher 1/1 train  " in printed
    for number, part in enumerate(PARTS, 1):
        assert f"\nstudent {number}/5 {part}  " in printed
    for words in (
        "  projection to bilstm  ",
        "  head to projection  ",
        "teacher's signals computed in the steps: logits and hidden states of dev, transfer\n",
        "parameters",
        "student vocabulary",
        "baseline labels only",
    ):
        assert words in printed
    assert not workdir.exists()


def test_a_verbose_dry_run_tells_layer_maps_groups_and_patience(config, data, tmp_path, capsys):
    command = arguments(config, data, tmp_path / "run", "--dry-run")
    assert train.main(command) == 0
    overview = capsys.readouterr().out
    assert train.main([*command, "--verbose"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(overview)
    for number, part in enumerate(PARTS, 1):
        assert f"\nstudent {number}/5 {part}: " in told
    for words in ("hidden 1 from 1", "trains head, projection;", "at most", "never stops early"):
        assert words in told
        assert words not in overview


def test_a_dry_run_counts_the_steps_that_are_then_taken(finished, config, data, tmp_path, capsys):
    _, results = finished
    command = arguments(config, data, tmp_path / "run", "--dry-run")
    assert train.main(command) == 0
    printed = capsys.readouterr().out
    assert train.main([*command, "--verbose"]) == 0
    told = capsys.readouterr().out
    for number, stage in enumerate(results["stages"], 1):
        name = f"student {number}/5 {stage['name']}"
        (row,) = (line for line in printed.splitlines() if line.startswith(f"{name}  "))
        assert row.split()[-3] == str(stage["limit"])
        (line,) = (line for line in told.splitlines() if line.startswith(f"{name}: "))
        assert f"at most {stage['limit']} steps" in line


def test_a_dry_run_refuses_what_a_run_refuses(config, data, tmp_path, capsys):
    more = ("--config.plan[0].hidden_map=9", "--dry-run")
    check_refused(
        arguments(config, data, tmp_path / "run", *more),
        ["plan[0].hidden_map"],
        tmp_path / "run",
        capsys,
    )
