"""Where the teacher's signals come from: a cache on disk, or the teacher in the steps.

The choice is made by signal: for every set of texts, what the stages read is divided into a part
that is cached by one pass and a part that is computed by the stages that read it. What is read
often and small, such as logits, is worth a cache; what is read once, or too large for the disk, is
not: attention maps grow with the square of the length, and queries, keys and values are three times
a hidden state. The config may ask for all or nothing.

The rates are nominal, not measured, so that the same run makes the same choice every time: cached
values are rounded. A student whose subwords differ from the teacher's can only learn from a cache,
since the teacher cannot read the rows of its steps.
"""

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import jax
import numpy as np

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.word_alignment import count_words
from xdistil.models.encoder import Transformer
from xdistil.models.types import trace_shapes
from xdistil.teacher.cache import measure_signals
from xdistil.teacher.signals import Request, SignalSpec, signal_names

MOST_BYTES = 16 * 2**30  # of the cache of one set of texts, unless the config asks for more
DISK_RATE = 5e8  # bytes a second, written or read: an ordinary solid-state disk
CORE_RATE = 7e10  # float32 operations a second of a CPU core in an encoder's forward pass
ACCELERATOR_RATE = 1e14  # operations a second of a GPU or TPU in the same
LEAST_SECONDS = 1.0  # that a cache of some signals alone must save


@dataclass(frozen=True)
class CacheChoice:
    """What becomes of some of the signals of a set of texts, beside the other option."""

    texts: str  # the name of the set
    spec: SignalSpec
    subwords: int
    readings: float  # how often steps and evaluations read all of them, at most
    bytes: int  # of the cache
    computed_seconds: float  # infinite where the steps cannot compute them
    cached_seconds: float
    cached: bool
    too_large: bool = False  # that they are not cached is due to MOST_BYTES alone
    grows: bool = False  # the steps that compute the other signals write the cache


@dataclass(frozen=True)
class _Costs:
    """Seconds and bytes of a cache for the stages that ask for some of the specs."""

    readings: Mapping[SignalSpec, float]  # of each spec that stages ask for
    sizes: Mapping[str, int]  # bytes of each signal
    forward: float  # seconds in which the teacher reads all of the texts

    def bytes(self, cached: Iterable[SignalSpec]) -> int:
        return sum(self.sizes[name] for name in signal_names(_join(cached)))

    def cache(self, cached: Collection[SignalSpec]) -> float:
        """One pass that writes, and what is read later."""
        read = sum(self.readings[spec] * self.bytes([spec]) for spec in cached)
        return (self.forward if cached else 0.0) + (self.bytes(cached) + read) / DISK_RATE

    def compute(self, specs: Iterable[SignalSpec]) -> float:
        return self.forward * sum(self.readings[spec] for spec in specs)

    def total(self, cached: Collection[SignalSpec]) -> float:
        return self.cache(cached) + self.compute(self.others(cached))

    def others(self, cached: Collection[SignalSpec]) -> list[SignalSpec]:
        return [spec for spec in self.readings if spec not in cached]


def choose_cache(
    requests: Sequence[Request],
    teacher: config.Teacher,
    model: Transformer,
    task: Task,
    by_word: bool,
) -> tuple[CacheChoice, ...]:
    """What is cached of the signals that stages ask for.

    Args:
        teacher: `cache` and `cache_type` are read.
        by_word: the student's subwords are not the teacher's: values belong to words.
    """
    shapes = trace_shapes(model)
    rate = nominal_rate(sum(leaf.size for leaf in jax.tree.leaves({**shapes, "embeddings": {}})))
    readings: dict[str, dict[SignalSpec, float]] = {}
    for each in requests:
        of_texts = readings.setdefault(each.texts, {})
        of_texts[each.spec] = of_texts.get(each.spec, 0.0) + each.readings
    texts = {each.texts: each.teacher for each in requests}
    # Runs that share a folder write one after another, and several processes write in step.
    shared = teacher.cache_folder or teacher.shared_folder
    may_grow = not shared and jax.process_count() == 1
    choices: list[CacheChoice] = []
    for name, of_texts in readings.items():
        subwords = texts[name].subwords
        vectors = len(subwords.tokens)
        if by_word:
            vectors = int(count_words(texts[name].examples, task).sum())
        pairs = int(np.square(np.diff(subwords.start)).sum())
        sizes = measure_signals(_join(of_texts), teacher.cache_type, model, vectors, pairs)
        count = len(subwords.tokens)
        grows = may_grow and name != "dev"  # which no step reads
        choices += divide(name, of_texts, sizes, count, rate, teacher.cache, by_word, grows)
    return tuple(choices)


