"""States of isolated subwords: of which teacher, in which order, and where kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.deploy.folders import train_tokenizer
from tests.distill.small import make_session
from tests.experiment.untrained_teacher import write_teacher
from tests.models.samples import BERT, make_params
from xdistil.config import Baseline, Experiment
from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.experiment.build import Run, build
from xdistil.experiment.dry_run import describe_plan
from xdistil.experiment.isolated_states import FILE, find_isolated_states
from xdistil.experiment.training import start_student, train_baseline
from xdistil.models.types import Params
from xdistil.runtime.mesh import shard_batch
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import SignalSpec

DEEP = replace(BERT, layers=3)  # 2 is the middle one


def make_run(folder: Path, change: Callable[[Experiment], object] = lambda _: None) -> Run:
    experiment = write_teacher(folder, DEEP)
    experiment.student.train_embedding_projection = experiment.student.project_states = True
    change(experiment)
    return build(experiment, folder / "cache")


def keep_some(experiment: Experiment) -> None:
    experiment.student.vocabulary, experiment.student.vocabulary_size = "seen", 24


def find(run: Run, folder: Path, teacher: ModelTeacher | None = None) -> np.ndarray:
    (folder / "work").mkdir(exist_ok=True)
    session = make_session(folder / "work")
    states = find_isolated_states(run, teacher or run.teacher, session)
    assert states is not None
    return states


def read_alone(run: Run, folder: Path, ids: list[int], params: Params) -> np.ndarray:
    """The states after layers 2 and 3 of the teacher's subwords, each in a row of its own."""
    session, teacher = make_session(folder), replace(run.teacher, params=params, remap=None)
    tokens = np.zeros((len(ids), 16), np.int32)
    tokens[:, 0], tokens[:, 1], tokens[:, 2] = teacher.tokenizer.cls, ids, teacher.tokenizer.sep
    segment = np.zeros_like(tokens)
    segment[:, :3] = 1
    position = np.arange(16, dtype=np.int32) * segment
    batch = Batch(tokens, segment, position, 0 * tokens, 0 * tokens, segment > 0)
    placed = teacher.place(session)
    hidden = placed.compute(shard_batch(session.mesh, batch), SignalSpec(hidden=(2, 3))).hidden
    return np.concatenate([np.asarray(states)[:, 1] for states in hidden], axis=-1)


@pytest.mark.parametrize("change", [lambda _: None, keep_some], ids=["all", "some"])
@pytest.mark.parametrize("start", ["finetuned", "pretrained"])
def test_states_are_those_of_rows_with_one_subword(
    tmp_path: Path, change: Callable[[Experiment], object], start: str
) -> None:
    """Of the teacher that lends embeddings, in the order of the student's subwords."""

    def change_both(experiment: Experiment) -> None:
        experiment.student.start = start
        change(experiment)

    run = make_run(tmp_path, change_both)
    trained = make_params(run.teacher.model, seed=5)
    found = find(run, tmp_path, replace(run.teacher, params=trained))
    teachers = run.teacher.tokenizer.backend.get_vocab()
    own = run.student.tokenizer.backend.get_vocab()
    subwords = sorted(own, key=own.__getitem__)
    read = trained if start == "finetuned" else run.teacher.params
    expected = read_alone(run, tmp_path, [teachers[name] for name in subwords], read)
    assert found.shape == (len(subwords), 36)
    alone = [i for i, name in enumerate(subwords) if not name.startswith("<")]
    assert len(alone) > 15
    np.testing.assert_allclose(found[alone], expected[alone], rtol=1e-4, atol=1e-5)


def test_subwords_of_a_students_own_take_the_means_of_the_teachers(tmp_path: Path) -> None:
    train_tokenizer(tmp_path / "own")

    def change(experiment: Experiment) -> None:
        experiment.student.tokenizer, experiment.plan = str(tmp_path / "own"), experiment.plan[1:]

    run = make_run(tmp_path, change)
    found = find(run, tmp_path)
    assert len(found) == run.student.tokenizer.vocabulary_size
    count = run.teacher.model.config.vocabulary_size
    every = read_alone(run, tmp_path, list(range(count)), run.teacher.params)
    own = run.student.tokenizer.backend.token_to_id("we")
    parts = [run.teacher.tokenizer.backend.token_to_id(part) for part in ("▁", "w", "e")]
    np.testing.assert_allclose(found[own], every[parts].mean(axis=0), rtol=1e-4, atol=1e-5)


def test_a_resumed_run_reads_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    states = find(run, tmp_path)
    monkeypatch.setattr(ModelTeacher, "place", None)
    np.testing.assert_array_equal(find(run, tmp_path), states)
    path = tmp_path / "work" / "cache" / FILE
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"{FILE} is damaged: remove it\."):
        find(run, tmp_path)


def test_the_plan_tells_which_states_are_projected(tmp_path: Path) -> None:
    told = " ".join(describe_plan(make_run(tmp_path)).split())
    assert (
        "and the projection is trained, also that of the fine-tuned teacher's states of isolated "
        "subwords after layers 2 and 3 of 3"
    ) in told


def test_a_projection_of_word_embeddings_needs_no_states(tmp_path: Path) -> None:
    run = make_run(tmp_path, lambda e: setattr(e.student, "project_states", False))
    session: Any = None
    assert find_isolated_states(run, run.teacher, session) is None


def test_a_baseline_does_not_see_the_states(tmp_path: Path) -> None:
    """Its parameters are those of a run that projects word embeddings alone."""
    baselines = (Baseline(lrs="1e-2", epochs=2.0),)
    run = make_run(tmp_path, lambda e: setattr(e, "baselines", baselines))
    start = start_student(run, run.teacher)
    assert start.projected is not None
    unknown = np.full((len(start.projected), 36), np.nan, np.float32)
    wide = start._replace(projected=np.concatenate([start.projected, unknown], axis=1))
    trained = []
    for name, each in (("narrow", start), ("wide", wide)):
        (tmp_path / name).mkdir()
        trained.append(train_baseline(run, make_session(tmp_path / name), 0, each)[1])
    jax.tree.map(np.testing.assert_array_equal, *trained)
    table = trained[0]["embeddings"]["word_embeddings"]["embedding"]
    assert (table != start.params["embeddings"]["word_embeddings"]["embedding"]).all()
