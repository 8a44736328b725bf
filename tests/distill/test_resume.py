"""A plan that was cut off and run again ends as one that was not: bit by bit, line by line."""

import json
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.distill.small import (
    ROW_LENGTH,
    Plan,
    init_params,
    make_bilstm,
    make_plan,
    make_teacher,
    run_plan,
    same,
)
from xdistil.config import Stage
from xdistil.data.examples import Example
from xdistil.data.packing import PackedTexts, pack_languages
from xdistil.distill import trainer as training
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.language_gaps import TeacherScores
from xdistil.distill.loop import Outcome, fit
from xdistil.distill.masking import Masking
from xdistil.distill.stages import train_projection
from xdistil.errors import StoppedError
from xdistil.runtime.mesh import replicate
from xdistil.runtime.preemption import PreemptionGuard

PLAN = (
    Stage(name="representation", loss="representation", epochs=2.0, lr=1e-2, warmup=0.2),
    Stage(name="labels", loss="labels", data="train", epochs=2.0, lr=1e-2, patience=2),
)


# So many word embeddings that Orbax keeps them as plain bytes, which it does not check itself.
STUDENT = make_bilstm(vocabulary_size=3000)


class CutError(Exception):
    """Stands for whatever ends a process."""


def judge(params: Any) -> dict[str, Any]:
    """A score that depends on every parameter, and so differs at every evaluation."""
    total = sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(jax.device_get(params)))
    languages = {"de": {"f1": total % 1.0}, "fr": {"f1": 7 * total % 1.0}}
    return {"macro_f1": total % 1.0, "per_language": languages}


def make(folder: Path, **changes: Any) -> Plan:
    plan = make_plan(PLAN, folder, STUDENT, make_teacher(), **{"evaluate": judge, **changes})
    first, *rest = plan.stages
    step = replace(first.step, masking=Masking(0.3, 4, (2, 3), whole_words=True))
    return project(draw_unevenly(plan._replace(stages=(replace(first, step=step), *rest))))


def project(plan: Plan) -> Plan:
    """All stages train the projection of a teacher's word embeddings of width 7."""
    shape = (STUDENT.config.vocabulary_size, 7)
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    teacher = replicate(plan.trainer.session.mesh, rows)
    return Plan(
        replace(plan.trainer, teacher_embeddings=teacher), train_projection(plan.stages, shape[1])
    )


def draw_unevenly(plan: Plan) -> Plan:
    """The last stage draws languages by the scores of its first parameters, and texts by their
    doubts."""
    *stages, last = plan.stages
    subwords = last.train.subwords
    examples = [Example(("word",), None, "fr" if i % 3 else "de") for i in range(16)]
    rows = pack_languages(subwords, ROW_LENGTH, 0, examples, 1.0)
    last = replace(last, train=PackedTexts(examples, subwords, rows), weighs_languages=True)
    last = replace(last, config=replace(last.config, gap_weight=4.0), samples_doubtful=True)
    perfect: Any = {"per_language": {"de": {"f1": 1.0}, "fr": {"f1": 1.0}}}
    trainer = replace(plan.trainer, teacher_scores=TeacherScores(perfect, "f1"))
    return Plan(trainer, (*stages, last))


def cut_batches(patch: pytest.MonkeyPatch, after: int) -> None:
    """Lets the batch iterators of all stages together give that many batches."""
    left = [after]
    real = training.batches.make_batches

    def make_batches(*arguments: Any, **settings: Any) -> Any:
        for item in real(*arguments, **settings):
            if not left[0]:
                raise CutError
            left[0] -= 1
            yield item

    patch.setattr(training.batches, "make_batches", make_batches)


