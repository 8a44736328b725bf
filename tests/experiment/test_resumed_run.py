"""A run that was stopped resumes; a finished or changed one is recognised."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import train
from tests.experiment.tiny_run import arguments, read_json, read_lines
from xdistil.cli.overrides import parse_command
from xdistil.distill.checkpoint import Checkpoints
from xdistil.experiment.inspection import inspect_folder
from xdistil.experiment.run import run
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.workdir import claim_workdir, lock_workdir

CUTS = (
    ("teacher", "train", 12),
    ("student", "logits/projection", 2),
    ("baseline-0-0", "labels", 2),
)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, config, data) -> tuple[Path, dict[str, Any], dict[Any, str]]:
    """The same without a test file, and cut off three times; what could be told each time."""
    base = tmp_path_factory.mktemp("resumed")
    shutil.copytree(data, base / "task")
    (base / "task" / "test.tsv").unlink()
    experiment = parse_command(arguments(config, base / "task", base / "run")).experiment
    real, save, seen = RunLog.write, Checkpoints.save, {}

    def save_now(checkpoints: Checkpoints, checkpoint: Any) -> None:
        save(checkpoints, checkpoint)
        checkpoints.wait()  # what is told of a checkpoint depends on whether it is on disk

    for cut in CUTS:

        def record(run_log: RunLog, line: dict[str, Any], cut: Any = cut) -> None:
            if (line["plan"], line["stage"], line["step"]) == cut:
                seen[cut] = inspect_folder(base / "run")
                raise KeyboardInterrupt
            real(run_log, line)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunLog, "write", record)
            patch.setattr(Checkpoints, "save", save_now)
            with pytest.raises(KeyboardInterrupt):
                run(experiment, base / "run")
    return base / "run", run(experiment, base / "run"), seen


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(finished, resumed):
    """The same seed twice: the same bytes, though one was cut off three times."""
    workdir, results, seen = resumed
    assert tuple(seen) == CUTS
    whole, expected = finished
    for model in ("teacher", "student"):
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            assert (workdir / model / name).read_bytes() == (whole / model / name).read_bytes()
    assert results["stages"] == expected["stages"]
    assert results["student"]["dev"] == expected["student"]["dev"]
    assert results["baselines"][0]["dev"] == expected["baselines"][0]["dev"]
    ours, theirs = (
        [{**line, "tokens_per_second": 0} for line in read_lines(folder)]
        for folder in (workdir, whole)
    )
    assert ours == theirs


def test_a_folder_that_was_cut_off_tells_how_far_it_is(resumed):
    _, results, seen = resumed
    teacher, student, baseline = seen.values()
    assert "a run is active" in teacher
    assert "resumes after teacher 1/1 train, step 8: checkpoint 8 was saved" in teacher
    before = results["stages"][1]
    assert "resumes after student 2/5 logits/head, which is done:" in student
    reached = f"{100 * before['dev']['macro_f1']:.2f}"
    assert re.search(rf"student logits/head +{before['steps']} .* {reached} ", student)
    assert "logits/projection  " not in student  # it has not ended
    assert "student labels" in baseline
    assert "resumes after student 5/5 labels, which is done" in baseline


def test_the_test_set_never_influences_the_student(finished, resumed):
    """One run had a test set, the other none."""
    workdir, results, _ = resumed
    model = "student/model.safetensors"
    assert (workdir / model).read_bytes() == (finished[0] / model).read_bytes()
    for name in ("teacher", "student"):
        assert results[name]["test"] is None
        assert not (workdir / "predictions" / f"{name}.test.tsv").exists()
    assert results["baselines"][0]["test"] is None
    assert 0 <= results["retention"] < 10  # tiny models may find nothing
    read_json(workdir / "results.json")


def test_a_finished_workdir_prints_its_table_and_trains_nothing(
    finished, config, data, monkeypatch, capsys
):
    workdir, results = finished
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*.*") if path.is_file()}
    monkeypatch.setattr("xdistil.experiment.run.build", None)
    assert train.main(arguments(config, data, workdir)) == 0
    printed = capsys.readouterr().err
    assert "is finished" in printed
    assert "student" in printed
    for path, changed in before.items():
        assert path.name in ("train.log", ".lock") or path.stat().st_mtime_ns == changed
    experiment = parse_command(arguments(config, data, workdir)).experiment
    page = (workdir / "report.html").read_bytes()
    (workdir / "report.html").unlink()  # as in a workdir of an earlier version
    assert run(experiment, workdir) == json.loads(json.dumps(results))
    assert (workdir / "report.html").read_bytes() == page


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv", "test.tsv", "labels.tsv", "transfer.txt"])
def test_a_finished_workdir_of_other_data_is_refused_by_the_file(
    finished, config, data, tmp_path, capsys, name
):
    shutil.copytree(data, tmp_path / "task")
    path = tmp_path / "task" / name
    path.write_bytes(path.read_bytes() + b"\xff")  # no text: it is compared before it is read
    assert train.main(arguments(config, tmp_path / "task", finished[0])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{path} is not the " in last
    path.unlink()
    assert train.main(arguments(config, tmp_path / "task", finished[0])) == 2
    assert f"{name}, the " in capsys.readouterr().err.splitlines()[-1]


def test_a_finished_workdir_without_its_student_says_so(finished, config, data, tmp_path, capsys):
    workdir = tmp_path / "run"
    ignored = shutil.ignore_patterns("cache", "checkpoints", "figures", "teacher")
    shutil.copytree(finished[0], workdir, ignore=ignored)
    assert train.main(arguments(config, data, workdir)) == 0
    told = capsys.readouterr().err
    for name in ("figures", "teacher"):
        assert f"{name}/ is gone from {workdir}" in told
    weights = workdir / "student" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert train.main(arguments(config, data, workdir)) == 2
    assert "is not the student of the finished run: its model files have" in capsys.readouterr().err
    shutil.rmtree(workdir / "student")
    assert train.main(arguments(config, data, workdir)) == 2
    assert "is finished, but its student/ is gone: put it back" in capsys.readouterr().err


def test_a_workdir_of_another_config_is_refused_by_the_field(finished, config, data, capsys):
    workdir, _ = finished
    for more, words in (
        ("--config.seed=3", "seed=0"),
        ("--config.plan[1].lr=1e-4", "plan[1].lr=0.01"),
        ("--config.student.vocabulary=all", "student.vocabulary='seen'"),
    ):
        assert train.main(arguments(config, data, workdir, more)) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("train.py: ")
        assert words in last
    assert train.main(arguments(config, data, workdir, "--config.log_every=9")) == 0


def test_a_workdir_of_an_unfinished_run_is_refused_as_well(config, data, tmp_path, capsys):
    claim_workdir(tmp_path, parse_command(arguments(config, data, tmp_path)).experiment)
    assert train.main(arguments(config, data, tmp_path, "--config.seed=3")) == 2
    assert "seed=0" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def begun(tmp_path_factory, config, data) -> tuple[Path, Path]:
    """A workdir whose run was cut off in its teacher's first steps, and the data it read."""
    base = tmp_path_factory.mktemp("begun")
    shutil.copytree(data, base / "task")
    experiment = parse_command(arguments(config, base / "task", base / "run")).experiment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xdistil.experiment.run.train_teacher", None)
        with pytest.raises(TypeError):
            run(experiment, base / "run")
    return base / "run", base / "task"


