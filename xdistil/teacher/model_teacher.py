"""A trained model as a teacher: it computes signals for batches of the student's subwords."""

import hashlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xdistil.data.packing import Batch
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params
from xdistil.teacher.signals import Signals, SignalSpec, compute_signals


@dataclass(frozen=True)
class Reader:
    """A trained model, and how it reads a student's subwords."""

    model: Model
    params: Params  # on the devices
    padding_id: int
    kept: (
        np.ndarray | None
    )  # i32[student vocabulary] teacher id of each student subword; None: equal
    fingerprint: str  # of the parameters
    mesh: Mesh

    def compute(self, batch: Batch, wanted: SignalSpec) -> Signals:
        """Signals of a batch (global arrays) of student subwords."""
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
