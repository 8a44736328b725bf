"""DeBERTa-v2 (v3 and mDeBERTa are of its make): disentangled attention, on packed rows.

He et al. 2021 (arXiv 2006.03654 and 2111.09543). A piece has a content and, for each other piece, a
distance; the score of a query i and a key j sums content with content (Q_i K_j), content with
position (Q_i by the key of distance i - j) and position with content (K_j by the query of that
distance), over sqrt(d times the number of terms). Parameters bear PyTorch's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.errors import InputError, show
from xdistil.models import bert, heads
from xdistil.models.bert import EncoderConfig
from xdistil.models.fields import check_rate, check_size
from xdistil.models.fresh import draw_params
from xdistil.models.structs import Batch, Output, Params
from xdistil.models.vectors import hand_out_vectors

MODEL_TYPE = "deberta-v2"


@dataclass(frozen=True)
class DebertaConfig(EncoderConfig):
    """The shape of a DeBERTa: an encoder's and what its attention knows of distances."""

    model_type: str = MODEL_TYPE
    token_types: int = 0  # with none, the batch's token types are ignored
    absolute_positions: bool = True  # whether positions are added to the embeddings
    relative: bool = False  # whether attention looks at distances at all
    terms: tuple[str, ...] = ()  # of the scores, beside content with content: c2p, p2c
    shared_projections: bool = False  # whether distances pass through the projections of content
    buckets: int = 0  # distances are told apart up to half of it, then logarithmically; 0: always
    distances: int = 512  # from which on distances are one
    norm_distances: bool = False  # whether the embeddings of distances are normed
    pooler_dropout: float = 0.0
    pooler_activation: str = "gelu"

    @property
    def span(self) -> int:
        """Half the rows of the embeddings of distances."""
        return self.buckets or self.distances


# HF's DebertaV2Config, where it differs from BertConfig.
_DEFAULTS = {
    "vocabulary_size": 128100,
    "hidden_size": 1536,
    "layers": 24,
    "heads": 24,
    "intermediate_size": 6144,
    "token_types": 0,
    "norm_epsilon": 1e-7,
}
_TERMS = ("c2p", "p2c")
# Our field -> the key in an HF config.json, of those that are read as they are.
_SWITCHES = {
    "absolute_positions": "position_biased_input",
    "relative": "relative_attention",
    "shared_projections": "share_att_key",
}


def read_config(raw: Mapping[str, Any], where: str) -> DebertaConfig:
    """The DeBERTa that an HF config.json describes; `where` names the file in errors.

    Raises InputError as `bert.read_config` does, and for a convolution beside the first layer or
    heads and poolers of another width.
    """
    values = bert.read_shape(raw, _DEFAULTS, where)
    hidden_size = values["hidden_size"]
    if raw.get("embedding_size") is None:
        values["embedding_size"] = hidden_size
    fixed = {
        "conv_kernel_size": 0,
        "attention_head_size": hidden_size // values["heads"],
        "pooler_hidden_size": hidden_size,
    }
    for key, only in fixed.items():
        if raw.get(key) not in (None, only):
            raise InputError(f"{where}: {key} is {show(raw[key])}; only {only} is supported.")
    for name, key in _SWITCHES.items():
        values[name] = _read(raw, key, getattr(DebertaConfig, name), where)
    terms = raw.get("pos_att_type") or []
    terms = [part.strip() for part in terms.lower().split("|")] if type(terms) is str else terms
    if not isinstance(terms, list) or not all(term in _TERMS for term in terms):
        raise InputError(
            f"{where}: pos_att_type is {show(terms)}; known are {' and '.join(_TERMS)}."
        )
    values["terms"] = tuple(term for term in _TERMS if term in terms)
    values["buckets"] = max(0, _read(raw, "position_buckets", -1, where))
    values["distances"] = _read(raw, "max_relative_positions", -1, where)
    if values["distances"] < 1:
        values["distances"] = values["positions"]
    values["norm_distances"] = "layer_norm" in _read(raw, "norm_rel_ebd", "none", where).lower()
    values["pooler_dropout"] = _read(raw, "pooler_dropout", 0.0, where)
    values["pooler_activation"] = _read(raw, "pooler_hidden_act", "gelu", where)
    config = DebertaConfig(**values)
    bert.check_shape(config, where)
    if config.pooler_activation not in bert.ACTIVATIONS:
        raise InputError(
            f"{where}: pooler_hidden_act is {show(config.pooler_activation)}; known are"
            f" {', '.join(bert.ACTIVATIONS)}."
        )
    if config.buckets and not 1 <= config.buckets // 2 < config.distances - 1:
        raise InputError(
            f"{where}: position_buckets is {config.buckets}; it must be from 2 to less than twice"
            f" max_relative_positions, {config.distances}."
        )
    return config


