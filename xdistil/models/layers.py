"""Layers that encoders share: attention by heads, embeddings, the feed-forward part, norms.

Letters: B rows, T row length in subwords, D width, H heads.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from xdistil.data.packing import Batch
from xdistil.models.encoder_config import ACTIVATIONS, EncoderConfig
from xdistil.models.ops import Dropout, array_type, dense_layer, multiply
from xdistil.models.types import QKV, Params

COLLECTION = "intermediates"  # Flax does not initialize it with the parameters
_NAME = "vectors"


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    rate: float,
    attention: bool,
    deterministic: bool,
    bias: jax.Array | None = None,
    scale: float | None = None,
) -> tuple[jax.Array, jax.Array | None]:
    """softmax(scale Q K + bias) V by heads: three f[B,T,H,D/H] -> f[B,T,D] and f[B,H,T,T].

    The maps are None if they are not asked for and a fused attention computes the context.

    Args:
        mask: bool[B,T,T] which key (last) a query attends to, at least one for each query.
        rate: of the dropout on probabilities.
        attention: whether the maps are wanted.
        bias: f32[H,T,T] added to the scores.
        scale: of the scores; None: 1 / sqrt(D/H).
    """
    shape, width = query.shape[:2], query.shape[-1]
    scale = width**-0.5 if scale is None else scale
    dropping = not deterministic and rate > 0
    if not (attention or dropping) and bias is None and _has_fused_attention(query):
        context = jax.nn.dot_product_attention(
            query, key, value, mask=mask[:, None], scale=scale, implementation="cudnn"
        )
        return context.reshape(*shape, -1), None
    # Heads before time: plain matrix products measure faster on a CPU than an einsum.
    query, key, value = (each.transpose(0, 2, 1, 3) for each in (query, key, value))
    scores = (query * scale) @ key.transpose(0, 1, 3, 2)
    if bias is not None:
        scores = scores.astype(jnp.float32) + bias
    context, probabilities = weigh(scores, value, mask, rate, deterministic)
    return context, probabilities


def weigh(
    scores: jax.Array, value: jax.Array, mask: jax.Array, rate: float, deterministic: bool
) -> tuple[jax.Array, jax.Array]:
    """softmax(scores) V: scores f[B,H,T,T] and values f[B,H,T,D/H] -> f[B,T,D] and f[B,H,T,T]."""
    # The softmax is taken in float32 whatever the arithmetic: its sums are long.
    scores = jnp.where(mask[:, None], scores.astype(jnp.float32), -jnp.inf)
    probabilities = jax.nn.softmax(scores, axis=-1)
    dropped = Dropout(rate)(probabilities, deterministic)
    context = (dropped.astype(value.dtype) @ value).transpose(0, 2, 1, 3)
    return context.reshape(*context.shape[:2], -1), probabilities


def _has_fused_attention(query: jax.Array) -> bool:
    """Whether cuDNN's attention, which does not store the maps, accepts such arrays."""
    width = query.shape[-1]
    return (
        jax.default_backend() == "gpu"
        and query.dtype == jnp.bfloat16
        and query.shape[1] % 64 == 0
        and width % 8 == 0
        and width <= 128
    )


def project(
    config: EncoderConfig, names: Sequence[str], hidden: jax.Array, dtype: str
) -> list[jax.Array]:
    """Dense layers of these names from f[B,T,D] to heads: f[B,T,H,D/H] each."""
    kernels, biases = zip(
        *(_Projection(config, name=name)(hidden.shape[-1]) for name in names), strict=True
    )
    # One product for all uses a GPU better than several narrower ones.
    bias = jnp.concatenate(biases).astype(array_type(dtype))
    projected = multiply(hidden, jnp.concatenate(kernels, axis=1), dtype) + bias
    return split_heads(config, projected, len(names))


def split_heads(config: EncoderConfig, projected: jax.Array, parts: int) -> list[jax.Array]:
    """Concatenated parts f[B,T,parts D] -> each part by heads: f[B,T,H,D/H]."""
    by_head = projected.reshape(*projected.shape[:2], parts, config.heads, -1)
    return [by_head[:, :, index] for index in range(parts)]


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


def normal(config: EncoderConfig) -> jax.nn.initializers.Initializer:
    """The initializer of an encoder's weights."""
    return nn.initializers.normal(config.initializer_range)


def dense(
    config: EncoderConfig, size: int, dtype: str, name: str, use_bias: bool = True
) -> nn.Dense:
    """A dense layer to `size`."""
    return dense_layer(size, dtype, use_bias=use_bias, kernel_init=normal(config), name=name)


def look_up(config: EncoderConfig, rows: int, indices: Any, dtype: str, name: str) -> jax.Array:
    """Embeddings from a table [rows, embedding_size]: i32[B,T] -> f[B,T,E].

    A table of one row returns that row for every index.
    """
    table = nn.Embed(rows, config.embedding_size, embedding_init=normal(config), name=name)
    # Rounded after the look-up: the gradients of all places that share a row add up in float32. In
    # bfloat16 a long sum loses its small terms, and on a GPU it takes 100 to 700 times as long.
    return table(jnp.asarray(indices)).astype(array_type(dtype))


def layer_norm(
    config: EncoderConfig, dtype: str, name: str = "LayerNorm", use_bias: bool = True
) -> nn.LayerNorm:
    """A norm over the width."""
    # The fast variance, E[x^2] - E[x]^2, loses the digits that parity with PyTorch asks for.
    return nn.LayerNorm(
        epsilon=config.norm_epsilon,
        dtype=array_type(dtype),
        use_bias=use_bias,
        use_fast_variance=False,
        name=name,
    )


