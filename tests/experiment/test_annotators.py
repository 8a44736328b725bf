"""Answers of annotators as the teacher of a run: what is built, and what is refused before."""

import json
from pathlib import Path

import pytest

from tests.experiment.test_signals import LABELS, make_experiment, write_data
from xdistil.config import Experiment, Stage, validate
from xdistil.data.examples import read_file
from xdistil.data.spans import find_spans, join_words
from xdistil.errors import InputError
from xdistil.experiment.build import build
from xdistil.experiment.dry_run import describe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "task")


@pytest.fixture(scope="module")
def answers(data: Path) -> Path:
    """What two annotators say of the training texts, as they are typed: gold, and nothing."""
    path = data.parent / "answers.jsonl"
    rows = []
    for example in read_file(data / "train.tsv"):
        text, places = join_words(example.inputs)
        spans = [
            {"start": places[first][0], "end": places[after - 1][1], "label": type_}
            for first, after, type_ in find_spans(example.labels or ())
        ]
        text = text.replace(". ", ".", 1)  # no blank after the number
        spans = [{**each, **{k: each[k] - 1 for k in ("start", "end")}} for each in spans]
        rows.append({"text": text, "annotators": {"a": spans, "b": [], "c": None}})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def learn_votes(data: Path, answers: Path) -> Experiment:
    experiment = make_experiment(data)
    experiment.teacher.labels = str(answers)
    experiment.plan = (Stage(name="votes", loss="logits", logits_loss="kl", data="transfer"),)
    return experiment


def test_texts_of_the_answers_are_transfer_texts_where_there_are_no_others(data, answers, tmp_path):
    experiment = learn_votes(data, answers)
    with pytest.raises(
        InputError, match=r"none of the 30 texts of transfer has an answer in teach"
    ):
        build(experiment, tmp_path / "one")
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("train.tsv", "dev.tsv", "labels.tsv"):
        (alone / name).write_bytes((data / name).read_bytes())
    experiment.data.folder = str(alone)
    validate(experiment)
    built = build(experiment, tmp_path / "two")
    for name, words in (("gone.jsonl", "no file matches"), ("dev.tsv", "must end in .jsonl or")):
        experiment.teacher.labels = str(alone / name)
        with pytest.raises(InputError, match=f"teacher.labels.*{words}"):
            build(experiment, tmp_path / "three")
    experiment.teacher.labels = str(answers)
    assert len(built.corpus.transfer) == 30
    assert built.corpus.transfer[0].inputs[:2] == ("1", ".")  # units of typed text, not words
    told = " ".join(describe(experiment).split())
    assert f"teacher: learned votes of 3 annotators in {answers}: logits of 30 texts" in told


def test_what_a_file_of_answers_cannot_teach_is_refused(data, answers, tmp_path):
    experiment = learn_votes(data, answers)
    experiment.data.transfer = str(answers)
    experiment.plan = (Stage(name="states", loss="representation"),)
    with pytest.raises(InputError, match=r"plan\[0\] learns hidden-\d+, which is not in teacher.l"):
        build(experiment, tmp_path / "one")
    experiment.teacher.labels = str(tmp_path / "*.jsonl")
    with pytest.raises(InputError, match=r"teacher.labels: no file matches"):
        build(experiment, tmp_path / "two")
    experiment.teacher.votes = "all"
    with pytest.raises(
        InputError, match=r"teacher.votes is 'all': it must be one of majority, sha"
    ):
        validate(experiment)
    experiment.teacher.votes, experiment.teacher.model = "share", "model"
    with pytest.raises(InputError, match=r"teacher.labels and teacher.model are both set"):
        validate(experiment)
    assert LABELS == ("O", "B-PER", "B-LOC")
