"""A smaller start: word embeddings by SVD or PCA, and a vocabulary of the pieces that occur."""

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import tokenizers

from xdistil.data.pieces import Pieces, Tokenizer, make_tokenizer
from xdistil.errors import InputError
from xdistil.models.structs import Array, Params


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


def seen_vocabulary(tokenizer: Tokenizer, *pieces: Pieces) -> np.ndarray:
    """The ids that a trimmed vocabulary keeps, ascending: i32[v].

    They are the pieces that occur, the special tokens, and every single character, within a word
    and at its start. So a text that was cut into `pieces`, without loss, is cut the same with what
    is kept: WordPiece takes the longest piece that fits, and a word is unknown only for one of its
    characters. Other texts fall back to characters. Raises InputError for a tokenizer that is not
    WordPiece.
    """
    spec = json.loads(tokenizer.backend.to_str())
    model = spec["model"]
    if model["type"] != "WordPiece":
        raise InputError(
            f"student.vocabulary=seen needs a WordPiece tokenizer, and this one is"
            f" {model['type']}; set student.vocabulary=all."
        )
    prefix = model["continuing_subword_prefix"]
    singles = [id for piece, id in model["vocab"].items() if len(piece.removeprefix(prefix)) == 1]
    special = [token["id"] for token in spec["added_tokens"]]
    special.append(model["vocab"][model["unk_token"]])
    occurring = [np.unique(part.tokens) for part in pieces]
    return np.unique(np.concatenate([singles, special, *occurring])).astype(np.int32)


def trim_tokenizer(tokenizer: Tokenizer, kept: np.ndarray) -> Tokenizer:
    """The same tokenizer with the pieces `kept` i32[v] alone, numbered 0 to v-1 in that order."""
    spec = json.loads(tokenizer.backend.to_str())
    renumbered = {int(old): new for new, old in enumerate(kept)}
    backend = tokenizers.Tokenizer.from_str(json.dumps(_renumber(spec, renumbered)))
    roles = tokenizer.wrapper.special_tokens_map
    special = {role: piece for role, piece in roles.items() if isinstance(piece, str)}
    trimmed = make_tokenizer(backend, special, tokenizer.wrapper.model_input_names)
    return dataclasses.replace(trimmed, source=tokenizer.source)


def trim_embeddings(params: Params, kept: np.ndarray) -> Params:
    """The parameters with the word embeddings' rows `kept` alone, in that order."""
    table = params["embeddings"]["word_embeddings"]["embedding"]
    embeddings = {**params["embeddings"], "word_embeddings": {"embedding": table[kept]}}
    return {**params, "embeddings": embeddings}


def _renumber(spec: dict[str, Any], renumbered: dict[int, int]) -> dict[str, Any]:
    """A tokenizer.json with new ids everywhere an id is written."""
    spec = copy.deepcopy(spec)
    spec["model"]["vocab"] = {
        piece: renumbered[id] for piece, id in spec["model"]["vocab"].items() if id in renumbered
    }
    for token in spec["added_tokens"]:
        token["id"] = renumbered[token["id"]]
    if spec["post_processor"]:
        _renumber_specials(spec["post_processor"], renumbered)
    return spec


def _renumber_specials(processor: dict[str, Any], renumbered: dict[int, int]) -> None:
    for part in processor.get("processors", []):  # a Sequence of post-processors
        _renumber_specials(part, renumbered)
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [renumbered[id] for id in token["ids"]]
    for name in ("cls", "sep"):  # BertProcessing
        if name in processor:
            piece, id = processor[name]
            processor[name] = [piece, renumbered[id]]
