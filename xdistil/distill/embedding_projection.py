"""Word embeddings that also learn how the teacher's are projected.

A student's table starts as a projection of its teacher's: the SVD, which keeps what varies most
over the subwords, whatever the task needs. A stage can learn the projection further. The table is
then E = R + W P: R is trained row by row, W f[V,D] are the teacher's rows for the student's
subwords, which stay, and P f[D,E] starts as 0 and is trained too. A change of P moves all rows,
those of subwords that hardly occur like those of subwords that the teacher embeds nearby.

Only E is kept: it changes by the change of R, and by W times the change of P. The gradient of P is
W^T times that of E. So P is nowhere but in the moments of the optimizer.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from xdistil.data.packing import Array
from xdistil.models.types import Params
from xdistil.student.embeddings import with_embedding

PROJECTION = "embedding_projection"  # the top-level key of P among gradients, updates and moments


def find_table(params: Mapping[str, Any]) -> Any:
    """The word embeddings f[V,E], or whatever stands in their place, of a tree of parameters."""
    return params["embeddings"]["word_embeddings"]["embedding"]


def add_projection(gradient: Params, teacher: Array) -> Params:
    """Gradients, with that of P.

    Args:
        gradient: of the trainable parameters, the word embeddings f[V,E] among them.
        teacher: W f[V,D].
    """
    return {**gradient, PROJECTION: jnp.matmul(teacher.T, find_table(gradient))}


def start_projection(trainable: Params, width: int) -> Params:
    """Parameters, with P f[width,E] of zeros; a width of 0 adds none."""
    if not width:
        return trainable
    table = find_table(trainable)
    return {**trainable, PROJECTION: jnp.zeros((width, table.shape[1]), table.dtype)}


def fold_projection(updates: Params, teacher: Array) -> Params:
    """Updates of parameters, that of P as a part of that of the word embeddings.

    Args:
        updates: with that of P f[D,E].
        teacher: W f[V,D].
    """
    rest = {name: tree for name, tree in updates.items() if name != PROJECTION}
    return with_embedding(rest, find_table(rest) + jnp.matmul(teacher, updates[PROJECTION]))