class Embeddings(nn.Module):
    """The normed sum of subwords, positions and token types, where the family has them;
    f[B,T,E]."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, batch: Batch, deterministic: bool) -> jax.Array:
        config = self.config

        def embed(rows: int, indices: Any, name: str) -> jax.Array:
            return look_up(config, rows, indices, self.dtype, name)

        total = embed(config.vocabulary_size, batch.tokens, "word_embeddings") + embed(
            config.first_position + config.positions,
            config.first_position + batch.position,
            "position_embeddings",
        )
        if config.token_types:
            total += embed(config.token_types, batch.token_type, "token_type_embeddings")
        total = layer_norm(config, self.dtype)(total)
        return Dropout(config.dropout)(total, deterministic)


class Intermediate(nn.Module):
    """The wide half of the feed-forward part: activation(dense)."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        wide = dense(self.config, self.config.intermediate_size, self.dtype, "dense")(hidden)
        return activate(self.config.activation, wide)


def activate(name: str, wide: jax.Array) -> jax.Array:
    """The activation of a feed-forward part."""
    if name == "gelu" and wide.dtype == jnp.bfloat16:
        # The error of the tanh form is at most 5e-4, an eighth of bfloat16's rounding error at 1,
        # and cuBLAS fuses it into the product.
        name = "gelu_new"
    return ACTIVATIONS[name](wide)


class FeedForward(nn.Module):
    """dropout(dense(activation(dense))); the layers are named `wide` and `narrow`."""

    config: EncoderConfig
    dtype: str
    wide: str
    narrow: str

    @nn.compact
    def __call__(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        config = self.config
        hidden = dense(config, config.intermediate_size, self.dtype, self.wide)(hidden)
        hidden = activate(config.activation, hidden)
        hidden = dense(config, config.hidden_size, self.dtype, self.narrow)(hidden)
        return Dropout(config.dropout)(hidden, deterministic)


class ResidualNorm(nn.Module):
    """norm(residual + dropout(dense(x)))."""

    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, residual: jax.Array, deterministic: bool) -> jax.Array:
        x = dense(self.config, self.config.hidden_size, self.dtype, "dense")(x)
        x = Dropout(self.config.dropout)(x, deterministic)
        return layer_norm(self.config, self.dtype)(x + residual)


class SelfOutput(nn.Module):
    """Self-attention, a module of `self_attention`, with its output projection, residual and norm.

    `self_attention` is built from config and dtype and gets the arguments of the call.
    """

    self_attention: type[nn.Module]
    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        make: Any = self.self_attention
        context, probabilities = make(self.config, self.dtype, name="self")(
            hidden, mask, *more, attention=attention, deterministic=deterministic
        )
        out = ResidualNorm(self.config, self.dtype, name="output")(context, hidden, deterministic)
        return out, probabilities


class PostNormLayer(nn.Module):
    """Self-attention, then the feed-forward part, each followed by its residual and norm."""

    config: EncoderConfig
    dtype: str
    index: int

    @nn.compact
    def __call__(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        attended, probabilities = self.attend(
            hidden, mask, *more, attention=attention, deterministic=deterministic
        )
        wide = Intermediate(self.config, self.dtype, name="intermediate")(attended)
        output = ResidualNorm(self.config, self.dtype, name="output")
        return output(wide, attended, deterministic), probabilities

    def attend(
        self, hidden: jax.Array, mask: jax.Array, *more: Any, attention: bool, deterministic: bool
    ) -> tuple[jax.Array, jax.Array | None]:
        """Self-attention with residual and norm: f[B,T,D] -> f[B,T,D] and maps f[B,H,T,T]."""
        raise NotImplementedError  # every family implements it


@partial(jax.jit, static_argnums=0)
def draw_params(model: nn.Module, key: jax.Array) -> Params:
    """New float32 parameters, drawn with `key` by the initializers of the modules.

    Traced once for each model, however often the shapes of its parameters are asked for.
    """
    row = jnp.zeros((1, 1), jnp.int32)
    batch = Batch(row, row, row, row, row, row > 0)
    return model.init(key, batch)["params"]


def sow_qkv(attention: nn.Module, queries: jax.Array, keys: jax.Array, values: jax.Array) -> None:
    """Stores a layer's vectors, f[B,T,D] or by heads f[B,T,H,D/H], for `read_vectors`.

    Args:
        attention: the calling module. The first number in its path is the layer's number; a module
            that several layers share stores their vectors in order.
        queries, keys, values: before any scaling or rotation.
    """
    each = (vectors.reshape(*vectors.shape[:2], -1) for vectors in (queries, keys, values))
    attention.sow(COLLECTION, _NAME, QKV(*each))


def read_vectors(collections: Mapping[str, Any]) -> tuple[QKV, ...]:
    """The vectors that `sow_qkv` stored, by layer; empty for a model that does not call it.

    Args:
        collections: the mutable collections after the model was applied.
    """
    found = traverse_util.flatten_dict(collections.get(COLLECTION, {}))
    by_layer = {
        tuple(int(part) for part in path if part.isdecimal()): stored
        for path, stored in found.items()
        if path[-1] == _NAME
    }
    return tuple(vectors for layer in sorted(by_layer) for vectors in by_layer[layer])
