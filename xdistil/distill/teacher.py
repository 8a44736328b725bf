"""A trained model as the source of a stage's signals, computed on the fly, and their names."""

import hashlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xdistil.models.forward import Wanted, compute_signals
from xdistil.models.hf.folder import Model
from xdistil.models.types import Array, Batch, Params, Signals, Vectors


@dataclass(frozen=True)
class Reader:
    """A trained model, and how it reads a student's pieces."""

    model: Model
    params: Params  # on the devices
    padding_id: int
    kept: np.ndarray | None  # i32[student vocabulary] teacher id of each student piece; None: equal
    fingerprint: str  # of the parameters
    mesh: Mesh

    def compute(self, batch: Batch, wanted: Wanted) -> Signals:
        """Signals of a batch (global arrays) of student pieces."""
        if self.kept is not None:
            batch = batch._replace(tokens=jnp.asarray(self.kept)[batch.tokens])
        return compute_signals(self.params, batch, model=self.model, wanted=wanted)


def params_fingerprint(params: Params) -> str:
    """SHA-256 of every leaf's bytes in tree order."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def signal_names(wanted: Wanted) -> tuple[str, ...]:
    """Names of the signals: `logits`, `hidden-N` (0 the embeddings), and of layer N, counted from
    1, `attention-N`, `queries-N`, `keys-N` and `values-N`."""
    return (
        *(("logits",) if wanted.logits else ()),
        *(f"hidden-{layer}" for layer in wanted.hidden),
        *(f"attention-{layer + 1}" for layer in wanted.attention),
        *(f"{part}-{layer + 1}" for layer in wanted.vectors for part in Vectors._fields),
    )


def name_signals(signals: Signals) -> tuple[Array, ...]:
    """The arrays of signals in the order of their names."""
    return (
        *(() if signals.logits is None else (signals.logits,)),
        *signals.hidden,
        *signals.attention,
        *(part for vectors in signals.vectors for part in vectors),
    )


def arrange_signals(wanted: Wanted, arrays: dict[str, Array]) -> Signals:
    """Arrays by name as the signals of a batch."""
    return Signals(
        logits=arrays["logits"] if wanted.logits else None,
        hidden=tuple(arrays[f"hidden-{layer}"] for layer in wanted.hidden),
        attention=tuple(arrays[f"attention-{layer + 1}"] for layer in wanted.attention),
        vectors=tuple(
            Vectors(*(arrays[f"{part}-{layer + 1}"] for part in Vectors._fields))
            for layer in wanted.vectors
        ),
    )