def read_run(folder: Path, outcomes: list[Outcome]) -> dict[str, Any]:
    """All that must be equal: parameters, the table of stages, metrics; not what is timed."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("tokens_per_second", None)
    records = [{**record, "seconds": None} for record in outcomes[-1].stages]
    return {"params": outcomes[-1].params, "records": records, "lines": lines}


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["lines"] == expected["lines"]
    assert found["records"] == expected["records"]
    assert same(found["params"], expected["params"])


def list_checkpoints(folder: Path) -> list[int]:
    """The steps of the plan that have a checkpoint, in order."""
    names = [path.name for path in (folder / "checkpoints/student").iterdir()]
    return sorted(int(name) for name in names if name.isdigit())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Any]:
    """The run that nothing disturbs: 8 steps, then 6 at most, evaluated every second step."""
    folder = tmp_path_factory.mktemp("whole")
    return read_run(folder, run_plan(make(folder), init_params(STUDENT), save=True))


def test_the_undisturbed_run_is_as_long_as_the_cuts_suppose(whole):
    assert [record["steps"] for record in whole["records"]] == [8, 6]
    monitors = [line["monitor"] for line in whole["lines"] if line["event"] == "evaluation"]
    assert len(set(monitors)) == 7


@pytest.fixture
def draws(monkeypatch) -> list[tuple[list[int], list[float]]]:
    """The rows of each language in an epoch and the weights of rows, whenever batches are made."""
    real, found = training.batches.make_batches, []

    def make_batches(subwords: Any, rows: Any, *arguments: Any, **settings: Any) -> Any:
        weights = settings["weights"]
        found.append((rows.quota.tolist(), [] if weights is None else weights.tolist()))
        return real(subwords, rows, *arguments, **settings)

    monkeypatch.setattr(training.batches, "make_batches", make_batches)
    return found


def test_a_resumed_stage_draws_by_the_gaps_and_doubts_before_its_first_step(
    tmp_path, monkeypatch, draws
):
    """Every evaluation is better than the one before, and swaps the languages."""
    calls: list[int] = []

    def swap(params: Any) -> dict[str, Any]:
        calls.append(1)
        f1 = 0.1 + 0.8 * (len(calls) % 2)
        languages = {"de": {"f1": f1}, "fr": {"f1": 1 - f1}}
        return {"macro_f1": len(calls) / 100, "per_language": languages}

    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 11)
        with pytest.raises(CutError):
            run_plan(make(tmp_path, evaluate=swap), params, save=True)
    assert len(calls) == 3  # at the end of the first stage, before the second, and in it
    plan = make(tmp_path, evaluate=swap)
    run_plan(plan, params, save=True)
    first, begun, resumed = draws
    languages = plan.stages[-1].train.rows.languages
    assert first == ([], [])
    assert begun == resumed
    quota, weights = begun
    assert quota[0] > languages[0]  # gaps of 0.9 in German and 0.1 in French
    assert sum(quota) == sum(languages)
    assert len(weights) == sum(languages)
    assert max(weights) > min(weights)


@pytest.mark.parametrize("after", [1, 3, 6, 8, 9, 13])
def test_cut_off_at_a_step(tmp_path, monkeypatch, whole, after):
    """Before the first checkpoint, between two, at the end of a stage and in the next one."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, after)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


@pytest.mark.parametrize("call", [2, 4])
def test_cut_off_in_an_evaluation(tmp_path, whole, call):
    """Which is the stage's first (call 2; call 1 scores the stage before) or a later one."""
    calls = []

    def failing(params: Any) -> dict[str, Any]:
        calls.append(params)
        if len(calls) == call:
            raise CutError
        return judge(params)

    params = init_params(STUDENT)
    with pytest.raises(CutError):
        run_plan(make(tmp_path, evaluate=failing), params, save=True)
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


def test_cut_off_many_times(tmp_path, monkeypatch, whole):
    """Three batches a life: each gets one evaluation further."""
    params = init_params(STUDENT)
    for _ in range(20):
        with monkeypatch.context() as patch:
            cut_batches(patch, 3)
            try:
                outcomes = run_plan(make(tmp_path), params, save=True)
                break
            except CutError:
                continue
    check(read_run(tmp_path, outcomes), whole)


@pytest.mark.parametrize("step", [2, 8])
def test_killed_between_the_state_taken_and_the_checkpoint_written(
    tmp_path, monkeypatch, whole, step
):
    """A copy of the workdir is what a kill leaves: lines of metrics, and no checkpoint of them."""
    running, left, params = tmp_path / "running", tmp_path / "left", init_params(STUDENT)
    written = Checkpoints._write

    def copy_first(self: Checkpoints, tree: Any, best: Any, cursor: dict[str, Any]) -> None:
        if cursor["total_step"] == step:
            shutil.copytree(running, left)
        written(self, tree, best, cursor)

    running.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_write", copy_first)
        check(read_run(running, run_plan(make(running), params, save=True)), whole)
    assert all(number < step for number in list_checkpoints(left))
    assert len((left / "metrics.jsonl").read_text().splitlines()) >= step
    check(read_run(left, run_plan(make(left), params, save=True)), whole)


