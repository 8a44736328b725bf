"""What a student learns of a teacher for a batch of texts: which signals, and their names.

Letters: B rows, T row length, C classes, D width, H heads.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax

from xdistil.data.packing import Array, Batch
from xdistil.models.forward import apply_model
from xdistil.models.hf.folder import Model
from xdistil.models.types import QKV, Params


@dataclass(frozen=True)
class SignalSpec:
    """Which outputs of a model are asked for."""

    logits: bool = False
    hidden: tuple[int, ...] = ()  # indices into Output.hidden; 0 is the embeddings
    attention: tuple[int, ...] = ()  # indices into Output.attention; 0 is the first layer
    vectors: tuple[int, ...] = ()  # indices into Output.vectors, likewise

    @property
    def plain(self) -> bool:
        """Whether it is logits and hidden states alone: attention maps grow with the square of the
        length, and queries, keys and values are three times a hidden state."""
        return not (self.attention or self.vectors)

    def union(self, other: "SignalSpec") -> "SignalSpec":
        """What either of two asks for, layers ascending."""
        return SignalSpec(
            self.logits or other.logits,
            tuple(sorted({*self.hidden, *other.hidden})),
            tuple(sorted({*self.attention, *other.attention})),
            tuple(sorted({*self.vectors, *other.vectors})),
        )


class Signals(NamedTuple):
    """What one stage needs of the teacher for a batch, and no more."""

    logits: Array | None  # f[B,T,C]
    hidden: tuple[Array, ...]  # the stage's teacher layers, in the order of its layer map
    attention: tuple[Array, ...]  # likewise
    features: Array | None = None  # f[B,T,F] what the student's own frozen encoder hands its head
    vectors: tuple[QKV, ...] = ()  # of the layers of its relation map, in that order
    present: Array | None = None  # bool[B,T] where there are values; None: wherever a loss looks


def signal_names(wanted: SignalSpec) -> tuple[str, ...]:
    """Names of the signals: `logits`, `hidden-N` (0 the embeddings), and of layer N, counted from
    1, `attention-N`, `queries-N`, `keys-N` and `values-N`."""
    return (
        *(("logits",) if wanted.logits else ()),
        *(f"hidden-{layer}" for layer in wanted.hidden),
        *(f"attention-{layer + 1}" for layer in wanted.attention),
        *(f"{part}-{layer + 1}" for layer in wanted.vectors for part in QKV._fields),
    )


def name_signals(signals: Signals) -> tuple[Array, ...]:
    """The arrays of signals in the order of their names."""
    return (
        *(() if signals.logits is None else (signals.logits,)),
        *signals.hidden,
        *signals.attention,
        *(part for vectors in signals.vectors for part in vectors),
    )


def arrange_signals(wanted: SignalSpec, arrays: dict[str, Array]) -> Signals:
    """Arrays by name as the signals of a batch."""
    return Signals(
        logits=arrays["logits"] if wanted.logits else None,
        hidden=tuple(arrays[f"hidden-{layer}"] for layer in wanted.hidden),
        attention=tuple(arrays[f"attention-{layer + 1}"] for layer in wanted.attention),
        vectors=tuple(
            QKV(*(arrays[f"{part}-{layer + 1}"] for part in QKV._fields))
            for layer in wanted.vectors
        ),
    )


@partial(jax.jit, static_argnames=("model", "wanted"))
def compute_signals(params: Params, batch: Batch, *, model: Model, wanted: SignalSpec) -> Signals:
    """The wanted outputs of a deterministic forward pass; what is not wanted is not computed."""
    output = apply_model(
        model, params, batch, attention=bool(wanted.attention), vectors=bool(wanted.vectors)
    )
    maps, vectors = output.attention or (), output.vectors or ()
    return Signals(
        logits=output.logits if wanted.logits else None,
        hidden=tuple(output.hidden[layer] for layer in wanted.hidden),
        attention=tuple(maps[layer] for layer in wanted.attention),
        vectors=tuple(vectors[layer] for layer in wanted.vectors),
    )
