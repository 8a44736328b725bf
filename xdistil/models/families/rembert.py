"""RemBERT on packed rows: a BERT with narrow word embeddings, separate from its output embeddings.

Chung et al. 2021 (arXiv 2010.12821). Parameters have PyTorch's names, except that the projection of
the embeddings to the width of the layers has ELECTRA's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from xdistil.data.packing import Batch
from xdistil.models import heads, onnx_layers
from xdistil.models.config_fields import read_field
from xdistil.models.encoder import Maps, Stack, States, Transformer
from xdistil.models.encoder_config import KEYS, EncoderConfig, check_shape, read_shape, write_shape
from xdistil.models.families.bert import BertLayer, add_layers
from xdistil.models.layers import Embeddings, dense, normal
from xdistil.models.ops import Dropout
from xdistil.models.tensor_names import Names

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

MODEL_TYPE = "rembert"
NAMES = Names("rembert", renamed=(("embeddings_project", "encoder.embedding_hidden_mapping_in"),))


@dataclass(frozen=True)
class RemBertConfig(EncoderConfig):
    """The shape of a RemBERT."""

    model_type: str = MODEL_TYPE
    classifier_dropout: float = 0.1


# HF's RemBertConfig, where it differs from BertConfig.
_DEFAULTS = {
    "vocabulary_size": 250300,
    "embedding_size": 256,
    "hidden_size": 1152,
    "layers": 32,
    "heads": 18,
    "intermediate_size": 4608,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
_KEYS = KEYS | {"embedding_size": "input_embedding_size"}


def read_config(raw: Mapping[str, Any], where: str) -> RemBertConfig:
    """The RemBERT that an HF config.json describes; raises as `bert.read_config` does."""
    values = read_shape(raw, _DEFAULTS, where, _KEYS)
    values["classifier_dropout"] = read_field(raw, "classifier_dropout_prob", 0.1, where)
    config = RemBertConfig(**values)
    check_shape(config, where)
    return config


def write_config(config: RemBertConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | {
        "classifier_dropout_prob": config.classifier_dropout,
        "bos_token_id": None,  # HF's defaults may be outside a small vocabulary
        "eos_token_id": None,
    }


class RemBert(Transformer):
    """A RemBERT with the head of a task; its first hidden state is the projected embedding."""

    config: RemBertConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        config = self.config
        hidden = Embeddings(config, self.dtype, name="embeddings")(batch, deterministic)
        hidden = dense(config, config.hidden_size, self.dtype, "embeddings_project")(hidden)
        return Stack(BertLayer, config, self.dtype, name="encoder")(
            hidden, same_segment, attention=attention, deterministic=deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        pooler = heads.Pooler(jnp.tanh, normal(self.config), self.dtype, name="pooler")
        return self.tag(pooler(hidden), deterministic)

    def tag(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        hidden = Dropout(self.config.classifier_dropout)(hidden, deterministic)
        return dense(self.config, self.classes, self.dtype, "classifier")(hidden)


def add_graph(graph: "Graph", config: RemBertConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them."""
    hidden = graph.dense(onnx_layers.add_embeddings(graph, config), "embeddings_project")
    hidden = add_layers(graph, config, hidden)
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "tanh")
    return graph.dense(hidden, "classifier")
