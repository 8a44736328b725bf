"""Parameter groups, and which of them a stage trains: all at once, or by gradual unfreezing."""

from dataclasses import dataclass

from flax.traverse_util import flatten_dict, unflatten_dict

from xdistil.config import Stage
from xdistil.distill.losses import LOSSES, SIDE_PROJECTIONS
from xdistil.models.types import Params

HEAD, PROJECTION, BILSTM = "head", "projection", "bilstm"
POSITIONS, EMBEDDINGS = "positions", "embeddings"


@dataclass(frozen=True)
class SubStage:
    """One optimisation: a stage's losses with one fixed set of trainable groups."""

    stage: int  # index in the plan
    name: str  # `logits/bilstm`: the stage and the last unfrozen group; the stage's alone for all
    trainable: tuple[str, ...]  # groups, from the head downwards
    epochs: float  # at most


def group_of(path: tuple[str, ...]) -> str:
    """The group of the parameter at a path: head, projection, bilstm (the first), `bilstm N`,
    `layer N`, embeddings (those of words) or positions, with all else below the head that is of no
    layer: token types, norms, embeddings of distances. Layers that share their parameters are one
    group."""
    top = path[0]
    if top in ("classifier", "pooler"):
        return HEAD
    if top in ("projection", SIDE_PROJECTIONS):
        return PROJECTION
    if top == "lstm":
        return BILSTM
    if top.startswith("lstm_"):
        return f"{BILSTM} {top.removeprefix('lstm_')}"
    if path[:2] == ("encoder", "layer"):
        return f"layer {path[2]}"
    return EMBEDDINGS if "word_embeddings" in path else POSITIONS


def list_groups(params: Params) -> tuple[str, ...]:
    """The groups present in the parameters, from the head downwards (the order of unfreezing)."""
    present = {group_of(path) for path in flatten_dict(params)}
    layers, lstms = (
        sorted((g for g in present if g.startswith(kind)), key=lambda g: -int(g.split()[1]))
        for kind in ("layer ", f"{BILSTM} ")
    )
    order = (HEAD, PROJECTION, *lstms, BILSTM, *layers, POSITIONS, EMBEDDINGS)
    return tuple(group for group in order if group in present)


def expand_plan(
    plan: tuple[Stage, ...], groups: tuple[str, ...], train_embeddings: bool = True
) -> tuple[SubStage, ...]:
    """Sub-stages in order.

    Losses inside the encoder reach everything except the head; other losses reach everything.
    Gradual unfreezing (XtremeDistil section 4) starts with the head, adds the
    projection, then the layers downwards (BiLSTMs one by one, those of a transformer in blocks of
    `unfreeze_every`), positions with the lowest of them, the word embeddings last; unfrozen groups
    stay unfrozen.
    """
    result: list[SubStage] = []
    for index, stage in enumerate(plan):
        reached = [g for g in groups if g != EMBEDDINGS or train_embeddings]
        if not any(LOSSES[name].trains_head for name in stage.loss.split("+")):
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
            name = group.replace(" ", "-")
            if group.startswith("layer "):
                name = _layers_name(layers, group, size)
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
