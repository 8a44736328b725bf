"""ModernBERT (also mmBERT): rotary positions, local and global attention, on packed rows.

Warner et al. 2024 (arXiv 2412.13663), Marone et al. 2025 (arXiv 2509.06888). It is pre-layer-norm,
with a norm after the last layer. Local layers attend to half a window on each side, within their
segment, and have a rotary base of their own. Parameters have PyTorch's names, except for
`word_embeddings`, the layers in `encoder/layer` and the head, which is the pooler.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.data.packing import Batch
from xdistil.errors import InputError, show
from xdistil.models.config_fields import check_size, read_field
from xdistil.models.encoder import Layers, Maps, States, Transformer
from xdistil.models.encoder_config import (
    ACTIVATIONS,
    EncoderConfig,
    check_activation,
    check_shape,
    read_shape,
    write_shape,
)
from xdistil.models.layers import (
    activate,
    attend,
    dense,
    layer_norm,
    look_up,
    sow_qkv,
    split_heads,
)
from xdistil.models.ops import Dropout
from xdistil.models.tensor_names import Names

MODEL_TYPE = "modernbert"
NAMES = Names(
    "model",
    outside=("classifier", "head"),
    renamed=(
        ("embeddings.word_embeddings", "embeddings.tok_embeddings"),
        ("encoder.layer", "layers"),
        ("encoder.final_norm", "final_norm"),
        ("pooler", "head"),
    ),
)


@dataclass(frozen=True)
class ModernBertConfig(EncoderConfig):
    """The shape of a ModernBERT; `dropout` is that of the feed-forward parts."""

    model_type: str = MODEL_TYPE
    token_types: int = 0
    local: tuple[bool, ...] = ()  # for each layer, whether its attention is local
    window: int = 128  # subwords, of which half lie on each side
    global_base: float = 160_000.0  # of rotary positions, in global layers
    local_base: float = 10_000.0  # in local layers
    attention_bias: bool = False  # whether these parts have biases
    feed_forward_bias: bool = False
    norm_bias: bool = False
    pooler_bias: bool = False
    embedding_dropout: float = 0.0
    classifier_dropout: float = 0.0
    pooling: str = "cls"  # of a sequence head: cls (the first subword) or mean (over the segment)
    pooler_activation: str = "gelu"

    def with_layers(self, kept: tuple[int, ...]) -> Self:
        """The shape of a model with only the layers `kept`, each local or global as before."""
        local = tuple(self.local[layer] for layer in kept)
        return dataclasses.replace(super().with_layers(kept), local=local)


# HF's ModernBertConfig, where it differs from BertConfig.
_DEFAULTS = {
    "vocabulary_size": 50368,
    "layers": 22,
    "intermediate_size": 1152,
    "positions": 8192,
    "token_types": 0,
    "norm_epsilon": 1e-5,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "padding_id": 50283,
}
_KEYS = {
    "model_type": "model_type",
    "vocabulary_size": "vocab_size",
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "positions": "max_position_embeddings",
    "activation": "hidden_activation",
    "norm_epsilon": "norm_eps",
    "dropout": "mlp_dropout",
    "attention_dropout": "attention_dropout",
    "padding_id": "pad_token_id",
    "initializer_range": "initializer_range",
}
# Our field -> the key in an HF config.json, for fields read as they are.
_MORE = {
    "attention_bias": "attention_bias",
    "feed_forward_bias": "mlp_bias",
    "norm_bias": "norm_bias",
    "pooler_bias": "classifier_bias",
    "embedding_dropout": "embedding_dropout",
    "classifier_dropout": "classifier_dropout",
    "pooling": "classifier_pooling",
    "pooler_activation": "classifier_activation",
}
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_POOLINGS = ("cls", "mean")
_MOST_LAYERS = 1024  # of which a config.json may list the kinds


def read_config(raw: Mapping[str, Any], where: str) -> ModernBertConfig:
    """The ModernBERT that an HF config.json of this or an older release describes.

    Raises InputError as `bert.read_config` does, and for scaled rotary positions, an odd width of
    heads, and layer types that are unknown or not one for each layer.
    """
    # mmBERT's is sans_pos, which has no effect.
    raw = {key: value for key, value in raw.items() if key != "position_embedding_type"}
    values = read_shape(raw, _DEFAULTS, where, _KEYS)
    for name, key in _MORE.items():
        values[name] = read_field(raw, key, getattr(ModernBertConfig, name), where)
    values["window"] = check_size(raw.get("local_attention", 128), "local_attention", where)
    values["local"] = _read_kinds(raw, values["layers"], where)
    values["global_base"], values["local_base"] = _read_bases(raw, where)
    config = ModernBertConfig(**values)
    check_shape(config, where)
    check_activation(config.pooler_activation, "classifier_activation", where)
    if config.pooling not in _POOLINGS:
        raise InputError(
            f"{where}: classifier_pooling is {show(config.pooling)}; known are"
            f" {' and '.join(_POOLINGS)}."
        )
    if config.hidden_size // config.heads % 2:
        raise InputError(
            f"{where}: {config.heads} attention heads of {config.hidden_size // config.heads} each"
            " cannot be rotated in pairs; their width must be even."
        )
    return config


def _read_kinds(raw: Mapping[str, Any], layers: int, where: str) -> tuple[bool, ...]:
    if layers > _MOST_LAYERS:
        raise InputError(
            f"{where}: num_hidden_layers is {layers}; it must be at most {_MOST_LAYERS}."
        )
    kinds = raw.get("layer_types")
    if kinds is None:  # older releases
        every = raw.get("global_attn_every_n_layers", 3)
        every = check_size(every, "global_attn_every_n_layers", where)
        return tuple(index % every > 0 for index in range(layers))
    if (
        not isinstance(kinds, list)
        or len(kinds) != layers
        or not all(kind in (_GLOBAL, _LOCAL) for kind in kinds)
    ):
        raise InputError(
            f"{where}: layer_types is {show(kinds)}; it must name {_GLOBAL} or {_LOCAL} for each of"
            f" {layers} layers."
        )
    return tuple(kind == _LOCAL for kind in kinds)


def _read_bases(raw: Mapping[str, Any], where: str) -> tuple[float, float]:
    """The bases of rotary positions in global and local layers."""
    rope = raw.get("rope_parameters") or {}
    if not isinstance(rope, dict) or raw.get("rope_scaling"):
        raise InputError(f"{where}: scaled rotary positions are not supported.")
    bases: list[float] = []
    for kind, key in ((_GLOBAL, "global_rope_theta"), (_LOCAL, "local_rope_theta")):
        own = rope.get(kind) or {}
        if not isinstance(own, dict) or own.get("rope_type", "default") != "default":
            raise InputError(
                f"{where}: rope_parameters.{kind} is {show(own)}; only rope_type 'default' is"
                " supported."
            )
        standard = {_GLOBAL: ModernBertConfig.global_base, _LOCAL: ModernBertConfig.local_base}
        base = own.get("rope_theta", raw.get(key, standard[kind]))
        base = bases[0] if base is None and bases else base  # in older releases: the global one
        if type(base) not in (int, float) or not 1 < base < 1e12:
            raise InputError(f"{where}: {key} is {show(base)}; it must be a number above 1.")
        bases.append(float(base))
    return bases[0], bases[1]


def write_config(config: ModernBertConfig) -> dict[str, Any]:
    """The keys of an HF config.json for this encoder; the inverse of `read_config`."""
    return write_shape(config, _KEYS) | {
        **{key: getattr(config, name) for name, key in _MORE.items()},
        "local_attention": config.window,
        "layer_types": [_LOCAL if local else _GLOBAL for local in config.local],
        "rope_parameters": {
            _GLOBAL: {"rope_type": "default", "rope_theta": config.global_base},
            _LOCAL: {"rope_type": "default", "rope_theta": config.local_base},
        },
        # HF's default ids may be outside a small vocabulary.
        **dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")),
    }


class ModernBert(Transformer):
    """A ModernBERT with the head of a task; its last hidden state is after the final norm."""

    config: ModernBertConfig

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        hidden = _Embeddings(self.config, self.dtype, name="embeddings")(batch, deterministic)
        return _Stack(self.config, self.dtype, name="encoder")(
            hidden, same_segment, batch.position, attention, deterministic
        )

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        if self.config.pooling == "mean":
            hidden = _average(hidden, batch.segment)
        return self.tag(hidden, deterministic)

    def tag(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        hidden = _Pooler(self.config, self.dtype, name="pooler")(hidden)
        hidden = Dropout(self.config.classifier_dropout)(hidden, deterministic)
        return dense(self.config, self.classes, self.dtype, "classifier")(hidden)


def _average(hidden: jax.Array, segment: Any) -> jax.Array:
    """At every position the mean over its segment, f[B,T,D]."""
    same = (segment[:, :, None] == segment[:, None, :]).astype(jnp.float32)
    return (same @ hidden / same.sum(-1, keepdims=True)).astype(hidden.dtype)


def _norm(config: ModernBertConfig, dtype: str, name: str) -> nn.LayerNorm:
    return layer_norm(config, dtype, name, config.norm_bias)


class _Pooler(nn.Module):
    """The layer before the classifier: norm(activation(dense)), f[B,T,D]."""

    config: ModernBertConfig
    dtype: str

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        config = self.config
        hidden = dense(config, config.hidden_size, self.dtype, "dense", config.pooler_bias)(hidden)
        return _norm(config, self.dtype, "norm")(ACTIVATIONS[config.pooler_activation](hidden))


class _Embeddings(nn.Module):
    """Normed word embeddings: f[B,T,D]."""

    config: ModernBertConfig
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config
        words = look_up(config, config.vocabulary_size, batch.tokens, self.dtype, "word_embeddings")
        hidden = _norm(config, self.dtype, "norm")(words)
        return Dropout(config.embedding_dropout)(hidden, deterministic)


class _Stack(nn.Module):
    """All layers and the norm after them; L+1 hidden states, L maps."""

    config: ModernBertConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        position: Any,
        attention: bool,
        deterministic: bool,
    ) -> tuple[States, Maps]:
        config = self.config
        apart = np.abs(np.subtract.outer(*2 * [np.arange(hidden.shape[1])]))
        # The subwords of a segment are contiguous in their row.
        masks = {True: mask & (apart <= config.window // 2), False: mask}
        rotations = {
            True: _find_rotations(config, config.local_base, position),
            False: _find_rotations(config, config.global_base, position),
        }
        states, maps = Layers(_Layer, config, self.dtype, name="layer")(
            hidden, masks, rotations, attention=attention, deterministic=deterministic
        )
        return (*states[:-1], _norm(config, self.dtype, "final_norm")(states[-1])), maps


def _find_rotations(
    config: ModernBertConfig, base: float, position: Any
) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines of the angles of rotary positions: f32[B,T,1,D/H/2] each."""
    width = config.hidden_size // config.heads
    steps = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    angles = position[..., None, None] * (1 / np.float32(base) ** steps)
    return jnp.cos(angles), jnp.sin(angles)


