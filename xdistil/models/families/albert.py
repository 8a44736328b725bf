"""ALBERT on packed rows: groups of layers share their parameters, and embeddings are factorised.

Lan et al. 2020 (arXiv 1909.11942). Parameters have the names of HF Flax checkpoints, except that
the groups are in `encoder/layer`: the layers of a group are frozen and unfrozen together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.models import heads, onnx_layers
from xdistil.models.config_fields import check_fixed, read_field
from xdistil.models.encoder import Maps, States, Transformer
from xdistil.models.encoder_config import KEYS, EncoderConfig, check_shape, read_shape, write_shape
from xdistil.models.layers import (
    Embeddings,
    activate,
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

MODEL_TYPE = "albert"
NAMES = Names(
    "albert",
    renamed=(("encoder.layer", "encoder.albert_layer_groups"), ("pooler.dense", "pooler")),
)


@dataclass(frozen=True)
class AlbertConfig(EncoderConfig):
    """The shape of an ALBERT."""

    model_type: str = MODEL_TYPE
    groups: int = 1  # of layers with the same parameters, one group after another
    classifier_dropout: float = 0.1

    @property
    def own_layers(self) -> int:
        """The number of layers with parameters of their own."""
        return self.groups


# HF's AlbertConfig, where it differs from BertConfig.
_DEFAULTS = {
    "vocabulary_size": 30000,
    "embedding_size": 128,
    "hidden_size": 4096,
    "heads": 64,
    "intermediate_size": 16384,
    "activation": "gelu_new",
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
_KEYS = KEYS | {"embedding_size": "embedding_size"}
_FIXED = {"inner_group_num": 1}
_MOST_LAYERS = 1024  # a bound, since layers need no parameters of their own


def read_config(raw: Mapping[str, Any], where: str) -> AlbertConfig:
    """The ALBERT that an HF config.json describes.

    Raises InputError as `bert.read_config` does, for inner groups, and for more groups than layers.
    """
    check_fixed(raw, _FIXED, where)
    values = read_shape(raw, _DEFAULTS, where, _KEYS)
    values["groups"] = read_field(raw, "num_hidden_groups", 1, where)
    values["classifier_dropout"] = read_field(raw, "classifier_dropout_prob", 0.1, where)
    config = AlbertConfig(**values)
    check_shape(config, where)
    if not 1 <= config.groups <= config.layers <= _MOST_LAYERS:
        raise InputError(
            f"{where}: {config.layers} layers in {config.groups} groups; there must be at "
            f"least a layer in each group, and {_MOST_LAYERS} layers at most."
        )
    return config


def write_config(config: AlbertConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | {
        **_FIXED,
        "num_hidden_groups": config.groups,
        "classifier_dropout_prob": config.classifier_dropout,
    }


class Albert(Transformer):
    """An ALBERT with the head of a task; its first hidden state is the projected embedding."""

    config: AlbertConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        return _Stack(self.config, self.dtype, name="encoder")(
            hidden, same_segment, attention, deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        pooler = heads.Pooler(jnp.tanh, normal(self.config), self.dtype, name="pooler")
        return self.tag(pooler(hidden), deterministic)

    def tag(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        hidden = Dropout(self.config.classifier_dropout)(hidden, deterministic)
        return dense(self.config, self.classes, self.dtype, "classifier")(hidden)


class _Stack(nn.Module):
    """The projection of the embeddings to the width of the layers, and the layers."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        config = self.config
        hidden = dense(config, config.hidden_size, self.dtype, "embedding_hidden_mapping_in")(
            hidden
        )
        return _Groups(config, self.dtype, name="layer")(hidden, mask, attention, deterministic)


class _Groups(nn.Module):
    """All layers, by group; a module of its own because its name is part of the path."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        config = self.config
        groups = [_Group(config, self.dtype, name=str(g)) for g in range(config.groups)]
        states, maps = [hidden], []
        for index in range(config.layers):
            group = groups[_find_group(config, index)]
            hidden, probabilities = group(hidden, mask, attention, deterministic)
            states.append(hidden)
            maps.append(probabilities)
        return tuple(states), tuple(maps)


def _find_group(config: AlbertConfig, layer: int) -> int:
    # As PyTorch computes it: layers need not divide evenly.
    return int(layer / (config.layers / config.groups))


class _Group(nn.Module):
    """The one layer of a group, under `albert_layers/0`."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        return _GroupLayers(self.config, self.dtype, name="albert_layers")(
            hidden, mask, attention, deterministic
        )


class _GroupLayers(nn.Module):
    """Only a part of the path."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        return _Layer(self.config, self.dtype, name="0")(hidden, mask, attention, deterministic)


class _Layer(nn.Module):
    """Self-attention, then the feed-forward part, each followed by its residual and norm."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config, dtype = self.config, self.dtype
        hidden, probabilities = _Attention(config, dtype, name="attention")(
            hidden, mask, attention, deterministic
        )
        wide = dense(config, config.intermediate_size, dtype, "ffn")(hidden)
        wide = activate(config.activation, wide)
        out = dense(config, config.hidden_size, dtype, "ffn_output")(wide)
        return layer_norm(config, dtype, "full_layer_layer_norm")(out + hidden), probabilities


class _Attention(nn.Module):
    """Self-attention by heads, inside segments, with output projection, residual and norm."""

    config: AlbertConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config, rate = self.config, self.config.attention_dropout
        query, key, value = project(config, ("query", "key", "value"), hidden, self.dtype)
        sow_qkv(self, query, key, value)
        context, probabilities = attend(query, key, value, mask, rate, attention, deterministic)
        out = dense(config, config.hidden_size, self.dtype, "dense")(context)
        out = Dropout(config.dropout)(out, deterministic)
        return layer_norm(config, self.dtype)(out + hidden), probabilities


def add_graph(graph: "Graph", config: AlbertConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them; layers share their weights in the file too."""
    hidden = onnx_layers.add_embeddings(graph, config)
    hidden = graph.dense(hidden, "encoder.embedding_hidden_mapping_in")
    far_below = graph.mask_scores()
    for index in range(config.layers):
        layer = f"encoder.layer.{_find_group(config, index)}.albert_layers.0"
        attention = f"{layer}.attention"
        context = onnx_layers.add_attention(graph, config, hidden, far_below, attention)
        hidden = onnx_layers.add_residual(graph, config, context, hidden, attention)
        wide = graph.activate(graph.dense(hidden, f"{layer}.ffn"), config.activation)
        added = graph.add("Add", graph.dense(wide, f"{layer}.ffn_output"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.full_layer_layer_norm", config.norm_epsilon)
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "tanh")
    return graph.dense(hidden, "classifier")
