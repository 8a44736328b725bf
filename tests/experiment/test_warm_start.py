"""A student's folder as the start of a run: its head, what the run leaves, what is refused."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from huggingface_hub import ModelCard

import train
import xdistil
from tests.deploy.folders import CLASSES, TAGGING, make_folder, train_tokenizer
from tests.evaluation.shapes import check_shape
from tests.experiment.untrained_teacher import first
from xdistil.cli import predict
from xdistil.config import Data, Experiment, Stage, Student
from xdistil.data.examples import Task, read_file
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.evaluation.report import describe_outcome, render_console
from xdistil.evaluation.results import Results
from xdistil.experiment.build import build
from xdistil.experiment.dry_run import describe
from xdistil.experiment.inputs import claim_inputs, fingerprint_inputs
from xdistil.experiment.inspection import inspect_folder
from xdistil.experiment.run import run
from xdistil.experiment.sources import open_before
from xdistil.models.hf.folder import load_model, read_task
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.workdir import claim_workdir
from xdistil.student.warm_start import open_start
from xdistil.teacher.model_teacher import ModelTeacher

NEW = Task("tagging", ("B-ORG", "B-PER", "I-ORG", "I-PER", "O"))  # without LOC, with ORG
NAMES = {"B-PER": ["Anna", "Bob", "Lee", "Clara"], "B-ORG": ["New", "York"], "O": ["went", "to"]}
PLAN = (Stage(name="labels", loss="labels", data="train", epochs=6.0, lr=2e-2),)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """A BiLSTM student of the tags of PER and LOC."""
    extra = write_preprocessing(Data(row_length=32))
    return make_folder(tmp_path_factory.mktemp("s") / "s", "bilstm", TAGGING, tokenizer, extra)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences with PER and ORG, and a transfer file that nobody could read."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(0)
    for name, count in (("train", 48), ("dev", 16), ("test", 16)):
        lines = []
        for _ in range(count):
            tags = [draw.choice(list(NAMES)) for _ in range(draw.randint(2, 6))]
            words = [draw.choice(NAMES[tag]) for tag in tags]
            lines.append(f"{' '.join(words)}\t{draw.choice(['en', 'de'])}:{' '.join(tags)}\n")
        (folder / f"{name}.tsv").write_text("".join(lines))
    (folder / "labels.tsv").write_text("".join(f"{label}\n" for label in NEW.labels))
    (folder / "transfer.txt").write_bytes(b"\xff")
    return folder


def make(data: Path, student: Path) -> Experiment:
    experiment = Experiment(
        dtype="float32",
        plan=PLAN,
        student=Student(kind="checkpoint", checkpoint=str(student)),
        batch_size=16,
        eval_every=5,
        log_every=2,
    )
    experiment.data.folder, experiment.data.row_length = str(data), 32
    return experiment


@pytest.fixture(scope="module")
def tuned(
    tmp_path_factory: pytest.TempPathFactory, data: Path, student: Path
) -> tuple[Path, dict[str, Any]]:
    workdir = tmp_path_factory.mktemp("tuned") / "run"
    return workdir, run(make(data, student), workdir)


def test_a_whole_run_with_several_labels(tmp_path, tokenizer, capsys):
    """A text has the labels of the names in it, and is scored as it is written."""
    several = Task("classification", ("person", "place"), multilabel=True)
    words = {"person": ("Anna", "Bob"), "place": ("Berlin", "York"), "": ("went", "to", "and")}
    draw = random.Random(1)
    (tmp_path / "data").mkdir()
    for name, count in (("train", 96), ("dev", 24), ("test", 24)):
        rows = []
        for _ in range(count):
            labels = [label for label in several.labels if draw.random() < 0.5]
            text = " ".join(draw.choice(words[each]) for each in ["", *labels, ""])
            rows.append(json.dumps({"text": text, "labels": labels, "language": "en"}) + "\n")
        (tmp_path / "data" / f"{name}.jsonl").write_text("".join(rows))
    extra = write_preprocessing(Data(row_length=32))
    start = make_folder(tmp_path / "start", "bilstm", several, tokenizer, extra)
    experiment = make(tmp_path / "data", start)
    experiment.plan = (replace(PLAN[0], epochs=20.0, class_weights="balanced"),)
    workdir = tmp_path / "run"
    results = run(experiment, workdir)
    check_shape(json.loads((workdir / "results.json").read_text()), Results)
    assert results["task"] == "multilabel"
    assert read_task(str(workdir / "student")) == several
    assert results["stages"][0]["monitor"] == "dev micro_f1"
    student = results["student"]["test"]
    assert student["micro_f1"] > results["before"]["test"]["micro_f1"]
    written = [workdir / "predictions" / f"{name}.test.tsv" for name in ("gold", "student")]
    gold, predicted = (read_file(path, several) for path in written)
    again = score(several, gold, [each.labels for each in predicted])
    assert student == json.loads(json.dumps(again))
    assert "micro-F1 test" in (workdir / "results.md").read_text()
    assert "any number of labels" in (workdir / "student" / "README.md").read_text()
    found = [f"--model={workdir / 'student'}", f"--evaluate={written[0]}"]
    assert predict.main(found) == 0
    assert f"micro-F1 {100 * student['micro_f1']:.2f}" in capsys.readouterr().out


# --- the head -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bilstm", "electra"])
@pytest.mark.parametrize("own", [TAGGING, CLASSES], ids=["tagging", "classification"])
def test_classes_of_the_same_name_keep_their_columns_and_all_below_stays(
    tmp_path, tokenizer, kind, own
):
    new = NEW if own is TAGGING else Task(own.kind, ("good", "odd", "bad", "poor"))
    before = load_model(str(make_folder(tmp_path / "before", kind, own, tokenizer))).params
    leaves = flatten_dict(open_start(str(tmp_path / "before"), new, "float32", seed=0).params)
    last = 0
    for path, leaf in flatten_dict(before).items():
        if path[0] != "classifier" or leaf.shape[-1] != len(own.labels):
            np.testing.assert_array_equal(leaves[path], leaf)
            continue
        last += 1
        assert leaves[path].shape == (*leaf.shape[:-1], len(new.labels))
        for index, label in enumerate(new.labels):
            column = leaves[path][..., index]
            if label in own.labels:
                np.testing.assert_array_equal(column, leaf[..., own.labels.index(label)])
            elif path[-1] == "kernel":
                assert np.ptp(column) > 0
    assert last == 2


def test_the_same_labels_in_another_order_change_nothing_but_their_order(student):
    task = Task("tagging", tuple(reversed(TAGGING.labels)))
    before, after = load_model(str(student)), open_start(str(student), task, "float32", 0)
    leaves = flatten_dict(after.params)
    for path, leaf in flatten_dict(before.params).items():
        expected = leaf[..., ::-1] if path[0] == "classifier" else leaf
        np.testing.assert_array_equal(leaves[path], expected)


# --- what a run leaves ----------------------------------------------------------------------------


def test_the_student_goes_on_from_its_folder_with_its_own_subwords(tuned, student, data):
    workdir, results = tuned
    own, before = load_tokenizer(str(workdir / "student")), load_tokenizer(str(student))
    assert own.backend.to_str() == before.backend.to_str()
    loaded = load_model(str(workdir / "student"))
    assert loaded.task == NEW
    assert loaded.model.config.vocabulary_size == before.vocabulary_size
    assert not (workdir / "teacher").exists()
    assert "teacher" not in results
    answers = xdistil.load(str(workdir / "student")).tag(["Anna went", "New York"])
    assert {word.tag for answer in answers for word in answer.words} <= set(NEW.labels)
    assert results["student"]["dev"]["macro_f1"] > results["before"]["dev"]["macro_f1"] + 0.3


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_row_before_is_what_the_folder_itself_answers(tuned, student, data, split):
    workdir, results = tuned
    gold = read_file(data / f"{split}.tsv", NEW)
    answers = xdistil.load(str(student)).tag([example.inputs for example in gold])
    tags = [tuple(word.tag for word in answer.words) for answer in answers]
    assert results["before"][split] == score(NEW, gold, tags)
    lines = (workdir / "predictions" / f"before.{split}.tsv").read_text().splitlines()
    written = [line.rpartition("\t")[2].partition(":")[2].split(" ") for line in lines]
    assert written == [list(each) for each in tags]
    assert results["before"]["parameters"]["total"] > results["student"]["parameters"]["total"] - 99


def test_table_card_and_pictures_compare_with_the_student_before(tuned, student):
    workdir, results = tuned
    check_shape(results, Results)
    before, after = (results[name]["test"]["macro_f1"] for name in ("before", "student"))
    change = f"{100 * before:.2f} ({100 * (after - before):+.2f})"
    told = f"{100 * after:.2f}; before the run it was {change}"
    console = render_console(results)
    assert told in console
    assert "teacher" not in console
    card = ModelCard.load(workdir / "student" / "README.md")
    assert told in card.text
    assert "| language | before | student | gap | sentences |" in card.text
    assert f"initialized from `{student}`, trained without a teacher." in card.text
    assert "Its teacher" not in card.text
    assert (
        "AutoModel` does not open the model" in card.text
    )  # a BiLSTM, whatever `student.kind` says
    assert card.data.base_model is None  # a folder is no name on the hub
    assert {path.name for path in (workdir / "figures").iterdir()} == {
        "course.png",
        "languages.png",
    }
    assert render_console(results) in inspect_folder(workdir)


def test_the_dry_run_tells_what_becomes_of_the_head(data, student):
    told = describe(make(data, student))
    assert "transfer" not in told.splitlines()[0]
    assert told.count("teacher") == told.count("\nteacher: none\n") == 1
    told = " ".join(told.split())
    assert f"student: continues from {student}; its head keeps 3 of 5 classes" in told
    assert "without 'B-LOC', 'I-LOC', and starts at random for 'B-ORG', 'I-ORG'" in told


def test_a_run_that_was_cut_off_ends_in_the_same_student(tmp_path, tuned, data, student):
    real = RunLog.write

    def record(run_log: RunLog, line: dict[str, Any]) -> None:
        if (line["plan"], line["step"]) == ("student", 8):
            raise KeyboardInterrupt
        real(run_log, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", record)
        with pytest.raises(KeyboardInterrupt):
            run(make(data, student), tmp_path / "run")
    run(make(data, student), tmp_path / "run")
    assert "student: resumes at labels, step 5" in (tmp_path / "run" / "train.log").read_text()
    whole, cut = (path / "student" / "model.safetensors" for path in (tuned[0], tmp_path / "run"))
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("way", ["tuned", "signals", "teacher", "teacher done"])
def test_a_run_that_has_not_begun_tells_what_it_begins_with(tmp_path, data, student, way):
    experiment = make(data, student)
    if way != "tuned":
        experiment.student = Student()
    if way == "signals":
        experiment.teacher.signals = "signals"
    if way == "teacher done":
        (tmp_path / "teacher").mkdir()
    claim_workdir(tmp_path, experiment)
    begins = "teacher" if way == "teacher" else "student"
    assert f"The same command starts with the {begins}:" in inspect_folder(tmp_path)


def test_another_student_under_the_same_name_is_refused(tmp_path, data, student, tokenizer):
    shutil.copytree(student, tmp_path / "student")
    experiment = make(data, tmp_path / "student")
    inputs = fingerprint_inputs(build(experiment, tmp_path / "cache"), tmp_path)
    assert not any(name.startswith("transfer") for name in inputs)
    claim_inputs(tmp_path, inputs)
    shutil.rmtree(tmp_path / "student")
    make_folder(tmp_path / "student", "bert", TAGGING, tokenizer)
    inputs = fingerprint_inputs(build(experiment, tmp_path / "cache"), tmp_path)
    with pytest.raises(InputError, match=r"is not the student\.checkpoint that the run"):
        claim_inputs(tmp_path, inputs)


def test_a_head_of_no_common_labels_has_no_score_before(tmp_path, data, tokenizer, tuned):
    other = make_folder(tmp_path / "s", "bilstm", Task("tagging", ("O", "B-GENE")), tokenizer)
    assert open_before(str(other), NEW) is None
    assert build(make(data, other), tmp_path / "cache").student.model.classes == len(NEW.labels)
    results = {**tuned[1], "before": {**tuned[1]["before"], "dev": None, "test": None}}
    assert describe_outcome(results)[0].endswith("; before the run it had no score.")


def test_a_student_goes_on_with_a_teacher_too_where_their_widths_agree(
    tmp_path, data, student, tokenizer
):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "transfer.txt").write_text("Anna went to York\n")
    experiment = make(tmp_path / "data", student)
    experiment.teacher.model = str(make_folder(tmp_path / "teacher", "bert", NEW, tokenizer))
    experiment.teacher.finetune = False
    experiment.plan = (Stage(name="logits", loss="logits"),)
    built = build(experiment, tmp_path / "cache")
    assert isinstance(built.teacher, ModelTeacher)
    fitted = flatten_dict(open_start(str(student), NEW, "float32", 0).params)
    begins = flatten_dict(first(built, built.teacher.params))
    assert begins.keys() == fitted.keys()
    for path, leaf in begins.items():
        np.testing.assert_array_equal(leaf, fitted[path])
    experiment.plan = (Stage(name="states", loss="representation"),)
    with pytest.raises(InputError, match="projection is 7 wide and the teacher 8"):
        build(experiment, tmp_path / "cache")


# --- what is refused ------------------------------------------------------------------------------

REFUSED = {
    "another task": (CLASSES, ["has a head for classification", "the task is tagging"]),
    "no head": (None, ["has no head for tagging or classification"]),
    "other tags": (Task("tagging", ("NOUN", "VERB")), ["'NOUN'", "tags of entities"]),
}


@pytest.mark.parametrize("name", [*REFUSED, "no model", "no folder", "another loss"])
def test_what_is_no_start_is_refused_before_anything_trains(
    tmp_path, data, student, tokenizer, capsys, name
):
    folder, words, more = student, ["student.checkpoint"], []
    if name in REFUSED:
        task, words = REFUSED[name]
        folder = make_folder(tmp_path / "folder", "bert", task, tokenizer)
    elif name == "no model":
        folder, words = data, [f"{data} is no model folder: it has no config.json"]
    elif name == "no folder":
        folder, words = tmp_path / "nowhere", ["no such folder"]
    else:
        more, words = ["--config.plan[0].loss=logits"], ["plan[0].loss", "set teacher.model"]
    command = [
        "--config=configs/ner.py:continue",
        f"--config.student.checkpoint={folder}",
        f"--config.data.folder={data}",
        f"--workdir={tmp_path / 'run'}",
        *more,
    ]
    assert train.main(command) == 2
    *_, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("train.py: ")
    assert last.endswith(".")
    for word in words:
        assert word in last
    assert not (tmp_path / "run" / "config.json").exists()
