"""A cache that the steps of a stage write: complete afterwards, and the same bits after any cut."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    Plan,
    init_params,
    make_batch,
    make_bilstm,
    make_plan,
    make_teacher,
    make_texts,
    run_plan,
)
from tests.distill.test_resume import CutError, check, cut_batches, judge, read_run
from xdistil.config import Stage
from xdistil.data.packing import fill_batch
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.teacher import cache_policy, growing_cache
from xdistil.teacher.growing_cache import GrowingCache
from xdistil.teacher.model_teacher import ModelTeacher

STATES = Stage(name="states", loss="representation", epochs=1.5, lr=1e-2)
LOGITS = Stage(name="logits", loss="logits", epochs=2.0, lr=1e-2)
STUDENT = make_bilstm()
SUBWORDS = len(make_texts()["transfer"].subwords.tokens)

pytestmark = pytest.mark.usefixtures("logits_alone_fit")


@pytest.fixture
def logits_alone_fit(monkeypatch):
    """A disk without delay, and a bound that the logits of transfer keep and its states do not."""
    monkeypatch.setattr(cache_policy, "DISK_RATE", 1e15)
    monkeypatch.setattr(cache_policy, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(cache_policy, "MOST_BYTES", 4 * CLASSES * SUBWORDS)


def make(folder: Path, stages: tuple[Stage, ...] = (STATES, LOGITS), **settings: Any) -> Plan:
    teacher = make_teacher(cache="auto", cache_type="float32")
    return make_plan(stages, folder, STUDENT, teacher, evaluate=judge, **settings)


def read_cache(folder: Path) -> dict[str, bytes]:
    files = (folder / "cache/signals").glob("*")
    return {path.name: path.read_bytes() for path in files if path.name != ".lock"}


def compute_logits(teacher: ModelTeacher) -> np.ndarray:
    """Of every subword of transfer, by the teacher itself."""
    texts = make_texts()["transfer"]
    batch = fill_batch(texts.subwords, texts.rows, np.arange(len(texts.rows.subword)), 0)
    logits = np.asarray(teacher.model.apply({"params": teacher.params}, batch).logits)
    found = np.zeros((SUBWORDS, CLASSES), np.float32)
    found[texts.rows.subword[batch.segment > 0]] = logits[batch.segment > 0]
    return found


def find_logits(folder: Path) -> np.ndarray:
    """Those of transfer, which has most subwords."""
    found = [np.load(path) for path in (folder / "cache/signals").glob("logits-*.npy")]
    return max(found, key=len)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the run that nothing disturbs ends with, and its cache."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_policy, "DISK_RATE", 1e15)
        patch.setattr(cache_policy, "LEAST_SECONDS", 0.0)
        patch.setattr(cache_policy, "MOST_BYTES", 4 * CLASSES * SUBWORDS)
        plan = make(folder)
        assert list(plan.trainer.reader.growing) == ["transfer"]
        assert list(plan.trainer.reader.stored) == ["dev"]
        outcomes = run_plan(plan, init_params(STUDENT), save=True)
    return read_run(folder, outcomes), read_cache(folder)


def test_the_steps_write_what_the_teacher_computes(tmp_path, monkeypatch):
    """All of it, in the first epoch: no row is left for the stage that reads it."""
    filled = []
    monkeypatch.setattr(GrowingCache, "_fill", lambda cache: filled.append(cache._written.all()))
    run_plan(make(tmp_path), init_params(STUDENT), save=True)
    assert filled == [True]
    expected = compute_logits(make_teacher())
    np.testing.assert_allclose(find_logits(tmp_path), expected, rtol=1e-5, atol=1e-6)
    assert not list((tmp_path / "cache/signals").glob("*growing"))
    assert not list((tmp_path / "cache/signals").glob("*-rows"))


def test_rows_are_written_where_doubts_are_measured(tmp_path, monkeypatch):
    """Before the only step of the stage that writes."""
    filled = []
    monkeypatch.setattr(GrowingCache, "_fill", lambda cache: filled.append(cache._written.all()))
    mixed = Stage(name="mixed", loss="representation+logits", epochs=0.01, lr=1e-2)
    first, second = (plan := make(tmp_path, (mixed, LOGITS))).stages
    plan = plan._replace(stages=(replace(first, samples_doubtful=True), second))
    run_plan(plan, init_params(STUDENT), save=True)
    assert filled == [True]
    expected = compute_logits(make_teacher())
    np.testing.assert_allclose(find_logits(tmp_path), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("epochs", [0.5, 0.01], ids=["half an epoch", "one step"])
def test_rows_that_no_step_came_to_are_computed_before_they_are_read(tmp_path, epochs):
    stages = (Stage(name="states", loss="representation", epochs=epochs, lr=1e-2), LOGITS)
    run_plan(make(tmp_path, stages), init_params(STUDENT), save=True)
    expected = compute_logits(make_teacher())
    np.testing.assert_allclose(find_logits(tmp_path), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("after", [1, 3, 5, 7])
def test_cut_off_at_a_step(tmp_path, monkeypatch, whole, after):
    """Before and after the first checkpoint of the stage that writes, in its second epoch, and in
    the stage that reads."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, after)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole[0])
    assert read_cache(tmp_path) == whole[1]


