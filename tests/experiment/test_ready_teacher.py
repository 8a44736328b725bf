"""A teacher that is not fine-tuned: its labels, its head and its revision."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiment.ready_teacher import make_teacher, ready, without_head
from tests.experiment.tiny_run import LABELS, TASK, write_task
from xdistil.cli.overrides import parse_command
from xdistil.data.decoding import ARGMAX, VITERBI
from xdistil.data.examples import Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.deploy.predictor import load
from xdistil.errors import InputError
from xdistil.experiment.build import build
from xdistil.models.hf.folder import load_model


@pytest.mark.parametrize(
    "labels",
    [
        ("O", "I-PER", "I-LOC"),
        ("B-PER", "I-PER", "E-PER", "S-PER", "O", "S-LOC"),
    ],
    ids=["no B-", "bioes"],
)
def test_teachers_of_other_schemes_answer_in_iob2(raw, tmp_path, labels):
    task = Task("tagging", labels)
    make_teacher(tmp_path / "teacher", task)
    command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", tmp_path / "teacher")
    built = build(parse_command(command).experiment, tmp_path / "cache")
    assert built.corpus.task == task
    assert built.student.model.classes == len(labels)
    kinds = {label for each in built.corpus.test for label in each.labels}
    assert kinds == set(LABELS)
    (answer,) = load(str(tmp_path / "teacher")).predictor.predict([("Anna", "Bob", "to", "Rome")])
    assert set(answer.labels) <= {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}


def rename(labels: tuple[str, ...], kind: str = "tagging") -> Callable[[Path], Path]:
    return lambda folder: make_teacher(folder, Task(kind, labels))


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
def test_what_does_not_fit_is_refused(raw, tmp_path, name):
    make, more, words = REFUSED[name]
    teacher = make(tmp_path / "teacher")
    command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", teacher, *more)
    with pytest.raises(InputError) as caught:
        build(parse_command(command).experiment, tmp_path / "cache")
    assert all(word in str(caught.value) for word in words), caught.value


def test_the_rows_of_a_head_are_put_in_the_order_of_the_labels(raw, tmp_path):
    write_task(tmp_path / "task")
    shuffled = ("I-PER", "O", "B-LOC", "B-PER")
    make_teacher(tmp_path / "teacher", Task("tagging", shuffled))
    command = ready(raw / "tiny.py", tmp_path / "task", tmp_path / "run", tmp_path / "teacher")
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
def test_a_teacher_of_other_labels_is_refused_unless_it_is_fine_tuned(raw, tmp_path, make, words):
    write_task(tmp_path / "task")
    teacher = make(tmp_path / "teacher")
    command = ready(raw / "tiny.py", tmp_path / "task", tmp_path / "run", teacher)
    experiment = parse_command(command).experiment
    with pytest.raises(InputError) as caught:
        build(experiment, tmp_path / "cache")
    assert all(word in str(caught.value) for word in words), caught.value
    experiment.teacher.finetune = True
    assert build(experiment, tmp_path / "cache").teacher.model.classes == len(LABELS)


def record(folder: Path, decoding: str) -> None:
    """Writes a decoding into the config.json of a model folder."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "xdistil": {"decoding": decoding}}))


def test_tags_from_elsewhere_are_decoded_word_by_word_until_gold_labels_are_learned(raw, tmp_path):
    """A teacher may have learned another scheme under the names of IOB2, its student too."""
    gold = write_task(tmp_path / "task")
    teacher = make_teacher(tmp_path / "teacher", TASK)

    def decodings(data: Path, stages: int, logits_loss: str = "mse") -> tuple[str, str]:
        command = ready(raw / "tiny.py", data, tmp_path / "run", teacher)
        experiment = parse_command(command).experiment
        experiment.plan = experiment.plan[:stages]
        experiment.plan[1].logits_loss = logits_loss
        run = build(experiment, tmp_path / "cache")
        return run.teacher_decoding, run.student_decoding

    assert decodings(raw / "task", 3) == (ARGMAX, ARGMAX)  # without labels
    assert decodings(gold, 2) == (ARGMAX, ARGMAX)
    assert decodings(gold, 3) == (ARGMAX, VITERBI)
    assert decodings(raw / "task", 3, "crf") == (ARGMAX, VITERBI)  # the tags of sentences
    record(teacher, VITERBI)
    assert decodings(raw / "task", 3) == (VITERBI, VITERBI)
    record(teacher, "beam")
    with pytest.raises(InputError, match=r"config.json: xdistil.decoding is 'beam'; it must be "):
        decodings(gold, 3)


def test_representations_alone_need_no_head(raw, tmp_path):
    write_task(tmp_path / "task")
    teacher = without_head(tmp_path / "teacher")
    command = ready(raw / "tiny.py", tmp_path / "task", tmp_path / "run", teacher)
    experiment = parse_command(command).experiment
    plain = replace(experiment.plan[2], gap_weight=0.0, sampling="even")
    experiment.plan = (experiment.plan[0], plain)
    assert build(experiment, tmp_path / "cache").corpus.gold


def test_the_revision_is_of_the_model_and_not_of_another_tokenizer(raw, tmp_path, monkeypatch):
    asked = []

    def load(name: str, revision: str = "main", words: bool = False) -> Any:
        asked.append((name, revision))
        return load_tokenizer(name, words=words)

    monkeypatch.setattr("xdistil.teacher.source.load_tokenizer", load)
    for more in ([], [f"--config.teacher.tokenizer={raw / 'tokenizer'}"]):
        more.append("--config.teacher.revision=v2")
        command = ready(raw / "tiny.py", raw / "task", tmp_path / "run", raw / "teacher", *more)
        build(parse_command(command).experiment, tmp_path / "cache")
    assert asked == [(str(raw / "teacher"), "v2"), (str(raw / "tokenizer"), "main")]
