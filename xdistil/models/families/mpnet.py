"""MPNet on packed rows: a post-layer-norm encoder with a bias by distance in its scores.

Song et al. 2020 (arXiv 2004.09297). Parameters have PyTorch's names.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.models import heads, onnx_layers
from xdistil.models.config_fields import check_fixed
from xdistil.models.encoder import Layers, Maps, States, Transformer
from xdistil.models.encoder_config import KEYS, EncoderConfig, check_shape, read_shape, write_shape
from xdistil.models.layers import (
    Embeddings,
    PostNormLayer,
    attend,
    dense,
    layer_norm,
    normal,
    project,
    sow_qkv,
)
from xdistil.models.ops import Dropout
from xdistil.models.tensor_names import Names

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

MODEL_TYPE = "mpnet"
NAMES = Names("mpnet")

_BUCKETS = 32  # of distances, half of them for each direction
_FARTHEST = 128  # subwords; longer distances share a bucket
_FIXED = {"relative_attention_num_buckets": _BUCKETS}  # PyTorch's code has no other number


@dataclass(frozen=True)
class MPNetConfig(EncoderConfig):
    """The shape of an MPNet."""

    model_type: str = MODEL_TYPE
    token_types: int = 0

    @property
    def first_position(self) -> int:
        """The row of the position embeddings for a segment's first subword: after that of padding,
        which is always 1."""
        return 2


# HF's MPNetConfig, where it differs from BertConfig.
_DEFAULTS = {"vocabulary_size": 30527, "token_types": 0, "padding_id": 1}
_KEYS = {name: key for name, key in KEYS.items() if name != "token_types"}


def read_config(raw: Mapping[str, Any], where: str) -> MPNetConfig:
    """The MPNet that an HF config.json describes; raises as `bert.read_config` does, and if there
    are not 32 buckets."""
    check_fixed(raw, _FIXED, where)
    config = MPNetConfig(**read_shape(raw, _DEFAULTS, where, _KEYS))
    config = dataclasses.replace(config, positions=config.positions - config.first_position)
    check_shape(config, where)
    return config


def write_config(config: MPNetConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | _FIXED


class MPNet(Transformer):
    """An MPNet with the head of a task."""

    config: MPNetConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        return _Stack(self.config, self.dtype, name="encoder")(
            hidden, same_segment, attention, deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        return heads.TwoLayerClassifier(
            self.classes, jnp.tanh, config.dropout, normal(config), self.dtype, name="classifier"
        )(hidden, deterministic)


class _Stack(nn.Module):
    """All layers and the bias by distance that they share; L+1 hidden states, L maps.

    The subwords of a segment are contiguous, so that a distance in the row is one in the text: one
    bias is enough for the whole batch.
    """

    config: MPNetConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        table = nn.Embed(
            _BUCKETS,
            self.config.heads,
            embedding_init=normal(self.config),
            name="relative_attention_bias",
        )
        places = np.arange(hidden.shape[1])
        buckets = find_buckets(places[None, :] - places[:, None])
        bias = table(buckets).transpose(2, 0, 1)  # f32[H,T,T]
        return Layers(_Layer, self.config, self.dtype, name="layer")(
            hidden, mask, bias, attention=attention, deterministic=deterministic
        )


class _Layer(PostNormLayer):
    """A layer whose self-attention adds the bias by distance to its scores."""

    def attend(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        (bias,) = more
        return _Attention(self.config, self.dtype, name="attention")(
            hidden, mask, bias, attention, deterministic
        )


class _Attention(nn.Module):
    """Self-attention with its residual and norm."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        bias: jax.Array,
        attention: bool,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        projected, probabilities = _SelfAttention(config, self.dtype, name="attn")(
            hidden, mask, bias, attention, deterministic
        )
        projected = Dropout(config.dropout)(projected, deterministic)
        return layer_norm(config, self.dtype)(projected + hidden), probabilities


class _SelfAttention(nn.Module):
    """softmax(Q K / sqrt(d) + bias) V by heads, inside segments, with its output projection."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        bias: jax.Array,
        attention: bool,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        query, key, value = project(config, ("q", "k", "v"), hidden, self.dtype)
        sow_qkv(self, query, key, value)
        rate = config.attention_dropout
        context, probabilities = attend(
            query, key, value, mask, rate, attention, deterministic, bias
        )
        return dense(config, config.hidden_size, self.dtype, "o")(context), probabilities


def find_buckets(distances: np.ndarray) -> np.ndarray:
    """The bucket i64 of each distance i64, key less query.

    Distances up to 7 have a bucket each; longer ones share logarithmic buckets, computed in float32
    as in PyTorch. Keys after the query have the upper half.
    """
    half = _BUCKETS // 2
    near = half // 2
    apart = np.abs(distances)
    ratio = np.maximum(apart, 1).astype(np.float32) / np.float32(near)
    share = np.log(ratio) / np.float32(np.log(_FARTHEST / near)) * np.float32(half - near)
    far = np.minimum(near + share.astype(np.int64), half - 1)
    return half * (distances > 0) + np.where(apart < near, apart, far)


def add_graph(graph: "Graph", config: MPNetConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them."""
    hidden = onnx_layers.add_embeddings(graph, config)
    bias = graph.add("Add", graph.mask_scores(), _add_distances(graph))
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        own = f"{layer}.attention"
        context = onnx_layers.add_attention(
            graph, config, hidden, bias, f"{own}.attn", ("q", "k", "v")
        )
        added = graph.add("Add", graph.dense(context, f"{own}.attn.o"), hidden)
        hidden = graph.layer_norm(added, f"{own}.LayerNorm", config.norm_epsilon)
        hidden = onnx_layers.add_feed_forward(graph, config, hidden, layer)
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier")
    hidden = graph.activate(graph.dense(graph.take_first(hidden), "classifier.dense"), "tanh")
    return graph.dense(hidden, "classifier.out_proj")


def _add_distances(graph: "Graph") -> str:
    """f32[H,T,T]: what is added to the score of a query and a key for their distance."""
    widest = 2 * _FARTHEST  # of the table; from half of it on distances share a bucket
    low, high = graph.constant(-widest), graph.constant(widest)
    apart = graph.add("Clip", graph.subtract_places(), low, high)
    buckets = graph.constant(find_buckets(np.arange(-widest, widest + 1)))
    chosen = graph.add("Gather", buckets, graph.add("Add", apart, high))
    rows = graph.look_up("encoder.relative_attention_bias.embedding", chosen)
    return graph.add("Transpose", rows, perm=[2, 0, 1])