def test_cut_off_while_the_rest_is_computed(tmp_path, monkeypatch):
    """After every batch of it: a stop leaves the rows before it, and the next call resumes."""
    stages = (Stage(name="states", loss="representation", epochs=0.01, lr=1e-2), LOGITS)
    monkeypatch.setattr(growing_cache, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("xdistil.teacher.model_teacher.prediction_rows", lambda rows, devices: 2)
    params = init_params(STUDENT)
    expected = read_run(tmp_path / "a", run_plan(make(tmp_path / "a", stages), params, save=True))
    lives = 0
    while True:
        calls = []

        def stop(guard: PreemptionGuard, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == 2:
                raise CutError

        with monkeypatch.context() as patch:
            patch.setattr(GrowingCache, "_fill", with_check(stop))
            try:
                outcomes = run_plan(make(tmp_path / "b", stages), params, save=True)
                break
            except CutError:
                lives += 1
    assert lives > 1
    check(read_run(tmp_path / "b", outcomes), expected)
    assert read_cache(tmp_path / "b") == read_cache(tmp_path / "a")


def with_check(stop: Any) -> Any:
    """`GrowingCache._fill` that is stopped before a batch."""
    real = GrowingCache._fill

    def fill(cache: GrowingCache) -> None:
        cache._check = lambda: stop(None)
        real(cache)

    return fill


@pytest.mark.parametrize("lost", ["*", "*-rows"])
def test_files_that_are_lost_meanwhile_are_written_again(tmp_path, monkeypatch, lost):
    """What no step writes any more is computed: equal but for rounding."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 3)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    folder = tmp_path / "cache/signals"
    assert list(folder.glob(lost))
    if lost == "*":
        shutil.rmtree(folder)
    for path in folder.glob(lost):
        path.unlink()
    run_plan(make(tmp_path), params, save=True)
    expected = compute_logits(make_teacher())
    np.testing.assert_allclose(find_logits(tmp_path), expected, rtol=1e-5, atol=1e-6)


def test_a_stage_that_writes_reads_what_it_computes_though_the_cache_is_there(tmp_path, whole):
    """As an uninterrupted run does: the same steps after the loss of all checkpoints."""
    params = init_params(STUDENT)
    run_plan(make(tmp_path), params, save=True)
    shutil.rmtree(tmp_path / "checkpoints")
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole[0])
    assert read_cache(tmp_path) == whole[1]


def test_the_first_values_of_a_row_stay(tmp_path, monkeypatch):
    """Later epochs compute the row among others, which may round differently."""
    plan = make(tmp_path)
    growing, spec = plan.trainer.reader.growing["transfer"], plan.stages[0].spec
    rows = make_texts()["transfer"].rows.subword
    states = np.zeros((2, rows.shape[1], 8), np.float32)
    for call, indices in enumerate(([0, -1], [0, 1]), 1):
        logits = jnp.full((2, rows.shape[1], CLASSES), call, jnp.float32)
        values = {"logits": logits, "hidden-2": states}
        monkeypatch.setattr(growing, "_compute", lambda batch, spec, values=values: values)
        growing.compute(make_batch(2), np.array(indices), spec)
        growing.write()
    (stored,) = growing._arrays.values()
    assert [set(stored[row[row >= 0], 0]) for row in rows[:2]] == [{1.0}, {2.0}]


def test_an_evaluation_reads_dev_from_its_own_cache(tmp_path):
    plan = make(tmp_path)
    reader, (states, logits) = plan.trainer.reader, plan.stages
    assert list(reader.columns("dev", states.spec)) == ["hidden-2"]
    assert reader.writer("dev", states.spec) is None
    assert reader.writer("transfer", logits.spec) is None
    assert reader.writer("transfer", states.spec) is reader.growing["transfer"]
    assert reader.columns("transfer", states.spec) == {}
