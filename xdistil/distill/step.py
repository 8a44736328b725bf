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
from xdistil.distill import losses
from xdistil.distill.losses import Tally
from xdistil.distill.plan import SIDE_PROJECTIONS, merge_params
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.forward import apply_model
from xdistil.models.hf.folder import Model
from xdistil.models.ops import multiply
from xdistil.models.types import Output, Params
from xdistil.teacher.signals import Signals


@dataclass(frozen=True)
class Recipe:
    """What is static in a stage's step; hashable, so that equal stages share one compilation."""

    model: Model
    weights: tuple[tuple[str, float], ...]  # (loss, factor)
    hidden_map: tuple[tuple[int, int], ...] = ()  # (student, teacher) hidden states
    attention_map: tuple[tuple[int, int], ...] = ()  # (student, teacher) layers, from 1
    relation_map: tuple[tuple[int, int], ...] = ()  # likewise
    relation_heads: int = 1
    shared_projection: bool = False  # one for all pairs of hidden states whose widths differ
    representation: str = "mse"  # mse, kl or cosine
    attention: str = "mse"  # mse or kl
    logits: str = "mse"  # mse or kl
    temperature: float = 1.0
    clip: float = 0.0
    weight_decay: float = 0.0
    encoder_frozen: bool = False  # nothing below the features trains


class TrainState(NamedTuple):
    """All that a step changes, and what it reads beside the batch."""

    step: Array  # i32[] steps taken in this sub-stage
    failed: Array  # i32[] the step, from 1, whose loss or gradient was not finite; 0: none
    key: jax.Array  # PRNG key of the sub-stage
    trainable: Params
    frozen: Params
    optimizer: optax.OptState


class Metrics(NamedTuple):
    """What a step reports."""

    losses: dict[str, Tally]
    gradient_norm: Array  # f32[] of what trains, before clipping
    failed: Array  # i32[] as in the state after the step


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW behind a clipped global norm, without its learning rate; decay on matrices only."""
    steps = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
    steps.append(optax.scale_by_adam())
    if recipe.weight_decay:
        steps.append(
            optax.add_decayed_weights(
                recipe.weight_decay, mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
            )
        )
    return optax.chain(*steps)


def init_state(recipe: Recipe, trainable: Params, frozen: Params, key: jax.Array) -> TrainState:
    """The state before the first step of a sub-stage."""
    optimizer = make_optimizer(recipe).init(trainable)
    # Two zeros: a buffer cannot be donated twice.
    step, failed = (jnp.zeros((), jnp.int32) for _ in range(2))
    return TrainState(step, failed, key, trainable, frozen, optimizer)


@partial(jax.jit, static_argnames=("recipe",), donate_argnames=("state",))
def train_step(
    state: TrainState, batch: Batch, signals: Signals, lr: Array, *, recipe: Recipe
) -> tuple[TrainState, Metrics]:
    """One step of AdamW on the weighted sum of the recipe's losses.

    Where the loss or a gradient is not finite, nothing but `failed` changes, neither in this step
    nor in any that is taken after it: the state stays the one that reproduces the failure.

    Args:
        lr: f32[] learning rate of this step.
    """

    def compute_loss(trainable: Params) -> tuple[jax.Array, dict[str, Tally]]:
        params = merge_params(trainable, state.frozen)
        tallies = compute_losses(
            recipe, params, batch, signals, jax.random.fold_in(state.key, state.step)
        )
        means = [weight * tallies[name].mean() for name, weight in recipe.weights]
        return jnp.stack(means).sum(), tallies

    (loss, tallies), gradient = jax.value_and_grad(compute_loss, has_aux=True)(state.trainable)
    norm = optax.tree.norm(gradient)
    updates, optimizer = make_optimizer(recipe).update(gradient, state.optimizer, state.trainable)
    trainable = jax.tree.map(lambda x, update: x - lr * update, state.trainable, updates)

    sound = (state.failed == 0) & jnp.isfinite(loss) & jnp.isfinite(norm)
    failed = jnp.where((state.failed == 0) & ~sound, state.step + 1, state.failed)
    step, trainable, optimizer = jax.tree.map(
        lambda new, old: jnp.where(sound, new, old),
        (state.step + 1, trainable, optimizer),
        (state.step, state.trainable, state.optimizer),
    )
    state = TrainState(step, failed, state.key, trainable, state.frozen, optimizer)
    return state, Metrics(tallies, norm, failed)


@partial(jax.jit, static_argnames=("recipe",))
def eval_step(
    params: Params, batch: Batch, signals: Signals, *, recipe: Recipe
) -> dict[str, Tally]:
    """The recipe's losses without dropout."""
    return compute_losses(recipe, params, batch, signals, None)


