"""Queries, keys and values of every layer, for the relations of MiniLMv2 (arXiv 2012.15828).

A family takes part by one line in the module of its self-attention: `hand_out_vectors(self, ...)`,
called once a layer, in the order of the layers. Nothing else changes: no argument, no output. Who
asks for the vectors applies the model with the collection COLLECTION mutable and reads them with
`read_vectors`; for everybody else the line does nothing, and costs nothing. A family without the
line is refused where a plan wants relations.
"""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn
from flax import traverse_util

from xdistil.models.structs import Vectors

COLLECTION = "intermediates"  # which Flax leaves out of what it initializes
_NAME = "vectors"


def hand_out_vectors(
    attention: nn.Module, queries: jax.Array, keys: jax.Array, values: jax.Array
) -> None:
    """Hands out a layer's vectors, f[B,T,D] or by heads f[B,T,H,D/H], before any scaling.

    Args:
        attention: the module that calls. Where it is one of several, the first number in its path
            is the layer's; one module that is called for several layers hands out in their order.
    """
    each = (vectors.reshape(*vectors.shape[:2], -1) for vectors in (queries, keys, values))
    attention.sow(COLLECTION, _NAME, Vectors(*each))


def read_vectors(collections: Mapping[str, Any]) -> tuple[Vectors, ...]:
    """What the layers handed out, in their order; empty for a model that hands out nothing.

    Args:
        collections: the mutable collections that the model was applied with, as it left them.
    """
    found = traverse_util.flatten_dict(collections.get(COLLECTION, {}))
    by_layer = {
        tuple(int(part) for part in path if part.isdecimal()): handed
        for path, handed in found.items()
        if path[-1] == _NAME
    }
    return tuple(vectors for layer in sorted(by_layer) for vectors in by_layer[layer])
