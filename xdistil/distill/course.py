"""What a plan runs on: texts, sub-stages with their texts, and how many steps these take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from xdistil.config import Stage
from xdistil.data import batches
from xdistil.data.packing import Rows
from xdistil.data.subwords import Subwords
from xdistil.distill.plan import SIDE_PROJECTIONS
from xdistil.distill.recipes import PlannedStage
from xdistil.models.types import Params
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.teacher.model_teacher import Reader
from xdistil.teacher.signals import SignalSpec, signal_names
from xdistil.teacher.storage import PRESENT, Signal

LEAST_STEPS_BETWEEN_EVALUATIONS = 50  # where an epoch is shorter than that


@dataclass(frozen=True)
class Source:
    """Packed texts, and the teacher's cached signals on them."""

    subwords: Subwords
    rows: Rows
    signals: Mapping[str, Signal]  # by name, and perhaps PRESENT, bool[P]; empty where they are
    # computed on the fly

    def select(self, wanted: SignalSpec) -> "Source":
        """The same texts with the wanted signals alone; none where no cache holds all of them."""
        names = signal_names(wanted)
        if not self.signals.keys() >= set(names):
            names = ()
        if names and PRESENT in self.signals:
            names = (*names, PRESENT)
        return replace(self, signals={name: self.signals[name] for name in names})


@dataclass(frozen=True)
class Leg:
    """One sub-stage with its texts, ready to run."""

    planned: PlannedStage
    train: Source
    dev: Source


@dataclass(frozen=True)
class Course:
    """Everything the legs of one plan share."""

    name: str  # teacher, student or a baseline's: the `plan` of the metrics
    legs: tuple[Leg, ...]
    teacher: Reader | None
    evaluate: Callable[[Params], dict[str, Any]]  # dev scores of parameters on the devices
    main_score: str  # the key of those scores that labels stages monitor
    batch_size: int
    padding_id: int
    eval_every: int
    log_every: int
    seed: int
    mesh: Mesh
    place: Callable[[Mesh, Params], Params]  # parameters over the mesh: `replicate` or `spread`
    cache: Path  # a folder for what a frozen encoder makes of the texts
    diverged: Path  # a folder for the step that reproduces a loss which is not finite
    stop: PreemptionGuard
    checkpoint_minutes: float  # between two checkpoints, at most; 0: at evaluations alone


def count_steps(
    planned: PlannedStage, subwords: Subwords, rows: Rows, batch_size: int
) -> tuple[int, int, int]:
    """(rows a batch, steps an epoch, steps in all at most) of a sub-stage on packed texts.

    Args:
        batch_size: sentences a step where the stage does not say its own.
    """
    size = planned.stage.batch_size or batch_size
    batch_rows = batches.rows_per_batch(subwords, rows.subword.shape[1], size)
    epoch = batches.steps_per_epoch(rows, batch_rows)
    return batch_rows, epoch, batches.count_steps(rows, batch_rows, planned.substage.epochs)


def steps_between_evaluations(eval_every: int, epoch: int) -> int:
    """As the config says, or once an epoch; an epoch may be too short for that."""
    return eval_every or max(epoch, LEAST_STEPS_BETWEEN_EVALUATIONS)


def schedule_rates(stage: Stage, steps: int) -> np.ndarray:
    """f32[steps] learning rates: a linear warm-up from 0, then the stage's schedule to lr_end."""
    warmup = round(stage.warmup * steps)
    rest = max(steps - warmup, 1)
    after = {
        "constant": optax.constant_schedule(stage.lr),
        "linear": optax.linear_schedule(stage.lr, stage.lr_end, rest),
        "cosine": optax.cosine_decay_schedule(stage.lr, rest, alpha=stage.lr_end / stage.lr),
    }[stage.schedule]
    rise = optax.linear_schedule(0.0, stage.lr, max(warmup, 1))
    schedule = optax.join_schedules([rise, after], [warmup])
    return np.asarray(jax.vmap(schedule)(jnp.arange(steps)), np.float32)


def without_projections(params: Params) -> Params:
    """Parameters without the side projections of a representation loss."""
    return {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
