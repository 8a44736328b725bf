"""The loop: sub-stages one after another, with evaluation, patience, metrics and checkpoints.

It knows neither XtremeDistil nor tagging: what to learn is a plan, what to monitor a function. The
order in a step that evaluates is: train, evaluate, record, save, go on. That makes resuming exact,
since whatever comes after a checkpoint depends on nothing but what is in it.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from xdistil.config import Stage
from xdistil.data import batches
from xdistil.data.packing import Rows, gather_signal
from xdistil.data.pieces import Pieces
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.failure import keep_failure
from xdistil.distill.meter import Meter
from xdistil.distill.plan import HEAD, PROJECTION, SIDE, merge_params, split_params
from xdistil.distill.recipes import PlannedStage, wanted_signals
from xdistil.distill.step import TrainState, eval_step, init_state, train_step
from xdistil.distill.teacher import Teacher, open_cache, params_fingerprint, signal_names
from xdistil.errors import DivergenceError, InputError, StoppedError
from xdistil.journal import Journal
from xdistil.mesh import agree, own_share, replicate, shard_rows
from xdistil.models.forward import Wanted, iterate_batches
from xdistil.models.structs import Batch, Params, Signals
from xdistil.stopping import Stop

log = logging.getLogger("xdistil")

FEATURES = "features"  # the name under which a source holds what its frozen encoder makes of it
LEAST_STEPS_BETWEEN_EVALUATIONS = 50  # where an epoch is shorter than that


@dataclass(frozen=True)
class Source:
    """Packed texts, and the teacher's cached signals on them."""

    pieces: Pieces
    rows: Rows
    signals: dict[str, np.ndarray]  # float16[P, width] by name; empty where computed on the fly

    def select(self, wanted: Wanted) -> "Source":
        """The same texts with the wanted signals alone; none where attention is among them."""
        names = () if wanted.attention or not self.signals else signal_names(wanted)
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
    teacher: Teacher | None
    evaluate: Callable[[Params], dict[str, Any]]  # dev scores of parameters on the devices
    main_score: str  # the key of those scores that labels stages monitor
    batch_size: int
    padding_id: int
    eval_every: int
    log_every: int
    seed: int
    mesh: Mesh
    lay_out: Callable[[Mesh, Params], Params]  # parameters over the mesh: `replicate` or `spread`
    cache: Path  # a folder for what a frozen encoder makes of the texts
    diverged: Path  # a folder for the step that reproduces a loss which is not finite
    stop: Stop
    checkpoint_minutes: float  # between two checkpoints, at most; 0: at evaluations alone


@dataclass(frozen=True)
class Outcome:
    """What a finished sub-stage hands on."""

    records: list[dict[str, Any]]  # of this plan's sub-stages so far, this one last
    params: Params  # host arrays, without side projections


def count_steps(
    planned: PlannedStage, pieces: Pieces, rows: Rows, batch_size: int
) -> tuple[int, int, int]:
    """(rows a batch, steps an epoch, steps in all at most) of a sub-stage on packed texts.

    Args:
        batch_size: sentences a step where the stage does not say its own.
    """
    size = planned.stage.batch_size or batch_size
    batch_rows = batches.rows_per_batch(pieces, rows.piece.shape[1], size)
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


def run_plan(
    course: Course, params: Params, checkpoints: Checkpoints, journal: Journal
) -> Iterator[Outcome]:
    """Runs the legs that are not done yet; yields an outcome after each of them.

    A plan that was interrupted goes on behind its newest sound checkpoint. A leg that had ended
    there is yielded again, since what its reader makes of it may have been lost.

    Args:
        params: parameters before the first leg, host arrays.
    """
    position = _resume(course, params, checkpoints)
    lost = position is not None and not journal.holds(position.cursor["metrics"])
    if agree(int(lost)):
        # A plan before this one went back behind a damaged checkpoint, and wrote over them.
        log.warning("%s: its lines are gone from metrics.jsonl, so it begins anew", course.name)
        position = None
    records: list[dict[str, Any]] = []
    first = 0
    if position is None:
        journal.forget(course.name)
    else:
        first, records = position.cursor["leg"], position.cursor["records"]
        if not (position.cursor["done"] and first == len(course.legs) - 1):
            # Behind a plan that has ended stand the lines of those after it.
            journal.rewind(position.cursor["metrics"])
        log.info(
            "%s: going on at %s, step %d",
            course.name,
            course.legs[first].planned.substage.name,
            position.cursor["step"],
        )
    for index in range(first, len(course.legs)):
        with course.stop.deferring():
            if position is None:
                position = _begin_leg(course, index, params, records, checkpoints)
            if not position.cursor["done"]:
                position = _Running(course, index, position, checkpoints, journal).run()
        params, records = _without_sides(position.best), position.cursor["records"]
        yield Outcome(records, params)
        position = None


