"""The step: a pure function from (state, batch, teacher's signals) to the next state.

What trains and what is frozen are two sub-trees of the state; gradients and optimizer moments
exist for the first alone.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from xdistil.data.packing import Array, Batch
from xdistil.distill.distances import Tally
from xdistil.distill.embedding_projection import add_projection, fold_projection, start_projection
from xdistil.distill.losses import LOSSES, SIDE_PROJECTIONS, LossConfig, read_spec
from xdistil.distill.masking import Masking, hide_words
from xdistil.distill.unfreezing import merge_params
from xdistil.models.forward import apply_model
from xdistil.models.types import Output, Params
from xdistil.runtime.mesh import Layout
from xdistil.teacher.signals import Signals

_MASKING = 1  # what the key of dropout is folded with for the words that are hidden


@dataclass(frozen=True)
class StepConfig:
    """What is static in a stage's step; hashable, so that equal stages share one compilation."""

    losses: LossConfig
    clip: float = 0.0
    weight_decay: float = 0.0
    encoder_frozen: bool = False  # nothing below the features trains
    layout: Layout | None = None  # where the state stays; None: every device has all of it
    masking: Masking | None = None  # of words, in training steps; None: none is hidden
    projected_width: int = 0  # of teacher embeddings whose projection is trained; 0: none is


class TrainState(NamedTuple):
    """All that a step changes, and what it reads in addition to the batch."""

    step: Array  # i32[] steps taken in this stage
    failed: Array  # i32[] the step, from 1, whose loss or gradient was not finite; 0: none
    key: jax.Array  # PRNG key of the stage
    trainable: Params
    frozen: Params
    optimizer: optax.OptState


class Metrics(NamedTuple):
    """What a step reports."""

    losses: dict[str, Tally]
    gradient_norm: Array  # f32[] of what trains, before clipping
    failed: Array  # i32[] as in the state after the step


def make_optimizer(config: StepConfig) -> optax.GradientTransformation:
    """AdamW after clipping by global norm, without its learning rate; decay on matrices only."""
    steps = [optax.clip_by_global_norm(config.clip)] if config.clip else []
    steps.append(optax.scale_by_adam())
    if config.weight_decay:
        steps.append(
            optax.add_decayed_weights(
                config.weight_decay, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
            )
        )
    return optax.chain(*steps)


def init_state(config: StepConfig, trainable: Params, frozen: Params, key: jax.Array) -> TrainState:
    """The state before the first step of a stage."""
    moved = start_projection(trainable, config.projected_width)
    optimizer = make_optimizer(config).init(moved)
    # Two zeros: a buffer cannot be donated twice.
    step, failed = (jnp.zeros((), jnp.int32) for _ in range(2))
    return TrainState(step, failed, key, trainable, frozen, optimizer)


@partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def train_step(
    state: TrainState,
    batch: Batch,
    signals: Signals,
    lr: Array,
    teacher_embeddings: Array | None = None,
    *,
    config: StepConfig,
) -> tuple[TrainState, Metrics]:
    """One step of AdamW on the weighted sum of the config's losses.

    Where the loss or a gradient is not finite, nothing but `failed` changes, neither in this step
    nor in any that is taken after it: the state stays the one that reproduces the failure.

    Args:
        lr: f32[] learning rate of this step.
        teacher_embeddings: f32[V,D] the teacher's rows of the student's subwords, where the config
            has a `projected_width`, D.
    """

    def compute_loss(trainable: Params) -> tuple[jax.Array, dict[str, Tally]]:
        params = merge_params(trainable, state.frozen)
        tallies = compute_losses(
            config, params, batch, signals, jax.random.fold_in(state.key, state.step)
        )
        means = [weight * tallies[name].mean() for name, weight in config.losses.weights]
        return jnp.stack(means).sum(), tallies

    (loss, tallies), gradient = jax.value_and_grad(compute_loss, has_aux=True)(state.trainable)
    moved = start_projection(state.trainable, config.projected_width)
    if teacher_embeddings is not None:
        gradient = add_projection(gradient, teacher_embeddings)
    norm = optax.tree.norm(gradient)
    updates, optimizer = make_optimizer(config).update(gradient, state.optimizer, moved)
    if teacher_embeddings is not None:
        updates = fold_projection(updates, teacher_embeddings)
    trainable = jax.tree.map(lambda x, update: x - lr * update, state.trainable, updates)

    sound = (state.failed == 0) & jnp.isfinite(loss) & jnp.isfinite(norm)
    failed = jnp.where((state.failed == 0) & ~sound, state.step + 1, state.failed)
    step, trainable, optimizer = jax.tree.map(
        lambda new, old: jnp.where(sound, new, old),
        (state.step + 1, trainable, optimizer),
        (state.step, state.trainable, state.optimizer),
    )
    frozen = state.frozen
    if config.layout:
        step, failed, trainable, frozen, optimizer = config.layout.pin(
            (step, failed, trainable, frozen, optimizer)
        )
    state = TrainState(step, failed, state.key, trainable, frozen, optimizer)
    return state, Metrics(tallies, norm, failed)


@partial(jax.jit, static_argnames=("config",))
def eval_step(
    params: Params, batch: Batch, signals: Signals, *, config: StepConfig
) -> dict[str, Tally]:
    """The config's losses without dropout, and with all words."""
    return compute_losses(config, params, batch, signals, None)


def compute_losses(
    config: StepConfig, params: Params, batch: Batch, signals: Signals, dropout: jax.Array | None
) -> dict[str, Tally]:
    """Each of the stage's losses as a tally.

    Args:
        params: the student's, with side projections where hidden states need them.
        dropout: PRNG key of a training step; None switches dropout and masking off.
    """
    if config.masking is not None and dropout is not None:
        batch = hide_words(config.masking, batch, jax.random.fold_in(dropout, _MASKING))
    output = apply_student(config, params, batch, signals, dropout)
    return {
        name: LOSSES[name].compute(config.losses, params, output, batch, signals)
        for name, _ in config.losses.weights
    }


def apply_student(
    config: StepConfig, params: Params, batch: Batch, signals: Signals, dropout: jax.Array | None
) -> Output:
    """What the student makes of a batch; arguments as of `compute_losses`."""
    model, spec = config.losses.model, read_spec(config.losses)
    own = {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
    features = signals.features
    if config.encoder_frozen and features is None:
        # Without dropout, so that it is the same whether computed here or once for all steps.
        features = apply_model(model, own, batch).hidden[model.features]
    return apply_model(
        model, own, batch, bool(spec.attention), dropout, features, bool(spec.vectors)
    )
