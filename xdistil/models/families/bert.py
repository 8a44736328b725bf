"""BERT (also mBERT and MiniLM), ELECTRA and RoBERTa: post-layer-norm encoders on packed rows.

Devlin et al. 2019 (arXiv 1810.04805), Clark et al. 2020 (arXiv 2003.10555), Liu et al. 2019
(arXiv 1907.11692); XLM-RoBERTa and CamemBERT are RoBERTas. Parameters have the names of HF Flax
checkpoints, without the family's prefix.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.models import heads, onnx_layers
from xdistil.models.encoder import Maps, Stack, States, Transformer
from xdistil.models.encoder_config import (
    ACTIVATIONS,
    KEYS,
    EncoderConfig,
    check_shape,
    read_shape,
    write_shape,
)
from xdistil.models.layers import (
    Embeddings,
    PostNormLayer,
    SelfOutput,
    attend,
    dense,
    normal,
    project,
    sow_qkv,
)

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

# Model type -> the defaults of HF's config that differ from BertConfig.
DEFAULTS: dict[str, dict[str, Any]] = {
    "bert": {},
    "electra": {"embedding_size": 128, "hidden_size": 256, "heads": 4, "intermediate_size": 1024},
    "roberta": {"vocabulary_size": 50265, "padding_id": 1},
    "xlm-roberta": {"padding_id": 1},
    "camembert": {"padding_id": 1},
}


def _keys(model_type: str) -> dict[str, str]:
    return KEYS | ({"embedding_size": "embedding_size"} if model_type == "electra" else {})


def read_config(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The encoder that an HF config.json describes; `where` names the file in errors.

    Raises InputError for a size of another type or out of bounds, an unknown activation, heads that
    do not divide the width, or a variant (decoder, relative positions) that is not supported.
    """
    model_type = raw["model_type"]
    config = EncoderConfig(**read_shape(raw, DEFAULTS[model_type], where, _keys(model_type)))
    config = dataclasses.replace(config, positions=config.positions - config.first_position)
    check_shape(config, where)
    return config


def write_config(config: EncoderConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _keys(config.model_type))


class Encoder(Transformer):
    """A BERT, ELECTRA or RoBERTa; ELECTRA's first hidden state is the projected embedding."""

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        config = self.config
        hidden = Embeddings(config, self.dtype, name="embeddings")(batch, deterministic)
        if config.embedding_size != config.hidden_size:
            hidden = dense(config, config.hidden_size, self.dtype, "embeddings_project")(hidden)
        return Stack(BertLayer, config, self.dtype, name="encoder")(
            hidden, same_segment, attention=attention, deterministic=deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        if config.model_type != "bert":
            return heads.TwoLayerClassifier(
                self.classes,
                ACTIVATIONS["gelu" if config.model_type == "electra" else "tanh"],
                config.dropout,
                normal(config),
                self.dtype,
                name="classifier",
            )(hidden, deterministic)
        hidden = heads.Pooler(jnp.tanh, normal(config), self.dtype, name="pooler")(hidden)
        return self.tag(hidden, deterministic)


class BertLayer(PostNormLayer):
    """A layer with content-only self-attention."""

    def attend(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        return SelfOutput(SelfAttention, self.config, self.dtype, name="attention")(
            hidden, mask, attention=attention, deterministic=deterministic
        )


class SelfAttention(nn.Module):
    """softmax(Q K / sqrt(d)) V by heads, inside segments; f[B,T,D] -> f[B,T,D], f[B,H,T,T]."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        query, key, value = project(config, ("query", "key", "value"), hidden, self.dtype)
        sow_qkv(self, query, key, value)
        rate = config.attention_dropout
        return attend(query, key, value, mask, rate, attention, deterministic)


def add_graph(graph: "Graph", config: EncoderConfig, task_kind: str) -> str:
    """The encoder and its head as nodes of a graph, whose inputs have at most `positions` subwords.

    Returns:
        Logits f32[B,T,C] of subwords (tagging), or f32[B,C] of texts (classification).
    """
    hidden = onnx_layers.add_embeddings(graph, config)
    if config.embedding_size != config.hidden_size:
        hidden = graph.dense(hidden, "embeddings_project")
    hidden = add_layers(graph, config, hidden)
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier")
    hidden = graph.take_first(hidden)
    if config.model_type == "bert":
        pooled = graph.activate(graph.dense(hidden, "pooler.dense"), "tanh")
        return graph.dense(pooled, "classifier")
    activation = "gelu" if config.model_type == "electra" else "tanh"
    hidden = graph.activate(graph.dense(hidden, "classifier.dense"), activation)
    return graph.dense(hidden, "classifier.out_proj")


def add_layers(graph: "Graph", config: EncoderConfig, hidden: str) -> str:
    """BERT's layers as nodes of a graph, from the first hidden state to the last."""
    far_below = graph.mask_scores()
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        context = onnx_layers.add_attention(
            graph, config, hidden, far_below, f"{layer}.attention.self"
        )
        hidden = onnx_layers.add_residual(
            graph, config, context, hidden, f"{layer}.attention.output"
        )
        hidden = onnx_layers.add_feed_forward(graph, config, hidden, layer)
    return hidden