def test_a_disk_that_is_full_beside_training_ends_the_plan(tmp_path, monkeypatch, whole):
    """With the sentence of the checkpoint that could not be written; the next run resumes."""
    params, written = init_params(STUDENT), ocp.CheckpointManager.save

    def fail(self: Any, step: int, **arguments: Any) -> bool:
        if step == 4:
            raise OSError("[Errno 28] No space left on device: 'state'")
        return written(self, step, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", fail)
        with pytest.raises(OSError, match="checkpoint 4 cannot be written"):
            run_plan(make(tmp_path), params, save=True)
    assert list_checkpoints(tmp_path) == [2]
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory) -> dict[str, Any]:
    """The same with lines of metrics and evaluations far apart: 5 and 4 steps."""
    folder = tmp_path_factory.mktemp("sparse")
    plan = make(folder, log_every=5, eval_every=4)
    return read_run(folder, run_plan(plan, init_params(STUDENT), save=True))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after", [1, 3, 4, 7, 8, 10])
def test_a_signal_saves_the_step_that_it_meets(tmp_path, monkeypatch, sparse, number, after):
    """Before the first evaluation, at one, at a stage's end, in the next stage: none is lost."""
    params, preemption = init_params(STUDENT), PreemptionGuard()
    with monkeypatch.context() as patch:
        signal_at_batch(patch, after, number)
        plan = make(tmp_path, log_every=5, eval_every=4, preemption=preemption)
        with preemption.listening(), pytest.raises(StoppedError, match=number.name):
            run_plan(plan, params, save=True)
    assert list_checkpoints(tmp_path)[-1] == after
    plan = make(tmp_path, log_every=5, eval_every=4)
    check(read_run(tmp_path, run_plan(plan, params, save=True)), sparse)


def signal_at_batch(patch: pytest.MonkeyPatch, count: int, number: int) -> None:
    """Sends this process a signal when the batch of that number, over all stages, is fetched."""
    seen = [0]
    real = training.batches.make_batches

    def make_batches(*arguments: Any, **settings: Any) -> Any:
        for item in real(*arguments, **settings):
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), number)
            yield item

    patch.setattr(training.batches, "make_batches", make_batches)


@pytest.mark.parametrize("call", [2, 3])
def test_a_signal_in_an_evaluation_saves_the_step_before_it(tmp_path, sparse, call):
    """Which is the stage's first (call 2; call 1 scores the stage before) or a later one."""
    params, preemption, calls = init_params(STUDENT), PreemptionGuard(), []

    def stopping(params: Any) -> dict[str, Any]:
        calls.append(params)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        preemption.raise_if_requested()
        return judge(params)

    plan = make(tmp_path, log_every=5, eval_every=4, preemption=preemption, evaluate=stopping)
    with preemption.listening(), pytest.raises(StoppedError):
        run_plan(plan, params, save=True)
    assert list_checkpoints(tmp_path)[-1] == {2: 8, 3: 12}[call]
    plan = make(tmp_path, log_every=5, eval_every=4)
    check(read_run(tmp_path, run_plan(plan, params, save=True)), sparse)


