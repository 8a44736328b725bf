"""A run without labels: a fine-tuned teacher and raw texts suffice; gold files are scored."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import train
from tests.evaluation.shapes import check_shape
from tests.experiment.ready_teacher import ready
from tests.experiment.tiny_run import TASK, read_json, read_lines
from xdistil.cli.overrides import parse_command
from xdistil.data.examples import read_file
from xdistil.deploy.predictor import load
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.evaluation.results import Results
from xdistil.experiment import run as flow
from xdistil.experiment.build import Run, build
from xdistil.experiment.run import run
from xdistil.models.hf.folder import load_model
from xdistil.runtime.run_log import RunLog

PARTS = ("representation", "logits/head", "logits/projection", "logits/bilstm")


@pytest.fixture(scope="module")
def finished(raw) -> tuple[Path, dict[str, Any]]:
    """A workdir whose run has ended, and what it gave back."""
    command = parse_command(ready(raw / "tiny.py", raw / "task", raw / "run", raw / "teacher"))
    return raw / "run", run(command.experiment, raw / "run")


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
    check_shape(results, Results)


@pytest.mark.parametrize("split", ["held_out", "test"])
def test_agreement_is_the_score_against_the_teachers_predictions(finished, split):
    workdir, results = finished
    teacher, student = (
        read_file(workdir / "predictions" / f"{name}.{split}.tsv", TASK)
        for name in ("teacher", "student")
    )
    again = score(TASK, teacher, [example.labels for example in student])
    assert results["student"]["agreement"][split] == json.loads(json.dumps(again))
    answers = load(str(workdir / "teacher")).predictor.predict([each.inputs for each in teacher])
    assert [answer.labels for answer in answers] == [each.labels for each in teacher]


def test_the_gold_test_is_scored_against_its_labels(finished, raw):
    workdir, results = finished
    gold = read_file(raw / "task" / "test.tsv", TASK)
    predicted = read_file(workdir / "predictions" / "student.test.tsv", TASK)
    again = score(TASK, gold, [example.labels for example in predicted])
    assert results["student"]["test"] == json.loads(json.dumps(again))


def test_a_seeded_tenth_of_the_texts_is_held_out_and_never_learnt_from(finished, raw):
    workdir, _ = finished
    held = {
        each.inputs for each in read_file(workdir / "predictions" / "student.held_out.tsv", TASK)
    }
    texts = {tuple(line.split()) for line in (raw / "task" / "transfer.txt").open(encoding="utf-8")}
    assert len(held) == round(len(texts) / 10)
    assert held < texts
    learnt = np.load(workdir / "cache" / "student" / "transfer" / "start.npy")
    copies = sum(
        tuple(line.split()) in held
        for line in (raw / "task" / "transfer.txt").open(encoding="utf-8")
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
    assert "measuring the speed" not in told  # speed_seconds=0
    for words in ("left out: labels in stage labels", "left out: baseline labels only", "held-out"):
        assert words in told
    report = (workdir / "results.md").read_text(encoding="utf-8")
    assert report.count("agreement with the teacher") >= 3
    assert "dev |" not in report


def test_the_teacher_is_handed_on_as_it_is(finished, raw):
    loaded, given = (load_model(str(path)) for path in (finished[0] / "teacher", raw / "teacher"))
    assert loaded.task == given.task
    for left, right in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(given.params), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(finished, raw, tmp_path, monkeypatch):
    real, cuts = RunLog.write, [("logits/projection", 2)]

    def record(run_log: RunLog, line: dict[str, Any]) -> None:
        if cuts and (line["stage"], line["step"]) == cuts[0]:
            raise KeyboardInterrupt
        real(run_log, line)

    command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", raw / "teacher")
    experiment = parse_command(command).experiment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", record)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, tmp_path / "run")
    evaluate, seen = flow.evaluate, []

    def look(run: Run, *rest: Any) -> Results:
        seen.append(run)
        return evaluate(run, *rest)

    monkeypatch.setattr(flow, "evaluate", look)
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
    # Whatever reads the corpus finds the same labels there.
    held = read_file(whole / "predictions" / "teacher.held_out.tsv", TASK)
    assert [each.labels for each in seen[0].corpus.dev] == [each.labels for each in held]
    assert seen[0].texts["dev"].examples == seen[0].corpus.dev
    assert seen[0].teacher_texts["dev"].examples == seen[0].corpus.dev


def test_a_finished_workdir_is_shown_with_its_teacher_and_refused_with_another(
    raw, finished, tmp_path, capsys
):
    workdir, _ = finished
    shutil.copytree(raw / "teacher", tmp_path / "teacher")
    given = ready(raw / "tiny.py", raw / "task", workdir, tmp_path / "teacher")
    assert train.main(given) == 0
    assert "is finished" in capsys.readouterr().err
    path = tmp_path / "teacher" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert train.main(given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path / 'teacher'} is not the teacher.model that the run in {workdir}" in last


def test_a_plan_of_labels_alone_and_a_folder_without_texts_are_refused(raw, tmp_path):
    command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", raw / "teacher")
    experiment = parse_command(command).experiment
    experiment.plan = experiment.plan[2:]
    with pytest.raises(InputError, match="plan has no loss but labels"):
        build(experiment, tmp_path / "cache")
    experiment.data.folder = str(tmp_path)
    with pytest.raises(InputError, match="neither a train nor a transfer file"):
        build(experiment, tmp_path / "cache")
    experiment.teacher.finetune = True
    with pytest.raises(InputError, match=r"no train file.*teacher\.finetune=False needs none"):
        build(experiment, tmp_path / "cache")


def test_raw_text_may_have_any_white_space(raw, tmp_path):
    (tmp_path / "raw.txt").write_text("  Anna   went\n\n \nto Rome \n" * 6, encoding="utf-8")
    more = f"--config.data.transfer={tmp_path / 'raw.txt'}"
    command = ready(raw / "tiny.py", "", tmp_path / "run", raw / "teacher", more)
    corpus = build(parse_command(command).experiment, tmp_path / "cache").corpus
    assert {each.inputs for each in (*corpus.dev, *corpus.transfer)} == {
        ("Anna", "went"),
        ("to", "Rome"),
    }
    assert len(corpus.dev) == len(corpus.transfer) == 6  # copies stay on one side


def test_a_dry_run_tells_what_is_left_out(raw, tmp_path, capsys):
    command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", raw / "teacher")
    assert train.main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    lines = printed.split("\n")
    assert lines[2].startswith("task: tagging")  # below the device
    (header,) = (line.split() for line in lines if line.startswith("language "))
    assert header[:4] == ["language", "held-out", "test", "transfer"]
    for words in (
        "without labels",
        "left out: labels in stage labels",
        "student 4/4 logits/bilstm",
    ):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 110
    assert not (tmp_path / "run").exists()