def _begin_leg(
    course: Course,
    index: int,
    params: Params,
    records: list[dict[str, Any]],
    checkpoints: Checkpoints,
) -> "_Position":
    """The position before a leg's first step."""
    cursor: dict[str, Any] = {
        "leg": index,
        "step": 0,
        "total_step": max(checkpoints.list_steps(), default=0),
        "evaluated": 0,  # the last step that was
        "best_step": 0,
        "patience_used": 0,
        "done": False,
        "records": records,
    }
    state = _start_state(course, index, params)
    return _Position(state, _with_sides(course, index, params), cursor)


@dataclass
class _Position:
    """Where a leg stands: what a checkpoint holds."""

    state: TrainState
    best: Params
    cursor: dict[str, Any]


def _resume(course: Course, params: Params, checkpoints: Checkpoints) -> _Position | None:
    for step in checkpoints.list_steps():
        cursor = checkpoints.read_cursor(step)
        if cursor is None:
            continue
        state = _start_state(course, cursor["leg"], params)
        best = course.lay_out(course.mesh, _with_sides(course, cursor["leg"], params))
        items = checkpoints.restore(step, cursor, state, best)
        if items is not None:
            return _Position(items[0], jax.device_get(items[1]), cursor)
    return None


def _leg_key(course: Course, index: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(course.seed), index)


def _with_sides(course: Course, index: int, params: Params) -> Params:
    """Adds the side projections of a leg: LeCun-normal kernels, zero biases."""
    sides = {}
    key = jax.random.fold_in(_leg_key(course, index), 1)
    for i, (width, target) in enumerate(course.legs[index].planned.sides):
        if width != target:
            kernel = jax.nn.initializers.lecun_normal()(jax.random.fold_in(key, i), (width, target))
            sides[str(i)] = {"kernel": np.asarray(kernel), "bias": np.zeros(target, np.float32)}
    return {**params, SIDE: sides} if sides else params


def _without_sides(params: Params) -> Params:
    return {name: tree for name, tree in params.items() if name != SIDE}


def _start_state(course: Course, index: int, params: Params) -> TrainState:
    leg = course.legs[index]
    trainable, frozen = split_params(
        _with_sides(course, index, params), leg.planned.substage.trainable
    )
    key = jax.random.fold_in(_leg_key(course, index), 2)
    trainable = course.lay_out(course.mesh, trainable)
    frozen = course.lay_out(course.mesh, frozen)
    state = init_state(leg.planned.recipe, trainable, frozen, key)
    # Moments lie where their parameters lie; counters, made inside, would sit on one device.
    return jax.tree.map(
        lambda x: x if isinstance(x.sharding, NamedSharding) else replicate(course.mesh, x), state
    )