def test_the_clock_asks_for_checkpoints_between_evaluations(tmp_path, monkeypatch, sparse):
    """Every step is late here; a run that is cut off resumes from the last one."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 3)
        plan = make(tmp_path, log_every=5, eval_every=4, checkpoint_minutes=1e-9)
        with pytest.raises(CutError):
            run_plan(plan, params, save=True)
    assert list_checkpoints(tmp_path) == [2, 3]
    plan = make(tmp_path, log_every=5, eval_every=4)
    check(read_run(tmp_path, run_plan(plan, params, save=True)), sparse)


def test_cut_off_between_stages_the_outcome_is_given_again(tmp_path, whole):
    params = init_params(STUDENT)
    plan = make(tmp_path)
    running = fit(plan.trainer, plan.stages, params)
    first = next(running)
    running.close()
    plan.trainer.session.run_log.close()
    outcomes = run_plan(make(tmp_path), params, save=True)
    assert [len(outcome.stages) for outcome in outcomes] == [1, 2]
    assert same(outcomes[0].params, first.params)
    check(read_run(tmp_path, outcomes), whole)


def test_a_finished_plan_trains_nothing_and_gives_its_last_outcome(tmp_path, monkeypatch, whole):
    params = init_params(STUDENT)
    run_plan(make(tmp_path), params, save=True)
    monkeypatch.setattr(training, "train_step", None)
    outcomes = run_plan(make(tmp_path), params, save=True)
    assert len(outcomes) == 1
    check(read_run(tmp_path, outcomes), whole)


def test_a_stage_that_ran_out_of_patience_stays_ended(tmp_path, monkeypatch):
    """It has steps left, and takes none of them in its next life."""
    stage = Stage(name="labels", loss="labels", data="train", epochs=4.0, lr=1e-2, patience=1)
    plan = make_plan((stage,), tmp_path, evaluate=lambda params: {"macro_f1": 0.5})
    params = init_params(make_bilstm())
    (first,) = run_plan(plan, params, save=True)
    assert (first.stages[0]["steps"], first.stages[0]["limit"]) == (2, 12)
    monkeypatch.setattr(training, "train_step", None)
    (again,) = run_plan(plan, params, save=True)
    assert again.stages == first.stages
    assert same(again.params, first.params)


@pytest.mark.parametrize("after", [7, 13])
def test_a_flipped_bit_in_the_newest_checkpoint_is_noticed(
    tmp_path, monkeypatch, caplog, whole, after
):
    """The one before is used, and the damaged one's step is passed and saved again."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, after)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    steps = list_checkpoints(tmp_path)
    assert steps == {7: [4, 6], 13: [10, 12]}[after]
    flip_a_bit(tmp_path / "checkpoints/student" / str(steps[-1]))
    monkeypatch.setattr(logging.getLogger("xdistil"), "propagate", True)
    with caplog.at_level(logging.WARNING, "xdistil"):
        outcomes = run_plan(make(tmp_path), params, save=True)
    assert f"checkpoint {steps[-1]} " in caplog.text
    check(read_run(tmp_path, outcomes), whole)


def test_without_a_sound_checkpoint_the_plan_begins_anew(tmp_path, monkeypatch, whole):
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 7)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    for folder in (tmp_path / "checkpoints/student").iterdir():
        flip_a_bit(folder)
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


def flip_a_bit(checkpoint: Path) -> None:
    """In the largest file of numbers, which Orbax keeps in folders named d.

    It has one to three tables of embeddings, in any order with the small arrays, in whose encoding
    some bits have no meaning. A quarter of the file is always in a table.
    """
    files = [path for path in checkpoint.rglob("d/*") if path.is_file()]
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


def test_lines_of_other_plans_stay(tmp_path, monkeypatch, whole):
    """The teacher's lines precede the student's in one file."""
    line = json.dumps({"plan": "teacher", "stage": "finetune", "step": 1}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(line)
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 1)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    run = read_run(tmp_path, run_plan(make(tmp_path), params, save=True))
    assert run["lines"][0]["plan"] == "teacher"
    assert run["lines"][1:] == whole["lines"]


def test_lines_behind_those_of_a_finished_plan_stay(tmp_path):
    """They are a later plan's, which may have ended as well."""
    params = init_params(STUDENT)
    run_plan(make(tmp_path), params, save=True)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"plan": "baseline", "stage": "labels", "step": 1}\n')
    before = (tmp_path / "metrics.jsonl").read_bytes()
    run_plan(make(tmp_path), params, save=True)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_plan_whose_lines_are_gone_begins_anew(tmp_path, monkeypatch, whole):
    """As when an earlier plan went back behind a damaged checkpoint and cut the file there."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 7)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    os.truncate(tmp_path / "metrics.jsonl", 0)
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


def test_a_half_written_last_line_is_cut_away(tmp_path, monkeypatch, whole):
    """Of a process that died while it wrote."""
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 1)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"plan": "student", "stage": "rep')
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)


def test_resuming_does_not_need_the_cache_of_signals(tmp_path, monkeypatch, whole):
    params = init_params(STUDENT)
    with monkeypatch.context() as patch:
        cut_batches(patch, 5)
        with pytest.raises(CutError):
            run_plan(make(tmp_path), params, save=True)
    shutil.rmtree(tmp_path / "cache/signals")
    check(read_run(tmp_path, run_plan(make(tmp_path), params, save=True)), whole)
