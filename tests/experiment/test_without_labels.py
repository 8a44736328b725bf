"""A run without labels: a fine-tuned teacher and raw texts suffice; gold files are scored."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import train
from tests.deploy.folders import make_folder
from tests.evaluation.shapes import check_shape
from tests.experiment.tiny_run import (
    CONFIG,
    FILLERS,
    LABELS,
    NAMES,
    arguments,
    read_json,
    read_lines,
    write_task,
)
from xdistil.cli.overrides import parse_command
from xdistil.config import Stage
from xdistil.data.examples import Example, Task, read_file
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.deploy.predictor import load
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.evaluation.results import Results
from xdistil.experiment import run as flow
from xdistil.experiment.build import Run, build
from xdistil.experiment.run import run
from xdistil.models.hf.folder import load_model
from xdistil.runtime.run_log import RunLog

TASK = Task("tagging", LABELS)
PARTS = ("representation", "logits/head", "logits/projection", "logits/bilstm")


def make_teacher(folder: Path, task: Task, kind: str = "bert") -> Path:
    """A model folder with random weights whose subwords know the words of the tiny task."""
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
        "--config.speed_seconds=0",
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
    assert "measuring the speed" not in told  # speed_seconds=0
    for words in ("left out: labels in stage labels", "left out: baseline labels only", "held-out"):
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


def test_a_run_that_was_cut_off_ends_as_one_that_was_not(finished, base, tmp_path, monkeypatch):
    real, cuts = RunLog.write, [("logits/projection", 2)]

    def record(run_log: RunLog, line: dict[str, Any]) -> None:
        if cuts and (line["stage"], line["step"]) == cuts[0]:
            raise KeyboardInterrupt
        real(run_log, line)

    command = ready(base / "tiny.py", base / "task", tmp_path / "run", base / "teacher")
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


# --- pairs, and no folder -------------------------------------------------------------------------


PAIRS = Task("classification", ("yes", "no", "perhaps"))


def test_a_finished_workdir_is_shown_with_its_teacher_and_refused_with_another(
    base, finished, tmp_path, capsys
):
    workdir, _ = finished
    shutil.copytree(base / "teacher", tmp_path / "teacher")
    given = ready(base / "tiny.py", base / "task", workdir, tmp_path / "teacher")
    assert train.main(given) == 0
    assert "is finished" in capsys.readouterr().err
    path = tmp_path / "teacher" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert train.main(given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path / 'teacher'} is not the teacher.model that the run in {workdir}" in last


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """Pairs of texts from a file of one language, with a gold dev file that has two of the classes;
    the run has ended."""
    base = tmp_path_factory.mktemp("pairs")
    (base / "tiny.py").write_text(CONFIG, encoding="utf-8")
    make_teacher(base / "teacher", PAIRS)
    draw = random.Random(1)
    (base / "task").mkdir()

    def make(count: int, label: bool) -> str:
        texts = (
            " ".join(draw.choices(FILLERS["en"] + FILLERS["el"], k=6)) for _ in range(2 * count)
        )
        lines = ("\t".join(pair) for pair in zip(texts, texts, strict=True))
        return "".join(
            f"{line}\t{draw.randint(0, 1)}\n" if label else f"{line}\n" for line in lines
        )

    (base / "task" / "dev.tsv").write_text(make(12, True), encoding="utf-8")
    (base / "task" / "labels.tsv").write_text("no\nyes\n")
    (base / "english.txt").write_text(make(40, False), encoding="utf-8")
    more = (f"--config.data.transfer=en:{base / 'english.txt'}", "--config.data.dev_fraction=0.25")
    command = ready(base / "tiny.py", base / "task", base / "run", base / "teacher", *more)
    experiment = parse_command(command).experiment
    experiment.plan = (Stage(name="both", loss="logits+labels", data="train", epochs=1.0, lr=1e-2),)
    return base, run(experiment, base / "run")


def test_pairs_agree_and_a_gold_dev_is_scored_but_does_not_choose(pairs):
    base, results = pairs
    (stage,) = results["stages"]
    assert (stage["name"], stage["monitor"]) == ("both", "dev loss")
    agreement = results["student"]["agreement"]
    assert stage["dev"] == agreement["held_out"]
    assert agreement["held_out"]["per_language"].keys() == {"en"}
    assert agreement["held_out"]["per_language"]["en"]["sentences"] == 10
    assert agreement["dev"]["accuracy"] is not None
    gold = read_file(base / "task" / "dev.tsv", Task("classification", ("no", "yes")))
    predicted = read_file(base / "run" / "predictions" / "student.dev.tsv", PAIRS)
    again = score(PAIRS, gold, [each.labels for each in predicted])
    assert results["student"]["dev"] == json.loads(json.dumps(again))
    assert results["student"]["test"] is agreement["test"] is None


def build_pairs(base: Path, *more: str, folder: str = "") -> Run:
    command = ready(base / "tiny.py", folder, base / "new", base / "teacher", *more)
    return build(parse_command(command).experiment, base / "cache")


def test_texts_alone_suffice(pairs):
    base, _ = pairs
    built = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}")
    assert built.corpus.task == PAIRS
    assert (len(built.corpus.dev), len(built.corpus.transfer)) == (4, 36)
    assert {len(each.inputs) for each in built.corpus.dev} == {2}
    assert built.corpus.train == []
    assert built.corpus.test is built.corpus.gold_dev is None
    again = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}")
    assert again.corpus == built.corpus
    other = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}", "--config.seed=1")
    assert other.corpus.dev != built.corpus.dev


def test_other_classes_under_the_same_weights_are_refused_when_a_run_goes_on(
    pairs, tmp_path, monkeypatch
):
    base, _ = pairs
    monkeypatch.setattr("xdistil.experiment.run.train_teacher", None)
    shutil.copytree(base / "teacher", tmp_path / "teacher")
    transfer = f"--config.data.transfer={base / 'english.txt'}"
    command = ready(base / "tiny.py", "", tmp_path / "run", tmp_path / "teacher", transfer)
    experiment = parse_command(command).experiment
    for _ in range(2):
        with pytest.raises(TypeError):  # it comes as far as its teacher
            run(experiment, tmp_path / "run")
    config = json.loads((tmp_path / "teacher" / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes", "2": "perhaps"}
    (tmp_path / "teacher" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"not the teacher\.labels that the run"):
        run(experiment, tmp_path / "run")


# --- what the teacher answers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        ("O", "I-PER", "I-LOC"),
        ("B-PER", "I-PER", "E-PER", "S-PER", "O", "S-LOC"),
    ],
    ids=["no B-", "bioes"],
)
def test_teachers_of_other_schemes_answer_in_iob2(base, tmp_path, labels):
    task = Task("tagging", labels)
    make_teacher(tmp_path / "teacher", task)
    command = ready(base / "tiny.py", base / "task", tmp_path / "run", tmp_path / "teacher")
    built = build(parse_command(command).experiment, tmp_path / "cache")
    assert built.corpus.task == task
    assert built.student.model.classes == len(labels)
    kinds = {label for each in built.corpus.test for label in each.labels}
    assert kinds == set(LABELS)
    (answer,) = load(str(tmp_path / "teacher")).predictor.predict([("Anna", "Bob", "to", "Rome")])
    assert set(answer.labels) <= {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}


def rename(labels: tuple[str, ...], kind: str = "tagging") -> Callable[[Path], Path]:
    return lambda folder: make_teacher(folder, Task(kind, labels))


def without_head(folder: Path) -> Path:
    make_teacher(folder, TASK)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    return folder


REFUSED = {
    "no head": (without_head, [], ["no head for tagging or classification"]),
    "parts of speech": (rename(("NOUN", "VERB")), [], ["'NOUN'", "tags of entities"]),
    "one class": (
        rename(("LABEL_0",), "classification"),
        [],
        ["has a head with one output, 'LABEL_0'"],
    ),
    "gold of other names": (
        rename(("O", "B-PERSON")),
        [],
        ["labels.tsv names 'B-PER'", "B-PERSON"],
    ),
    "train languages": (rename(LABELS), ["--config.data.train_languages=en"], ["train_languages"]),
    "too little": (rename(LABELS), ["--config.data.transfer_limit=1"], ["leaves 1 transfer texts"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(base, tmp_path, name):
    make, more, words = REFUSED[name]
    teacher = make(tmp_path / "teacher")
    command = ready(base / "tiny.py", base / "task", tmp_path / "run", teacher, *more)
    with pytest.raises(InputError) as caught:
        build(parse_command(command).experiment, tmp_path / "cache")
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_plan_of_labels_alone_and_a_folder_without_texts_are_refused(base, tmp_path):
    command = ready(base / "tiny.py", base / "task", tmp_path / "run", base / "teacher")
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


def test_raw_text_may_have_any_white_space(base, tmp_path):
    (tmp_path / "raw.txt").write_text("  Anna   went\n\n \nto Rome \n" * 6, encoding="utf-8")
    more = f"--config.data.transfer={tmp_path / 'raw.txt'}"
    command = ready(base / "tiny.py", "", tmp_path / "run", base / "teacher", more)
    corpus = build(parse_command(command).experiment, tmp_path / "cache").corpus
    assert {each.inputs for each in (*corpus.dev, *corpus.transfer)} == {
        ("Anna", "went"),
        ("to", "Rome"),
    }
    assert len(corpus.dev) == len(corpus.transfer) == 6  # copies stay on one side


def test_a_dry_run_tells_what_is_left_out(base, tmp_path, capsys):
    command = ready(base / "tiny.py", base / "task", tmp_path / "run", base / "teacher")
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


# --- a teacher that is used as it is, with labels -------------------------------------------------


def test_the_rows_of_a_head_are_put_in_the_order_of_the_labels(base, tmp_path):
    write_task(tmp_path / "task")
    shuffled = ("I-PER", "O", "B-LOC", "B-PER")
    make_teacher(tmp_path / "teacher", Task("tagging", shuffled))
    command = ready(base / "tiny.py", tmp_path / "task", tmp_path / "run", tmp_path / "teacher")
    built = build(parse_command(command).experiment, tmp_path / "cache")
    assert built.corpus.gold
    assert built.corpus.task == TASK
    given = load_model(str(tmp_path / "teacher")).params["classifier"]["kernel"]
    ours = built.teacher.params["classifier"]["kernel"]
    for index, label in enumerate(LABELS):
        np.testing.assert_array_equal(ours[:, index], given[:, shuffled.index(label)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (rename(("O", "B-PER", "I-PER", "B-MISC")), ["lacks 'B-LOC' and also has 'B-MISC'"]),
        (rename((*LABELS, "B-MISC")), ["(id2label of its config.json also has 'B-MISC')"]),
        (rename(("no", "yes"), "classification"), ["a head for classification", "tagging"]),
        (without_head, ["has no head", "teacher.finetune=True"]),
    ],
    ids=["other", "more", "another task", "no head"],
)
def test_a_teacher_of_other_labels_is_refused_unless_it_is_fine_tuned(base, tmp_path, make, words):
    write_task(tmp_path / "task")
    teacher = make(tmp_path / "teacher")
    command = ready(base / "tiny.py", tmp_path / "task", tmp_path / "run", teacher)
    experiment = parse_command(command).experiment
    with pytest.raises(InputError) as caught:
        build(experiment, tmp_path / "cache")
    assert all(word in str(caught.value) for word in words), caught.value
    experiment.teacher.finetune = True
    assert build(experiment, tmp_path / "cache").teacher.model.classes == len(LABELS)


def test_representations_alone_need_no_head(base, tmp_path):
    write_task(tmp_path / "task")
    teacher = without_head(tmp_path / "teacher")
    command = ready(base / "tiny.py", tmp_path / "task", tmp_path / "run", teacher)
    experiment = parse_command(command).experiment
    plain = replace(experiment.plan[2], gap_weight=0.0, sampling="even")
    experiment.plan = (experiment.plan[0], plain)
    assert build(experiment, tmp_path / "cache").corpus.gold


def test_the_revision_is_of_the_model_and_not_of_another_tokenizer(base, tmp_path, monkeypatch):
    asked = []

    def load(name: str, revision: str = "main", words: bool = False) -> Any:
        asked.append((name, revision))
        return load_tokenizer(name, words=words)

    monkeypatch.setattr("xdistil.teacher.source.load_tokenizer", load)
    for more in ([], [f"--config.teacher.tokenizer={base / 'tokenizer'}"]):
        more.append("--config.teacher.revision=v2")
        command = ready(base / "tiny.py", base / "task", tmp_path / "run", base / "teacher", *more)
        build(parse_command(command).experiment, tmp_path / "cache")
    assert asked == [(str(base / "teacher"), "v2"), (str(base / "tokenizer"), "main")]
