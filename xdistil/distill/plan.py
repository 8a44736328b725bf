"""What the stages of a plan expand into: parameter groups, gradual unfreezing, and layer maps.

A stage with gradual unfreezing becomes several sub-stages once the student's shape is known.
"""

import math
from dataclasses import dataclass

from flax.traverse_util import flatten_dict, unflatten_dict

from xdistil.config import Stage
from xdistil.errors import InputError
from xdistil.models.types import Params

# Configs import them from here; from version 0.3 on, only xdistil.plans has them.
from xdistil.plans import d42, labels_only, v3  # noqa: F401

HEAD, PROJECTION, BILSTM = "head", "projection", "bilstm"
POSITIONS, EMBEDDINGS = "positions", "embeddings"
SIDE_PROJECTIONS = "side_projections"  # the top-level key of projections that only a loss reads


@dataclass(frozen=True)
class SubStage:
    """One optimisation: a stage's losses with one fixed set of trainable groups."""

    stage: int  # index in the plan
    name: str  # `logits/bilstm`: the stage and the group thawed last; the stage's alone for all
    trainable: tuple[str, ...]  # groups, from the head downwards
    epochs: float  # at most


def group_of(path: tuple[str, ...]) -> str:
    """The group of the parameter at a path: head, projection, bilstm, `layer N`, embeddings (those
    of words) or positions, with all else below the head that is of no layer: token types, norms,
    embeddings of distances. Layers that share their parameters are one group."""
    top = path[0]
    if top in ("classifier", "pooler"):
        return HEAD
    if top in ("projection", SIDE_PROJECTIONS):
        return PROJECTION
    if top == "lstm":
        return BILSTM
    if path[:2] == ("encoder", "layer"):
        return f"layer {path[2]}"
    return EMBEDDINGS if "word_embeddings" in path else POSITIONS


def list_groups(params: Params) -> tuple[str, ...]:
    """The groups present in the parameters, from the head downwards (the order of thawing)."""
    present = {group_of(path) for path in flatten_dict(params)}
    layers = sorted((g for g in present if g.startswith("layer ")), key=lambda g: -int(g[6:]))
    order = (HEAD, PROJECTION, BILSTM, *layers, POSITIONS, EMBEDDINGS)
    return tuple(group for group in order if group in present)


def expand_plan(
    plan: tuple[Stage, ...], groups: tuple[str, ...], train_embeddings: bool = True
) -> tuple[SubStage, ...]:
    """Sub-stages in order.

    What is learnt inside the encoder reaches everything but the head; other losses reach
    everything. Gradual unfreezing (XtremeDistil section 4) begins with the head, adds the
    projection, then the layers downwards in blocks of `unfreeze_every`, positions with the lowest
    of them, the word embeddings last; what is thawed stays so.
    """
    result: list[SubStage] = []
    for index, stage in enumerate(plan):
        reached = [g for g in groups if g != EMBEDDINGS or train_embeddings]
        if {"representation", "attention", "relations"}.issuperset(stage.loss.split("+")):
            reached.remove(HEAD)
        if stage.unfreeze == "all":
            result.append(SubStage(index, stage.name, tuple(reached), stage.epochs))
            continue
        layers = [g for g in reached if g.startswith("layer ")]
        size = stage.unfreeze_every or max(len(layers), 1)
        ends = {layer for i, layer in enumerate(layers, 1) if i % size == 0 or i == len(layers)}
        for end, group in enumerate(reached, 1):
            lowest = reached[end : end + 1] == [POSITIONS]
            if group.startswith("layer ") and (group not in ends or lowest):
                continue
            if group == POSITIONS:
                group = layers[-1]
            name = group if not group.startswith("layer ") else _layers_name(layers, group, size)
            epochs = stage.epochs if end == len(reached) else stage.unfreeze_epochs or stage.epochs
            result.append(SubStage(index, f"{stage.name}/{name}", tuple(reached[:end]), epochs))
    return tuple(result)


def _layers_name(layers: list[str], last: str, size: int) -> str:
    end = layers.index(last)
    first = layers[end - end % size]
    numbers = (last[6:], first[6:])
    return f"layer-{numbers[0]}" if first == last else f"layers-{numbers[0]}-{numbers[1]}"


