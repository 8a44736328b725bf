"""A whole run on a tiny task: what it leaves, what it refuses, that it resumes where it was."""

import hashlib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from matplotlib.image import imread

import train
from tests.evaluation.shapes import check_shape
from xdistil.cli.overrides import parse_command
from xdistil.data.examples import Task, read_file
from xdistil.distill.checkpoint import Checkpoints
from xdistil.evaluation.metrics import score
from xdistil.evaluation.page.files import Outline, read_run
from xdistil.evaluation.page.render import render_page
from xdistil.evaluation.report import render_console
from xdistil.evaluation.results import Results
from xdistil.experiment.inspection import inspect_folder
from xdistil.experiment.run import run
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.workdir import claim_workdir, lock_workdir

CONFIG = """
from xdistil.config import Baseline, Experiment, Stage, Student, Teacher


def get_config(arg=""):
    teacher = Stage(name="train", loss="labels", data="train", epochs=12.0, lr=1e-2, keep="last")
    gradual = {"unfreeze": "gradual", "epochs": 1.0, "lr": 1e-2}
    experiment = Experiment(
        dtype="float32",
        plan=(
            Stage(name="representation", loss="representation", epochs=1.0, lr=1e-2),
            Stage(name="logits", loss="logits", **gradual),
            Stage(
                name="labels",
                loss="labels",
                data="train",
                label_fraction=0.5,
                gap_weight=2.0,
                sampling="doubtful",
                lr=1e-2,
            ),
        ),
        teacher=Teacher(hidden_size=8, layers=1, heads=2, vocabulary_size=150, plan=(teacher,)),
        student=Student(embedding_size=4, hidden_size=6, vocabulary="seen", train_embeddings=False),
        baselines=(Baseline(lrs="1e-2", epochs=1.0, label_fraction=0.5),),
        batch_size=16,
        eval_every=8,
        log_every=2,
        speed_seconds=0.1,
    )
    experiment.data.row_length = 32
    return experiment
"""
LABELS = ("O", "B-PER", "I-PER", "B-LOC")
TASK = Task("tagging", LABELS)
PARTS = ("representation", "logits/head", "logits/projection", "logits/bilstm", "labels")
NAMES = {"en": (["Anna", "Bob", "Carl"], ["Rome", "Oslo"]), "el": (["Άννα", "Νίκος"], ["Ρόδος"])}
FILLERS = {"en": ["and", "then", "went", "to", "see", "the"], "el": ["και", "μετά", "πήγε", "στο"]}


def write_task(folder: Path) -> Path:
    """60 train, 16 dev and 20 test sentences in two languages, 40 more without labels."""
    folder.mkdir(parents=True)
    draw = random.Random(0)

    def make(count: int, labelled: bool) -> str:
        lines = []
        for _ in range(count):
            language = draw.choice(["en", "en", "el"])
            words, tags = [], []
            for _ in range(draw.randint(2, 6)):
                people, places = NAMES[language]
                kind = draw.randint(0, 4)
                if kind == 0:
                    words += [draw.choice(people), draw.choice(people)]
                    tags += ["B-PER", "I-PER"]
                elif kind == 1:
                    words.append(draw.choice(places))
                    tags.append("B-LOC")
                else:
                    words.append(draw.choice(FILLERS[language]))
                    tags.append("O")
            text = " ".join(words)
            lines.append(f"{text}\t{language}:{' '.join(tags)}" if labelled else text)
        return "\n".join(lines) + "\n"

    for name, count in (("train", 60), ("dev", 16), ("test", 20)):
        (folder / f"{name}.tsv").write_text(make(count, True), encoding="utf-8")
    (folder / "transfer.txt").write_text(make(40, False), encoding="utf-8")
    (folder / "labels.tsv").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    return folder


def write_run(base: Path) -> tuple[Path, Path]:
    """The tiny config and its data, below a folder."""
    (base / "tiny.py").write_text(CONFIG, encoding="utf-8")
    return base / "tiny.py", write_task(base / "data")