class _Running:
    """A sub-stage under way: all that changes from step to step."""

    def __init__(
        self,
        course: Course,
        index: int,
        position: _Position,
        checkpoints: Checkpoints,
        journal: Journal,
    ) -> None:
        self.course, self.index, self.leg = course, index, course.legs[index]
        self.checkpoints, self.journal = checkpoints, journal
        self.state, self.best, self.cursor = position.state, position.best, position.cursor
        self.previous = self.cursor["total_step"] - self.cursor["step"]
        self.batch_rows, epoch, self.steps = count_steps(
            self.leg.planned, self.leg.train.pieces, self.leg.train.rows, course.batch_size
        )
        self.every = steps_between_evaluations(course.eval_every, epoch)
        self.rates = schedule_rates(self.leg.planned.stage, self.steps)
        self.saved = time.monotonic()
        self.meter = Meter(
            course.name,
            self.leg.planned.substage.name,
            f"{index + 1}/{len(course.legs)}",
            self.steps,
            course.log_every,
            journal,
            self.cursor.get("meter"),
        )

    def run(self) -> _Position:
        """Trains and evaluates to the end of the sub-stage.

        Raises:
            StoppedError: a signal asked for it; a checkpoint of the last step is written.
            DivergenceError: a loss is not finite; what reproduces it is written, no checkpoint is.
        """
        log.info("%s from step %d of %d", self.meter.title, self.cursor["step"], self.steps)
        self.leg = _keep_features(self.course, self.leg, self.state, self._filled_rows())
        if "best" not in self.cursor:
            self._begin()
        self.feed = self._make_feed(self.cursor["step"])
        try:
            while not self.cursor["done"]:
                if self._is_evaluation_due():
                    self._evaluate()
                else:
                    self._train()
        except DivergenceError as error:
            raise self._keep_failure(error) from None
        self.journal.end_progress()
        return _Position(self.state, self.best, self.cursor)

    def _begin(self) -> None:
        """What a leg starts from counts as its first best."""
        self.cursor.update(best=None, scores=None)
        if self.leg.planned.stage.keep == "best":
            self.cursor["scores"], self.cursor["best"] = self._score()

    def _is_evaluation_due(self) -> bool:
        step = self.cursor["step"]
        due = step % self.every == 0 or step == self.steps
        return due and step > self.cursor["evaluated"]

    def _train(self) -> None:
        """One step, and a checkpoint where a signal or the clock asks for it."""
        course, step = self.course, self.cursor["step"] + 1
        batch, cached = next(self.feed)
        pieces = int(np.count_nonzero(batch.segment))
        batch = shard_rows(course.mesh, batch)
        signals = _signals(course, self.leg, batch, cached)
        rate = self.rates[step - 1]
        self.state, metrics = train_step(
            self.state, batch, signals, rate, recipe=self.leg.planned.recipe
        )
        self.cursor["step"] = step
        self.meter.add(step, metrics, pieces, float(rate))
        asked = course.stop.is_asked()
        if asked or self._is_late():
            self._save()
        if asked:
            course.stop.check()

    def _evaluate(self) -> None:
        """Scores on dev, keeps the best, and writes a checkpoint."""
        cursor, stage = self.cursor, self.leg.planned.stage
        self.meter.flush()
        try:
            scores, value = self._score()
        except StoppedError:
            self._save()
            raise
        if not math.isfinite(value):
            raise DivergenceError(
                f"{self.course.name}: behind step {cursor['step']} of "
                f"{self.leg.planned.substage.name} the loss on dev is not finite"
            )
        if stage.keep == "last" or _is_better(self.leg, value, cursor["best"]):
            self.best = jax.device_get(merge_params(self.state.trainable, self.state.frozen))
            cursor.update(best=value, best_step=cursor["step"], patience_used=0, scores=scores)
        else:
            cursor["patience_used"] += 1
        cursor["evaluated"] = cursor["step"]
        self.meter.record_evaluation(cursor["step"], value, scores)
        out_of_patience = 0 < stage.patience <= cursor["patience_used"]
        if cursor["step"] == self.steps or out_of_patience:
            record = _make_record(
                self.course, self.leg, self.best, cursor, self.steps, self.meter.seconds()
            )
            cursor.update(done=True, records=[*cursor["records"], record])
        self._save()
        self.course.stop.check()

    def _score(self) -> tuple[dict[str, Any] | None, float]:
        params = merge_params(self.state.trainable, self.state.frozen)
        return _evaluate(self.course, self.leg, params, self._filled_rows())

    def _save(self) -> None:
        self.cursor["total_step"] = self.previous + self.cursor["step"]
        self.cursor["meter"] = self.meter.carry()
        self.cursor["metrics"] = self.journal.position()
        self.checkpoints.save(self.state, self.best, self.cursor)
        self.saved = time.monotonic()

    def _is_late(self) -> bool:
        """Whether the last checkpoint is too old, by the clock of the first process."""
        seconds = 60 * self.course.checkpoint_minutes
        if not seconds:
            return False
        late = time.monotonic() - self.saved > seconds
        return agree(int(late and jax.process_index() == 0)) > 0

    def _filled_rows(self) -> int:
        return batches.fill_up(self.batch_rows, self.course.mesh.size)

    def _make_feed(self, first_step: int) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
        return batches.make_batches(
            self.leg.train.pieces,
            self.leg.train.rows,
            self.leg.train.signals,
            self.batch_rows,
            epochs=self.leg.planned.substage.epochs,
            seed=self.course.seed + self.index,
            padding_id=self.course.padding_id,
            devices=self.course.mesh.size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            first_step=first_step,
        )

    def _keep_failure(self, error: DivergenceError) -> DivergenceError:
        """Writes the state before a failed step and its batch; the error that says where."""
        failed = int(self.state.failed)
        where = ""
        if failed:
            folder = self.course.diverged
            batch, cached = next(self._make_feed(failed - 1))
            keep_failure(folder, self.state, batch, cached, self.rates[failed - 1], self.cursor)
            where = f"; {folder} holds the state before it and the batch"
        return DivergenceError(
            f"{error}{where}: lower the stage's lr or clip, in another --workdir."
        )


