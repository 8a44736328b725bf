"""The post-layer-norm encoder: BERT (mBERT and MiniLM are BERTs), ELECTRA and RoBERTa, packed.

Devlin et al. 2019 (arXiv 1810.04805), Clark et al. 2020 (arXiv 2003.10555), Liu et al. 2019
(arXiv 1907.11692); XLM-RoBERTa and CamemBERT are RoBERTas. Parameters bear the names of HF Flax
checkpoints, without the prefix of the family.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.errors import InputError, show
from xdistil.models import heads
from xdistil.models.fields import check_rate, check_size
from xdistil.models.fresh import draw_params
from xdistil.models.structs import Batch, Output, Params
from xdistil.models.vectors import hand_out_vectors

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; the defaults are those of HF's BertConfig."""

    model_type: str = "bert"  # a key of FAMILIES
    vocabulary_size: int = 30522
    embedding_size: int = 768  # width of the embeddings; an ELECTRA may differ from hidden_size
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    positions: int = 512  # pieces in a segment, at most
    token_types: int = 2  # with a single one, the batch's token types are ignored
    activation: str = "gelu"
    norm_epsilon: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    padding_id: int = 0
    initializer_range: float = 0.02

    @property
    def first_position(self) -> int:
        """The row of the position embeddings for a segment's first piece; RoBERTa's stand after
        that of padding."""
        return self.padding_id + 1 if self.model_type in ROBERTAS else 0


ROBERTAS = ("roberta", "xlm-roberta", "camembert")  # one encoder, three vocabularies
# The model types read here -> where HF's config of that type differs from its BertConfig.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "electra": {"embedding_size": 128, "hidden_size": 256, "heads": 4, "intermediate_size": 1024},
    "roberta": {"vocabulary_size": 50265, "padding_id": 1},
    "xlm-roberta": {"padding_id": 1},
    "camembert": {"padding_id": 1},
}

# Our field -> the key in an HF config.json.
_KEYS = {
    "model_type": "model_type",
    "vocabulary_size": "vocab_size",
    "embedding_size": "embedding_size",
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
# What a config.json may ask for beyond the encoder built here, and the only value accepted.
_FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}


def read_config(raw: Mapping[str, Any], where: str) -> EncoderConfig:
    """The encoder that an HF config.json describes; `where` names the file in errors.

    Raises InputError for a mistyped or impossible size, an unknown activation, heads that do not
    divide the width, or a variant (decoder, relative positions) that is not this encoder.
    """
    values = read_shape(raw, FAMILIES[raw["model_type"]], where)
    if raw["model_type"] != "electra":
        values["embedding_size"] = values["hidden_size"]
    config = EncoderConfig(**values)
    config = dataclasses.replace(config, positions=config.positions - config.first_position)
    check_shape(config, where)
    return config


