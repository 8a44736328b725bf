"""Students whose subwords are not the teacher's, and teachers that are a file, in whole runs.

One run reads its teacher into a cache of words. What it read is written as a file of signals, in
another order of texts and of labels, and a second run, which is cut off on its way, learns from
that without a teacher: it must end with the same student, bit by bit.
"""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.evaluation.shapes import check_shape
from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.data.examples import Task, read_file
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.evaluation.results import Results
from xdistil.experiment.dry_run import describe
from xdistil.experiment.run import run
from xdistil.models.hf.folder import load_model
from xdistil.runtime.run_log import RunLog
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signal_file import SignalWriter
from xdistil.teacher.signals import Request
from xdistil.teacher.storage import WordSignal

LABELS = ("O", "B-PER", "B-LOC")
TASK = Task("tagging", LABELS)
PLACES, PEOPLE = ("Rome", "Oslo", "Turin", "Madrid"), ("Anna", "Bob", "Carl", "Dora")
CUT = ("student", "logits/projection", 2)


def write_data(folder: Path) -> Path:
    """Sentences of 3 to 9 words, all different; most are longer than a row has room for."""
    folder.mkdir(parents=True)
    draw, number = random.Random(0), 0
    for name, count in (("train", 30), ("dev", 12), ("test", 12), ("transfer", 30)):
        lines = []
        for _ in range(count):
            number += 1
            words, tags = [f"{number}."], ["O"]
            for _ in range(draw.randint(2, 8)):
                tag = draw.choice(LABELS)
                names = {"O": ("then", "to", "and"), "B-PER": PEOPLE, "B-LOC": PLACES}[tag]
                words.append(draw.choice(names))
                tags.append(tag)
            lines.append(" ".join(words) + f"\ten:{' '.join(tags)}" * (name != "transfer"))
        suffix = "txt" if name == "transfer" else "tsv"
        (folder / f"{name}.{suffix}").write_text("\n".join(lines) + "\n")
    (folder / "labels.tsv").write_text("\n".join(LABELS) + "\n")
    return folder


def make_experiment(data: Path) -> Experiment:
    """A BiLSTM with subwords of its own, and rows that hold a few words."""
    teacher = Stage(name="train", loss="labels", data="train", epochs=3.0, lr=2e-2, keep="last")
    shared: dict[str, Any] = {"data": "all", "lr": 1e-2}
    experiment = Experiment(
        dtype="float32",
        plan=(
            Stage(name="states", loss="representation+logits", **shared),
            Stage(name="logits", loss="logits", unfreeze="gradual", epochs=1.5, **shared),
        ),
        teacher=Teacher(hidden_size=8, layers=2, heads=2, vocabulary_size=120, plan=(teacher,)),
        student=Student(
            embedding_size=4,
            hidden_size=6,
            tokenizer_pieces=75,
            embeddings="random",
            train_embeddings=False,
        ),
        batch_size=16,
        eval_every=4,
        log_every=2,
        speed_seconds=0.0,
    )
    experiment.data.row_length, experiment.data.folder = 16, str(data)
    # A model reads units of transfer texts, and a file has values of words: so these are the same.
    experiment.data.segmentation = "spaces"
    return experiment


def without_teacher(data: Path, signals: Path) -> Experiment:
    """The same with a file in the teacher's place."""
    experiment = make_experiment(data)
    experiment.teacher.signals = str(signals)
    return experiment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "task")


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, Any, Any]:
    """A finished run with a teacher, its results, and what the teacher said: (words, by name)."""
    workdir, told = tmp_path_factory.mktemp("read") / "run", []
    real = ModelTeacher._open

    def spy(teacher: ModelTeacher, placed: Any, request: Request, *rest: Any) -> Any:
        found = real(teacher, placed, request, *rest)
        by_word = {n: np.array(s.values) for n, s in found.items() if isinstance(s, WordSignal)}
        first = 0
        for example in request.teacher.examples:
            here = slice(first, first + len(example.inputs))
            told.append((example.inputs, {name: v[here] for name, v in by_word.items()}))
            first = here.stop
        assert {len(values) for values in by_word.values()} == {first}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelTeacher, "_open", spy)
        results = run(make_experiment(data), workdir)
    return workdir, results, told


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory, read: Any, data: Path) -> Path:
    """What that teacher said, from the last text to the first; of test it knows the answers."""
    folder = tmp_path_factory.mktemp("signals") / "signals"
    order = [2, 0, 1]
    with SignalWriter(
        folder, "tagging", [LABELS[i] for i in order], layers=2, width=8, hidden=[2]
    ) as writer:
        for words, values in reversed(read[2]):
            hidden = {2: values["hidden-2"]}
            writer.add(words, logits=values["logits"][:, order], hidden=hidden)
        for example in read_file(data / "test.tsv", TASK):
            gold = np.array([LABELS.index(tag) for tag in example.labels or ()])
            states = {2: np.zeros((len(gold), 8))}
            writer.add(example.inputs, logits=np.eye(3)[gold][:, order], hidden=states)
    return folder


