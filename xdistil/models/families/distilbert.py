"""DistilBERT: a BERT without token types and pooler, with names of its own, on packed rows.

Sanh et al. 2019 (arXiv 1910.01108). Parameters have the names of HF Flax checkpoints, except that
the layers are in `encoder/layer` and `pre_classifier` is the pooler.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.models import heads, onnx_layers
from xdistil.models.config_fields import read_field
from xdistil.models.encoder import Maps, Stack, States, Transformer
from xdistil.models.encoder_config import EncoderConfig, check_shape, read_shape, write_shape
from xdistil.models.layers import (
    Embeddings,
    FeedForward,
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

MODEL_TYPE = "distilbert"
NAMES = Names(
    "distilbert",
    outside=("classifier", "pre_classifier"),
    renamed=(("encoder.layer", "transformer.layer"), ("pooler.dense", "pre_classifier")),
)


@dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """The shape of a DistilBERT."""

    model_type: str = MODEL_TYPE
    token_types: int = 0
    classifier_dropout: float = 0.2  # before the last layer of a sequence head


# HF's DistilBertConfig, where it differs from BertConfig.
_DEFAULTS = {"layers": 6, "token_types": 0}
_KEYS = {
    "model_type": "model_type",
    "vocabulary_size": "vocab_size",
    "hidden_size": "dim",
    "layers": "n_layers",
    "heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "positions": "max_position_embeddings",
    "activation": "activation",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "padding_id": "pad_token_id",
    "initializer_range": "initializer_range",
}


def read_config(raw: Mapping[str, Any], where: str) -> DistilBertConfig:
    """The DistilBERT that an HF config.json describes; raises as `bert.read_config` does.

    Sinusoidal positions need no switch: they are stored as others are.
    """
    values = read_shape(raw, _DEFAULTS, where, _KEYS)
    values["classifier_dropout"] = read_field(raw, "seq_classif_dropout", 0.2, where)
    config = DistilBertConfig(**values)
    check_shape(config, where)
    return config


def write_config(config: DistilBertConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | {"seq_classif_dropout": config.classifier_dropout}


class DistilBert(Transformer):
    """A DistilBERT with the head of a task."""

    config: DistilBertConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        return Stack(_Layer, self.config, self.dtype, name="encoder")(
            hidden, same_segment, attention=attention, deterministic=deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        hidden = heads.Pooler(jax.nn.relu, normal(config), self.dtype, name="pooler")(hidden)
        hidden = Dropout(config.classifier_dropout)(hidden, deterministic)
        return dense(config, self.classes, self.dtype, "classifier")(hidden)


class _Layer(nn.Module):
    """Self-attention, then the feed-forward part, each followed by its residual and norm."""

    config: DistilBertConfig
    dtype: str
    index: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config, dtype = self.config, self.dtype
        attended, probabilities = _Attention(config, dtype, name="attention")(
            hidden, mask, attention, deterministic
        )
        hidden = layer_norm(config, dtype, "sa_layer_norm")(attended + hidden)
        wide = FeedForward(config, dtype, "lin1", "lin2", name="ffn")(hidden, deterministic)
        return layer_norm(config, dtype, "output_layer_norm")(wide + hidden), probabilities


class _Attention(nn.Module):
    """Self-attention by heads, inside segments, with its output projection."""

    config: DistilBertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        query, key, value = project(config, ("q_lin", "k_lin", "v_lin"), hidden, self.dtype)
        sow_qkv(self, query, key, value)
        rate = config.attention_dropout
        context, probabilities = attend(query, key, value, mask, rate, attention, deterministic)
        return dense(config, config.hidden_size, self.dtype, "out_lin")(context), probabilities


def add_graph(graph: "Graph", config: DistilBertConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them."""
    hidden = onnx_layers.add_embeddings(graph, config)
    far_below = graph.mask_scores()
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        context = onnx_layers.add_attention(
            graph, config, hidden, far_below, f"{layer}.attention", ("q_lin", "k_lin", "v_lin")
        )
        added = graph.add("Add", graph.dense(context, f"{layer}.attention.out_lin"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.sa_layer_norm", config.norm_epsilon)
        wide = graph.activate(graph.dense(hidden, f"{layer}.ffn.lin1"), config.activation)
        added = graph.add("Add", graph.dense(wide, f"{layer}.ffn.lin2"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.output_layer_norm", config.norm_epsilon)
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "relu")
    return graph.dense(hidden, "classifier")
