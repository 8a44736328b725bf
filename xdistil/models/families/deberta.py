"""DeBERTa-v2 (also v3 and mDeBERTa): disentangled attention, on packed rows.

He et al. 2021 (arXiv 2006.03654 and 2111.09543). The score of a query i and a key j is the sum of
content to content (Q_i K_j), content to position (Q_i by the key of distance i - j) and position to
content (K_j by the query of that distance), divided by sqrt(d times the number of terms).
Parameters have PyTorch's names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.errors import InputError, show
from xdistil.models import heads, onnx_layers
from xdistil.models.config_fields import check_fixed, read_field
from xdistil.models.encoder import Layers, Maps, States, Transformer
from xdistil.models.encoder_config import (
    ACTIVATIONS,
    KEYS,
    EncoderConfig,
    check_activation,
    check_shape,
    read_shape,
    write_shape,
)
from xdistil.models.layers import (
    PostNormLayer,
    SelfOutput,
    dense,
    layer_norm,
    look_up,
    normal,
    sow_qkv,
    weigh,
)
from xdistil.models.ops import Dropout, array_type
from xdistil.models.tensor_names import Names

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

MODEL_TYPE = "deberta-v2"
NAMES = Names("deberta", outside=("classifier", "pooler"))


@dataclass(frozen=True)
class DebertaConfig(EncoderConfig):
    """The shape of a DeBERTa: that of an encoder, and the options of attention to distances."""

    model_type: str = MODEL_TYPE
    token_types: int = 0  # with none, the batch's token types are ignored
    absolute_positions: bool = True  # whether positions are added to the embeddings
    relative: bool = False  # whether attention uses distances
    terms: tuple[str, ...] = ()  # of the scores, after content to content: c2p, p2c
    shared_projections: bool = False  # whether distances use the projections of content
    buckets: int = 0  # half of them for single distances, then logarithmic; 0: none
    distances: int = 512  # longer ones count as this one
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
# Our field -> the key in an HF config.json, for fields read as they are.
_SWITCHES = {
    "absolute_positions": "position_biased_input",
    "relative": "relative_attention",
    "shared_projections": "share_att_key",
}


def read_config(raw: Mapping[str, Any], where: str) -> DebertaConfig:
    """The DeBERTa that an HF config.json describes; `where` names the file in errors.

    Raises InputError as `bert.read_config` does, and for a convolution or for heads or poolers of
    another width.
    """
    values = read_shape(raw, _DEFAULTS, where, KEYS | {"embedding_size": "embedding_size"})
    hidden_size = values["hidden_size"]
    if raw.get("embedding_size") is None:
        values["embedding_size"] = hidden_size
    fixed = {
        "conv_kernel_size": 0,
        "attention_head_size": hidden_size // values["heads"],
        "pooler_hidden_size": hidden_size,
    }
    check_fixed(raw, fixed, where)
    for name, key in _SWITCHES.items():
        values[name] = read_field(raw, key, getattr(DebertaConfig, name), where)
    terms = raw.get("pos_att_type") or []
    terms = [part.strip() for part in terms.lower().split("|")] if type(terms) is str else terms
    if not isinstance(terms, list) or not all(term in _TERMS for term in terms):
        raise InputError(
            f"{where}: pos_att_type is {show(terms)}; known are {' and '.join(_TERMS)}."
        )
    values["terms"] = tuple(term for term in _TERMS if term in terms)
    values["buckets"] = max(0, read_field(raw, "position_buckets", -1, where))
    values["distances"] = read_field(raw, "max_relative_positions", -1, where)
    if values["distances"] < 1:
        values["distances"] = values["positions"]
    values["norm_distances"] = (
        "layer_norm" in read_field(raw, "norm_rel_ebd", "none", where).lower()
    )
    values["pooler_dropout"] = read_field(raw, "pooler_dropout", 0.0, where)
    values["pooler_activation"] = read_field(raw, "pooler_hidden_act", "gelu", where)
    config = DebertaConfig(**values)
    check_shape(config, where)
    check_activation(config.pooler_activation, "pooler_hidden_act", where)
    if config.buckets and not 1 <= config.buckets // 2 < config.distances - 1:
        raise InputError(
            f"{where}: position_buckets is {config.buckets}; it must be from 2 to less than twice"
            f" max_relative_positions, {config.distances}."
        )
    return config


def write_config(config: DebertaConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    raw = write_shape(config)
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


class Deberta(Transformer):
    """A DeBERTa encoder with the head of a task."""

    config: DebertaConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = _Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        return _Stack(self.config, self.dtype, name="encoder")(
            hidden, same_segment, attention, deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        hidden = Dropout(config.pooler_dropout)(hidden, deterministic)
        activation = ACTIVATIONS[config.pooler_activation]
        hidden = heads.Pooler(activation, normal(config), self.dtype, name="pooler")(hidden)
        return self.tag(hidden, deterministic)


class _Embeddings(nn.Module):
    """Subwords, and positions and token types if the model has them -> f[B,T,D]."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config

        def embed(rows: int, indices: Any, name: str) -> jax.Array:
            return look_up(config, rows, indices, self.dtype, name)

        total = embed(config.vocabulary_size, batch.tokens, "word_embeddings")
        if config.absolute_positions:
            total += embed(config.positions, batch.position, "position_embeddings")
        if config.token_types:
            total += embed(config.token_types, batch.token_type, "token_type_embeddings")
        if config.embedding_size != config.hidden_size:
            total = dense(config, config.hidden_size, self.dtype, "embed_proj", use_bias=False)(
                total
            )
        total = layer_norm(config, self.dtype)(total)
        return Dropout(config.dropout)(total, deterministic)


