"""What a student reads of a teacher: which signals, on which texts, and under which names.

Letters: B rows, T row length, C classes, D width, H heads.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xdistil.data.packing import Array, Batch, PackedTexts
from xdistil.models.forward import apply_model
from xdistil.models.types import QKV, Model, Params


@dataclass(frozen=True)
class SignalSpec:
    """Which outputs of a model are asked for."""

    logits: bool = False
    hidden: tuple[int, ...] = ()  # indices into Output.hidden; 0 is the embeddings
    attention: tuple[int, ...] = ()  # indices into Output.attention; 0 is the first layer
    vectors: tuple[int, ...] = ()  # indices into Output.vectors, likewise

    @property
    def pair_loss(self) -> str:
        """The loss that asks for values of pairs of subwords; empty where none does."""
        return "attention" if self.attention else "relations" if self.vectors else ""

    def union(self, other: "SignalSpec") -> "SignalSpec":
        """What either of two asks for, layers ascending."""
        return SignalSpec(
            self.logits or other.logits,
            tuple(sorted({*self.hidden, *other.hidden})),
            tuple(sorted({*self.attention, *other.attention})),
            tuple(sorted({*self.vectors, *other.vectors})),
        )

    def without(self, names: Collection[str]) -> "SignalSpec":
        """What is left without these signals; of queries, keys and values of a layer, all three
        where one of them is left."""

        def keep(layers: tuple[int, ...], first: int, *parts: str) -> tuple[int, ...]:
            return tuple(n for n in layers if any(f"{p}-{n + first}" not in names for p in parts))

        return SignalSpec(
            logits=self.logits and "logits" not in names,
            hidden=keep(self.hidden, 0, "hidden"),
            attention=keep(self.attention, 1, "attention"),
            vectors=keep(self.vectors, 1, *QKV._fields),
        )


@dataclass(frozen=True)
class Request:
    """What one stage reads of the teacher on one set of texts."""

    stage: str  # the stage's place in the config, such as `plan[0]`, for errors
    texts: str  # name of the set: transfer, train, all, dev ...
    spec: SignalSpec
    readings: float  # how often the stage reads all of the texts, at most
    student: PackedTexts  # in the student's subwords
    teacher: PackedTexts  # in the teacher's; the same object where these are the student's


def merge_requests(requests: Iterable[Request]) -> dict[str, Request]:
    """One request for each set of texts: all signals that any of them asks for, all readings."""
    merged: dict[str, Request] = {}
    for each in requests:
        known = merged.get(each.texts, replace(each, spec=SignalSpec(), readings=0.0))
        merged[each.texts] = replace(
            known, spec=known.spec.union(each.spec), readings=known.readings + each.readings
        )
    return merged


class Signals(NamedTuple):
    """What one stage needs of the teacher for a batch, and no more."""

    logits: Array | None  # f[B,T,C]
    hidden: tuple[Array, ...]  # the stage's teacher layers, in the order of its layer map
    attention: tuple[Array, ...]  # likewise
    features: Array | None = None  # f[B,T,F] what the student's own frozen encoder hands its head
    vectors: tuple[QKV, ...] = ()  # of the layers of its relation map, in that order
    present: Array | None = None  # bool[B,T] where there are values; None: wherever a loss looks
    targets: Array | None = None  # f[B,T,C] probabilities of labels, where annotators voted


def signal_names(spec: SignalSpec) -> tuple[str, ...]:
    """Names of the signals: `logits`, `hidden-N` (0 the embeddings), and of layer N, counted from
    1, `attention-N`, `queries-N`, `keys-N` and `values-N`."""
    return (
        *(("logits",) if spec.logits else ()),
        *(f"hidden-{layer}" for layer in spec.hidden),
        *(f"attention-{layer + 1}" for layer in spec.attention),
        *(f"{part}-{layer + 1}" for layer in spec.vectors for part in QKV._fields),
    )


def name_signals(signals: Signals) -> tuple[Array, ...]:
    """The arrays of signals in the order of their names."""
    return (
        *(() if signals.logits is None else (signals.logits,)),
        *signals.hidden,
        *signals.attention,
        *(part for vectors in signals.vectors for part in vectors),
    )


def arrange_signals(spec: SignalSpec, arrays: dict[str, Array]) -> Signals:
    """Arrays by name as the signals of a batch."""
    return Signals(
        logits=arrays["logits"] if spec.logits else None,
        hidden=tuple(arrays[f"hidden-{layer}"] for layer in spec.hidden),
        attention=tuple(arrays[f"attention-{layer + 1}"] for layer in spec.attention),
        vectors=tuple(
            QKV(*(arrays[f"{part}-{layer + 1}"] for part in QKV._fields)) for layer in spec.vectors
        ),
    )


@partial(jax.jit, static_argnames=("model", "spec"))
def compute_signals(params: Params, batch: Batch, *, model: Model, spec: SignalSpec) -> Signals:
    """The spec outputs of a deterministic forward pass; what is not spec is not computed."""
    output = apply_model(
        model, params, batch, attention=bool(spec.attention), vectors=bool(spec.vectors)
    )
    maps, vectors = output.attention or (), output.vectors or ()
    return Signals(
        logits=output.logits if spec.logits else None,
        hidden=tuple(output.hidden[layer] for layer in spec.hidden),
        attention=tuple(maps[layer] for layer in spec.attention),
        vectors=tuple(vectors[layer] for layer in spec.vectors),
    )


@dataclass(frozen=True)
class PlacedModel:
    """A model with its parameters on the devices, and how it reads a student's subwords."""

    model: Model
    params: Params  # on the devices
    padding_id: int  # of the subwords that it is given
    remap: np.ndarray | None  # i32[student vocabulary] its id of each student subword; None: equal
    fingerprint: str  # of the parameters
    mesh: Mesh

    def compute(self, batch: Batch, spec: SignalSpec) -> Signals:
        """Signals of a batch (global arrays) of student subwords."""
        if self.remap is not None:
            batch = batch._replace(tokens=jnp.asarray(self.remap)[batch.tokens])
        return compute_signals(self.params, batch, model=self.model, spec=spec)


def params_fingerprint(params: Params) -> str:
    """SHA-256 of every leaf's bytes in tree order."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()
