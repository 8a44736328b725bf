"""What every later file speaks: a packed batch, a model's output, a teacher's signals.

Letters: B rows, T row length in pieces, C classes, L layers, D width, H heads.
"""

from typing import NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Params = dict  # nested dicts of arrays, in the names of HF Flax checkpoints


class Batch(NamedTuple):
    """Packed rows: several segments (sentences, pairs, windows) end to end in each row."""

    tokens: Array  # i32[B,T] vocabulary ids; the padding id where segment is 0
    segment: Array  # i32[B,T] 1, 2, ... within a row; 0 is padding
    position: Array  # i32[B,T] 0, 1, ... restarting in every segment
    token_type: Array  # i32[B,T] 0, and 1 in the second text of a pair
    labels: Array  # i32[B,T] class where label_mask is true, elsewhere 0
    label_mask: Array  # bool[B,T] first piece of a word (tagging) or of a segment (classification)


class Vectors(NamedTuple):
    """What a layer's self-attention compares and mixes, all heads side by side."""

    queries: Array  # f[B,T,D], before any scaling
    keys: Array  # f[B,T,D]
    values: Array  # f[B,T,D]


class Output(NamedTuple):
    """What a model makes of a batch."""

    logits: Array | None  # f[B,T,C]; meaningful at label_mask; None for a model without head
    hidden: tuple[Array, ...]  # L+1 arrays f[B,T,D]; the first are the embeddings
    attention: tuple[Array, ...] | None  # L arrays f[B,H,T,T] of probabilities, where asked for
    vectors: tuple[Vectors, ...] | None = None  # of L layers, where asked for


class Signals(NamedTuple):
    """What one stage needs of the teacher for a batch, and no more."""

    logits: Array | None  # f[B,T,C]
    hidden: tuple[Array, ...]  # the stage's teacher layers, in the order of its layer map
    attention: tuple[Array, ...]  # likewise
    features: Array | None = None  # f[B,T,F] what the student's own frozen encoder hands its head
    vectors: tuple[Vectors, ...] = ()  # of the layers of its relation map, in that order
    present: Array | None = None  # bool[B,T] where there are values; None: wherever a loss looks


def count_parameters(params: Params) -> dict[str, int]:
    """`total` numbers in the parameters, and those of the word `embeddings` among them."""
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    embeddings = int(np.size(params["embeddings"]["word_embeddings"]["embedding"]))
    return {"total": total, "embeddings": embeddings}
