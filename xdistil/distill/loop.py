"""The stages of a plan one after another, resumed from wherever an earlier run of them stopped.

It knows neither XtremeDistil nor tagging: what to learn is a plan, what to monitor a function.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import NamedSharding

from xdistil.distill.checkpoint import Checkpoint, Checkpoints
from xdistil.distill.compile_ahead import compiling
from xdistil.distill.losses import SIDE_PROJECTIONS
from xdistil.distill.progress import Progress
from xdistil.distill.stages import StageRun
from xdistil.distill.step import TrainState, init_state
from xdistil.distill.trainer import Trainer, without_projections
from xdistil.distill.unfreezing import split_params
from xdistil.evaluation.results import StageRecord
from xdistil.models.types import Params
from xdistil.runtime.mesh import Layout, fetch, global_max, replicate, shard_params

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Outcome:
    """What a finished stage hands on."""

    stages: list[StageRecord]  # of this plan so far, this one last
    params: Params  # host arrays, without side projections


def fit(trainer: Trainer, stages: Sequence[StageRun], params: Params) -> Iterator[Outcome]:
    """Runs the stages that are not done yet; yields an outcome after each of them.

    An interrupted plan resumes from its newest undamaged checkpoint. A stage that had ended there
    is yielded again, since what its reader makes of it may have been lost.

    Args:
        params: parameters before the first stage, host arrays.
    """
    stages = [_pin_layout(trainer, stage) for stage in stages]
    checkpoints = Checkpoints(trainer.session.workdir / "checkpoints" / trainer.name)
    try:
        checkpoint = _resume(trainer, stages, params, checkpoints)
        results: list[StageRecord] = []
        first, total = 0, max(checkpoints.list_steps(), default=0)
        if checkpoint is not None:
            first, results = checkpoint.progress.stage, checkpoint.progress.results
        for index in range(first, len(stages)):
            with trainer.session.preemption.deferred():
                if checkpoint is None:
                    progress = Progress(stage=index, total_step=total, results=results)
                    checkpoint = _start(trainer, stages, progress, params)
                if not checkpoint.progress.done:
                    with _compiling_next(trainer, stages, index, params):
                        checkpoint = trainer.fit_stage(stages, checkpoint, checkpoints.save)
                checkpoints.wait()  # what a reader writes is never ahead of it
            results = checkpoint.progress.results
            total = max(total, checkpoint.progress.total_step)
            params = fetch(without_projections(checkpoint.best))
            yield Outcome(results, params)
            checkpoint = None
    finally:
        checkpoints.close()


def _resume(
    trainer: Trainer, stages: Sequence[StageRun], params: Params, checkpoints: Checkpoints
) -> Checkpoint | None:
    """The newest undamaged checkpoint, metrics.jsonl cut to the lines before it; None: there is
    none, and the lines of the plan are gone."""
    run_log = trainer.session.run_log

    def make(index: int) -> tuple[TrainState, Params]:
        best = with_projections(trainer, stages, index, params)
        return _init_state(trainer, stages, index, best), trainer.place(trainer.session.mesh, best)

    found = (checkpoints.restore(step, make) for step in checkpoints.list_steps())
    checkpoint = next((each for each in found if each is not None), None)
    lost = checkpoint is not None and not run_log.holds(checkpoint.progress.log_offset)
    if global_max(int(lost)):
        # An earlier plan resumed from before a damaged checkpoint, and overwrote its lines.
        log.warning("%s: its lines are missing from metrics.jsonl: it restarts", trainer.name)
        checkpoint = None
    if checkpoint is None:
        run_log.drop_plan(trainer.name)
        return None
    progress = checkpoint.progress
    if not (progress.done and progress.stage == len(stages) - 1):
        # After a finished plan come the lines of the next ones.
        run_log.truncate(progress.log_offset)
    log.info("%s: resumes at %s, step %d", trainer.name, stages[progress.stage].name, progress.step)
    return checkpoint


def _compiling_next(
    trainer: Trainer, stages: Sequence[StageRun], index: int, params: Params
) -> contextlib.AbstractContextManager[None]:
    """Compiles the programs of the stage after `index` during the block."""
    if index + 1 == len(stages):
        return contextlib.nullcontext()
    best = with_projections(trainer, stages, index + 1, params)
    return compiling(trainer, stages[index + 1], best)


def _pin_layout(trainer: Trainer, stage: StageRun) -> StageRun:
    """The stage, whose steps leave the state where `trainer.place` puts it."""
    mesh = trainer.session.mesh
    if mesh.shape["shard"] == 1:
        return stage
    layout = Layout(mesh, sharded=trainer.place is shard_params)
    return replace(stage, step=replace(stage.step, layout=layout))


def _start(
    trainer: Trainer, stages: Sequence[StageRun], progress: Progress, params: Params
) -> Checkpoint:
    """Before a stage's first step."""
    best = with_projections(trainer, stages, progress.stage, params)
    return Checkpoint(_init_state(trainer, stages, progress.stage, best), best, progress)


def with_projections(
    trainer: Trainer, stages: Sequence[StageRun], index: int, params: Params
) -> Params:
    """Adds a stage's side projections: LeCun-normal kernels, zero biases."""
    sides = {}
    key = jax.random.fold_in(_stage_key(trainer, index), 1)
    for i, (width, target) in enumerate(stages[index].projections):
        if width != target:
            kernel = jax.nn.initializers.lecun_normal()(jax.random.fold_in(key, i), (width, target))
            sides[str(i)] = {"kernel": np.asarray(kernel), "bias": np.zeros(target, np.float32)}
    return {**params, SIDE_PROJECTIONS: sides} if sides else params


def _init_state(
    trainer: Trainer, stages: Sequence[StageRun], index: int, params: Params
) -> TrainState:
    mesh, stage = trainer.session.mesh, stages[index]
    trainable, frozen = split_params(params, stage.trainable)
    key = jax.random.fold_in(_stage_key(trainer, index), 2)
    state = init_state(stage.step, trainer.place(mesh, trainable), trainer.place(mesh, frozen), key)
    # Moments lie where their parameters lie; counters, made inside, would sit on one device.
    return jax.tree.map(
        lambda x: x if isinstance(x.sharding, NamedSharding) else replicate(mesh, x), state
    )


def _stage_key(trainer: Trainer, index: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(trainer.session.experiment.seed), index)