def read_shape(raw: Mapping[str, Any], defaults: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of EncoderConfig as config.json has them, or else `defaults`, or else BERT's.

    Raises InputError for a value of another type or out of its bounds, and for a decoder.
    """
    for key, only in _FIXED.items():
        if raw.get(key, only) not in (only, None):
            raise InputError(f"{where}: {key} is {show(raw[key])}; only {only!r} is supported.")
    values: dict[str, Any] = {}
    for field in dataclasses.fields(EncoderConfig):
        value: Any = raw.get(_KEYS[field.name])
        if value is None:
            value = defaults.get(field.name, field.default)
        key = _KEYS[field.name]
        if field.type is int:
            # None has no layers or no width; some families have no token types.
            may_lack = field.name == "padding_id" or defaults.get(field.name) == 0
            value = check_size(value, key, where, least=int(not may_lack))
        elif field.type is float:
            value = check_rate(value, key, where)
        elif not isinstance(value, str):
            raise InputError(f"{where}: {key} is {show(value)}; it must be a text.")
        values[field.name] = value
    return values


def check_shape(config: EncoderConfig, where: str) -> None:
    """Raises InputError when no encoder can have this shape; `where` begins the sentence."""
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
    if config.activation not in ACTIVATIONS:
        raise InputError(
            f"{where}: the activation {show(config.activation)} is unknown; known are"
            f" {', '.join(ACTIVATIONS)}."
        )


def write_config(config: EncoderConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    raw = {key: getattr(config, name) for name, key in _KEYS.items()}
    raw["max_position_embeddings"] += config.first_position
    if config.model_type != "electra":
        del raw["embedding_size"]
    return raw


class Encoder(nn.Module):
    """A BERT, ELECTRA or RoBERTa encoder with the head of a task; hashable, so a static argument.

    `task_kind` is "tagging", "classification" or "" (no head: Output.logits is None).
    """

    config: EncoderConfig
    task_kind: str = ""
    classes: int = 0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        batch: Batch,
        attention: bool = False,
        deterministic: bool = True,
        features: Any = None,
    ) -> Output:
        """Batch i32[B,T] -> Output: logits f32[B,T,C], L+1 hidden f[B,T,D], maps f[B,H,T,T].

        With `features` f[B,T,D], the last hidden state, only the head is computed.

        A position attends to those of its own segment. Padding is a segment of its own, so that
        no row of the softmax is empty; what comes out there is finite and means nothing. The maps
        are probabilities before dropout, and None unless `attention`. ELECTRA's first hidden
        state is the projected embedding. `deterministic=False` needs the rng "dropout".
        """
        config = self.config
        if features is not None:
            hidden = features.astype(self.dtype)
            return Output(self._head(hidden, deterministic), (hidden,), None)
        hidden = _Embeddings(config, self.dtype, name="embeddings")(batch, deterministic)
        if config.embedding_size != config.hidden_size:
            hidden = dense(config, config.hidden_size, self.dtype, "embeddings_project")(hidden)
        same_segment = batch.segment[:, :, None] == batch.segment[:, None, :]
        states, maps = _Stack(config, self.dtype, name="encoder")(
            hidden, same_segment, attention, deterministic
        )
        logits = self._head(states[-1], deterministic)
        wanted = tuple(each for each in maps if each is not None) if attention else None
        return Output(logits, states, wanted)

    def _head(self, hidden: jax.Array, deterministic: bool) -> jax.Array | None:
        config = self.config
        if not self.task_kind:
            return None
        if self.task_kind == "classification" and config.model_type != "bert":
            logits = heads.TwoLayerClassifier(
                self.classes,
                ACTIVATIONS["gelu" if config.model_type == "electra" else "tanh"],
                config.dropout,
                normal(config),
                self.dtype,
                name="classifier",
            )(hidden, deterministic)
            return logits.astype(jnp.float32)
        if self.task_kind == "classification":
            hidden = heads.Pooler(jnp.tanh, normal(config), self.dtype, name="pooler")(hidden)
        hidden = nn.Dropout(config.dropout)(hidden, deterministic)
        logits = dense(config, self.classes, self.dtype, "classifier")(hidden)
        return logits.astype(jnp.float32)

    @property
    def features(self) -> int:
        """The index among the hidden states of what the head reads: the last."""
        return self.config.layers

    @nn.nowrap
    def init_params(self, key: jax.Array) -> Params:
        """Fresh float32 parameters, drawn with `key`: normal weights, zero biases."""
        return draw_params(self, key)


def normal(config: EncoderConfig) -> jax.nn.initializers.Initializer:
    """How the family draws its weights."""
    return nn.initializers.normal(config.initializer_range)


def dense(config: EncoderConfig, size: int, dtype: str, name: str) -> nn.Dense:
    """A dense layer to `size`, with a bias."""
    return nn.Dense(size, dtype=dtype, kernel_init=normal(config), name=name)


def embed(config: EncoderConfig, rows: int, dtype: str, name: str) -> nn.Embed:
    """A table of embeddings: [rows, embedding_size]."""
    return nn.Embed(
        rows, config.embedding_size, dtype=dtype, embedding_init=normal(config), name=name
    )


def layer_norm(config: EncoderConfig, dtype: str) -> nn.LayerNorm:
    """A norm over the width, named LayerNorm."""
    # The fast variance, E[x^2] - E[x]^2, loses the digits that parity with PyTorch asks for.
    return nn.LayerNorm(
        epsilon=config.norm_epsilon, dtype=dtype, use_fast_variance=False, name="LayerNorm"
    )


class _Embeddings(nn.Module):
    """Pieces, positions and token types -> f[B,T,E]."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config

        def look_up(rows: int, indices: Any, name: str) -> jax.Array:
            # A table of one row answers every index with that row.
            return embed(config, rows, self.dtype, name)(indices)

        total = (
            look_up(config.vocabulary_size, batch.tokens, "word_embeddings")
            + look_up(
                config.first_position + config.positions,
                config.first_position + batch.position,
                "position_embeddings",
            )
            + look_up(config.token_types, batch.token_type, "token_type_embeddings")
        )
        total = layer_norm(config, self.dtype)(total)
        return nn.Dropout(config.dropout)(total, deterministic)


class _Stack(nn.Module):
    """All layers; returns L+1 hidden states and L attention maps."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array | None, ...]]:
        return _Layers(self.config, self.dtype, name="layer")(
            hidden, mask, attention, deterministic
        )


class _Layers(nn.Module):
    """The layers by number; a module of its own because its name is one step of the path."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array | None, ...]]:
        states, maps = [hidden], []
        for index in range(self.config.layers):
            hidden, probabilities = _Layer(self.config, self.dtype, name=str(index))(
                hidden, mask, attention, deterministic
            )
            states.append(hidden)
            maps.append(probabilities)
        return tuple(states), tuple(maps)


class _Layer(nn.Module):
    """Self-attention, then the feed-forward part, each with its residual and its norm after."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        attended, probabilities = _Attention(config, self.dtype, name="attention")(
            hidden, mask, attention, deterministic
        )
        wide = Intermediate(config, self.dtype, name="intermediate")(attended)
        out = ResidualNorm(config, self.dtype, name="output")(wide, attended, deterministic)
        return out, probabilities


class _Attention(nn.Module):
    """Self-attention with its output projection, residual and norm."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        context, probabilities = _SelfAttention(self.config, self.dtype, name="self")(
            hidden, mask, attention, deterministic
        )
        out = ResidualNorm(self.config, self.dtype, name="output")(context, hidden, deterministic)
        return out, probabilities


