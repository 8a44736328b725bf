"""Texts that are drawn more often where the teacher is sure and the student is not.

A stage with `sampling=doubtful` draws half of the rows of an epoch evenly, and half in proportion
to their doubt; an epoch keeps its number of rows. The doubt is that of the student's parameters
before the first step of a stage run. So each stage run of a gradual stage has doubts of its own,
and none changes them on the way.
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.data.packing import Batch
from xdistil.distill.losses import LossConfig
from xdistil.distill.stages import StageRun, list_trained
from xdistil.distill.step import StepConfig, apply_student
from xdistil.errors import InputError
from xdistil.models.types import Params
from xdistil.teacher.signals import Signals

_LEVELS = np.iinfo(np.uint16).max  # of a doubt in a checkpoint, from 0 to the largest


@partial(jax.jit, static_argnames=("config",))
def measure_doubts(
    params: Params, batch: Batch, signals: Signals, *, config: StepConfig
) -> jax.Array:
    """f32[B] doubt of rows: the mean over their units (texts) of p(y) * (1 - q(y)).

    p is the teacher's probability, q the student's, and y the teacher's most probable label. In a
    stage on labels alone, p is that of the votes, or 1 for a gold label. A text with several labels
    has the mean over all labels, where y is to have one or to lack it. Rows without targets have 0.
    """
    logits = apply_student(config, params, batch, signals, None).logits
    assert logits is not None  # a student has a head
    target, known = _find_targets(config.losses, batch, signals)
    logits = jnp.where(known[..., None], logits, 0.0).astype(jnp.float32)
    if config.losses.multilabel:
        side = jnp.where(target > 0.5, 1.0, -1.0)
        sure = jnp.where(target > 0.5, target, 1.0 - target)
        doubt = jnp.mean(sure * jax.nn.sigmoid(-side * logits), axis=-1)
    else:
        label = jnp.argmax(target, axis=-1, keepdims=True)
        sure = jnp.take_along_axis(target, label, axis=-1)
        own = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), label, axis=-1)
        doubt = (sure * (1.0 - own))[..., 0]
    total = jnp.sum(jnp.where(known, doubt, 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(known, axis=-1), 1)


def _find_targets(
    losses: LossConfig, batch: Batch, signals: Signals
) -> tuple[jax.Array, jax.Array]:
    """(f32[B,T,C] the probabilities that the student learns, bool[B,T] where there are any)."""
    classes = losses.model.classes
    if signals.logits is not None:
        known = batch.label_mask if signals.present is None else signals.present
        logits = jnp.where(known[..., None], signals.logits, 0.0).astype(jnp.float32)
        target = jax.nn.sigmoid(logits) if losses.multilabel else jax.nn.softmax(logits, axis=-1)
    elif signals.targets is not None:  # those of a place sum to its weight
        target = jnp.asarray(signals.targets, jnp.float32)
        total = jnp.sum(target, axis=-1, keepdims=True)
        target, known = target / jnp.where(total > 0, total, 1.0), total[..., 0] > 0
    elif losses.multilabel:
        target = jnp.unpackbits(batch.labels, axis=-1, count=classes, bitorder="little")
        target, known = target.astype(jnp.float32), batch.label_mask
    else:
        target, known = jax.nn.one_hot(batch.labels, classes), batch.label_mask
    return target, jnp.asarray(known)


def weigh_doubts(doubts: str) -> np.ndarray:
    """f64[R] how many times as often rows are drawn as evenly, from what `encode_doubts` wrote.

    It is 1/2 + doubt / (2 * mean doubt), and 1 where there is no doubt at all.
    """
    levels = np.frombuffer(base64.b64decode(doubts), "<u2").astype(np.float64)
    return 0.5 + levels / (2 * levels.mean()) if levels.any() else np.ones(len(levels))


def encode_doubts(doubts: np.ndarray) -> str:
    """Doubts f32[R], from 0 to 1, as a text for the JSON of a checkpoint: 16 bits each, in base64,
    as shares of the largest."""
    largest = doubts.max() or 1.0
    levels = np.round(doubts / largest * _LEVELS).astype("<u2")
    return base64.b64encode(levels.tobytes()).decode()


def choose_sampling(stages: Sequence[StageRun], starts_trained: bool) -> tuple[StageRun, ...]:
    """The stage runs, those marked that draw texts by doubt.

    These are the runs of stages with `sampling=doubtful` before which a head was trained: until
    then the student doubts everything.

    Args:
        starts_trained: whether the student begins with a head that was trained.

    Raises:
        InputError: a stage has no such run.
    """
    chosen = [
        replace(stage, samples_doubtful=stage.config.sampling == "doubtful" and trained)
        for stage, trained in zip(stages, list_trained(stages, starts_trained), strict=True)
    ]
    sampling = {each.place for each in chosen if each.samples_doubtful}
    for stage in stages:
        if stage.config.sampling == "doubtful" and stage.place not in sampling:
            raise InputError(
                f"{stage.place}.sampling is doubtful, but no stage run before it trains the head, "
                "so the student has no predictions yet: set it in a later stage, or "
                f"{stage.place}.unfreeze=gradual."
            )
    return tuple(chosen)