def _read(raw: Mapping[str, Any], key: str, default: Any, where: str) -> Any:
    value = default if raw.get(key) is None else raw[key]
    if type(default) is int:
        return check_size(value, key, where, least=-1)
    if type(default) is float:
        return check_rate(value, key, where)
    if type(value) is not type(default):
        kind = "true or false" if type(default) is bool else "a text"
        raise InputError(f"{where}: {key} is {show(value)}; it must be {kind}.")
    return value


def write_config(config: DebertaConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    raw = bert.write_config(config)
    if config.embedding_size != config.hidden_size:
        raw["embedding_size"] = config.embedding_size
    return raw | {
        **{key: getattr(config, name) for name, key in _SWITCHES.items()},
        "pos_att_type": list(config.terms),
        "position_buckets": config.buckets or -1,
        "max_relative_positions": config.distances,
        "norm_rel_ebd": "layer_norm" if config.norm_distances else "none",
        "pooler_dropout": config.pooler_dropout,
        "pooler_hidden_act": config.pooler_activation,
        "pooler_hidden_size": config.hidden_size,
    }


class Deberta(nn.Module):
    """A DeBERTa encoder with the head of a task; hashable, so a jit static argument.

    `task_kind` is "tagging", "classification" or "" (no head: Output.logits is None).
    """

    config: DebertaConfig
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

        Takes and returns what `bert.Encoder` does.
        """
        if features is not None:
            hidden = features.astype(self.dtype)
            return Output(self._head(hidden, deterministic), (hidden,), None)
        hidden = _Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        same_segment = batch.segment[:, :, None] == batch.segment[:, None, :]
        states, maps = _Stack(self.config, self.dtype, name="encoder")(
            hidden, same_segment, deterministic
        )
        logits = self._head(states[-1], deterministic)
        return Output(logits, states, maps if attention else None)

    def _head(self, hidden: jax.Array, deterministic: bool) -> jax.Array | None:
        config = self.config
        if not self.task_kind:
            return None
        if self.task_kind == "classification":
            hidden = nn.Dropout(config.pooler_dropout)(hidden, deterministic)
            hidden = heads.Pooler(
                bert.ACTIVATIONS[config.pooler_activation],
                bert.normal(config),
                self.dtype,
                name="pooler",
            )(hidden)
        hidden = nn.Dropout(config.dropout)(hidden, deterministic)
        logits = bert.dense(config, self.classes, self.dtype, "classifier")(hidden)
        return logits.astype(jnp.float32)

    @property
    def features(self) -> int:
        """The index among the hidden states of what the head reads: the last."""
        return self.config.layers

    @nn.nowrap
    def init_params(self, key: jax.Array) -> Params:
        """Fresh float32 parameters, drawn with `key`: normal weights, zero biases."""
        return draw_params(self, key)


class _Embeddings(nn.Module):
    """Pieces, with positions and token types where the model has them -> f[B,T,D]."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config

        def look_up(rows: int, indices: Any, name: str) -> jax.Array:
            return bert.embed(config, rows, self.dtype, name)(indices)

        total = look_up(config.vocabulary_size, batch.tokens, "word_embeddings")
        if config.absolute_positions:
            total += look_up(config.positions, batch.position, "position_embeddings")
        if config.token_types:
            total += look_up(config.token_types, batch.token_type, "token_type_embeddings")
        if config.embedding_size != config.hidden_size:
            total = nn.Dense(
                config.hidden_size,
                use_bias=False,
                dtype=self.dtype,
                kernel_init=bert.normal(config),
                name="embed_proj",
            )(total)
        total = bert.layer_norm(config, self.dtype)(total)
        return nn.Dropout(config.dropout)(total, deterministic)


class _Stack(nn.Module):
    """All layers and the embeddings of distances they share; L+1 hidden states, L maps."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, deterministic: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        config = self.config
        distances = None
        if config.relative:
            table = nn.Embed(
                2 * config.span,
                config.hidden_size,
                embedding_init=bert.normal(config),
                name="rel_embeddings",
            )
            distances = table.embedding.astype(self.dtype)
            if config.norm_distances:
                distances = bert.layer_norm(config, self.dtype)(distances)
        return _Layers(config, self.dtype, name="layer")(hidden, distances, mask, deterministic)


class _Layers(nn.Module):
    """The layers by number; a module of its own because its name is one step of the path."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, distances: jax.Array | None, mask: jax.Array, deterministic: bool
    ) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        states, maps = [hidden], []
        for index in range(self.config.layers):
            hidden, probabilities = _Layer(self.config, self.dtype, name=str(index))(
                hidden, distances, mask, deterministic
            )
            states.append(hidden)
            maps.append(probabilities)
        return tuple(states), tuple(maps)


