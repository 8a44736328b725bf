"""GPT-2, a decoder with causal attention, as a teacher on packed rows.

Radford et al. 2019. It is pre-layer-norm, with a norm after the last layer. Parameters have the
names of HF Flax checkpoints, except that `wte`, `wpe`, `h`, `ln_f` and `score` are where other
families have these parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.models import onnx_layers
from xdistil.models.config_fields import read_field
from xdistil.models.encoder import Layers, Maps, States, Transformer
from xdistil.models.encoder_config import EncoderConfig, check_shape, read_shape, write_shape
from xdistil.models.layers import FeedForward, attend, dense, layer_norm, look_up, split_heads
from xdistil.models.ops import Dropout
from xdistil.models.tensor_names import Names

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

MODEL_TYPE = "gpt2"
NAMES = Names(
    "transformer",
    outside=("classifier", "score"),
    renamed=(
        ("embeddings.word_embeddings", "wte"),
        ("embeddings.position_embeddings", "wpe"),
        ("encoder.layer", "h"),
        ("encoder.ln_f", "ln_f"),
        ("classifier.score", "score"),
    ),
    turned=("c_attn", "c_proj", "c_fc"),
)


@dataclass(frozen=True)
class GPT2Config(EncoderConfig):
    """The shape of a GPT-2; `dropout` is that before residuals are added."""

    model_type: str = MODEL_TYPE
    token_types: int = 0
    embedding_dropout: float = 0.1
    classifier_dropout: float = 0.1  # before a tagging head
    scale_by_width: bool = True  # whether scores are divided by sqrt(D/H)
    scale_by_layer: bool = False  # whether by the number of the layer too


# HF's GPT2Config, where it differs from BertConfig.
_DEFAULTS = {
    "vocabulary_size": 50257,
    "intermediate_size": 0,  # four times the width
    "positions": 1024,
    "token_types": 0,
    "activation": "gelu_new",
    "norm_epsilon": 1e-5,
}
_END = 50256  # HF's id of the subword that ends texts
_KEYS = {
    "model_type": "model_type",
    "vocabulary_size": "vocab_size",
    "hidden_size": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "intermediate_size": "n_inner",
    "positions": "n_positions",
    "activation": "activation_function",
    "norm_epsilon": "layer_norm_epsilon",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "padding_id": "pad_token_id",
    "initializer_range": "initializer_range",
}
# Our field -> the key in an HF config.json, for fields read as they are.
_MORE = {
    "embedding_dropout": "embd_pdrop",
    "classifier_dropout": "classifier_dropout",
    "scale_by_width": "scale_attn_weights",
    "scale_by_layer": "scale_attn_by_inverse_layer_idx",
}


def read_config(raw: Mapping[str, Any], where: str) -> GPT2Config:
    """The GPT-2 that an HF config.json describes; raises as `bert.read_config` does.

    OpenAI's models have no padding subword: it is the one that ends texts.
    """
    values = read_shape(raw, _DEFAULTS, where, _KEYS)
    end = raw.get("eos_token_id", _END)
    if raw.get("pad_token_id") is None and type(end) is int:
        values["padding_id"] = end if 0 <= end < values["vocabulary_size"] else 0
    values["intermediate_size"] = values["intermediate_size"] or 4 * values["hidden_size"]
    for name, key in _MORE.items():
        values[name] = read_field(raw, key, getattr(GPT2Config, name), where)
    config = GPT2Config(**values)
    check_shape(config, where)
    return config


def write_config(config: GPT2Config) -> dict[str, Any]:
    """The keys of an HF config.json for this decoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | {
        **{key: getattr(config, name) for name, key in _MORE.items()},
        "bos_token_id": None,  # HF's defaults may be outside a small vocabulary
        "eos_token_id": None,
    }


