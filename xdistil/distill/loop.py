"""The loop: sub-stages one after another, with evaluation, patience, metrics and checkpoints.

It knows neither XtremeDistil nor tagging: what to learn is a plan, what to monitor a function. The
order in a step that evaluates is: train, evaluate, record, save, go on. That makes resuming exact,
since whatever comes after a checkpoint depends on nothing but what is in it.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xdistil.config import Stage
from xdistil.data import batches
from xdistil.data.packing import Rows, gather_signal
from xdistil.data.pieces import Pieces
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.meter import Meter
from xdistil.distill.plan import HEAD, PROJECTION, SIDE, merge_params, split_params
from xdistil.distill.recipes import PlannedStage, wanted_signals
from xdistil.distill.step import TrainState, eval_step, init_state, train_step
from xdistil.distill.teacher import Teacher, open_cache, params_fingerprint, signal_names
from xdistil.errors import InputError
from xdistil.journal import Journal
from xdistil.mesh import shard_rows
from xdistil.models.forward import Wanted, iterate_batches
from xdistil.models.structs import Batch, Params, Signals

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


@dataclass(frozen=True)
class Outcome:
    """What a finished sub-stage hands on."""

    records: list[dict[str, Any]]  # of this plan's sub-stages so far, this one last
    params: Params  # host arrays, without side projections


def count_steps(
    planned: PlannedStage, pieces: Pieces, rows: Rows, batch_size: int, devices: int
) -> tuple[int, int, int]:
    """(rows a batch, steps an epoch, steps in all at most) of a sub-stage on packed texts.

    Args:
        batch_size: sentences a step where the stage does not say its own.
    """
    size = planned.stage.batch_size or batch_size
    batch_rows = batches.rows_per_batch(pieces, rows.piece.shape[1], size, devices)
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
    records: list[dict[str, Any]] = []
    first = 0
    if position is None:
        journal.forget(course.name)
    else:
        journal.rewind(position.cursor["metrics"])
        first, records = position.cursor["leg"], position.cursor["records"]
        log.info(
            "%s: going on at %s, step %d",
            course.name,
            course.legs[first].planned.substage.name,
            position.cursor["step"],
        )
    for index in range(first, len(course.legs)):
        if position is None or not position.cursor["done"]:
            position = _run_leg(course, index, params, records, position, checkpoints, journal)
        params, records = _without_sides(position.best), position.cursor["records"]
        yield Outcome(records, params)
        position = None


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
    everywhere = NamedSharding(course.mesh, PartitionSpec())
    return jax.tree.map(
        lambda x: x if isinstance(x.sharding, NamedSharding) else jax.device_put(x, everywhere),
        state,
    )


def _run_leg(
    course: Course,
    index: int,
    params: Params,
    records: list[dict[str, Any]],
    position: _Position | None,
    checkpoints: Checkpoints,
    journal: Journal,
) -> _Position:
    leg = course.legs[index]
    stage = leg.planned.stage
    batch_rows, epoch, steps = count_steps(
        leg.planned, leg.train.pieces, leg.train.rows, course.batch_size, course.mesh.size
    )
    every = steps_between_evaluations(course.eval_every, epoch)
    rates = schedule_rates(stage, steps)
    name, place = leg.planned.substage.name, f"{index + 1}/{len(course.legs)}"
    meter = Meter(course.name, name, place, steps, course.log_every, journal)
    state = _start_state(course, index, params) if position is None else position.state
    leg = _keep_features(course, leg, state, batch_rows)
    if position is None:
        best = _with_sides(course, index, params)
        position = _begin_leg(course, leg, index, state, best, batch_rows, checkpoints)
        position.cursor["records"] = records
    cursor = position.cursor
    previous = cursor["total_step"] - cursor["step"]
    feed = batches.make_batches(
        leg.train.pieces,
        leg.train.rows,
        leg.train.signals,
        batch_rows,
        epochs=leg.planned.substage.epochs,
        seed=course.seed + index,
        padding_id=course.padding_id,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        first_step=cursor["step"],
    )
    for step in range(cursor["step"] + 1, steps + 1):
        batch, cached = next(feed)
        pieces = int(np.count_nonzero(batch.segment))
        batch = shard_rows(course.mesh, batch)
        signals = _signals(course, leg, batch, cached)
        state, metrics = train_step(
            state, batch, signals, rates[step - 1], recipe=leg.planned.recipe
        )
        meter.add(step, metrics, pieces, float(rates[step - 1]))
        if step % every and step != steps:
            continue
        meter.flush()
        params = merge_params(state.trainable, state.frozen)
        scores, value = _evaluate(course, leg, params, batch_rows)
        if stage.keep == "last" or _is_better(leg, value, cursor["best"]):
            position.best = jax.device_get(params)
            cursor = {**cursor, "best": value, "best_step": step, "patience_used": 0}
            cursor["scores"] = scores
        else:
            cursor = {**cursor, "patience_used": cursor["patience_used"] + 1}
        out_of_patience = 0 < stage.patience <= cursor["patience_used"]
        done = step == steps or out_of_patience
        cursor = {**cursor, "step": step, "total_step": previous + step, "done": done}
        meter.record_evaluation(step, value, scores)
        if done:
            record = _make_record(course, leg, position.best, cursor, steps, meter.seconds())
            cursor["records"] = [*records, record]
        cursor["metrics"] = journal.position()
        checkpoints.save(state, position.best, cursor)
        if done:
            break
    journal.end_progress()
    return _Position(state, position.best, cursor)


def _begin_leg(
    course: Course,
    leg: Leg,
    index: int,
    state: TrainState,
    best: Params,
    batch_rows: int,
    checkpoints: Checkpoints,
) -> _Position:
    """The position before a leg's first step. What it starts from counts as its first best."""
    cursor: dict[str, Any] = {
        "leg": index,
        "step": 0,
        "total_step": max(checkpoints.list_steps(), default=0),
        "best": None,
        "best_step": 0,
        "scores": None,
        "patience_used": 0,
        "done": False,
    }
    if leg.planned.stage.keep == "best":
        start = merge_params(state.trainable, state.frozen)
        cursor["scores"], cursor["best"] = _evaluate(course, leg, start, batch_rows)
    return _Position(state, best, cursor)


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
        read = open_cache(course.cache, reader, source.pieces, source.rows, wanted, batch_rows)
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
        cached = {
            name: gather_signal(values, leg.dev.rows, indices)
            for name, values in leg.dev.signals.items()
        }
        batch = shard_rows(course.mesh, batch)
        signals = _signals(course, leg, batch, cached)
        for name, tally in eval_step(params, batch, signals, recipe=leg.planned.recipe).items():
            pair = np.array([tally.sum, tally.count], np.float64)
            totals[name] = totals.get(name, 0.0) + pair
    means = {name: total / max(count, 1.0) for name, (total, count) in totals.items()}
    return None, float(sum(weight * means[name] for name, weight in leg.planned.recipe.weights))