class _Layer(nn.Module):
    """Self-attention, then the feed-forward part, each with its residual and its norm after."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, distances: jax.Array | None, mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config
        attended, probabilities = _Attention(config, self.dtype, name="attention")(
            hidden, distances, mask, deterministic
        )
        wide = bert.Intermediate(config, self.dtype, name="intermediate")(attended)
        out = bert.ResidualNorm(config, self.dtype, name="output")(wide, attended, deterministic)
        return out, probabilities


class _Attention(nn.Module):
    """Self-attention with its output projection, residual and norm."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, distances: jax.Array | None, mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        context, probabilities = _SelfAttention(self.config, self.dtype, name="self")(
            hidden, distances, mask, deterministic
        )
        residual_norm = bert.ResidualNorm(self.config, self.dtype, name="output")
        return residual_norm(context, hidden, deterministic), probabilities


class _SelfAttention(nn.Module):
    """Disentangled attention inside segments; f[B,T,D] -> f[B,T,D], probabilities f[B,H,T,T].

    `distances` f[2 span,D] are the embeddings of distances, None for a model without. Pieces of one
    segment stand side by side, so that two of them are as far apart in the row as in their text:
    one table of distances serves the whole batch.
    """

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, distances: jax.Array | None, mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config

        def dense(name: str) -> nn.Dense:
            return bert.dense(config, config.hidden_size, self.dtype, name)

        def by_head(projected: jax.Array) -> jax.Array:  # f[...,T,D] -> f[...,H,T,D/H]
            split = projected.reshape(*projected.shape[:-1], config.heads, -1)
            return jnp.swapaxes(split, -3, -2)

        to_query, to_key = dense("query_proj"), dense("key_proj")
        scale = (config.hidden_size // config.heads * (1 + len(config.terms))) ** 0.5
        vectors = to_query(hidden), to_key(hidden), dense("value_proj")(hidden)
        hand_out_vectors(self, *vectors)
        query, key, value = map(by_head, vectors)
        query, key = query / scale, key / scale
        scores = scale * query @ jnp.swapaxes(key, -1, -2)
        if distances is not None:
            distances = nn.Dropout(config.dropout)(distances, deterministic)
            length = hidden.shape[1]
            apart = np.arange(-length, length)
            if "c2p" in config.terms:  # in row i and column j, the distance i - j
                project = to_key if config.shared_projections else dense("pos_key_proj")
                rows = by_head(project(distances[find_rows(config, -apart)]))
                scores += _align(query @ jnp.swapaxes(rows, -1, -2))
            if "p2c" in config.terms:  # in row j and column i, the distance i - j
                project = to_query if config.shared_projections else dense("pos_query_proj")
                rows = by_head(project(distances[find_rows(config, apart)]))
                scores += jnp.swapaxes(_align(key @ jnp.swapaxes(rows, -1, -2)), -1, -2)
        # The softmax is taken in float32 whatever the arithmetic: its sums are long.
        scores = jnp.where(mask[:, None], scores.astype(jnp.float32), -jnp.inf)
        probabilities = jax.nn.softmax(scores, axis=-1)
        dropped = nn.Dropout(config.attention_dropout)(probabilities, deterministic)
        context = jnp.swapaxes(dropped.astype(value.dtype) @ value, 1, 2)
        return context.reshape(hidden.shape), probabilities


def _align(scores: jax.Array) -> jax.Array:
    """f[...,T,2T] -> f[...,T,T] with [a,b] from [a,T+b-a]: every row one step further left.

    Read on through the ends of the rows, a row of 2T is one of 2T-1 that begins a step later; this
    moves memory in order, where a gather would pick it number by number.
    """
    length = scores.shape[-2]
    flat = scores.reshape(*scores.shape[:-2], -1)[..., length:]
    return flat.reshape(*scores.shape[:-1], 2 * length - 1)[..., :length]


def find_rows(config: DebertaConfig, distances: np.ndarray) -> np.ndarray:
    """The row of the embeddings that each distance i64[N] has.

    With buckets, distances up to half of them have their own, and further ones share theirs with
    what is logarithmically near, in the float32 that PyTorch computes them in.
    """
    if config.buckets:
        half = config.buckets // 2
        ratio = np.maximum(np.abs(distances), 1).astype(np.float32) / np.float32(half)
        widest = np.log(np.float32((config.distances - 1) / half))
        shared = np.ceil(np.log(ratio) / widest * np.float32(half - 1)) + half
        shared = (np.sign(distances) * shared).astype(np.int64)
        distances = np.where(np.abs(distances) <= half, distances, shared)
    return np.clip(distances + config.span, 0, 2 * config.span - 1)
