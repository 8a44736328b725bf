"""How the teacher's signals reach the steps: cached on disk by one pass, or computed in every step.

Both are estimated for every set of texts; the faster is taken unless the config says otherwise. The
rates are nominal, not measured, so that the same run takes the same route every time: a cache is
rounded to float16. Attention maps, which grow with the square of the length, and queries, keys and
values are always computed in the step, and so is what is read together with them. A student with
other pieces than the teacher's can learn from a cache alone, for the teacher does not read the rows
of its steps.
"""

import math
import os
from dataclasses import dataclass

import jax

DISK_RATE = 5e8  # bytes a second, written or read: an ordinary solid-state disk
CORE_RATE = 7e10  # float32 operations a second of a CPU core in an encoder's forward pass
ACCELERATOR_RATE = 1e14  # operations a second of a GPU or TPU in the same


@dataclass(frozen=True)
class Route:
    """The two ways for one set of texts, and the one that is taken."""

    texts: str  # as the config calls them
    signals: tuple[str, ...]
    pieces: int
    readings: float  # how often steps and evaluations read all of them, at most
    bytes: int  # of the cache
    computed_seconds: float  # infinite where that cannot be
    cached_seconds: float
    cached: bool


def estimate_route(
    texts: str,
    signals: dict[str, int],
    pieces: int,
    readings: float,
    rate: float,
    choice: str,
    words: int | None = None,
) -> Route:
    """Seconds and bytes of both ways.

    Args:
        signals: the width of each signal by name; the cache holds them in float16.
        readings: how often all pieces are read.
        rate: pieces a second that the teacher reads.
        choice: `always` or `never` to cache, or `auto`.
        words: where the student's pieces are not the teacher's, how many have signals; then there
            is no way but the cache.
    """
    size = 2 * (pieces if words is None else words) * sum(signals.values())
    computed = readings * pieces / rate if words is None else math.inf
    cached = pieces / rate + (1 + readings) * size / DISK_RATE
    take = cached < computed if choice == "auto" or words is not None else choice == "always"
    return Route(texts, tuple(signals), pieces, readings, size, computed, cached, take)


def nominal_rate(parameters: int) -> float:
    """Pieces a second that a teacher reads here: two operations a piece for every parameter.

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
        other = "there is no other way: the student's pieces are not the teacher's"
    return (
        f"the teacher's {', '.join(route.signals)} of {route.texts} ({route.pieces:,} pieces, read "
        f"up to {route.readings:.3g} times) will be {told[route.cached]} ({other})"
    )


def _tell(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
