"""What every later file speaks: a packed batch, a model's output, a teacher's signals.

Letters: B rows, T row length in subwords, C classes, L layers, D width, H heads.
"""

from typing import NamedTuple

import jax
import numpy as np

from xdistil.data.packing import Array

Params = dict  # nested dicts of arrays, in the names of HF Flax checkpoints


class QKV(NamedTuple):
    """What a layer's self-attention compares and mixes, all heads side by side."""

    queries: Array  # f[B,T,D], before any scaling
    keys: Array  # f[B,T,D]
    values: Array  # f[B,T,D]


class Output(NamedTuple):
    """What a model makes of a batch."""

    logits: Array | None  # f[B,T,C]; meaningful at label_mask; None for a model without head
    hidden: tuple[Array, ...]  # L+1 arrays f[B,T,D]; the first are the embeddings
    attention: tuple[Array, ...] | None  # L arrays f[B,H,T,T] of probabilities, where asked for
    vectors: tuple[QKV, ...] | None = None  # of L layers, where asked for


def count_parameters(params: Params) -> dict[str, int]:
    """`total` numbers in the parameters, and those of the word `embeddings` among them."""
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    embeddings = int(np.size(params["embeddings"]["word_embeddings"]["embedding"]))
    return {"total": total, "embeddings": embeddings}
