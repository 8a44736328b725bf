"""A model with some of the rows of its word embeddings alone, and the way back."""

import dataclasses
from typing import Any, TypeVar

import numpy as np

from xdistil.errors import InputError
from xdistil.models.types import Model, Params

_Model = TypeVar("_Model", bound=Model)


def trim_model(model: _Model, params: Params, kept: np.ndarray) -> tuple[_Model, Params]:
    """The same model with the word embeddings' rows `kept` i32[v] alone, in that order.

    The padding id is that of the same subword. Where it becomes smaller, RoBERTa's positions, which
    are counted from it, begin earlier: the rows before them go. Raises InputError where the padding
    subword is not kept.
    """
    config: Any = model.config
    if config.padding_id not in kept:
        raise InputError(
            f"The model's padding id {config.padding_id} is none of the subwords that are kept: "
            "correct pad_token_id in its config.json."
        )
    places = {"vocabulary_size": len(kept), "padding_id": kept.tolist().index(config.padding_id)}
    small = dataclasses.replace(config, **places)
    embeddings = dict(params["embeddings"])
    embeddings["word_embeddings"] = {"embedding": embeddings["word_embeddings"]["embedding"][kept]}
    if config.first_position > small.first_position:
        table = embeddings["position_embeddings"]["embedding"]
        moved = config.first_position - small.first_position
        embeddings["position_embeddings"] = {"embedding": table[moved:]}
    trimmed: Any = model.clone(config=small)
    return trimmed, {**params, "embeddings": embeddings}


def put_back(params: Params, trained: Params, kept: np.ndarray) -> Params:
    """Parameters of the whole vocabulary where those with the subwords `kept` alone were trained.

    Args:
        params: of the whole vocabulary, before; the word embeddings of other subwords are these.
        trained: what `trim_model` made of them, host arrays, after training.
    """
    table = np.array(params["embeddings"]["word_embeddings"]["embedding"])
    table[kept] = trained["embeddings"]["word_embeddings"]["embedding"]
    return {
        **trained,
        "embeddings": {**trained["embeddings"], "word_embeddings": {"embedding": table}},
    }