def arguments(config: Path, data: Path, workdir: Path, *more: str) -> list[str]:
    return [f"--config={config}", f"--config.data.folder={data}", f"--workdir={workdir}", *more]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "task")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config, data) -> tuple[Path, dict[str, Any]]:
    """A workdir whose run has ended, and what `run` gave back."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    command = parse_command(arguments(config, data, workdir))
    return workdir, run(command.experiment, workdir, ["train.py", "--config=tiny.py"])


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


def read_json(path: Path) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def read_lines(workdir: Path) -> list[dict[str, Any]]:
    text = (workdir / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# --- what a run leaves ----------------------------------------------------------------------------


def test_the_log_says_what_is_drawn_more_often(finished):
    """The gaps of 1 + 2 gap / mean gap have a mean of 3, of two languages that both have one."""
    log = (finished[0] / "train.log").read_text()
    (told,) = re.findall(r"labels: languages weigh by their gap to the teacher on dev: (.*)", log)
    assert (
        "languages of plan[2]: drawn 1 + 2 gap / mean gap times as often (teacher less student, "
        "on dev)\n" in log
    )
    assert "texts of plan[2]: half of an epoch is drawn by the student's doubts\n" in log
    found = re.findall(r"labels: the student's doubt is (\S+) in the mean and (\S+) at most; ", log)
    ((mean, largest),) = found
    assert 0 < float(mean) < float(largest) < 1
    weights = dict(part.split() for part in told.split(", "))
    assert weights.keys() == {"en", "el"}
    assert sum(map(float, weights.values())) == pytest.approx(6.0, abs=0.02)


def test_the_workdir_holds_what_is_promised(finished):
    workdir, _ = finished
    names = {path.name for path in workdir.iterdir()}
    assert {
        "config.json", "environment.json", "train.log", "metrics.jsonl", "checkpoints", "cache",
        "teacher", "student", "predictions", "results.json", "results.md", "outline.json",
        "report.html", "times.json",
    } <= names  # fmt: skip
    assert {path.name for path in (workdir / "predictions").iterdir()} == {
        f"{name}.{split}.tsv"
        for name in ("gold", "teacher", "student")
        for split in ("dev", "test")
    }
    for model in ("teacher", "student"):
        here = {path.name for path in (workdir / model).iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= here
    assert not [path for path in workdir.rglob("*") if ".partial" in path.name]


def test_no_json_file_holds_a_number_that_is_none(finished):
    workdir, _ = finished
    paths = [*workdir.glob("*.json"), *workdir.glob("*/config.json")]
    assert len(paths) >= 5
    for path in paths:
        read_json(path)
    for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        assert not {"NaN", "Infinity", "-Infinity"} & set(line.replace(",", " ").split())


def test_results_are_those_of_the_file(finished):
    workdir, results = finished
    assert read_json(workdir / "results.json") == json.loads(json.dumps(results))
    assert (results["format"], results["task"], results["selected_on"]) == (1, "tagging", "dev")
    assert results["seed"] == 0
    check_shape(results, Results)


def test_the_outline_names_the_stages_and_the_texts(finished, data):
    workdir, _ = finished
    outline = read_json(workdir / "outline.json")
    check_shape(outline, Outline)
    planned = {(each["plan"], each["name"]): each["steps"] for each in outline["stages"]}
    taken: dict[tuple[str, str], int] = {}
    for line in read_lines(workdir):
        taken[line["plan"], line["stage"]] = line["step"]
    assert list(planned) == list(taken)
    assert planned == taken  # no stage of this run stops early
    for split in ("train", "dev", "test"):
        lines = (data / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        counted = Counter(line.partition("\t")[2][:2] for line in lines)
        assert outline["sentences"][split] == counted
    assert (outline["task"], outline["transfer"]) == ("tagging", 40)


def test_the_time_is_divided_into_phases(finished):
    workdir, results = finished
    phases = results["timing"]["phases"]
    assert list(phases) == [
        "preparation", "teacher", "signals", "student", "baselines", "evaluation",
    ]  # fmt: skip
    assert phases == read_json(workdir / "times.json")
    assert sum(results["timing"]["stages"].values()) < phases["student"]
    assert 0.8 * results["timing"]["total"] < sum(phases.values()) < results["timing"]["total"]


def test_the_page_is_that_of_the_finished_workdir(finished):
    workdir, _ = finished
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page == render_page(read_run(workdir))
    assert all(f'id="{name}"' in page for name in ("languages", "training", "errors", "time"))


def test_sizes_are_of_what_is_exported(finished):
    workdir, results = finished
    for name in ("teacher", "student"):
        sizes = results[name]["bytes"]
        assert sizes["model"] == (workdir / name / "model.safetensors").stat().st_size
        files = [path for path in (workdir / name).rglob("*") if path.is_file()]
        files.remove(workdir / name / "README.md")
        assert sizes["folder"] == sum(path.stat().st_size for path in files)
        assert sizes["tokenizer"] >= (workdir / name / "tokenizer.json").stat().st_size
        parameters = results[name]["parameters"]
        assert 4 * parameters["total"] < sizes["model"] < 4 * parameters["total"] + 8000
        assert 0 < parameters["embeddings"] < parameters["total"]
    counts = [results[name]["parameters"]["total"] for name in ("teacher", "student")]
    assert results["compression"] == pytest.approx(counts[0] / counts[1])


@pytest.mark.parametrize("model", ["teacher", "student"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_what_is_scored_is_what_is_written(finished, data, model, split):
    workdir, results = finished
    gold = read_file(data / f"{split}.tsv", TASK)
    assert read_file(workdir / "predictions" / f"gold.{split}.tsv", TASK) == gold
    predicted = read_file(workdir / "predictions" / f"{model}.{split}.tsv", TASK)
    assert [example.inputs for example in predicted] == [example.inputs for example in gold]
    assert [example.language for example in predicted] == [example.language for example in gold]
    again = score(TASK, gold, [example.labels for example in predicted])
    assert results[model][split] == json.loads(json.dumps(again))


def test_retention_is_of_the_test_set(finished):
    _, results = finished
    teacher, student = (results[name]["test"]["macro_f1"] for name in ("teacher", "student"))
    assert teacher > 0.3  # it has learnt something, so that the ratio means something
    assert results["retention"] == pytest.approx(student / teacher)


def test_every_sub_stage_is_in_the_table_with_its_score_on_dev(finished):
    _, results = finished
    stages = results["stages"]
    assert tuple(stage["name"] for stage in stages) == PARTS
    assert [stage["groups"] for stage in stages] == [
        ["projection", "bilstm"],
        ["head"],
        ["head", "projection"],
        ["head", "projection", "bilstm"],
        ["head", "projection", "bilstm"],
    ]
    for stage in stages:
        assert 0 < stage["steps"] <= stage["limit"]
        assert 0 <= stage["dev"]["macro_f1"] <= 1
        assert stage["best"] is not None
    assert set(results["timing"]["stages"]) == set(PARTS)
    assert min(results["timing"]["stages"].values()) > 0
    assert results["timing"]["total"] > sum(results["timing"]["stages"].values())


def test_the_student_is_the_one_that_was_best_on_dev(finished):
    _, results = finished
    reached = [stage["dev"]["macro_f1"] for stage in results["stages"][1:]]
    assert results["student"]["dev"]["macro_f1"] == max(reached)


def test_the_baseline_stands_beside_it(finished):
    _, results = finished
    (baseline,) = results["baselines"]
    assert (baseline["name"], baseline["labels"], baseline["lr"]) == ("labels only", 30, 1e-2)
    assert baseline["dev"]["per_language"].keys() == {"el", "en"}
    assert baseline["test"]["per_language"].keys() == {"el", "en"}
    assert "params" not in baseline


def test_metrics_tell_stage_step_losses_rate_norm_and_speed(finished):
    workdir, _ = finished
    lines = read_lines(workdir)
    told = list(dict.fromkeys((line["plan"], line["stage"]) for line in lines))
    assert told == [
        ("teacher", "train"),
        *(("student", part) for part in PARTS),
        ("baseline-0-0", "labels"),
    ]
    for line in lines:
        assert line["step"] >= 1
        if line["event"] == "train":
            (loss,) = (name for name in line if name.startswith("loss_"))
            kind = "labels" if line["stage"] == "train" else line["stage"].split("/")[0]
            assert loss == f"loss_{kind}"
            assert min(line[loss], line["gradient_norm"], line["tokens_per_second"]) > 0
            assert line["lr"] > 0
        else:
            assert isinstance(line["monitor"], float)


def test_the_log_tells_data_plan_and_table(finished, data):
    workdir, _ = finished
    text = (workdir / "train.log").read_text(encoding="utf-8")
    for words in (
        "subwords per word",
        "student 3/5 logits/projection",
        "teacher 1/1 train",
        f"xdistil predict --model={workdir / 'student'}",
    ):
        assert words in text
    environment = read_json(workdir / "environment.json")
    assert environment["command"] == "train.py --config=tiny.py"
    digest = hashlib.sha256((data / "dev.tsv").read_bytes()).hexdigest()
    assert environment["data"]["dev"] == digest
    assert set(environment["data"]) == {"train", "dev", "test", "labels", "transfer[0]"}


def test_a_hopeless_teacher_still_comes_to_its_table_with_a_warning(config, data, tmp_path, capsys):
    """Random weights, never fine-tuned: what is undefined is null, and nothing is NaN."""
    more = ("--config.teacher.finetune=False", "--config.plan[2].epochs=0.5")
    assert train.main(arguments(config, data, tmp_path, *more)) == 0
    printed = capsys.readouterr().err
    found = re.search(
        r"no help: its macro_f1 on dev is (\S+), that of the gazetteer of train (\S+)\. Is", printed
    )
    assert found is not None, printed
    assert float(found[1]) <= float(found[2])
    assert read_json(tmp_path / "results.json")["retention"] is None  # of nothing
    assert "retains" not in printed
    details = "hidden 1 from 1"  # they are in the log alone, unless --verbose asks for them
    assert details in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert details not in printed
    for path in tmp_path.rglob("*.json"):
        read_json(path)


def test_the_cards_hold_scores_that_hubs_can_read(finished):
    workdir, results = finished
    for model in ("teacher", "student"):
        card = ModelCard.load(workdir / model / "README.md")
        scores = results[model]["test"]
        assert {each.dataset_config: each.metric_value for each in card.data.eval_results} == {
            "all": scores["macro_f1"],
            **{language: each["f1"] for language, each in scores["per_language"].items()},
        }
        assert (card.data.language, card.data.pipeline_tag) == (
            ["el", "en"],
            "token-classification",
        )
        assert "train.py --config=tiny.py" in card.text
        digest = read_json(workdir / "environment.json")["data"]["train"]
        assert digest[:16] in card.text


def test_the_pictures_are_drawn(finished):
    workdir, _ = finished
    for name in ("course", "languages", "trade-off"):
        picture = imread(workdir / "figures" / f"{name}.png")
        assert picture.shape[0] > 150
        assert picture.shape[1] > 500
        assert len({tuple(colour) for colour in picture.reshape(-1, 4)[::7]}) > 20  # not blank


def test_a_finished_folder_tells_its_table_and_a_model_its_parts(finished):
    workdir, results = finished
    assert render_console(results) in inspect_folder(workdir)
    told = inspect_folder(workdir / "student")
    assert "B-LOC, I-PER" not in told  # in their order
    assert ", ".join(LABELS) in told
    assert f"{results['student']['bytes']['model'] / 1e3:.1f} kB" in told
    for language, each in results["student"]["test"]["per_language"].items():
        assert re.search(rf"{language} +test +f1 +{100 * each['f1']:.2f}", told)


# --- going on -------------------------------------------------------------------------------------


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


# --- what is refused ------------------------------------------------------------------------------


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


# --- looking first --------------------------------------------------------------------------------


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