@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv", "test.tsv", "labels.tsv", "transfer.txt"])
def test_one_byte_of_the_data_changed_is_refused_by_the_file(begun, config, tmp_path, capsys, name):
    workdir, folder = begun
    shutil.copytree(folder, tmp_path / "task")
    path = tmp_path / "task" / name
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"Anna", b"Anne", 1) if b"Anna" in content else content + b"\n"
    )
    if name == "labels.tsv":
        path.write_bytes(b"O\nB-LOC\nB-PER\nI-PER\n")
    assert train.main(arguments(config, tmp_path / "task", workdir)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{path} is not the " in last
    assert "another --workdir" in last


def test_a_file_of_the_data_that_is_gone_is_refused(begun, config, tmp_path, capsys):
    workdir, folder = begun
    shutil.copytree(folder, tmp_path / "task")
    (tmp_path / "task" / "test.tsv").unlink()
    assert train.main(arguments(config, tmp_path / "task", workdir)) == 2
    assert "test.tsv, the test with which the run in" in capsys.readouterr().err.splitlines()[-1]


def test_the_data_may_lie_elsewhere_when_a_run_goes_on(begun, config, tmp_path, monkeypatch):
    """What is compared is the content: the run comes as far as its teacher again."""
    workdir, folder = begun
    shutil.copytree(folder, tmp_path / "elsewhere")
    monkeypatch.setattr("xdistil.experiment.run.train_teacher", None)
    with pytest.raises(TypeError):
        train.main(arguments(config, tmp_path / "elsewhere", workdir))


def test_a_second_run_in_a_workdir_is_refused(config, data, tmp_path, capsys):
    with lock_workdir(tmp_path):
        assert train.main(arguments(config, data, tmp_path)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"train.py: Another run uses {tmp_path}")