class GPT2(Transformer):
    """A GPT-2 with the head of a task; its last hidden state is after the final norm.

    A sequence head reads a segment's last subword, the only one that attends to all others.
    """

    config: GPT2Config

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = _Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        # The subwords of a segment are in order in their row.
        places = np.arange(hidden.shape[1])
        looks_back = same_segment & (places[:, None] >= places[None, :])
        return _Stack(self.config, self.dtype, name="encoder")(
            hidden, looks_back, attention, deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        logits = _Score(self.config, self.classes, self.dtype, name="classifier")(hidden)
        return jnp.take_along_axis(logits, _find_last(batch.segment)[..., None], axis=1)

    def tag(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        hidden = Dropout(self.config.classifier_dropout)(hidden, deterministic)
        return dense(self.config, self.classes, self.dtype, "classifier")(hidden)


def _find_last(segment: Any) -> jax.Array:
    """The index in the row of the last subword of each position's segment: i32[B,T] -> i32[B,T]."""
    same = segment[:, :, None] == segment[:, None, :]
    return jnp.where(same, np.arange(segment.shape[1], dtype=np.int32), 0).max(-1)


class _Score(nn.Module):
    """The sequence head: one dense layer without bias, f[B,T,D] -> f[B,T,C]."""

    config: GPT2Config
    classes: int
    dtype: str

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        return dense(self.config, self.classes, self.dtype, "score", use_bias=False)(hidden)


class _Embeddings(nn.Module):
    """The sum of subwords and positions: f[B,T,D]."""

    config: GPT2Config
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        total = look_up(
            config, config.vocabulary_size, batch.tokens, self.dtype, "word_embeddings"
        ) + look_up(config, config.positions, batch.position, self.dtype, "position_embeddings")
        return Dropout(config.embedding_dropout)(total, deterministic)


class _Stack(nn.Module):
    """All layers and the norm after them; L+1 hidden states, L maps."""

    config: GPT2Config
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        states, maps = Layers(_Layer, self.config, self.dtype, name="layer")(
            hidden, mask, attention=attention, deterministic=deterministic
        )
        return (*states[:-1], layer_norm(self.config, self.dtype, "ln_f")(states[-1])), maps


class _Layer(nn.Module):
    """Self-attention, then the feed-forward part, each after a norm and with its residual."""

    config: GPT2Config
    dtype: str
    index: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config, dtype = self.config, self.dtype
        attended, probabilities = _Attention(config, dtype, self.index, name="attn")(
            layer_norm(config, dtype, "ln_1")(hidden), mask, attention, deterministic
        )
        hidden += attended
        normed = layer_norm(config, dtype, "ln_2")(hidden)
        return hidden + FeedForward(config, dtype, "c_fc", "c_proj", name="mlp")(
            normed, deterministic
        ), probabilities


class _Attention(nn.Module):
    """Self-attention by heads with its output projection."""

    config: GPT2Config
    dtype: str
    index: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config, rate = self.config, self.config.attention_dropout
        joint = dense(config, 3 * config.hidden_size, self.dtype, "c_attn")(hidden)
        query, key, value = split_heads(config, joint, 3)
        scale = _scale(config, self.index)
        context, probabilities = attend(
            query, key, value, mask, rate, attention, deterministic, scale=scale
        )
        out = dense(config, config.hidden_size, self.dtype, "c_proj")(context)
        return Dropout(config.dropout)(out, deterministic), probabilities


def add_graph(graph: "Graph", config: GPT2Config, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them; a text's class is read at its last subword."""
    words = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    hidden = onnx_layers.add_positions(graph, config, words)
    behind = graph.subtract_places()
    bias = graph.mask_scores(graph.add("LessOrEqual", behind, graph.constant(0)))
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        normed = graph.layer_norm(hidden, f"{layer}.ln_1", config.norm_epsilon)
        joint = graph.dense(normed, f"{layer}.attn.c_attn")
        scale = _scale(config, index)
        context = onnx_layers.attend_joint(graph, config, joint, bias, scale)
        hidden = graph.add("Add", hidden, graph.dense(context, f"{layer}.attn.c_proj"))
        normed = graph.layer_norm(hidden, f"{layer}.ln_2", config.norm_epsilon)
        wide = graph.activate(graph.dense(normed, f"{layer}.mlp.c_fc"), config.activation)
        hidden = graph.add("Add", hidden, graph.dense(wide, f"{layer}.mlp.c_proj"))
    hidden = graph.layer_norm(hidden, "encoder.ln_f", config.norm_epsilon)
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier")
    lengths = graph.add("ReduceSum", graph.mask, graph.constant([1]), keepdims=1)
    last = graph.add("Sub", lengths, graph.constant(1))
    return graph.dense(graph.add("GatherND", hidden, last, batch_dims=1), "classifier.score")


def _scale(config: GPT2Config, layer: int) -> float:
    """The factor of the scores of a layer."""
    scale = (config.hidden_size // config.heads) ** -0.5 if config.scale_by_width else 1.0
    return scale / (layer + 1) if config.scale_by_layer else scale
