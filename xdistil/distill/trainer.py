"""The loop of one stage: training, evaluation, patience, metrics and checkpoints.

The order in a step that evaluates is: train, evaluate, record, save, continue. That makes resuming
exact, since everything after a checkpoint depends only on what is in it. A checkpoint may follow
any step: a signal to stop, or the clock, asks for one.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from xdistil.data import batches
from xdistil.data.packing import Batch, PackedTexts
from xdistil.distill.checkpoint import Checkpoint
from xdistil.distill.divergence import save_divergence
from xdistil.distill.doubts import encode_doubts, measure_doubts, weigh_doubts
from xdistil.distill.frozen_features import cache_features
from xdistil.distill.language_gaps import TeacherScores, describe_weights, draw_by
from xdistil.distill.losses import SIDE_PROJECTIONS
from xdistil.distill.meter import Meter
from xdistil.distill.stages import StageRun, steps_between_evaluations
from xdistil.distill.step import eval_step, train_step
from xdistil.distill.unfreezing import merge_params
from xdistil.errors import DivergenceError, StoppedError
from xdistil.evaluation.results import ScoreName, Scores, StageRecord
from xdistil.models.forward import iterate_batches
from xdistil.models.types import Params
from xdistil.runtime.mesh import gather_rows, global_max, keep, local_rows, shard_batch
from xdistil.runtime.session import Session
from xdistil.teacher.interface import SignalReader
from xdistil.teacher.signals import (
    Signals,
)
from xdistil.teacher.storage import Signal, WordSignal, gather_signals

log = logging.getLogger("xdistil")

FEATURES = "features"  # the name of what a frozen encoder makes of the texts, among the signals
TARGETS = "targets"  # likewise of the probabilities of labels
ROWS = "rows"  # the indices of a batch's rows, where its signals are written to a cache

Columns = Mapping[str, Signal]  # what batches bring along, by name


@dataclass(frozen=True)
class Trainer:
    """What the stages of one plan share."""

    name: str  # teacher, student or a baseline's: the `plan` of the metrics
    session: Session
    reader: SignalReader
    evaluate: Callable[[Params], Scores]  # dev scores of parameters on the devices
    metric: ScoreName  # the key of those scores that stages with labels monitor
    place: Callable[[Mesh, Any], Any]  # parameters on the mesh: `replicate` or `shard_params`
    padding_id: int
    teacher_scores: TeacherScores | None = None  # where a stage weighs languages
    teacher_embeddings: jax.Array | None = None  # f32[V,D] on the mesh, where stages train their
    # projection

    def fit_stage(
        self,
        stages: Sequence[StageRun],
        checkpoint: Checkpoint,
        save: Callable[[Checkpoint], None],
    ) -> Checkpoint:
        """Trains and evaluates to the end of the stage that the checkpoint is in.

        Raises:
            StoppedError: a signal asked for it; a checkpoint of the last step is written.
            DivergenceError: a loss is not finite; what reproduces it is written, no checkpoint is.
        """
        loop = _StageLoop(self, stages, checkpoint, save)
        progress, rates = loop.progress, loop.rates
        log.info("%s from step %d of %d", loop.meter.title, progress.step, loop.steps.total)
        loop.begin()
        feed = loop.make_feed(progress.step)
        try:
            while not progress.done:
                if loop.is_evaluation_due():
                    loop.evaluate()
                    continue
                batch, loaded = next(feed)
                subwords = int(np.count_nonzero(batch.segment))
                batch = shard_batch(self.session.mesh, batch)
                signals = loop.signals(batch, loaded)
                rate = rates[progress.step]
                loop.state, metrics = train_step(
                    loop.state,
                    batch,
                    signals,
                    rate,
                    self.choose_embeddings(loop.stage),
                    config=loop.stage.step,
                )
                if loop.writer:  # while the step is computed
                    loop.writer.write()
                progress.step += 1
                loop.meter.add(progress.step, metrics, subwords, float(rate))
                loop.save_if_due()
        except DivergenceError as error:
            raise loop.save_divergence(error) from None
        self.session.run_log.end_progress()
        return loop.checkpoint()

    def choose_embeddings(self, stage: StageRun) -> jax.Array | None:
        """The teacher's word embeddings f32[V,D], where a stage trains their projection."""
        return self.teacher_embeddings if stage.step.projected_width else None


