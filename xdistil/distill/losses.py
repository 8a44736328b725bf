"""The losses of a stage, and the table of what each one reads, needs and trains.

A new loss is a function, a row of LOSSES, and its fields in xdistil/config.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp

from xdistil.config import Stage
from xdistil.data.packing import Batch
from xdistil.distill.distances import (
    Tally,
    attention_divergence,
    attention_error,
    binary_cross_entropy,
    binary_divergence,
    cosine_distance,
    cross_entropy,
    kl_divergence,
    mean_squared_error,
    relation_divergence,
    soft_cross_entropy,
)
from xdistil.distill.layer_maps import map_attention, map_hidden
from xdistil.distill.sentence_loss import Legal, sentence_cross_entropy, sentence_divergence
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.forward import sows_qkv
from xdistil.models.ops import multiply
from xdistil.models.types import Model, Output, Params
from xdistil.teacher.interface import Teacher
from xdistil.teacher.signals import Signals, SignalSpec

SIDE_PROJECTIONS = "side_projections"  # the top-level key of projections that only a loss reads


@dataclass(frozen=True)
class LossConfig:
    """The losses of a stage, for one student and one teacher; hashable."""

    model: Model  # the student
    weights: tuple[tuple[str, float], ...]  # (loss, factor)
    hidden_map: tuple[tuple[int, int], ...] = ()  # (student, teacher) hidden states; 0: embeddings
    attention_map: tuple[tuple[int, int], ...] = ()  # (student, teacher) layers, from 1
    relation_map: tuple[tuple[int, int], ...] = ()  # likewise
    relation_heads: int = 1
    shared_projection: bool = False  # one for all pairs of hidden states whose widths differ
    hidden_loss: str = "mse"  # mse, kl or cosine
    attention_loss: str = "mse"  # mse or kl
    logits_loss: str = "mse"  # mse, kl or crf
    temperature: float = 1.0
    labels_loss: str = "ce"  # ce or crf
    class_weights: tuple[float, ...] = ()  # in the loss on labels; empty: equal
    legal: Legal = ()  # tags that may follow one another, as from `find_legal`, for crf
    multilabel: bool = False  # each class has a probability of its own, not a share of one


@dataclass(frozen=True)
class Loss:
    """One row of LOSSES."""

    compute: Callable[[LossConfig, Params, Output, Batch, Signals], Tally]
    spec: Callable[[LossConfig], SignalSpec]  # what it reads of the teacher
    resolve: Callable[[LossConfig, Stage, str, Teacher], LossConfig]  # fills in layer map and heads
    # for a stage at a place of the config; raises InputError where student or teacher do not fit
    trains_head: bool


def read_spec(config: LossConfig) -> SignalSpec:
    """What all losses of a stage read of the teacher, layers in the order of their maps."""
    specs = [LOSSES[name].spec(config) for name, _ in config.weights]
    return SignalSpec(
        logits=any(spec.logits for spec in specs),
        hidden=tuple(layer for spec in specs for layer in spec.hidden),
        attention=tuple(layer for spec in specs for layer in spec.attention),
        vectors=tuple(layer for spec in specs for layer in spec.vectors),
    )


def representation_loss(
    config: LossConfig, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """Mean over the layer map of the loss on every real subword that has signals.

    Args:
        params: the student's, with side projections where widths differ.
    """
    compare = {
        "mse": mean_squared_error,
        "cosine": cosine_distance,
        "kl": kl_divergence,
    }[config.hidden_loss]
    mask = batch.segment > 0 if signals.present is None else signals.present
    parts = []
    for index, ((layer, _), target) in enumerate(
        zip(config.hidden_map, signals.hidden, strict=True)
    ):
        hidden = config.model.compared_state(output, layer, config.hidden_loss)
        side = params.get(SIDE_PROJECTIONS, {}).get("0" if config.shared_projection else str(index))
        if side is not None:
            product = multiply(hidden, side["kernel"], config.model.dtype, jnp.float32)
            hidden = product + side["bias"]
        parts.append(compare(hidden, target, mask))
    return _average(parts)


def attention_loss(
    config: LossConfig, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """Mean over the layer map of the loss between attention maps."""
    assert output.attention is not None  # the step asks for them where `read_spec` does
    compare = {"mse": attention_error, "kl": attention_divergence}[config.attention_loss]
    parts = [
        compare(output.attention[layer - 1], target, batch.segment)
        for (layer, _), target in zip(config.attention_map, signals.attention, strict=True)
    ]
    return _average(parts)


def relation_loss(
    config: LossConfig, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """Mean over the layer map of the sum of the relations of queries, of keys and of values."""
    assert output.vectors is not None  # the step asks for them where `read_spec` does
    parts = []
    for (layer, _), targets in zip(config.relation_map, signals.vectors, strict=True):
        each = [
            relation_divergence(own, target, batch.segment, config.relation_heads)
            for own, target in zip(output.vectors[layer - 1], targets, strict=True)
        ]
        parts.append(Tally(jnp.stack([part.sum for part in each]).sum(), each[0].count))
    return _average(parts)


def logits_loss(
    config: LossConfig, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """The loss between logits, where labels stand or where the teacher has values, or between the
    tags of sentences that they make probable."""
    assert output.logits is not None  # a student has a head
    assert signals.logits is not None  # `read_spec` asks for them
    mask = batch.label_mask if signals.present is None else signals.present
    if config.logits_loss == "mse":
        return mean_squared_error(output.logits, signals.logits, mask)
    if config.logits_loss == "crf":
        return sentence_divergence(
            output.logits, signals.logits, mask, batch.segment, config.legal, config.temperature
        )
    compare = binary_divergence if config.multilabel else kl_divergence
    return compare(output.logits, signals.logits, mask, config.temperature)


def labels_loss(
    config: LossConfig, params: Params, output: Output, batch: Batch, signals: Signals
) -> Tally:
    """Cross-entropy on the labels, binary for each of several, with the weights of the classes; on
    the tags of whole sentences; or on the probabilities of labels where annotators voted."""
    assert output.logits is not None  # a student has a head
    if config.labels_loss == "crf":
        return sentence_cross_entropy(
            output.logits, batch.labels, batch.label_mask, batch.segment, config.legal
        )
    if signals.targets is not None:
        return soft_cross_entropy(output.logits, signals.targets, config.class_weights)
    compare = binary_cross_entropy if config.multilabel else cross_entropy
    return compare(output.logits, batch.labels, batch.label_mask, config.class_weights)


def _average(parts: list[Tally]) -> Tally:
    """The mean of tallies that count the same things."""
    return Tally(jnp.stack([part.sum for part in parts]).mean(), parts[0].count)


def _resolve_representation(
    config: LossConfig, stage: Stage, field: str, teacher: Teacher
) -> LossConfig:
    shape, text, own = teacher.shape(field), stage.hidden_map, config.model.projection_size
    if own is not None and text in ("last", "uniform"):
        text = str(shape.layers)
    pairs = map_hidden(text, config.model.depth, shape.layers, f"{field}.hidden_map")
    if own is not None:
        if len(pairs) > 1 or pairs[0][0] != 1:
            raise InputError(
                f"{field}.hidden_map is {stage.hidden_map!r}: the student has one representation, "
                "its projection, so name one teacher layer."
            )
        if own != shape.hidden_size:
            raise InputError(
                f"{field}.loss has representation, but the student's projection is {own} wide and "
                f"the teacher {shape.hidden_size}: drop it, or name the teacher that the student "
                "was made from."
            )
    return replace(config, hidden_map=pairs)


def _resolve_attention(
    config: LossConfig, stage: Stage, field: str, teacher: Teacher
) -> LossConfig:
    shape, heads = teacher.shape(field), config.model.attention_heads
    if not heads:
        raise InputError(
            f"{field}.loss has attention, and the student has none: "
            "drop it, or set student.kind=transformer."
        )
    if heads != shape.heads:
        raise InputError(
            f"{field}.loss has attention, but the student has {heads} heads and the teacher "
            f"{shape.heads}: set student.heads={shape.heads}, or learn relations."
        )
    depth, where = config.model.depth, f"{field}.attention_map"
    pairs = map_attention(stage.attention_map, depth, shape.layers, where)
    return replace(config, attention_map=pairs)


def _resolve_relations(
    config: LossConfig, stage: Stage, field: str, teacher: Teacher
) -> LossConfig:
    model, shape = config.model, teacher.shape(field)
    where = f"{field}.relation_map"
    pairs = map_attention(stage.relation_map, model.depth, shape.layers, where)
    heads = _count_relation_heads(stage, field, model, shape)
    return replace(config, relation_map=pairs, relation_heads=heads)


def _count_relation_heads(stage: Stage, field: str, model: Model, teacher: EncoderConfig) -> int:
    """The parts that the vectors of student and teacher are cut into."""
    if not sows_qkv(model):
        raise InputError(
            f"{field}.loss has relations, but a student of {model.config.model_type} has no "
            "queries, keys and values to compare: drop it."
        )
    heads = stage.relation_heads or teacher.heads
    widths = model.config.hidden_size, teacher.hidden_size
    if any(width % heads for width in widths):
        raise InputError(
            f"{field}.relation_heads is {heads}, which does not divide the widths of student and "
            f"teacher, {widths[0]} and {widths[1]}: choose a divisor of {math.gcd(*widths)}."
        )
    return heads


def _resolve_nothing(config: LossConfig, stage: Stage, field: str, teacher: Teacher) -> LossConfig:
    return config


LOSSES = {
    "representation": Loss(
        compute=representation_loss,
        spec=lambda config: SignalSpec(hidden=tuple(layer for _, layer in config.hidden_map)),
        resolve=_resolve_representation,
        trains_head=False,
    ),
    "attention": Loss(
        compute=attention_loss,
        spec=lambda config: SignalSpec(
            attention=tuple(layer - 1 for _, layer in config.attention_map)
        ),
        resolve=_resolve_attention,
        trains_head=False,
    ),
    "relations": Loss(
        compute=relation_loss,
        spec=lambda config: SignalSpec(
            vectors=tuple(layer - 1 for _, layer in config.relation_map)
        ),
        resolve=_resolve_relations,
        trains_head=False,
    ),
    "logits": Loss(
        compute=logits_loss,
        spec=lambda config: SignalSpec(logits=True),
        resolve=_resolve_nothing,
        trains_head=True,
    ),
    "labels": Loss(
        compute=labels_loss,
        spec=lambda config: SignalSpec(),
        resolve=_resolve_nothing,
        trains_head=True,
    ),
}