def compute_losses(
    recipe: Recipe, params: Params, batch: Batch, signals: Signals, dropout: jax.Array | None
) -> dict[str, Tally]:
    """Each of the recipe's losses as a tally.

    Args:
        params: the student's, with side projections where the recipe's hidden states need them.
        dropout: PRNG key; None switches dropout off.
    """
    own = {name: tree for name, tree in params.items() if name != SIDE_PROJECTIONS}
    features = signals.features
    if recipe.encoder_frozen and features is None:
        # Without dropout, so that it is the same whether computed here or once for all steps.
        features = apply_model(recipe.model, own, batch).hidden[recipe.model.features]
    output = apply_model(
        recipe.model,
        own,
        batch,
        bool(recipe.attention_map),
        dropout,
        features,
        bool(recipe.relation_map),
    )
    tallies: dict[str, Tally] = {}
    for name, _ in recipe.weights:
        if name == "representation":
            tallies[name] = _representation_loss(recipe, params, output, batch, signals)
        elif name == "attention":
            tallies[name] = _attention_loss(recipe, output, batch, signals)
        elif name == "relations":
            tallies[name] = _relation_loss(recipe, output, batch, signals)
        elif name == "logits":
            tallies[name] = _logits_loss(recipe, output, batch, signals)
        else:
            tallies[name] = _labels_loss(output, batch)
    return tallies


def _representation_loss(
    recipe: Recipe, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """Mean over the layer map of the loss on every real subword, or every one that has signals."""
    compare = {
        "mse": losses.mean_squared_error,
        "cosine": losses.cosine_distance,
        "kl": losses.kl_divergence,
    }[recipe.representation]
    mask = batch.segment > 0 if signals.present is None else signals.present
    parts = []
    for index, ((layer, _), target) in enumerate(
        zip(recipe.hidden_map, signals.hidden, strict=True)
    ):
        if isinstance(recipe.model, BiLSTM):
            # GELU cannot reach below -0.17, where much of a teacher's energy may lie: only the
            # KL, which compares distributions over the width, reads what comes after it.
            hidden = output.hidden[-1] if recipe.representation == "kl" else output.hidden[-2]
        else:
            hidden = output.hidden[layer]
            side = params.get(SIDE_PROJECTIONS, {}).get(
                "0" if recipe.shared_projection else str(index)
            )
            if side is not None:
                hidden = multiply(hidden.astype(jnp.float32), side["kernel"]) + side["bias"]
        parts.append(compare(hidden, target, mask))
    return _average(parts)


def _attention_loss(recipe: Recipe, output: Output, batch: Batch, signals: Signals) -> Tally:
    """Mean over the layer map of the loss between attention maps."""
    assert output.attention is not None  # asked for by the recipe's attention map
    compare = {"mse": losses.attention_error, "kl": losses.attention_divergence}[recipe.attention]
    parts = [
        compare(output.attention[layer - 1], target, batch.segment)
        for (layer, _), target in zip(recipe.attention_map, signals.attention, strict=True)
    ]
    return _average(parts)


def _relation_loss(recipe: Recipe, output: Output, batch: Batch, signals: Signals) -> Tally:
    """Mean over the layer map of the sum of the relations of queries, of keys and of values."""
    assert output.vectors is not None  # asked for by the recipe's relation map
    parts = []
    for (layer, _), targets in zip(recipe.relation_map, signals.vectors, strict=True):
        each = [
            losses.relation_divergence(own, target, batch.segment, recipe.relation_heads)
            for own, target in zip(output.vectors[layer - 1], targets, strict=True)
        ]
        parts.append(Tally(jnp.stack([part.sum for part in each]).sum(), each[0].count))
    return _average(parts)


def _average(parts: list[Tally]) -> Tally:
    """The mean of tallies that count the same things."""
    return Tally(jnp.stack([part.sum for part in parts]).mean(), parts[0].count)


def _labels_loss(output: Output, batch: Batch) -> Tally:
    assert output.logits is not None  # a student has a head
    return losses.cross_entropy(output.logits, batch.labels, batch.label_mask)


def _logits_loss(recipe: Recipe, output: Output, batch: Batch, signals: Signals) -> Tally:
    assert output.logits is not None
    assert signals.logits is not None  # wanted_signals asked for them
    mask = batch.label_mask if signals.present is None else signals.present
    if recipe.logits == "mse":
        return losses.mean_squared_error(output.logits, signals.logits, mask)
    return losses.kl_divergence(output.logits, signals.logits, mask, recipe.temperature)
