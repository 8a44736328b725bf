"""The shape of an encoder, read from and written to the config.json of a Hugging Face folder."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp

from xdistil.errors import InputError, show
from xdistil.models.config_fields import check_fixed, check_rate, check_size
from xdistil.models.ops import gelu

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}
ROBERTAS = ("roberta", "xlm-roberta", "camembert")  # their positions begin after the padding id


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; the defaults are those of HF's BertConfig.

    Families with more options extend it.
    """

    model_type: str = "bert"  # a key of registry.FAMILIES
    vocabulary_size: int = 30522
    embedding_size: int = 768  # width of the word embeddings; may differ from hidden_size
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    positions: int = 512  # subwords in a segment, at most
    token_types: int = 2  # with one or none, the batch's token types are ignored
    activation: str = "gelu"
    norm_epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    padding_id: int = 0
    initializer_range: float = 0.02

    @property
    def first_position(self) -> int:
        """The row of the position embeddings for a segment's first subword; RoBERTa's positions
        begin after the padding id."""
        return self.padding_id + 1 if self.model_type in ROBERTAS else 0

    @property
    def own_layers(self) -> int:
        """The number of layers with parameters of their own."""
        return self.layers

    def with_layers(self, kept: tuple[int, ...]) -> Self:
        """The shape of a model with only the layers `kept`, counted from 0."""
        return dataclasses.replace(self, layers=len(kept))


# Our field -> the key in an HF config.json, in most families.
KEYS = {
    "model_type": "model_type",
    "vocabulary_size": "vocab_size",
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "positions": "max_position_embeddings",  # less first_position
    "token_types": "type_vocab_size",
    "activation": "hidden_act",
    "norm_epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "padding_id": "pad_token_id",
    "initializer_range": "initializer_range",
}
# Keys of a config.json for variants that are not supported, and the only value accepted.
_FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}


def read_shape(
    raw: Mapping[str, Any],
    defaults: Mapping[str, Any],
    where: str,
    keys: Mapping[str, str] = KEYS,
) -> dict[str, Any]:
    """The fields of EncoderConfig from a config.json, else from `defaults`, else BERT's.

    A field without a key gets its default; word embeddings without a key have the width of the
    hidden states. Raises InputError for a value of another type or out of bounds, and for
    cross-attention.
    """
    check_fixed(raw, _FIXED, where)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(EncoderConfig):
        default = defaults.get(field.name, field.default)
        key = keys.get(field.name)
        if key is None:
            values[field.name] = default
            continue
        value: Any = default if raw.get(key) is None else raw[key]
        if field.type is int:
            # No encoder has 0 layers or width 0; some families have 0 token types.
            may_lack = field.name == "padding_id" or default == 0
            value = check_size(value, key, where, least=int(not may_lack))
        elif field.type is float:
            value = check_rate(value, key, where)
        elif not isinstance(value, str):
            raise InputError(f"{where}: {key} is {show(value)}; it must be a text.")
        values[field.name] = value
    if "embedding_size" not in keys:
        values["embedding_size"] = values["hidden_size"]
    return values


def check_shape(config: EncoderConfig, where: str) -> None:
    """Raises InputError where no encoder can have this shape; `where` begins the message."""
    if config.positions < 1:
        raise InputError(
            f"{where}: max_position_embeddings is {config.positions + config.first_position}; it"
            f" must be more than {config.first_position}."
        )
    if config.hidden_size % config.heads:
        raise InputError(
            f"{where}: {config.heads} attention heads do not divide the width"
            f" {config.hidden_size}; the width must be a multiple of the heads."
        )
    if config.padding_id >= config.vocabulary_size:
        raise InputError(
            f"{where}: pad_token_id is {config.padding_id}; it must be less than vocab_size,"
            f" {config.vocabulary_size}."
        )
    check_activation(config.activation, "the activation", where)


def check_activation(name: str, key: str, where: str) -> None:
    """Raises InputError for an activation that is not among ACTIVATIONS."""
    if name not in ACTIVATIONS:
        raise InputError(
            f"{where}: {key} is {show(name)}, which is unknown; known are {', '.join(ACTIVATIONS)}."
        )


def write_shape(config: EncoderConfig, keys: Mapping[str, str] = KEYS) -> dict[str, Any]:
    """The keys of an HF config.json for this shape; the inverse of `read_shape`."""
    raw = {key: getattr(config, name) for name, key in keys.items()}
    raw[keys["positions"]] += config.first_position
    return raw
