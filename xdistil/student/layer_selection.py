"""A student made of some of its teacher's layers, with the teacher's embeddings and head.

As DistilBERT starts (Sanh et al. 2019, arXiv 1910.01108). The student is a model of the teacher's
family, only shallower.
"""

import jax
import numpy as np
from flax import traverse_util

from xdistil.errors import InputError
from xdistil.models.encoder import Transformer
from xdistil.models.trim import trim_model
from xdistil.models.types import Params


def choose_layers(text: str, layers: int) -> tuple[int, ...]:
    """The layers, counted from 0, that `student.keep_layers` names among a teacher's.

    Args:
        text: `last:N`; `every:N`, the last of each N; or a list such as `0,5`, ascending.
        layers: of the teacher.

    Raises:
        InputError: the text is none of these, or names a layer that the teacher does not have.
    """
    kind, colon, number = text.partition(":")
    if colon and kind in ("last", "every") and number.isdecimal():
        count = int(number)
        if not 1 <= count <= layers:
            raise InputError(
                f"student.keep_layers is {text!r}, but the teacher has {layers} layers: choose a "
                f"number from 1 to {layers}."
            )
        first, step = (layers - count, 1) if kind == "last" else (count - 1, count)
        return tuple(range(first, layers, step))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(
            f"student.keep_layers is {text!r}: it takes last:N, every:N, or layers counted from 0, "
            "such as 0,5."
        )
    kept = tuple(map(int, parts))
    if list(kept) != sorted(set(kept)) or kept[-1] >= layers:
        raise InputError(
            f"student.keep_layers is {text!r}: it takes ascending numbers from 0 to {layers - 1}, "
            "each once."
        )
    return kept


def select_layers(
    teacher: Transformer, params: Params, layers: tuple[int, ...], kept: np.ndarray | None
) -> tuple[Transformer, Params]:
    """The student of some of a teacher's layers, with the parameters that it takes from them.

    Args:
        layers: the teacher's that it keeps, ascending.
        kept: i32[v] the teacher's subwords that it keeps; None: all.

    Raises:
        InputError: as `cut_layers` does.
    """
    model, params = cut_layers(teacher, layers), keep_layers(params, layers)
    return (model, params) if kept is None else trim_model(model, params, kept)


def cut_layers(teacher: Transformer, kept: tuple[int, ...]) -> Transformer:
    """The teacher's model with the layers `kept` alone.

    Raises:
        InputError: the layers share parameters, or are not alike, so that they cannot take one
            another's place.
    """
    config = teacher.config
    if config.own_layers < config.layers:
        raise InputError(
            f"student.keep_layers leaves out layers of the teacher, an {config.model_type} whose "
            "layers share their parameters: leave it empty."
        )
    student = teacher.clone(config=config.with_layers(kept))
    key = jax.random.key(0)
    left = keep_layers(jax.eval_shape(teacher.init_params, key), kept)
    if left != jax.eval_shape(student.init_params, key):
        raise InputError(
            f"student.keep_layers={','.join(map(str, kept))} leaves no {config.model_type}, whose "
            "layers are not alike: choose others (its first layer stays the first), or leave it "
            "empty."
        )
    return student


def keep_layers(params: Params, kept: tuple[int, ...]) -> Params:
    """A model's parameters with the layers `kept` alone, renumbered in their order.

    The layer that a leaf belongs to is the first number in its path.
    """
    left = {}
    for path, leaf in traverse_util.flatten_dict(params).items():
        place = next((i for i, part in enumerate(path) if part.isdecimal()), None)
        if place is None:
            left[path] = leaf
        elif (layer := int(path[place])) in kept:
            left[(*path[:place], str(kept.index(layer)), *path[place + 1 :])] = leaf
    return traverse_util.unflatten_dict(left)
