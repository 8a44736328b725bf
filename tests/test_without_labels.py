"""A run without labels: a fine-tuned teacher and raw texts suffice; gold files are scored."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.results.folders import make_folder
from tests.test_flow import (
    CONFIG,
    FILLERS,
    LABELS,
    NAMES,
    _compile_quickly,
    arguments,
    read_json,
    read_lines,
    write_task,
)
from xdistil.command import parse_command
from xdistil.data.examples import Example, Task, read_file
from xdistil.data.pieces import load_tokenizer
from xdistil.data.vocabulary import train_wordpiece
from xdistil.flow import run
from xdistil.journal import Journal
from xdistil.models.folders import load_model
from xdistil.results.scores import score
from xdistil.results.tagger import open_tagger

__all__ = ["_compile_quickly"]
TASK = Task("tagging", LABELS)
PARTS = ("representation", "logits/head", "logits/projection", "logits/bilstm")


def make_teacher(folder: Path, task: Task, kind: str = "bert") -> Path:
    """A model folder with random weights whose pieces know the words of the tiny task."""
    words = [word for lists in NAMES.values() for names in lists for word in names]
    words += [word for names in FILLERS.values() for word in names]
    train_wordpiece([Example(tuple(words), None, "und")], 150, folder.parent / "tokenizer")
    return make_folder(folder, kind, task, load_tokenizer(str(folder.parent / "tokenizer")))


def ready(config: Path, data: Path | str, workdir: Path, teacher: Path, *more: str) -> list[str]:
    return arguments(
        config,
        data,
        workdir,
        f"--config.teacher.model={teacher}",
        "--config.teacher.finetune=False",
        *more,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The tiny config, a teacher, and a folder with texts, a gold test and no train file."""
    base = tmp_path_factory.mktemp("without")
    (base / "tiny.py").write_text(CONFIG, encoding="utf-8")
    write_task(base / "task")
    for name in ("train.tsv", "dev.tsv"):
        (base / "task" / name).unlink()
    make_teacher(base / "teacher", TASK)
    return base


@pytest.fixture(scope="module")
def finished(base) -> tuple[Path, dict[str, Any]]:
    """A workdir whose run has ended, and what it gave back."""
    command = parse_command(ready(base / "tiny.py", base / "task", base / "run", base / "teacher"))
    return base / "run", run(command.experiment, base / "run")


def test_results_say_so_and_hold_agreement_beside_the_gold_scores(finished):
    workdir, results = finished
    assert read_json(workdir / "results.json") == json.loads(json.dumps(results))
    assert (results["gold"], results["selected_on"]) == (False, "agreement")
    assert results["baselines"] == []
    assert results["gazetteer"] is None
    assert results["student"]["labels"] == results["teacher"]["labels"] == 0
    for name in ("teacher", "student"):
        assert results[name]["dev"] is None
        assert 0 <= results[name]["test"]["macro_f1"] <= 1
    assert results["student"]["agreement"]["dev"] is None
    assert "agreement" not in results["teacher"]


@pytest.mark.parametrize("split", ["held_out", "test"])
def test_agreement_is_the_score_against_the_teachers_predictions(finished, split):
    workdir, results = finished
    teacher, student = (
        read_file(workdir / "predictions" / f"{name}.{split}.tsv", TASK)
        for name in ("teacher", "student")
    )
    again = score(TASK, teacher, [example.labels for example in student])
    assert results["student"]["agreement"][split] == json.loads(json.dumps(again))
    answers = open_tagger(str(workdir / "teacher")).label([each.inputs for each in teacher])
    assert answers == [each.labels for each in teacher]


def test_the_gold_test_is_scored_against_its_labels(finished, base):
    workdir, results = finished
    gold = read_file(base / "task" / "test.tsv", TASK)
    predicted = read_file(workdir / "predictions" / "student.test.tsv", TASK)
    again = score(TASK, gold, [example.labels for example in predicted])
    assert results["student"]["test"] == json.loads(json.dumps(again))


def test_a_seeded_tenth_of_the_texts_is_held_out_and_never_learnt_from(finished, base):
    workdir, _ = finished
    held = {
        each.inputs for each in read_file(workdir / "predictions" / "student.held_out.tsv", TASK)
    }
    texts = {
        tuple(line.split()) for line in (base / "task" / "transfer.txt").open(encoding="utf-8")
    }
    assert len(held) == round(len(texts) / 10)
    assert held < texts
    learnt = np.load(workdir / "cache" / "student" / "transfer" / "start.npy")
    copies = sum(
        tuple(line.split()) in held
        for line in (base / "task" / "transfer.txt").open(encoding="utf-8")
    )
    assert len(learnt) - 1 == 40 - copies


def test_the_labels_stage_is_left_out_and_agreement_chooses(finished):
    workdir, results = finished
    assert tuple(stage["name"] for stage in results["stages"]) == PARTS
    assert {stage["monitor"] for stage in results["stages"]} == {"dev loss"}
    reached = [stage["dev"]["macro_f1"] or 0.0 for stage in results["stages"][1:]]
    chosen = results["student"]["agreement"]["held_out"]["macro_f1"] or 0.0
    assert chosen == max(reached) > 0
    told = (workdir / "train.log").read_text(encoding="utf-8")
    for words in ("left out: labels in stage labels", "left out: baseline labels only", "held out"):
        assert words in told
    report = (workdir / "results.md").read_text(encoding="utf-8")
    assert report.count("agreement with the teacher") >= 3
    assert "dev |" not in report


def test_the_teacher_is_handed_on_as_it_is(finished, base):
    loaded, given = (load_model(str(path)) for path in (finished[0] / "teacher", base / "teacher"))
    assert loaded.task == given.task
    for left, right in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(given.params), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(finished, base, tmp_path):
    real, cuts = Journal.record, [("logits/projection", 2)]

    def record(journal: Journal, line: dict[str, Any]) -> None:
        if cuts and (line["stage"], line["step"]) == cuts[0]:
            raise KeyboardInterrupt
        real(journal, line)

    command = ready(base / "tiny.py", base / "task", tmp_path / "run", base / "teacher")
    experiment = parse_command(command).experiment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "record", record)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, tmp_path / "run")
    results, (whole, expected) = run(experiment, tmp_path / "run"), finished
    for name in ("student", "stages"):
        assert results[name] == expected[name]
    model = "student/model.safetensors"
    assert (tmp_path / "run" / model).read_bytes() == (whole / model).read_bytes()
    ours, theirs = (
        [{**line, "tokens_per_second": 0} for line in read_lines(folder)]
        for folder in (tmp_path / "run", whole)
    )
    assert ours == theirs
