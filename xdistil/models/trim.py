"""A model with only some rows of its word embeddings, and its parameters with all rows again."""

import dataclasses
from typing import Any, TypeVar

import numpy as np

from xdistil.errors import InputError
from xdistil.models.types import Model, Params

_Model = TypeVar("_Model", bound=Model)


def trim_model(model: _Model, params: Params, kept: np.ndarray) -> tuple[_Model, Params]:
    """The same model with only the rows `kept` i32[v] of its word embeddings, in that order.

    The padding subword stays the same and its id changes. RoBERTa counts positions from that id:
    where it becomes smaller, the first rows of the position embeddings are removed. Raises
    InputError where the padding subword is not kept.
    """
    config: Any = model.config
    if config.padding_id not in kept:
        raise InputError(
            f"The model's padding id {config.padding_id} is not among the subwords that are kept: "
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
    """Trained parameters with the whole vocabulary.

    Args:
        params: of the whole vocabulary, before training; subwords that are not kept keep theirs.
        trained: the parameters of the trimmed model after training, host arrays.
        kept: i32[v] the rows that `trim_model` kept.
    """
    table = np.array(params["embeddings"]["word_embeddings"]["embedding"])
    table[kept] = trained["embeddings"]["word_embeddings"]["embedding"]
    return {
        **trained,
        "embeddings": {**trained["embeddings"], "word_embeddings": {"embedding": table}},
    }
