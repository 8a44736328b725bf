"""What a teacher is to the rest of a run: a protocol, and the run's reader of its signals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from xdistil.data.packing import Array, Batch
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.runtime.session import Session
from xdistil.teacher.cache_policy import CacheChoice
from xdistil.teacher.growing_cache import GrowingCache
from xdistil.teacher.signals import (
    Request,
    Signals,
    SignalSpec,
    arrange_signals,
    name_signals,
    signal_names,
)
from xdistil.teacher.storage import MASK, Signal


class Unit(Enum):
    """What a teacher's values belong to, seen from the student."""

    SUBWORD = "subword"  # the student's subwords are the teacher's
    WORD = "word"  # they are not: values stand on the first subword of a word, or of a text
    NOTHING = "nothing"  # there is no teacher


def _read_nothing(batch: Batch, spec: SignalSpec) -> Signals:
    raise LookupError(f"{signal_names(spec)} are neither stored nor computed")  # a mistake of ours


@dataclass(frozen=True)
class SignalReader:
    """The signals of a run's stages: stored ones, and the rest computed in every step.

    Stages that compute signals of texts whose cache grows compute those of the cache too, whether
    or not they are in it by now: a resumed run reads what an uninterrupted one does.
    """

    stored: Mapping[str, Mapping[str, Signal]] = field(default_factory=dict)  # by set of texts and
    # signal name; beside them perhaps MASK, bool[P]
    compute: Callable[[Batch, SignalSpec], Signals] = _read_nothing
    growing: Mapping[str, GrowingCache] = field(default_factory=dict)  # by set of texts

    def writer(self, texts: str, spec: SignalSpec) -> GrowingCache | None:
        """The cache of a set of texts that a stage fills: one that computes what is not in it."""
        growing = self.growing.get(texts)
        if growing is None or spec.without(signal_names(growing.spec)) == SignalSpec():
            return None
        return growing

    def columns(self, texts: str, spec: SignalSpec) -> dict[str, Signal]:
        """The stored signals of the spec, which batches of a set of texts bring along.

        Where values are missing at some subwords (there is a mask), signals are not mixed with
        computed ones: all of the spec, or none. A cache that still grows is finished before.
        """
        stored, wanted = self.stored.get(texts, {}), signal_names(spec)
        if wanted and texts in self.growing:
            stored = {} if self.writer(texts, spec) else self.growing[texts].finish()
        names = [name for name in wanted if name in stored]
        if MASK in stored and names:
            names = [*names, MASK] if len(names) == len(wanted) else []
        return {name: stored[name] for name in names}

    def signals(self, batch: Batch, loaded: dict[str, Array], spec: SignalSpec) -> Signals:
        """The signals of a batch.

        Args:
            batch: global arrays.
            loaded: what `columns` gave for these rows, as global arrays.
        """
        missing = spec.without(loaded)
        if missing == spec != SignalSpec():
            return self.compute(batch, spec)
        if missing != SignalSpec():
            computed = name_signals(self.compute(batch, missing))
            # The three parts of a layer are computed where one of them is not stored.
            loaded = {**dict(zip(signal_names(missing), computed, strict=True)), **loaded}
        return arrange_signals(spec, loaded)._replace(present=loaded.get(MASK))


class Teacher(Protocol):
    """Who the student learns from; `open_teacher` chooses one of the kinds, once.

    A new kind is a class with these methods and a line in teacher/source.py.
    """

    @property
    def name(self) -> str:
        """The teacher in logs, tables and cards."""

    @property
    def unit(self) -> Unit:
        """What its values belong to."""

    def shape(self, where: str) -> EncoderConfig:
        """Its layers and widths, which layer maps are checked against.

        Raises:
            InputError: there is no teacher; `where` names the stage that asks for one.
        """

    def check(self, request: Request) -> None:
        """Raises InputError where the teacher cannot give what a request asks for."""

    def plan(self, requests: Sequence[Request]) -> tuple[CacheChoice, ...]:
        """Which signals are cached and which computed in the steps; nothing is read or written."""

    def reader(self, requests: Sequence[Request], session: Session) -> SignalReader:
        """The reader that serves these requests; one pass over the texts fills the cache."""

    def fingerprints(self) -> dict[str, tuple[str, str]]:
        """(where it was read, SHA-256 of its content) of what the teacher is, by name."""


@dataclass(frozen=True)
class NoTeacher:
    """A student that continues alone, on labels."""

    name: str = "no teacher"
    unit: Unit = Unit.NOTHING

    def shape(self, where: str) -> EncoderConfig:
        """Raises InputError: a stage that asks for the shape needs a teacher."""
        raise InputError(f"{where}, which needs a teacher: set teacher.model.")

    def check(self, request: Request) -> None:
        """Nothing to check: `shape` has refused whatever needs a teacher."""

    def plan(self, requests: Sequence[Request]) -> tuple[CacheChoice, ...]:
        """Nothing is read."""
        return ()

    def reader(self, requests: Sequence[Request], session: Session) -> SignalReader:
        """A reader of nothing."""
        return SignalReader()

    def fingerprints(self) -> dict[str, tuple[str, str]]:
        """None."""
        return {}
