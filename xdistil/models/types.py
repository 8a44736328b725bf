"""The interface of all models: their properties, output and parameters.

Letters: B rows, T row length in subwords, C classes, L layers, D width, H heads.
"""

import functools
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import jax
import numpy as np

from xdistil.data.packing import Array

Params = dict  # nested dicts of arrays, in the names of HF Flax checkpoints


class QKV(NamedTuple):
    """Queries, keys and values of a layer's self-attention, all heads concatenated."""

    queries: Array  # f[B,T,D], before any scaling
    keys: Array  # f[B,T,D]
    values: Array  # f[B,T,D]


class Output(NamedTuple):
    """What a model computes from a batch."""

    logits: Array | None  # f[B,T,C]; meaningful at label_mask; None for a model without head
    hidden: tuple[Array, ...]  # L+1 arrays f[B,T,D]; the first are the embeddings
    attention: tuple[Array, ...] | None  # L arrays f[B,H,T,T] of probabilities, if asked for
    vectors: tuple[QKV, ...] | None = None  # of L layers, if asked for


class ModelConfig(Protocol):
    """The config of a model: a frozen dataclass with at least these fields or properties."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model_type(self) -> str:
        """The model type of a config.json, a key of registry.FAMILIES."""

    @property
    def vocabulary_size(self) -> int:
        """The rows of the word embeddings."""

    @property
    def embedding_size(self) -> int:
        """The width of the word embeddings."""

    @property
    def hidden_size(self) -> int:
        """The width of a layer; for a BiLSTM the units in each direction."""

    @property
    def padding_id(self) -> int:
        """The id of the padding subword."""

    @property
    def first_position(self) -> int:
        """The row of the position embeddings for a segment's first subword; 0 without them."""

    @property
    def own_layers(self) -> int:
        """The number of layers with parameters of their own."""


class Model(Protocol):
    """An encoder or a BiLSTM on packed rows, with the head of a task or without.

    A Linen module: `apply` and `clone` are Flax's. It is hashable, so a jit static argument, and
    `str(model)` is part of the names of cached signals.
    """

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""

    @property
    def classes(self) -> int:
        """The number of classes of its head; 0: it has none, and Output.logits is None."""

    @property
    def dtype(self) -> str:
        """The type of its arithmetic; parameters and logits are float32."""

    @property
    def depth(self) -> int:
        """The number of layers whose hidden states a loss can compare."""

    @property
    def max_positions(self) -> int | None:
        """The largest number of subwords in a segment; None: no limit."""

    @property
    def attention_heads(self) -> int:
        """The number of attention heads; 0: the model has no attention."""

    @property
    def projection_size(self) -> int | None:
        """The width of the model's own projection to the teacher's width.

        Such a model has one hidden state to compare, its layer 1. None: the hidden states of all
        layers can be compared, and the loss projects them where widths differ.
        """

    @property
    def features(self) -> int:
        """The index among the hidden states of what the head reads (a BiLSTM's: projection and
        head)."""

    def compared_state(self, output: Output, layer: int, kind: str) -> Array:
        """The hidden state f[B,T,D] of a layer (0: the embeddings) that the representation loss
        of a `kind` (mse, cosine or kl) reads."""

    def summary(self) -> str:
        """The model's kind and sizes on one line."""

    def init_params(self, key: jax.Array) -> Params:
        """New float32 parameters, drawn with `key`."""

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Flax's: a forward pass."""

    def clone(self, **changes: Any) -> Self:
        """Flax's: the same model with other fields."""

    def __hash__(self) -> int:
        """Equal models share what is compiled and traced."""


@functools.lru_cache(maxsize=16)
def trace_shapes(model: Model) -> Params:
    """The shapes of a model's parameters; kept, since tracing a deep model takes a second."""
    return jax.eval_shape(model.init_params, jax.random.key(0))


def count_parameters(params: Params) -> dict[str, int]:
    """The `total` number of parameters, and the number in the word `embeddings` among them."""
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    embeddings = int(np.size(params["embeddings"]["word_embeddings"]["embedding"]))
    return {"total": total, "embeddings": embeddings}