class _SelfAttention(nn.Module):
    """softmax(Q K / sqrt(d)) V by heads, inside segments; f[B,T,D] -> f[B,T,D], f[B,H,T,T].

    The maps are None where nobody asked for them and the context could be had without.
    """

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        config = self.config
        width = config.hidden_size // config.heads
        kernels, biases = zip(
            *(_Projection(config, name=name)(hidden.shape[-1]) for name in _PROJECTIONS),
            strict=True,
        )
        # One product for all three keeps a GPU busier than three of a third the width.
        kernel = jnp.concatenate(kernels, axis=1).astype(self.dtype)
        projected = hidden @ kernel + jnp.concatenate(biases).astype(self.dtype)
        hand_out_vectors(self, *jnp.split(projected, 3, axis=-1))
        by_head = projected.reshape(*hidden.shape[:2], 3, config.heads, width)
        dropping = not deterministic and config.attention_dropout > 0
        if not (attention or dropping) and _has_fused_attention(hidden, width):
            query, key, value = (by_head[:, :, index] for index in range(3))
            context = jax.nn.dot_product_attention(
                query, key, value, mask=mask[:, None], implementation="cudnn"
            )
            return context.reshape(hidden.shape), None

        # Heads before time: plain matrix products measure faster on a CPU than an einsum.
        query, key, value = by_head.transpose(2, 0, 3, 1, 4)
        scores = (query / width**0.5) @ key.transpose(0, 1, 3, 2)
        # The softmax is taken in float32 whatever the arithmetic: its sums are long.
        scores = jnp.where(mask[:, None], scores.astype(jnp.float32), -jnp.inf)
        probabilities = jax.nn.softmax(scores, axis=-1)
        dropped = nn.Dropout(config.attention_dropout)(probabilities, deterministic)
        context = (dropped.astype(value.dtype) @ value).transpose(0, 2, 1, 3)
        return context.reshape(hidden.shape), probabilities


_PROJECTIONS = ("query", "key", "value")


class _Projection(nn.Module):
    """The parameters of a dense layer from `input_size` to hidden_size: kernel and bias."""

    config: EncoderConfig

    @nn.compact
    def __call__(self, input_size: int) -> tuple[jax.Array, jax.Array]:
        size = self.config.hidden_size
        return (
            self.param("kernel", normal(self.config), (input_size, size)),
            self.param("bias", nn.initializers.zeros, (size,)),
        )


def _has_fused_attention(hidden: jax.Array, width: int) -> bool:
    """Whether cuDNN's attention, which never writes the maps down, takes such arrays."""
    return (
        jax.default_backend() == "gpu"
        and hidden.dtype == jnp.bfloat16
        and hidden.shape[1] % 64 == 0
        and width % 8 == 0
        and width <= 128
    )


class Intermediate(nn.Module):
    """The wide half of the feed-forward part: activation(dense)."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        wide = dense(self.config, self.config.intermediate_size, self.dtype, "dense")(hidden)
        name = self.config.activation
        if name == "gelu" and wide.dtype == jnp.bfloat16:
            # The tanh form is off by 5e-4 at most, an eighth of what bfloat16 rounds away at 1,
            # and cuBLAS computes it inside the product.
            name = "gelu_new"
        return ACTIVATIONS[name](wide)


class ResidualNorm(nn.Module):
    """norm(residual + dropout(dense(x)))."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, residual: jax.Array, deterministic: bool) -> jax.Array:
        x = dense(self.config, self.config.hidden_size, self.dtype, "dense")(x)
        x = nn.Dropout(self.config.dropout)(x, deterministic)
        return layer_norm(self.config, self.dtype)(x + residual)