def split_params(params: Params, trainable: tuple[str, ...]) -> tuple[Params, Params]:
    """(trainable, frozen) sub-trees; together they are the parameters."""
    flat = flatten_dict(params)
    chosen = {path: leaf for path, leaf in flat.items() if group_of(path) in trainable}
    rest = {path: leaf for path, leaf in flat.items() if path not in chosen}
    return unflatten_dict(chosen), unflatten_dict(rest)


def merge_params(*trees: Params) -> Params:
    """The inverse of `split_params`."""
    flat: dict = {}
    for tree in trees:
        flat.update(flatten_dict(tree))
    return unflatten_dict(flat)


def middle_layer(layers: int) -> int:
    """The teacher layer a single representation is learnt from: 7 of 12 (XtremeDistil, table 8),
    4 of 6."""
    return math.ceil(7 * layers / 12)


def upper_layer(layers: int) -> int:
    """The teacher layer whose relations are learnt, as MiniLMv2 has it: 21 of 24, the last of up
    to 12."""
    return layers if layers <= 12 else math.ceil(7 * layers / 8)


def map_hidden(text: str, student: int, teacher: int, field: str) -> tuple[tuple[int, int], ...]:
    """Pairs (student hidden state, teacher hidden state); 0 is the embeddings.

    Args:
        text: `middle` or a teacher layer (both against the student's last), `last` (the student's
            states against the teacher's last L+1), `uniform` (against states as far apart, from the
            embeddings to the last layer; TinyBERT's map), or pairs such as `1:2,3:6`.
        student, teacher: numbers of layers.
        field: the config field, for the error.

    Raises:
        InputError: the text is none of these, or a layer does not exist.
    """
    if text == "middle":
        return ((student, middle_layer(teacher)),)
    if text == "last":
        _enough_layers(student, teacher, field)
        return tuple((i, teacher - student + i) for i in range(student + 1))
    if text == "uniform":
        return tuple((i, math.ceil(i * teacher / student)) for i in range(student + 1))
    return _read_pairs(text, student, teacher, 0, field)


def map_attention(text: str, student: int, teacher: int, field: str) -> tuple[tuple[int, int], ...]:
    """Pairs (student layer, teacher layer) counted from 1, of the maps an attention loss compares.

    Takes and raises the same as `map_hidden`, except that there is no map 0. A relation loss
    compares vectors of the same layers; `upper` is the student's last against `upper_layer`.
    """
    if text == "upper":
        return ((student, upper_layer(teacher)),)
    if text == "middle":
        return ((student, middle_layer(teacher)),)
    if text == "last":
        _enough_layers(student, teacher, field)
        return tuple((i, teacher - student + i) for i in range(1, student + 1))
    if text == "uniform":
        return tuple((i, math.ceil(i * teacher / student)) for i in range(1, student + 1))
    return _read_pairs(text, student, teacher, 1, field)


def _enough_layers(student: int, teacher: int, field: str) -> None:
    if student > teacher:
        raise InputError(
            f"{field} is 'last', but the student has {student} layers and the teacher {teacher}: "
            "name pairs such as 1:2,2:4."
        )


def _read_pairs(
    text: str, student: int, teacher: int, lowest: int, field: str
) -> tuple[tuple[int, int], ...]:
    pairs = []
    for part in text.split(","):
        left, colon, right = part.strip().partition(":")
        if not colon:
            left, right = str(student), left
        if not (left.isdecimal() and right.isdecimal()):
            raise InputError(
                f"{field} is {text!r}: it takes middle, last, uniform, a teacher layer such as 4, "
                "or student:teacher pairs such as 1:2,3:6."
            )
        pair = int(left), int(right)
        if not (lowest <= pair[0] <= student and lowest <= pair[1] <= teacher):
            raise InputError(
                f"{field} pairs student layer {pair[0]} with teacher layer {pair[1]}, but they "
                f"have layers {lowest} to {student} and {lowest} to {teacher}."
            )
        pairs.append(pair)
    return tuple(pairs)
