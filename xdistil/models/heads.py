"""Task heads of encoders for sequence classification.

A head runs at every position of a packed row; its output is used where `label_mask` is true. A
tagging head is one dense layer named `classifier` and needs no module.
"""

from collections.abc import Callable

import jax
from flax import linen as nn

from xdistil.models.ops import Dropout, dense_layer


class Pooler(nn.Module):
    """The pooler of BERT (tanh) and DeBERTa (GELU), at every position: activation(dense), f[B,T,D].

    Only sequence classification uses it: the classifier reads its value on [CLS].
    """

    activation: Callable[[jax.Array], jax.Array]
    kernel_init: jax.nn.initializers.Initializer
    dtype: str = "float32"

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        dense = dense_layer(
            hidden.shape[-1], self.dtype, kernel_init=self.kernel_init, name="dense"
        )
        return self.activation(dense(hidden))


class TwoLayerClassifier(nn.Module):
    """The sequence head of ELECTRA (GELU) and RoBERTa (tanh), at every position.

    Dropout, dense, activation, dropout, dense; f[B,T,D] -> f[B,T,C].
    """

    classes: int
    activation: Callable[[jax.Array], jax.Array]
    dropout: float
    kernel_init: jax.nn.initializers.Initializer
    dtype: str = "float32"

    @nn.compact
    def __call__(self, hidden: jax.Array, deterministic: bool = True) -> jax.Array:
        def dense(size: int, name: str) -> nn.Dense:
            return dense_layer(size, self.dtype, kernel_init=self.kernel_init, name=name)

        hidden = Dropout(self.dropout)(hidden, deterministic)
        hidden = self.activation(dense(hidden.shape[-1], "dense")(hidden))
        hidden = Dropout(self.dropout)(hidden, deterministic)
        return dense(self.classes, "out_proj")(hidden)
