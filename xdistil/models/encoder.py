"""What all encoders share: from a batch to logits.

Letters: B rows, T row length in subwords, C classes, L layers, D width, H heads.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.data.packing import Array, Batch
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.layers import dense, draw_params
from xdistil.models.ops import Dropout, array_type
from xdistil.models.types import Output, Params

States = tuple[jax.Array, ...]
Maps = tuple[jax.Array | None, ...]


class Transformer(nn.Module):
    """A model of packed rows with the head of a task; hashable, so a jit static argument.

    `task_kind` is "tagging", "classification" or "" (no head: Output.logits is None). A family
    implements `encode` and `classify`, and `tag` if that is more than one dense layer.
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

        A position attends to the positions of its own segment. Padding is a segment of its own, so
        that no row of the softmax is empty; its outputs are finite and have no meaning. The maps
        are probabilities before dropout, and None unless `attention`. `deterministic=False` needs
        the rng "dropout".
        """
        if features is not None:
            hidden = features.astype(array_type(self.dtype))
            return Output(self._compute_logits(hidden, batch, deterministic), (hidden,), None)
        same_segment = batch.segment[:, :, None] == batch.segment[:, None, :]
        states, maps = self.encode(batch, same_segment, attention, deterministic)
        wanted = tuple(each for each in maps if each is not None) if attention else None
        return Output(self._compute_logits(states[-1], batch, deterministic), states, wanted)

    def _compute_logits(
        self, hidden: jax.Array, batch: Batch, deterministic: bool
    ) -> jax.Array | None:
        if not self.task_kind:
            return None
        if self.task_kind == "classification":
            logits = self.classify(hidden, batch, deterministic)
        else:
            logits = self.tag(hidden, deterministic)
        return logits.astype(jnp.float32)

    def encode(
        self, batch: Batch, same_segment: jax.Array, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        """L+1 hidden states f[B,T,D] and L maps f[B,H,T,T], which may be None unless `attention`.

        `same_segment` bool[B,T,T] is true for pairs of positions of one segment.
        """
        raise NotImplementedError  # every family implements it

    def classify(self, hidden: jax.Array, batch: Batch, deterministic: bool) -> jax.Array:
        """The last hidden state f[B,T,D] -> logits f[B,T,C], of each segment at its first subword.

        Other positions are never read.
        """
        raise NotImplementedError  # every family implements it

    def tag(self, hidden: jax.Array, deterministic: bool) -> jax.Array:
        """The last hidden state f[B,T,D] -> logits f[B,T,C] of subwords."""
        hidden = Dropout(self.config.dropout)(hidden, deterministic)
        return dense(self.config, self.classes, self.dtype, "classifier")(hidden)

    @property
    def depth(self) -> int:
        """The number of layers."""
        return self.config.layers

    @property
    def max_positions(self) -> int | None:
        """The largest number of subwords in a segment."""
        return self.config.positions

    @property
    def attention_heads(self) -> int:
        """The number of attention heads of a layer."""
        return self.config.heads

    @property
    def projection_size(self) -> int | None:
        """None: a loss reads hidden states as they are."""
        return None

    @property
    def features(self) -> int:
        """The index among the hidden states of what the head reads: the last."""
        return self.config.layers

    @nn.nowrap
    def compared_state(self, output: Output, layer: int, kind: str) -> Array:
        """The hidden state f[B,T,D] of a layer, whatever the kind of loss; 0: the embeddings."""
        return output.hidden[layer]

    @nn.nowrap
    def summary(self) -> str:
        """Model type, layers, heads and widths on one line."""
        config = self.config
        return (
            f"{config.model_type}, {config.layers} layers x {config.hidden_size}, {config.heads} "
            f"heads, embeddings {config.embedding_size}"
        )

    @nn.nowrap
    def init_params(self, key: jax.Array) -> Params:
        """New float32 parameters, drawn with `key`: normal weights, zero biases."""
        return draw_params(self, key)


class Stack(nn.Module):
    """A sequence of layers under the path `layer/N` -> L+1 hidden states and L maps.

    `layer` is a family's module, built from config, dtype and index. It gets the hidden states and
    the other arguments of the call, and returns the next hidden states and the attention map.
    """

    layer: type[nn.Module]
    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, *context: Any, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        return Layers(self.layer, self.config, self.dtype, name="layer")(
            hidden, *context, attention=attention, deterministic=deterministic
        )


class Layers(nn.Module):
    """The layers of a Stack; a module of its own because its name is part of the path."""

    layer: type[nn.Module]
    config: EncoderConfig
    dtype: str

    @nn.compact
    def __call__(
        self, hidden: jax.Array, *context: Any, attention: bool, deterministic: bool
    ) -> tuple[States, Maps]:
        make: Any = self.layer
        states, maps = [hidden], []
        for index in range(self.config.layers):
            hidden, probabilities = make(self.config, self.dtype, index, name=str(index))(
                hidden, *context, attention=attention, deterministic=deterministic
            )
            states.append(hidden)
            maps.append(probabilities)
        return tuple(states), tuple(maps)