def _rotate(by_head: jax.Array, rotations: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotary positions of queries or keys f[B,T,H,D/H]: the halves are rotated in pairs."""
    cosine, sine = rotations
    left, right = jnp.split(by_head.astype(jnp.float32), 2, axis=-1)
    rotated = [left * cosine - right * sine, right * cosine + left * sine]
    return jnp.concatenate(rotated, axis=-1).astype(by_head.dtype)


class _Layer(nn.Module):
    """Self-attention, then the gated feed-forward part, each after a norm and with its residual.

    `masks` and `rotations` are those of local layers under True and of global layers under False.
    """

    config: ModernBertConfig
    dtype: str
    index: int

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        masks: dict[bool, jax.Array],
        rotations: dict[bool, tuple[jax.Array, jax.Array]],
        attention: bool,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        config, dtype = self.config, self.dtype
        local = config.local[self.index]
        # The input of the first layer is normed already.
        normed = _norm(config, dtype, "attn_norm")(hidden) if self.index else hidden
        attended, probabilities = _Attention(config, dtype, name="attn")(
            normed, masks[local], rotations[local], attention, deterministic
        )
        hidden += attended
        normed = _norm(config, dtype, "mlp_norm")(hidden)
        return hidden + _FeedForward(config, dtype, name="mlp")(
            normed, deterministic
        ), probabilities


class _Attention(nn.Module):
    """Self-attention by heads with rotary positions and its output projection."""

    config: ModernBertConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        mask: jax.Array,
        rotations: tuple[jax.Array, jax.Array],
        attention: bool,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        config, rate, bias = self.config, self.config.attention_dropout, self.config.attention_bias
        joint = dense(config, 3 * config.hidden_size, self.dtype, "Wqkv", bias)(hidden)
        query, key, value = split_heads(config, joint, 3)
        # Before rotation: relations compare contents.
        sow_qkv(self, query, key, value)
        query, key = _rotate(query, rotations), _rotate(key, rotations)
        context, probabilities = attend(query, key, value, mask, rate, attention, deterministic)
        out = dense(config, config.hidden_size, self.dtype, "Wo", bias)(context)
        return Dropout(rate)(out, deterministic), probabilities


class _FeedForward(nn.Module):
    """dense(dropout(activation(a) b)) with a and b from one dense layer (GeGLU)."""

    config: ModernBertConfig
    dtype: str

    @nn.compact
    def __call__(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        config, bias = self.config, self.config.feed_forward_bias
        wide = dense(config, 2 * config.intermediate_size, self.dtype, "Wi", bias)(hidden)
        shown, gate = jnp.split(wide, 2, axis=-1)
        gated = Dropout(config.dropout)(activate(config.activation, shown) * gate, deterministic)
        return dense(config, config.hidden_size, self.dtype, "Wo", bias)(gated)
