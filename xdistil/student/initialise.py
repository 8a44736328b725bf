"""The student before its first stage: its model, its tokenizer, and its first parameters."""

from dataclasses import dataclass

import jax
import numpy as np

from xdistil.data.tokenizer import Tokenizer
from xdistil.models.encoder import Transformer
from xdistil.models.subword_means import SubwordMeans
from xdistil.models.types import Model, Params
from xdistil.student.embeddings import EmbeddingInit, scale_embeddings, start_embeddings
from xdistil.student.layer_selection import select_layers


@dataclass(frozen=True)
class FromScratch:
    """Random parameters, except for the word embeddings."""

    model: Model
    tokenizer: Tokenizer
    embeddings: EmbeddingInit

    def params(self, teacher: Params, seed: int, means: SubwordMeans | None = None) -> Params:
        """The first parameters, host arrays.

        Args:
            teacher: the parameters that provide word embeddings; empty where the teacher is no
                model.
            means: the teacher's mean states, where word embeddings are `contextual`.
        """
        key = _fold(seed)
        params = jax.device_get(jax.jit(self.model.init_params)(key))
        if self.embeddings.kind != "random":
            params = start_embeddings(params, self.embeddings, teacher, key, means)
        return scale_embeddings(params, self.embeddings)


@dataclass(frozen=True)
class FromCheckpoint:
    """The parameters of a model folder, its vocabulary trimmed and its head fitted to the task."""

    model: Model
    tokenizer: Tokenizer
    embeddings: EmbeddingInit
    checkpoint: Params

    def params(self, teacher: Params, seed: int, means: SubwordMeans | None = None) -> Params:
        """The first parameters, host arrays; arguments as in `FromScratch`."""
        return start_embeddings(self.checkpoint, self.embeddings, teacher, _fold(seed), means)


@dataclass(frozen=True)
class KeptLayers:
    """Some of the teacher's layers, with its embeddings and head."""

    model: Model
    tokenizer: Tokenizer
    teacher: Transformer
    layers: tuple[int, ...]  # counted from 0
    kept: np.ndarray | None  # i32[v] the teacher's subwords that stay; None: all

    def params(self, teacher: Params, seed: int, means: SubwordMeans | None = None) -> Params:
        """The first parameters, host arrays: the teacher's."""
        return select_layers(self.teacher, teacher, self.layers, self.kept)[1]


StudentInit = FromScratch | FromCheckpoint | KeptLayers


def _fold(seed: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), 1)