@pytest.fixture(scope="module")
def learnt(
    tmp_path_factory: pytest.TempPathFactory, signals: Path, data: Path
) -> tuple[Path, dict[str, Any]]:
    """A run without a teacher that was cut off once."""
    workdir = tmp_path_factory.mktemp("learnt") / "run"
    experiment, real = without_teacher(data, signals), RunLog.write

    def record(run_log: RunLog, line: dict[str, Any]) -> None:
        if (line["plan"], line["stage"], line["step"]) == CUT:
            raise KeyboardInterrupt
        real(run_log, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", record)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, workdir)
    return workdir, run(experiment, workdir)


def test_a_file_of_a_teachers_signals_makes_the_student_that_the_teacher_makes(read, learnt):
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        ours, theirs = (folder / "student" / name for folder in (learnt[0], read[0]))
        assert ours.read_bytes() == theirs.read_bytes()
    ours, theirs = (results for _, results, *_ in (learnt, read))
    assert ours["stages"] == theirs["stages"]
    assert ours["student"] == theirs["student"]
    lines = [
        [
            {**json.loads(line), "tokens_per_second": 0}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
            if json.loads(line)["plan"] == "student"
        ]
        for folder in (learnt[0], read[0])
    ]
    assert lines[0] == lines[1]


def test_the_student_moves_towards_its_teacher(read, learnt):
    stages = read[1]["stages"]
    assert [stage["name"] for stage in stages][:2] == ["states", "logits/head"]
    lines = [json.loads(text) for text in (read[0] / "metrics.jsonl").read_text().splitlines()]
    watched = [x["monitor"] for x in lines if x["plan"] == "student" and x["event"] != "train"]
    assert watched[-1] < 0.9 * watched[0]


def test_a_file_is_scored_by_its_logits(read, learnt, data):
    """On dev they are the teacher's, on test they are gold."""
    teacher = learnt[1]["teacher"]
    assert teacher["dev"] == read[1]["teacher"]["dev"]
    assert teacher["dev"]["macro_f1"] > 0.5
    assert teacher["test"]["macro_f1"] == 1
    assert (teacher["parameters"], teacher["bytes"], teacher["labels"]) == (None, None, None)
    gold = read_file(data / "test.tsv", TASK)
    written = read_file(learnt[0] / "predictions" / "teacher.test.tsv", TASK)
    assert [each.labels for each in written] == [each.labels for each in gold]


def test_results_without_a_teacher_are_null_where_it_is_asked_for(learnt):
    workdir, results = learnt
    assert not (workdir / "teacher").exists()
    check_shape(results, Results)
    assert results["compression"] is results["timing"]["speedup"] is None
    assert results["retention"] == results["student"]["test"]["macro_f1"]
    assert "student" in (workdir / "results.md").read_text()
    assert "| all |" in (workdir / "student" / "README.md").read_text()
    assert {path.stem for path in (workdir / "figures").iterdir()} == {"course"}
    assert json.loads((workdir / "results.json").read_text()) == json.loads(json.dumps(results))


def test_the_student_keeps_the_tokenizer_that_was_trained_for_it(read, data):
    tokenizer = AutoTokenizer.from_pretrained(read[0] / "student")
    theirs = AutoTokenizer.from_pretrained(read[0] / "teacher")
    assert len(tokenizer) == 75
    assert len(theirs) == 120
    shape = load_model(str(read[0] / "student")).model.config
    assert shape.vocabulary_size == 75
    gold = read_file(data / "test.tsv", TASK)
    predicted = read_file(read[0] / "predictions" / "student.test.tsv", TASK)
    again = score(TASK, gold, [each.labels for each in predicted])
    assert read[1]["student"]["test"] == json.loads(json.dumps(again))


def test_one_byte_of_the_file_changed_is_refused_by_its_name(learnt, signals, data, tmp_path):
    shutil.copytree(signals, tmp_path / "signals")
    shutil.copytree(learnt[0], tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    path = tmp_path / "signals" / "hidden-2.npy"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"hidden-2\.npy is not the teacher.signals/hidden-2\.npy"):
        run(without_teacher(data, tmp_path / "signals"), tmp_path / "run")


def unwrap(told: str) -> str:
    """The words of an overview, whose lines break anywhere."""
    return " ".join(told.split())


def test_a_dry_run_tells_where_signals_come_from_and_where_they_meet(data, signals):
    told = unwrap(describe(make_experiment(data), verbose=True))
    assert "75 subwords of its own" in told
    assert "first subword of every word" in told
    assert "teacher's signals cached: logits and hidden states of all, dev" in told
    assert "the only option: the teacher does not read the student's subwords" in told
    told = unwrap(describe(without_teacher(data, signals), verbose=True))
    assert f"signals from {signals}: hidden-2, logits of 84 texts" in told
    assert "2 layers x 8" in told
    assert "hidden 1 from 2" in told


def test_word_embeddings_start_from_the_teachers_rows_unless_told_otherwise(data):
    experiment = make_experiment(data)
    experiment.student.embeddings = "svd"
    told = unwrap(describe(experiment))
    assert re.search(r"the teacher's word embeddings have a row for [1-9]\d* of them", told)
    assert "SVD of the fine-tuned teacher's" in told


def forget_texts(experiment: Experiment) -> None:
    """Another data set: a sentence of dev that the file has not."""
    folder = Path(experiment.data.folder)
    (folder / "dev.tsv").write_text("Zoe slept\ten:B-PER O\n")


REFUSED: dict[str, tuple[Callable[[Experiment], object], str]] = {
    "attention": (
        lambda e: [
            setattr(e.student, "kind", "transformer"),
            setattr(e.student, "heads", 2),
            setattr(e.plan[0], "loss", "representation+attention"),
        ],
        r"plan\[0\]\.loss has attention, which compares pairs of subwords",
    ),
    "no cache": (lambda e: setattr(e.teacher, "cache", "never"), "teacher.cache=never"),
    "too few subwords": (
        lambda e: setattr(e.student, "tokenizer_pieces", 20),
        "student.tokenizer_pieces=20 is too small for the",
    ),
    "two tokenizers": (
        lambda e: setattr(e.student, "tokenizer", "there"),
        "student.tokenizer_pieces and student.tokenizer are both set",
    ),
}
REFUSED_OF_A_FILE: dict[str, tuple[Callable[[Experiment], object], str]] = {
    "another data set": (forget_texts, "1 of the 1 texts of dev are not in .* 'Zoe slept'"),
    "another layer": (
        lambda e: setattr(e.plan[0], "hidden_map", "1"),
        r"plan\[0\] learns hidden-1",
    ),
    "no such layer": (lambda e: setattr(e.plan[0], "hidden_map", "3"), "teacher layer 3"),
    "a model too": (lambda e: setattr(e.teacher, "model", "there"), "are both set"),
    "no tokenizer": (
        lambda e: setattr(e.student, "tokenizer_pieces", 0),
        "student.tokenizer_pieces=8000",
    ),
    "layers of a teacher": (
        lambda e: [
            setattr(e.student, "keep_layers", "0"),
            setattr(e.student, "kind", "transformer"),
            setattr(e.student, "embeddings", ""),
            setattr(e.student, "embedding_size", 0),
        ],
        "student.keep_layers",
    ),
    "embeddings of a teacher": (lambda e: setattr(e.student, "embeddings", "svd"), "random"),
    "no such folder": (lambda e: setattr(e.teacher, "signals", "nowhere"), "nowhere"),
}


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_OF_A_FILE])
def test_what_cannot_be_is_refused_before_any_training(data, signals, tmp_path, name):
    shutil.copytree(data, tmp_path / "task")
    if name in REFUSED:
        experiment, (change, words) = make_experiment(tmp_path / "task"), REFUSED[name]
    else:
        experiment = without_teacher(tmp_path / "task", signals)
        change, words = REFUSED_OF_A_FILE[name]
    change(experiment)
    with pytest.raises(InputError, match=words):
        run(experiment, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
