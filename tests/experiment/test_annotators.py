"""Answers of annotators as the teacher of a run: what is built, and what is refused before."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.folders import TAGGING, make_folder, train_tokenizer
from tests.experiment.test_signals import LABELS, make_experiment, write_data
from xdistil.config import Baseline, Experiment, Stage
from xdistil.data.examples import read_file
from xdistil.data.spans import find_spans, join_words
from xdistil.errors import InputError
from xdistil.experiment.build import build
from xdistil.experiment.dry_run import describe
from xdistil.experiment.inputs import fingerprint_inputs
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.validation.experiment import validate


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
        InputError, match=r"teacher.votes is 'all': it must be one of auto, majority, sha"
    ):
        validate(experiment)
    experiment.teacher.votes, experiment.teacher.model = "share", "model"
    with pytest.raises(InputError, match=r"teacher.model and teacher.labels are both set"):
        validate(experiment)
    experiment = learn_votes(data, answers)
    experiment.teacher.calibrate, experiment.teacher.votes = True, "majority"
    with pytest.raises(InputError, match=r"calibrate fits probabilities, and teacher.votes=major"):
        validate(experiment)
    experiment.teacher.labels = ""
    with pytest.raises(InputError, match=r"calibrate is set, and there are no annotators: set te"):
        validate(experiment)
    experiment.teacher.labels, experiment.teacher.votes = str(answers), "auto"
    with pytest.raises(InputError, match=r"the answers contain 0 gold entities of dev, fewer than"):
        build(experiment, tmp_path / "three")
    assert LABELS == ("O", "B-PER", "B-LOC")


SILVER = Stage(name="silver", loss="labels", data="silver")


def set_silver(data: Path, answers: str) -> Experiment:
    experiment = learn_votes(data, Path(answers))
    experiment.plan = (SILVER, Stage(name="gold", loss="labels", data="train"))
    experiment.teacher.votes = "share"
    validate(experiment)
    return experiment


def test_a_stage_learns_the_votes_and_never_those_of_dev_and_test(data, answers, tmp_path):
    """Others answered dev too, and a text that nobody is sure of."""
    more = tmp_path / "more.jsonl"
    words = [" ".join(each.inputs) for each in read_file(data / "dev.tsv")]
    rows = [{"text": text, "spans": []} for text in (*words, "Bob ran")]
    more.write_text("".join(json.dumps(row) + "\n" for row in rows))
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("train.tsv", "dev.tsv", "labels.tsv"):
        (alone / name).write_bytes((data / name).read_bytes())
    experiment = set_silver(alone, f"{answers},{more}")
    built = build(experiment, tmp_path / "cache")
    assert [stage.texts for stage in built.stages] == ["silver", "train"]
    assert len(built.corpus.silver) == len(built.corpus.transfer) == 31
    assert set(words).isdisjoint(" ".join(each.inputs) for each in built.corpus.transfer)
    soft = built.texts["silver"].soft_labels
    assert soft is built.stages[0].train.soft_labels
    assert built.stages[1].train.soft_labels is None
    sums = soft.values[soft.place[soft.place >= 0]].sum(axis=1)
    assert sums == pytest.approx(np.ones(len(sums)))
    assert (soft.place >= 0).sum() == sum(len(each.inputs) for each in built.corpus.silver)
    told = " ".join(describe(experiment).split())
    assert "annotators: 12 of their 43 texts are in dev or test, and no stage learns" in told


def test_without_train_the_silver_texts_are_all_there_are(data, answers, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "dev.tsv").write_bytes((data / "dev.tsv").read_bytes())
    experiment = set_silver(alone, str(answers))
    with pytest.raises(InputError, match=r"plan\[1\].data is train, and .*alone has no train fi"):
        build(experiment, tmp_path / "one")
    experiment.plan, experiment.baselines = (SILVER,), (Baseline(),)
    built = build(experiment, tmp_path / "two")
    labels = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")  # spans may have several units
    assert (built.corpus.task.labels, built.baselines) == (labels, ())
    assert (len(built.corpus.dev), len(built.texts["silver"].examples)) == (12, 30)
    told = " ".join(describe(experiment).split())
    assert "left out: baseline labels only: no train file" in told
    experiment.data.folder = ""
    validate(experiment)
    with pytest.raises(InputError, match=r"data.folder is empty: .* data.dev_fraction=0.1"):
        build(experiment, tmp_path / "three")
    experiment.data.dev_fraction = 0.2
    built = build(experiment, tmp_path / "four")
    assert built.corpus.task.labels == labels
    assert (len(built.corpus.dev), len(built.corpus.silver)) == (6, 24)
    held, learnt = (
        {each.inputs for each in part} for part in (built.corpus.dev, built.corpus.silver)
    )
    assert held.isdisjoint(learnt | {each.inputs for each in built.corpus.transfer})
    assert "held out, labelled by the votes" in " ".join(describe(experiment).split())


def test_annotators_beside_a_model_need_a_stage_that_learns_them(data, answers, tmp_path):
    experiment = learn_votes(data, answers)
    experiment.teacher.model = "model"
    with pytest.raises(InputError, match=r"set teacher.plan\[0\].data=silver, or leave one"):
        validate(experiment)
    experiment.teacher.plan = (replace(SILVER, name="votes"), *experiment.teacher.plan)
    validate(experiment)
    experiment.teacher.finetune = False
    with pytest.raises(InputError, match=r"set plan\[0\].data=silver, or leave one"):
        validate(experiment)
    experiment.plan = (SILVER,)
    validate(experiment)
    experiment.teacher.labels = ""
    with pytest.raises(InputError, match=r"plan\[0\].data is silver, which are the texts of teach"):
        validate(experiment)


def test_a_model_is_fine_tuned_on_the_votes(data, answers, tmp_path):
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    folder = make_folder(tmp_path / "model", "bert", TAGGING, tokenizer)
    experiment = set_silver(data, str(answers))
    experiment.data.segmentation = "units"
    experiment.teacher.model, experiment.teacher.plan = str(folder), (SILVER,)
    experiment.teacher.votes, experiment.teacher.min_agreement = "majority", 0.6
    experiment.plan = (Stage(name="logits", loss="logits"),)
    validate(experiment)
    built = build(experiment, tmp_path / "cache")
    assert isinstance(built.teacher, ModelTeacher)
    (stage,) = built.finetuning
    soft = stage.train.soft_labels
    taught = soft.values[soft.place[soft.place >= 0]]
    assert np.all(taught.max(axis=1) == 1)  # of two annotators: where they agree
    assert 0 < len(taught) < stage.train.subwords.label_mask.sum()
    inputs = fingerprint_inputs(built, tmp_path / "cache")
    assert inputs["teacher.labels[0]"][0] == str(answers)
    assert {"teacher.model", "train"} <= inputs.keys()
    told = " ".join(describe(experiment).split())
    assert f"silver labels: majority votes of 3 annotators in {answers}" in told
