"""A sub-stage under way: training, evaluation, patience, metrics and checkpoints.

The order in a step that evaluates is: train, evaluate, record, save, go on. That makes resuming
exact, since whatever comes after a checkpoint depends on nothing but what is in it. A checkpoint
may stand behind any step: a signal to stop, or the clock, asks for one.
"""

import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from xdistil.data import batches
from xdistil.data.packing import Batch
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.course import (
    Course,
    Leg,
    Source,
    count_steps,
    schedule_rates,
    steps_between_evaluations,
    without_projections,
)
from xdistil.distill.divergence import save_divergence
from xdistil.distill.meter import Meter
from xdistil.distill.plan import HEAD, PROJECTION, merge_params, split_params
from xdistil.distill.recipes import wanted_signals
from xdistil.distill.step import TrainState, eval_step, train_step
from xdistil.errors import DivergenceError, InputError, StoppedError
from xdistil.models.forward import iterate_batches
from xdistil.models.types import Params
from xdistil.runtime.mesh import global_max, local_rows, shard_batch
from xdistil.runtime.run_log import RunLog
from xdistil.teacher.cache import open_cache
from xdistil.teacher.model_teacher import Reader, params_fingerprint
from xdistil.teacher.signals import Signals, SignalSpec, arrange_signals, signal_names
from xdistil.teacher.storage import PRESENT, gather_signals

log = logging.getLogger("xdistil")

FEATURES = "features"  # the name under which a source holds what its frozen encoder makes of it


@dataclass
class Position:
    """Where a sub-stage stands: what a checkpoint holds."""

    state: TrainState
    best: Params
    cursor: dict[str, Any]


class Training:
    """A sub-stage under way: all that changes from step to step."""

    def __init__(
        self,
        course: Course,
        index: int,
        position: Position,
        checkpoints: Checkpoints,
        run_log: RunLog,
    ) -> None:
        self.course, self.index, self.leg = course, index, course.legs[index]
        self.checkpoints, self.run_log = checkpoints, run_log
        self.state, self.best, self.cursor = position.state, position.best, position.cursor
        self.previous = self.cursor["total_step"] - self.cursor["step"]
        self.batch_rows, epoch, self.steps = count_steps(
            self.leg.planned, self.leg.train.subwords, self.leg.train.rows, course.batch_size
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
            run_log,
            self.cursor.get("meter"),
        )

    def run(self) -> Position:
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
        self.run_log.end_progress()
        return Position(self.state, self.best, self.cursor)

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
        subwords = int(np.count_nonzero(batch.segment))
        batch = shard_batch(course.mesh, batch)
        signals = _signals(course, self.leg, batch, cached)
        rate = self.rates[step - 1]
        self.state, metrics = train_step(
            self.state, batch, signals, rate, recipe=self.leg.planned.recipe
        )
        self.cursor["step"] = step
        self.meter.add(step, metrics, subwords, float(rate))
        asked = course.stop.requested()
        if asked or self._is_late():
            self._save()
        if asked:
            course.stop.raise_if_requested()

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
        self.course.stop.raise_if_requested()

    def _score(self) -> tuple[dict[str, Any] | None, float]:
        params = merge_params(self.state.trainable, self.state.frozen)
        return _evaluate(self.course, self.leg, params, self._filled_rows())

    def _save(self) -> None:
        self.cursor["total_step"] = self.previous + self.cursor["step"]
        self.cursor["meter"] = self.meter.carry()
        self.cursor["metrics"] = self.run_log.position()
        self.checkpoints.save(self.state, self.best, self.cursor)
        self.saved = time.monotonic()

    def _is_late(self) -> bool:
        """Whether the last checkpoint is too old, by the clock of the first process."""
        seconds = 60 * self.course.checkpoint_minutes
        if not seconds:
            return False
        late = time.monotonic() - self.saved > seconds
        return global_max(int(late and jax.process_index() == 0)) > 0

    def _filled_rows(self) -> int:
        return batches.fill_up(self.batch_rows, self.course.mesh.size)

    def _make_feed(self, first_step: int) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
        return batches.make_batches(
            self.leg.train.subwords,
            self.leg.train.rows,
            partial(gather_signals, self.leg.train.signals, self.leg.train.rows),
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
            save_divergence(folder, self.state, batch, cached, self.rates[failed - 1], self.cursor)
            where = f"; {folder} holds the state before it and the batch"
        return DivergenceError(
            f"{error}{where}: lower the stage's lr or clip, in another --workdir."
        )


def _make_record(
    course: Course, leg: Leg, best: Params, cursor: dict[str, Any], limit: int, seconds: float
) -> dict[str, Any]:
    """One row of the table of stages."""
    scores = cursor["scores"] or course.evaluate(
        course.place(course.mesh, without_projections(best))
    )
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
    arrays = shard_batch(course.mesh, cached)
    features, present = arrays.pop(FEATURES, None), arrays.pop(PRESENT, None)
    if course.teacher is not None and wanted != SignalSpec() and not arrays:
        return course.teacher.compute(batch, wanted)._replace(features=features)
    return arrange_signals(wanted, arrays)._replace(features=features, present=present)


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
    reader = Reader(
        model, params, course.padding_id, None, params_fingerprint(encoder), course.mesh
    )
    wanted = SignalSpec(hidden=(model.features,))
    (name,) = signal_names(wanted)

    def attach(source: Source) -> Source:
        read = open_cache(
            course.cache,
            reader,
            source.subwords,
            source.rows,
            wanted,
            batch_rows,
            course.stop.raise_if_requested,
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
        scores = course.evaluate(without_projections(params))
        return scores, scores[course.main_score] or 0.0
    totals: dict[str, Any] = {}
    for indices, batch in iterate_batches(
        leg.dev.subwords, leg.dev.rows, batch_rows, course.padding_id
    ):
        course.stop.raise_if_requested()
        cached = gather_signals(leg.dev.signals, leg.dev.rows, local_rows(indices))
        batch = shard_batch(course.mesh, batch)
        signals = _signals(course, leg, batch, cached)
        for name, tally in eval_step(params, batch, signals, recipe=leg.planned.recipe).items():
            pair = np.array([tally.sum, tally.count], np.float64)
            totals[name] = totals.get(name, 0.0) + pair
    means = {name: total / max(count, 1.0) for name, (total, count) in totals.items()}
    return None, float(sum(weight * means[name] for name, weight in leg.planned.recipe.weights))
