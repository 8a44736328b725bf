"""A smaller start: word embeddings by SVD or PCA, and those of a trimmed vocabulary alone."""

import dataclasses
from typing import Any, TypeVar

import numpy as np

from xdistil.errors import InputError
from xdistil.models.bilstm import BiLSTM
from xdistil.models.folders import Model
from xdistil.models.structs import Array, Params

_Model = TypeVar("_Model", bound=Model)


def svd_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The truncated SVD of word embeddings: f[V,D] -> f32[V,size], the rows of U_k S_k.

    Of all embeddings of this width, it is the one whose inner products are nearest to those of the
    given rows. A singular vector's sign is arbitrary; here its largest entry is positive. Raises
    InputError when `size` is more than D.
    """
    return _project(np.asarray(embedding, np.float64), size)


def pca_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The first principal components of word embeddings: f[V,D] -> f32[V,size].

    The mean is left out: it would add one and the same vector to every piece, which the biases that
    follow (those of the gates or of the first norm) can learn, and would else take a component of
    its own. Signs and errors are those of `svd_embeddings`.
    """
    wide = np.asarray(embedding, np.float64)
    return _project(wide - wide.mean(axis=0), size)


def _project(wide: np.ndarray, size: int) -> np.ndarray:
    """f64[V,D] on its first right singular vectors: f32[V,size]."""
    if size > wide.shape[1]:
        raise InputError(
            f"Word embeddings of width {wide.shape[1]} have no SVD of width {size}; choose a"
            f" smaller embedding_size."
        )
    # U_k S_k = E V_k, with V the eigenvectors of E^T E: a D by D problem instead of a V by D one.
    _, vectors = np.linalg.eigh(wide.T @ wide)
    vectors = vectors[:, ::-1][:, :size]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(size)]
    return (wide @ (vectors * np.sign(peaks))).astype(np.float32)


def trim_model(model: _Model, params: Params, kept: np.ndarray) -> tuple[_Model, Params]:
    """The same model with the word embeddings' rows `kept` i32[v] alone, in that order.

    The padding id is that of the same piece. Where it becomes smaller, RoBERTa's positions, which
    are counted from it, begin earlier: the rows before them go. Raises InputError where the padding
    piece is not kept.
    """
    config: Any = model.config
    if config.padding_id not in kept:
        raise InputError(
            f"The model's padding id {config.padding_id} is none of the pieces that are kept: "
            "correct pad_token_id in its config.json."
        )
    places = {"vocabulary_size": len(kept), "padding_id": kept.tolist().index(config.padding_id)}
    small = dataclasses.replace(config, **places)
    embeddings = dict(params["embeddings"])
    embeddings["word_embeddings"] = {"embedding": embeddings["word_embeddings"]["embedding"][kept]}
    if not isinstance(model, BiLSTM) and config.first_position > small.first_position:
        table = embeddings["position_embeddings"]["embedding"]
        moved = config.first_position - small.first_position
        embeddings["position_embeddings"] = {"embedding": table[moved:]}
    trimmed: Any = model.clone(config=small)
    return trimmed, {**params, "embeddings": embeddings}


def put_back(params: Params, trained: Params, kept: np.ndarray) -> Params:
    """Parameters of the whole vocabulary where those with the pieces `kept` alone were trained.

    Args:
        params: of the whole vocabulary, before; the word embeddings of other pieces are these.
        trained: what `trim_model` made of them, host arrays, after training.
    """
    table = np.array(params["embeddings"]["word_embeddings"]["embedding"])
    table[kept] = trained["embeddings"]["word_embeddings"]["embedding"]
    return {
        **trained,
        "embeddings": {**trained["embeddings"], "word_embeddings": {"embedding": table}},
    }