class _Stack(nn.Module):
    """All layers and the embeddings of distances that they share; L+1 hidden states, L maps."""

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        config = self.config
        distances = None
        if config.relative:
            table = nn.Embed(
                2 * config.span,
                config.hidden_size,
                embedding_init=normal(config),
                name="rel_embeddings",
            )
            distances = table.embedding.astype(array_type(self.dtype))
            if config.norm_distances:
                distances = layer_norm(config, self.dtype)(distances)
        return Layers(_Layer, config, self.dtype, name="layer")(
            hidden, mask, distances, attention=attention, deterministic=deterministic
        )


class _Layer(PostNormLayer):
    """A layer with disentangled self-attention."""

    def attend(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        return SelfOutput(_SelfAttention, self.config, self.dtype, name="attention")(
            hidden, mask, *more, attention=attention, deterministic=deterministic
        )


class _SelfAttention(nn.Module):
    """Disentangled attention inside segments; f[B,T,D] -> f[B,T,D], probabilities f[B,H,T,T].

    `distances` f[2 span,D] are the embeddings of distances, or None. The subwords of a segment are
    contiguous, so that a distance in the row is one in the text: one table is enough for the whole
    batch.
    """

    config: DebertaConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        distances: jax.Array | None,
        attention: bool,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config

        def make(name: str) -> nn.Dense:
            return dense(config, config.hidden_size, self.dtype, name)

        def by_head(projected: jax.Array) -> jax.Array:  # f[...,T,D] -> f[...,H,T,D/H]
            split = projected.reshape(*projected.shape[:-1], config.heads, -1)
            return jnp.swapaxes(split, -3, -2)

        to_query, to_key = make("query_proj"), make("key_proj")
        scale = (config.hidden_size // config.heads * (1 + len(config.terms))) ** 0.5
        vectors = to_query(hidden), to_key(hidden), make("value_proj")(hidden)
        sow_qkv(self, *vectors)
        query, key, value = map(by_head, vectors)
        query, key = query / scale, key / scale
        scores = scale * query @ jnp.swapaxes(key, -1, -2)
        if distances is not None:
            distances = Dropout(config.dropout)(distances, deterministic)
            length = hidden.shape[1]
            apart = np.arange(-length, length)
            if "c2p" in config.terms:  # in row i and column j, the distance i - j
                project = to_key if config.shared_projections else make("pos_key_proj")
                rows = by_head(project(distances[find_rows(config, -apart)]))
                scores += _align(query @ jnp.swapaxes(rows, -1, -2))
            if "p2c" in config.terms:  # in row j and column i, the distance i - j
                project = to_query if config.shared_projections else make("pos_query_proj")
                rows = by_head(project(distances[find_rows(config, apart)]))
                scores += jnp.swapaxes(_align(key @ jnp.swapaxes(rows, -1, -2)), -1, -2)
        return weigh(scores, value, mask, config.attention_dropout, deterministic)


def _align(scores: jax.Array) -> jax.Array:
    """f[...,T,2T] -> f[...,T,T] with [a,b] from [a,T+b-a]: row a is shifted left by a.

    Rows of 2T numbers are reshaped to rows of 2T-1, which copies memory in order; a gather would
    pick single numbers.
    """
    length = scores.shape[-2]
    flat = scores.reshape(*scores.shape[:-2], -1)[..., length:]
    return flat.reshape(*scores.shape[:-1], 2 * length - 1)[..., :length]


def find_rows(config: DebertaConfig, distances: np.ndarray) -> np.ndarray:
    """The row of the embeddings for each distance i64[N].

    With buckets, distances up to half of them have a row each; longer ones share logarithmic
    buckets, computed in float32 as in PyTorch.
    """
    if config.buckets:
        half = config.buckets // 2
        ratio = np.maximum(np.abs(distances), 1).astype(np.float32) / np.float32(half)
        widest = np.log(np.float32((config.distances - 1) / half))
        shared = np.ceil(np.log(ratio) / widest * np.float32(half - 1)) + half
        shared = (np.sign(distances) * shared).astype(np.int64)
        distances = np.where(np.abs(distances) <= half, distances, shared)
    return np.clip(distances + config.span, 0, 2 * config.span - 1)


def add_graph(graph: "Graph", config: DebertaConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them; only absolute positions limit the length of a text."""
    hidden = _add_embeddings(graph, config)
    far_below = graph.mask_scores()
    distances = _GraphDistances(graph, config) if config.relative else None
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        name = f"{layer}.attention.self"
        context = _add_attention(graph, config, hidden, far_below, distances, name)
        hidden = onnx_layers.add_residual(
            graph, config, context, hidden, f"{layer}.attention.output"
        )
        hidden = onnx_layers.add_feed_forward(graph, config, hidden, layer)
    if task_kind == "classification":
        pooled = graph.dense(graph.take_first(hidden), "pooler.dense")
        hidden = graph.activate(pooled, config.pooler_activation)
    return graph.dense(hidden, "classifier")


def _add_embeddings(graph: "Graph", config: DebertaConfig) -> str:
    total = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    if config.absolute_positions:
        total = onnx_layers.add_positions(graph, config, total)
    total = onnx_layers.add_token_types(graph, config, total)
    if config.embedding_size != config.hidden_size:
        name = "embeddings.embed_proj.kernel"
        total = graph.add("MatMul", total, graph.weight(name, graph.leaf(name)))
    return graph.layer_norm(total, "embeddings.LayerNorm", config.norm_epsilon)


class _GraphDistances:
    """The embeddings of distances, and their rows for a batch: those of -T .. T-1 and of T .. 1-T.

    From twice `config.distances` on every distance has the outermost row, so that a table of this
    size is enough for texts of any length.
    """

    def __init__(self, graph: "Graph", config: DebertaConfig) -> None:
        name = "encoder.rel_embeddings.embedding"
        self.table = graph.weight(name, graph.leaf(name))
        if config.norm_distances:
            self.table = graph.layer_norm(self.table, "encoder.LayerNorm", config.norm_epsilon)
        self.length = graph.length(graph.ids)
        widest = 2 * config.distances
        rows = graph.constant(find_rows(config, np.arange(-widest, widest + 1)))
        start = graph.add("Neg", self.length)
        apart = graph.add("Range", start, self.length, graph.constant(1))
        low, high = graph.constant(-widest), graph.constant(widest)

        def find(values: str) -> str:
            clipped = graph.add("Clip", values, low, high)
            return graph.add("Gather", rows, graph.add("Add", clipped, high))

        self.rows = {"p2c": find(apart), "c2p": find(graph.add("Neg", apart))}


def _add_attention(
    graph: "Graph",
    config: DebertaConfig,
    hidden: str,
    far_below: str,
    distances: _GraphDistances | None,
    name: str,
) -> str:
    scale = (config.hidden_size // config.heads * (1 + len(config.terms))) ** 0.5
    divisor = graph.constant(scale, np.float32)
    query, key, value = (
        graph.split_heads(graph.dense(hidden, f"{name}.{part}_proj"), config.heads)
        for part in ("query", "key", "value")
    )
    query = graph.add("Div", query, divisor)
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
    if distances is not None:
        by_content = {"c2p": query, "p2c": graph.add("Div", key, divisor)}
        for term in config.terms:
            keys = _add_projection(graph, config, distances, term, name)
            product = graph.add("MatMul", by_content[term], keys)
            aligned = _add_alignment(graph, distances.length, product)
            if term == "p2c":
                aligned = graph.add("Transpose", aligned, perm=[0, 1, 3, 2])
            scores = graph.add("Add", scores, aligned)
    return onnx_layers.weigh(graph, scores, far_below, value)


def _add_projection(
    graph: "Graph", config: DebertaConfig, distances: _GraphDistances, term: str, name: str
) -> str:
    """f32[H,D/H,2T]: what a term is multiplied with, for every distance of the batch."""
    part = {"c2p": "key", "p2c": "query"}[term]
    layer = f"{name}.{part}_proj" if config.shared_projections else f"{name}.pos_{part}_proj"
    projected = graph.dense(distances.table, layer)  # constant: folded by the runtime
    split = graph.add("Reshape", projected, graph.constant([0, config.heads, -1]))
    by_head = graph.add("Transpose", split, perm=[1, 2, 0])
    return graph.add("Gather", by_head, distances.rows[term], axis=2)


def _add_alignment(graph: "Graph", length: str, scores: str) -> str:
    """f32[B,H,T,2T] -> f32[B,H,T,T] with [a,b] from [a,T+b-a], as `_align` does it."""
    size = graph.add("Unsqueeze", length, graph.constant([0]))
    flat = graph.add("Reshape", scores, graph.constant([0, 0, -1]))
    end, axis = graph.constant([np.iinfo(np.int64).max]), graph.constant([2])
    flat = graph.add("Slice", flat, size, end, axis)
    shape = graph.add("Concat", graph.constant([0, 0]), size, graph.constant([-1]), axis=0)
    shifted = graph.add("Reshape", flat, shape)
    return graph.add("Slice", shifted, graph.constant([0]), size, graph.constant([3]))