def _make_record(
    course: Course, leg: Leg, best: Params, cursor: dict[str, Any], limit: int, seconds: float
) -> dict[str, Any]:
    """One row of the table of stages."""
    scores = cursor["scores"] or course.evaluate(course.lay_out(course.mesh, _without_sides(best)))
    return {
        "name": leg.planned.substage.name,
        "groups": list(leg.planned.substage.trainable),
        "steps": cursor["step"],
        "limit": limit,
        "best_step": cursor["best_step"],
        "monitor": f"dev {course.main_score}" if leg.planned.learns_labels else "dev loss",
        "best": cursor["best"],
        "dev": scores,
        "seconds": seconds,
    }


def _signals(course: Course, leg: Leg, batch: Batch, cached: dict[str, np.ndarray]) -> Signals:
    """The leg's signals for a batch, from the cache or from the teacher itself."""
    wanted = wanted_signals(leg.planned.recipe)
    arrays = shard_rows(course.mesh, cached)
    features = arrays.pop(FEATURES, None)
    if course.teacher is not None and wanted != Wanted() and not arrays:
        return course.teacher.compute(batch, wanted)._replace(features=features)
    return Signals(
        logits=arrays["logits"] if wanted.logits else None,
        hidden=tuple(arrays[f"hidden-{layer}"] for layer in wanted.hidden),
        attention=(),
        features=features,
    )


def _keep_features(course: Course, leg: Leg, state: TrainState, batch_rows: int) -> Leg:
    """The leg with what its frozen encoder makes of its texts, where computing that once pays."""
    if not leg.planned.recipe.encoder_frozen:
        shutil.rmtree(course.cache, ignore_errors=True)
        return leg
    if leg.planned.substage.epochs <= 1:
        return leg
    model = leg.planned.recipe.model
    params = merge_params(state.trainable, state.frozen)
    _, encoder = split_params(jax.device_get(params), (HEAD, PROJECTION))
    reader = Teacher(
        model, params, course.padding_id, None, params_fingerprint(encoder), course.mesh
    )
    wanted = Wanted(hidden=(model.features,))
    (name,) = signal_names(wanted)

    def attach(source: Source) -> Source:
        read = open_cache(
            course.cache,
            reader,
            source.pieces,
            source.rows,
            wanted,
            batch_rows,
            course.stop.check,
        )
        return replace(source, signals={**source.signals, FEATURES: read[name]})

    try:
        return replace(leg, train=attach(leg.train), dev=attach(leg.dev))
    except InputError as error:  # no room on the disk
        log.info("%s Until then the frozen encoder runs in every step.", error)
        return leg


def _is_better(leg: Leg, value: float, best: float | None) -> bool:
    if best is None:
        return True
    return value > best if leg.planned.learns_labels else value < best


def _evaluate(
    course: Course, leg: Leg, params: Params, batch_rows: int
) -> tuple[dict[str, Any] | None, float]:
    """(dev scores or None, the monitor): the main score where labels are learnt, else the loss."""
    if leg.planned.learns_labels:
        scores = course.evaluate(_without_sides(params))
        return scores, scores[course.main_score] or 0.0
    totals: dict[str, Any] = {}
    for indices, batch in iterate_batches(
        leg.dev.pieces, leg.dev.rows, batch_rows, course.padding_id
    ):
        course.stop.check()
        cached = {
            name: gather_signal(values, leg.dev.rows, own_share(indices))
            for name, values in leg.dev.signals.items()
        }
        batch = shard_rows(course.mesh, batch)
        signals = _signals(course, leg, batch, cached)
        for name, tally in eval_step(params, batch, signals, recipe=leg.planned.recipe).items():
            pair = np.array([tally.sum, tally.count], np.float64)
            totals[name] = totals.get(name, 0.0) + pair
    means = {name: total / max(count, 1.0) for name, (total, count) in totals.items()}
    return None, float(sum(weight * means[name] for name, weight in leg.planned.recipe.weights))
