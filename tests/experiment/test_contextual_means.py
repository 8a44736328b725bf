"""Mean states of a run's teacher: of which texts and layer, by which ids, and where kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.deploy.folders import train_tokenizer
from tests.distill.small import make_session
from tests.experiment.untrained_teacher import write_teacher
from tests.models.samples import BERT
from xdistil.config import Experiment
from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.experiment import contextual_means
from xdistil.experiment.build import Run, build
from xdistil.experiment.contextual_means import FILE, find_means
from xdistil.experiment.dry_run import describe_plan
from xdistil.models.forward import prediction_rows
from xdistil.models.subword_means import SubwordMeans
from xdistil.models.types import Params
from xdistil.runtime.mesh import shard_batch
from xdistil.student.contextual import complete_means
from xdistil.student.embeddings import pca_embeddings, start_embeddings
from xdistil.teacher.interface import Unit
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import Signals, SignalSpec


class Told:
    """A teacher whose states begin with the ids that it is given, and how much it was asked."""

    def __init__(self) -> None:
        self.subwords = 0

    def compute(self, batch: Batch, spec: SignalSpec) -> Signals:
        assert spec == SignalSpec(hidden=(2,))  # 7 of 12 layers, 2 of 2
        self.subwords += int((np.asarray(batch.segment) > 0).sum())
        tokens = np.asarray(batch.tokens, np.float32)[..., None]
        states = jnp.asarray(np.where(np.arange(18), np.sin(tokens + np.arange(18)), tokens))
        return Signals(None, (states,), ())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    teacher = Told()
    monkeypatch.setattr(ModelTeacher, "place", lambda self, session: teacher)
    return teacher


def make_run(folder: Path, change: Callable[[Experiment], object] = lambda _: None) -> Run:
    experiment = write_teacher(folder, BERT)
    texts = ["the large teacher", "the student reads", "the river", "a stone"]
    (folder / "transfer.txt").write_text("\n".join(texts) + "\n")
    experiment.student.embeddings = "contextual"
    change(experiment)
    return build(experiment, folder / "cache")


def find(run: Run, folder: Path) -> SubwordMeans:
    """Kept in a workdir that has no folder for them yet, as where runs share all other files."""
    (folder / "work").mkdir(exist_ok=True)
    means = find_means(run, run.teacher, make_session(folder / "work"))
    assert means is not None
    return means


def test_means_are_those_of_texts_that_are_read_alone(tmp_path: Path):
    """Here each text has a row of its own, in the shape that packed rows have."""
    run, session = make_run(tmp_path), make_session(tmp_path)
    means, texts = find(run, tmp_path), run.texts["transfer"].subwords
    shape = (prediction_rows(run.texts["transfer"].rows, session.mesh.size), 16)
    tokens, segment = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for row, (start, end) in enumerate(zip(texts.start, texts.start[1:], strict=False)):
        tokens[row, : end - start], segment[row, : end - start] = texts.tokens[start:end], 1
    position = np.arange(16, dtype=np.int32) * segment
    batch = Batch(tokens, segment, position, 0 * tokens, 0 * tokens, segment > 0)
    placed = run.teacher.place(session)
    states = placed.compute(shard_batch(session.mesh, batch), SignalSpec(hidden=(2,))).hidden[0]
    assert means.subwords.tolist() == sorted(set(texts.tokens.tolist()))
    for id, value in zip(means.subwords, means.values, strict=True):
        here = np.asarray(states)[(tokens == id) & (segment > 0)]
        np.testing.assert_allclose(value, here.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_the_ids_are_the_teachers_where_the_student_keeps_some_subwords(tmp_path: Path, told):
    def change(experiment: Experiment) -> None:
        experiment.student.vocabulary, experiment.student.vocabulary_size = "seen", 24

    run = make_run(tmp_path, change)
    means = find(run, tmp_path)
    assert run.teacher.remap is not None
    own = means.values[:, 0].astype(int)  # the student's ids, which the fake was given
    np.testing.assert_array_equal(run.teacher.remap[own], means.subwords)
    assert (own != means.subwords).any()
    rows = complete_means(means, run.teacher.params["embeddings"]["word_embeddings"]["embedding"])
    expected = pca_embeddings(rows[run.teacher.remap], 6)
    start: Params = {"embeddings": {"word_embeddings": {"embedding": np.zeros(expected.shape)}}}
    init, key = run.student.embeddings, jax.random.key(0)
    start = start_embeddings(start, init, run.teacher.params, key, means)
    table = start["embeddings"]["word_embeddings"]["embedding"]
    sizes = np.linalg.norm(table), np.linalg.norm(expected)
    np.testing.assert_allclose(table / sizes[0], expected / sizes[1], atol=1e-6)


def test_a_student_with_subwords_of_its_own_takes_those_that_the_teacher_read(tmp_path, told):
    train_tokenizer(tmp_path / "own")

    def change(experiment: Experiment) -> None:
        experiment.student.tokenizer, experiment.plan = str(tmp_path / "own"), experiment.plan[1:]

    run = make_run(tmp_path, change)
    assert run.teacher.unit is Unit.WORD
    means = find(run, tmp_path)
    assert means.subwords.tolist() == sorted(set(run.teacher_texts["transfer"].subwords.tokens))
    table = run.teacher.params["embeddings"]["word_embeddings"]["embedding"]
    rows = run.student.embeddings.rows(complete_means(means, table))
    assert rows.shape == (run.student.tokenizer.vocabulary_size, 18)
    own = run.student.tokenizer.backend.token_to_id("[CLS]")
    read = run.teacher.tokenizer.backend.token_to_id("<s>")
    np.testing.assert_array_equal(rows[own], means.values[means.subwords == read][0])
    assert "the teacher's mean states have a row for" in " ".join(describe_plan(run).split())


def test_so_many_texts_are_read_and_a_resumed_run_reads_none(tmp_path, told, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setattr(contextual_means, "TEXTS", 2)
    means = find(run, tmp_path)
    lengths = np.diff(run.texts["transfer"].subwords.start)
    assert told.subwords in {a + b for i, a in enumerate(lengths) for b in lengths[i + 1 :]}
    monkeypatch.setattr(ModelTeacher, "place", None)
    again = find(run, tmp_path)
    np.testing.assert_array_equal(again.subwords, means.subwords)
    np.testing.assert_array_equal(again.values, means.values)
    path = tmp_path / "work" / "cache" / FILE
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"{FILE} is damaged: remove it\."):
        find(run, tmp_path)


@pytest.mark.parametrize("start", ["finetuned", "pretrained"])
def test_either_teacher_lends_its_states_and_the_plan_tells_it(start, tmp_path, monkeypatch):
    run = make_run(tmp_path, lambda e: setattr(e.student, "start", start))
    trained = replace(run.teacher, padding_id=run.teacher.padding_id)  # another object
    asked: list[ModelTeacher] = []

    def place(self: ModelTeacher, session: Any) -> Told:
        asked.append(self)
        return Told()

    monkeypatch.setattr(ModelTeacher, "place", place)
    find_means(run, trained, make_session(tmp_path))
    assert asked[0] is (run.teacher if start == "pretrained" else trained)
    plan = " ".join(describe_plan(run).split())
    which = {"finetuned": "fine-tuned", "pretrained": "pre-trained"}[start]
    assert (
        f"student word embeddings: PCA of the {which} teacher's states after layer 2 of 2, "
        "averaged by subword over 4 transfer texts"
    ) in plan


def test_another_start_needs_no_states(tmp_path: Path):
    run = make_run(tmp_path, lambda e: setattr(e.student, "embeddings", "svd"))
    assert find_means(run, run.teacher, make_session(tmp_path)) is None


def test_a_student_wider_than_the_states_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"of 19 cannot be a PCA of the teacher's hidden states"):
        make_run(tmp_path, lambda e: setattr(e.student, "embedding_size", 19))
