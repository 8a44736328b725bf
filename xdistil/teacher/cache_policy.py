"""How the teacher's signals reach the steps: cached on disk by one pass, or computed in every step.

Both are estimated for every set of texts; the faster is taken unless the config says otherwise. The
rates are nominal, not measured, so that the same run takes the same route every time: a cache is
rounded. Attention maps (which grow with the square of the length), queries, keys and values take so
much of the disk that the stages that want them may go one way and all others another. A student
with other subwords than the teacher's can learn from a cache alone, for the teacher does not read
the rows of its steps.
"""

import math
import os
from dataclasses import dataclass, replace

import jax

from xdistil.teacher.signals import SignalSpec, signal_names

MOST_BYTES = 16 * 2**30  # of the cache of one set of texts that is taken without being asked for
DISK_RATE = 5e8  # bytes a second, written or read: an ordinary solid-state disk
CORE_RATE = 7e10  # float32 operations a second of a CPU core in an encoder's forward pass
ACCELERATOR_RATE = 1e14  # operations a second of a GPU or TPU in the same


@dataclass(frozen=True)
class Route:
    """The two ways for one set of texts, and the one that is taken."""

    texts: str  # as the config calls them
    wanted: SignalSpec
    subwords: int
    readings: float  # how often steps and evaluations read all of them, at most
    bytes: int  # of the cache
    computed_seconds: float  # infinite where that cannot be
    cached_seconds: float
    cached: bool

    @property
    def least_seconds(self) -> float:
        """Of the faster way that may be taken without being asked for."""
        cached = self.cached_seconds if self.bytes <= MOST_BYTES else math.inf
        return min(cached, self.computed_seconds)


def estimate_route(
    texts: str,
    wanted: SignalSpec,
    size: int,
    subwords: int,
    readings: float,
    rate: float,
    choice: str,
    at_words: bool = False,
) -> Route:
    """Seconds and bytes of both ways.

    Args:
        size: bytes of the cache.
        readings: how often all subwords are read.
        rate: subwords a second that the teacher reads.
        choice: `always` or `never` to cache, or `auto`.
        at_words: the student's subwords are not the teacher's; then there is no way but the cache.
    """
    computed = math.inf if at_words else readings * subwords / rate
    cached = subwords / rate + (1 + readings) * size / DISK_RATE
    take = cached < computed and (at_words or size <= MOST_BYTES)
    if choice != "auto" and not at_words:
        take = choice == "always"
    return Route(texts, wanted, subwords, readings, size, computed, cached, take)


def settle_routes(whole: Route, plain: Route, others: Route, choice: str) -> list[Route]:
    """One way for all stages, or two.

    Args:
        whole: what all stages want.
        plain: what those want that learn logits and hidden states alone.
        others: what the others want.
        choice: as in `estimate_route`.
    """
    apart = others.computed_seconds + plain.least_seconds
    if choice == "auto" and apart < whole.least_seconds:
        return [replace(others, cached=False), plain]
    return [whole]


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


def describe_route(route: Route) -> str:
    """The estimates in words."""
    told = {
        True: f"cached: about {_tell(route.cached_seconds)} and {route.bytes / 2**20:,.0f} MiB",
        False: f"computed in the steps: about {_tell(route.computed_seconds)}",
    }
    other = told[not route.cached]
    if math.isinf(route.computed_seconds):
        other = "there is no other way: the student's subwords are not the teacher's"
    return (
        f"the teacher's {', '.join(signal_names(route.wanted))} of {route.texts} "
        f"({route.subwords:,} subwords, read up to {route.readings:.3g} times) will be "
        f"{told[route.cached]} ({other})"
    )


def _tell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