def divide(
    texts: str,
    readings: Mapping[SignalSpec, float],
    sizes: Mapping[str, int],
    subwords: int,
    rate: float,
    choice: str,
    by_word: bool = False,
    may_grow: bool = False,
) -> list[CacheChoice]:
    """The signals of one set of texts: those that the steps compute, and those that are cached.

    Args:
        readings: how often all subwords are read, by what the stages that read them ask for, in
            the order of the stages.
        sizes: bytes of the cache of each signal.
        rate: subwords a second that the teacher reads.
        choice: `always` or `never` to cache, or `auto`.
        by_word: the teacher does not read the student's subwords: the cache is the only option.
        may_grow: a stage that computes signals before any other stage reads the cache writes it.
    """
    costs = _Costs(readings, sizes, subwords / rate)
    cached = _choose(costs, MOST_BYTES)
    if choice == "always" or by_word:
        cached = list(readings)
    elif choice == "never":
        cached = []
    computed = costs.others(cached)
    kept, whole = _join(cached), _join(readings)
    rest = whole.without(signal_names(kept))
    choices = []
    if computed:
        more = costs.cache(readings) - costs.cache(cached)
        choices.append(
            CacheChoice(
                texts=texts,
                spec=rest,
                subwords=subwords,
                readings=sum(readings[spec] for spec in computed),
                bytes=costs.bytes([rest]),
                computed_seconds=costs.compute(computed),
                cached_seconds=more,
                cached=False,
                too_large=choice == "auto" and _choose(costs, math.inf) != cached,
            )
        )
    if cached:
        grows = may_grow and next(iter(readings)) in computed
        choices.append(
            CacheChoice(
                texts=texts,
                spec=kept,
                subwords=subwords,
                readings=sum(readings[spec] for spec in cached),
                bytes=costs.bytes(cached),
                computed_seconds=math.inf if by_word else costs.compute(cached),
                cached_seconds=costs.cache(cached) - grows * costs.forward,
                cached=True,
                grows=grows,
            )
        )
    return choices


def _choose(costs: _Costs, limit: float) -> list[SignalSpec]:
    """The specs that are cached: one after another the one that saves most seconds a byte, while
    one saves any; all or none of them where that takes hardly longer."""
    cached: list[SignalSpec] = []
    while True:
        best, most = None, 0.0
        for spec in costs.others(cached):
            now = [*cached, spec]
            added = costs.bytes(now) - costs.bytes(cached)
            disk = added + costs.readings[spec] * costs.bytes([spec])
            saved = costs.compute([spec]) - disk / DISK_RATE
            if costs.bytes(now) <= limit and saved / max(added, 1) > most:
                best, most = spec, saved / max(added, 1)
        if best is None:
            break
        cached.append(best)
    # What the cache holds is read from there by every stage.
    kept = _join(cached)
    cached = [spec for spec in costs.readings if kept.union(spec) == kept]
    every = list(costs.readings)
    options: list[list[SignalSpec]] = [[], every] if costs.bytes(every) <= limit else [[]]
    simple = min(options, key=costs.total)
    return cached if costs.total(cached) + LEAST_SECONDS < costs.total(simple) else simple


def _join(specs: Iterable[SignalSpec]) -> SignalSpec:
    return reduce(SignalSpec.union, specs, SignalSpec())


def nominal_rate(parameters: int) -> float:
    """Subwords a second that a teacher reads here: two operations a subword for every parameter.

    Args:
        parameters: of the teacher without its embeddings, which are looked up.
    """
    if jax.default_backend() == "cpu":
        speed = CORE_RATE * (os.cpu_count() or 1)
    else:
        speed = ACCELERATOR_RATE * jax.device_count()
    return speed / (2 * parameters)


def describe_choice(choice: CacheChoice) -> str:
    """The estimates in words, and why a slower option was taken."""
    options = {
        True: (
            f"cached{' by the steps that compute the others' * choice.grows}: about "
            f"{describe_seconds(choice.cached_seconds)} and "
            f"{choice.bytes / 2**20:,.0f} MiB"
        ),
        False: f"computed in the steps: about {describe_seconds(choice.computed_seconds)}",
    }
    other = options[not choice.cached]
    if math.isinf(choice.computed_seconds):
        other = "the only option: the teacher does not read the student's subwords"
    told = (
        f"the teacher's {', '.join(signal_names(choice.spec))} of {choice.texts} "
        f"({choice.subwords:,} subwords, read up to {choice.readings:.3g} times) will be "
        f"{options[choice.cached]} ({other})"
    )
    return f"{told}; {describe_limit(choice)}" if choice.too_large else told


def describe_limit(choice: CacheChoice) -> str:
    """Why signals are computed that would be faster from a cache."""
    return (
        f"{choice.bytes / 2**30:,.1f} GiB more would exceed the {MOST_BYTES >> 30} GiB that the "
        "cache of a set of texts may take unless teacher.cache=always"
    )


def describe_seconds(seconds: float) -> str:
    """Seconds, or minutes where they are many."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