class _StageLoop:
    """All that changes from step to step."""

    def __init__(
        self,
        trainer: Trainer,
        stages: Sequence[StageRun],
        checkpoint: Checkpoint,
        save: Callable[[Checkpoint], None],
    ) -> None:
        self.trainer, self.session, self.save_checkpoint = trainer, trainer.session, save
        self.state, self.best, self.progress = checkpoint
        self.index = self.progress.stage
        self.stage = stages[self.index]
        experiment = self.session.experiment
        self.steps = self.stage.count_steps(experiment.batch_size)
        self.every = steps_between_evaluations(experiment.eval_every, self.steps.epoch)
        self.rates = self.stage.schedule_rates(self.steps.total)
        self.previous = self.progress.total_step - self.progress.step
        self.saved = time.monotonic()
        self.row_weights: np.ndarray | None = None  # f64[R] where texts are drawn by doubt
        self.batch_rows = batches.fill_up(self.steps.rows, self.session.mesh.size)
        reader, spec = trainer.reader, self.stage.spec
        self.writer = reader.writer(self.stage.texts, spec)
        self.train: Columns = {**reader.columns(self.stage.texts, spec), **read_targets(self.stage)}
        self.dev: Columns = reader.columns("dev", spec)
        self.meter = Meter(
            trainer.name,
            self.stage.name,
            f"{self.index + 1}/{len(stages)}",
            self.steps.total,
            experiment.log_every,
            self.session.run_log,
            self.progress.meter,
        )

    def begin(self) -> None:
        """What a stage starts from counts as its first best."""
        features = cache_features(
            self.stage,
            merge_params(self.state.trainable, self.state.frozen),
            self.session,
            self.trainer.padding_id,
            self.batch_rows,
        )
        if features is not None:
            train, dev = features
            self.train, self.dev = {**self.train, FEATURES: train}, {**self.dev, FEATURES: dev}
        if not self.progress.begun:
            self.progress.begun = True
            if self.stage.config.keep != "last":
                self.progress.scores, self.progress.best = self._score()
            if self.stage.weighs_languages:
                self._weigh_languages()
            if self.stage.samples_doubtful:
                self.progress.row_doubts = encode_doubts(self._measure_doubts())
        if self.progress.language_weights is not None:
            texts = draw_by(self.stage.train, self.progress.language_weights)
            self.stage = replace(self.stage, train=texts)
        if self.progress.row_doubts is not None:
            self.row_weights = weigh_doubts(self.progress.row_doubts)

    def _weigh_languages(self) -> None:
        """Measures the gaps; the weights stay in the progress until the stage run ends."""
        progress, trainer = self.progress, self.trainer
        assert trainer.teacher_scores is not None
        scores = progress.scores
        if scores is None:
            params = merge_params(self.state.trainable, self.state.frozen)
            scores = trainer.evaluate(without_projections(params))
        strength = float(self.stage.config.gap_weight)
        weights = trainer.teacher_scores.weigh(scores, strength, self.stage.train)
        progress.language_weights = weights
        log.info("%s: %s", self.meter.title, describe_weights(weights))

    def _measure_doubts(self) -> np.ndarray:
        """f32[R] the doubts of all rows of the training texts, which stay until the stage run
        ends."""
        texts, params = self.stage.train, merge_params(self.state.trainable, self.state.frozen)
        doubts = np.zeros(len(texts.rows.subword), np.float32)
        for indices, batch, signals in self._read(texts, self._gather):
            found = gather_rows(measure_doubts(params, batch, signals, config=self.stage.step))
            doubts[indices[indices >= 0]] = found[indices >= 0]
            if self.writer:
                self.writer.write()
        log.info(
            "%s: the student's doubt is %.4f in the mean and %.4f at most; doubtful texts are "
            "drawn more often",
            self.meter.title,
            doubts.mean(),
            doubts.max(),
        )
        return doubts

    def is_evaluation_due(self) -> bool:
        """Whether the parameters of this step are evaluated before the next one."""
        step = self.progress.step
        due = step % self.every == 0 or step == self.steps.total
        return due and step > self.progress.evaluated

    def make_feed(self, first_step: int) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
        """The batches from a step on, with their columns; host arrays."""
        return batches.make_batches(
            self.stage.train.subwords,
            self.stage.train.rows,
            self._gather,
            self.steps.rows,
            epochs=self.stage.epochs,
            seed=self.session.experiment.seed + self.index,
            padding_id=self.trainer.padding_id,
            devices=self.session.mesh.size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            first_step=first_step,
            weights=self.row_weights,
        )

    def _gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        columns = gather_signals(self.train, self.stage.train.rows, indices)
        return {**columns, ROWS: indices} if self.writer else columns

    def signals(self, batch: Batch, loaded: dict[str, np.ndarray]) -> Signals:
        """The signals of a batch on the devices, with its columns."""
        spec, reader = self.stage.spec, self.trainer.reader
        arrays = shard_batch(
            self.session.mesh, {name: values for name, values in loaded.items() if name != ROWS}
        )
        features, targets = arrays.pop(FEATURES, None), arrays.pop(TARGETS, None)
        if self.writer and ROWS in loaded:
            signals = self.writer.compute(batch, loaded[ROWS], spec)
        else:
            signals = reader.signals(batch, arrays, spec)
        return signals._replace(features=features, targets=targets)

    def _read(
        self, texts: PackedTexts, gather: Callable[[np.ndarray], dict[str, np.ndarray]]
    ) -> Iterator[tuple[np.ndarray, Batch, Signals]]:
        """(row indices of all processes, batch and signals on the devices), all rows in order.

        Args:
            gather: the columns of the rows i64[b] of this process.
        """
        for indices, batch in iterate_batches(
            texts.subwords, texts.rows, self.batch_rows, self.trainer.padding_id
        ):
            self.session.preemption.raise_if_requested()
            loaded = gather(local_rows(indices))
            batch = shard_batch(self.session.mesh, batch)
            yield indices, batch, self.signals(batch, loaded)

    def evaluate(self) -> None:
        """Scores on dev, keeps the best, and writes a checkpoint."""
        progress, stage = self.progress, self.stage.config
        self.meter.flush()
        try:
            scores, value = self._score()
        except StoppedError:
            self._save()
            raise
        if not math.isfinite(value):
            raise DivergenceError(
                f"{self.trainer.name}: after step {progress.step} of {self.stage.name} the loss "
                "on dev is not finite"
            )
        if stage.keep == "last" or self._is_better(value):
            self.best = keep(merge_params(self.state.trainable, self.state.frozen))
            progress.best, progress.best_step, progress.scores = value, progress.step, scores
            progress.patience_used = 0
        else:
            progress.patience_used += 1
        progress.evaluated = progress.step
        self.meter.record_evaluation(progress.step, value, scores)
        out_of_patience = 0 < stage.patience <= progress.patience_used
        if progress.step == self.steps.total or out_of_patience:
            progress.results = [*progress.results, self._make_record()]
            progress.done = True
        self._save()
        self.session.preemption.raise_if_requested()

    def save_if_due(self) -> None:
        """Writes a checkpoint where a signal or the clock asks for one."""
        requested = self.session.preemption.requested()
        if requested or self._is_late():
            self._save()
        if requested:
            self.session.preemption.raise_if_requested()

    def checkpoint(self) -> Checkpoint:
        """Where the stage stands."""
        return Checkpoint(self.state, self.best, self.progress)

    def save_divergence(self, error: DivergenceError) -> DivergenceError:
        """Writes the state before a failed step and its batch; the error that says where."""
        failed = int(self.state.failed)
        where = ""
        if failed:
            folder = self.session.workdir / "diverged"
            batch, loaded = next(self.make_feed(failed - 1))
            loaded.pop(ROWS, None)
            self.progress.total_step = self.previous + self.progress.step
            save_divergence(folder, self.checkpoint(), batch, loaded, self.rates[failed - 1])
            where = f"; {folder} holds the state before it and the batch"
        return DivergenceError(
            f"{error}{where}: lower the stage's lr or clip, in another --workdir."
        )

    def _score(self) -> tuple[Scores | None, float]:
        """(dev scores or None, the monitor): the main score where labels are learnt, that of the
        worst languages where the stage says so, else the loss."""
        params = merge_params(self.state.trainable, self.state.frozen)
        if self.stage.monitors_score:
            scores = self.trainer.evaluate(without_projections(params))
            if self.stage.monitors_worst:
                return scores, scores.get("worst_10", 0.0)
            return scores, scores[self.trainer.metric] or 0.0
        totals: dict[str, Any] = {}
        dev = self.stage.dev
        for _, batch, signals in self._read(dev, partial(gather_signals, self.dev, dev.rows)):
            for name, tally in eval_step(params, batch, signals, config=self.stage.step).items():
                pair = np.array([tally.sum, tally.count], np.float64)
                totals[name] = totals.get(name, 0.0) + pair
        means = {name: total / max(count, 1.0) for name, (total, count) in totals.items()}
        weights = self.stage.step.losses.weights
        return None, float(sum(weight * means[name] for name, weight in weights))

    def _is_better(self, value: float) -> bool:
        best = self.progress.best
        if best is None:
            return True
        return value > best if self.stage.monitors_score else value < best

    def _make_record(self) -> StageRecord:
        """One row of the table of stages."""
        progress, trainer = self.progress, self.trainer
        scores = progress.scores
        if scores is None:
            params = without_projections(self.best)
            scores = trainer.evaluate(trainer.place(self.session.mesh, params))
        return {
            "name": self.stage.name,
            "groups": list(self.stage.trainable),
            "steps": progress.step,
            "limit": self.steps.total,
            "best_step": progress.best_step,
            "monitor": self._name_monitor(),
            "best": progress.best,
            "dev": scores,
            "seconds": self.meter.seconds(),
        }

    def _name_monitor(self) -> str:
        if self.stage.monitors_worst:
            return "dev worst_10"
        return f"dev {self.trainer.metric}" if self.stage.learns_labels else "dev loss"

    def _save(self) -> None:
        self.progress.total_step = self.previous + self.progress.step
        self.progress.meter = self.meter.carry()
        self.progress.log_offset = self.session.run_log.position()
        if self.writer:  # rows of the steps before a checkpoint are on the disk when it is
            self.writer.flush()
        self.save_checkpoint(self.checkpoint())
        self.saved = time.monotonic()

    def _is_late(self) -> bool:
        """Whether the last checkpoint is too old, by the clock of the first process."""
        seconds = 60 * self.session.experiment.checkpoint_minutes
        if not seconds:
            return False
        late = time.monotonic() - self.saved > seconds
        return global_max(int(late and jax.process_index() == 0)) > 0


def read_targets(stage: StageRun) -> Columns:
    """The probabilities of labels that a stage learns instead of labels; empty where there are
    none, or it learns no labels."""
    soft = stage.train.soft_labels
    if soft is None or not stage.learns_labels:
        return {}
    return {TARGETS: WordSignal(soft.values, soft.place)}


def without_projections(params: Params) -> Params:
    """Parameters without the side projections of a representation loss."""
    return {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
