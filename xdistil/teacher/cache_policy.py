"""Where the teacher's signals come from: a cache on disk, or the teacher in every step.

Both options are estimated for every set of texts; the faster one is chosen unless the config says
otherwise. The rates are nominal, not measured, so that the same run makes the same choice every
time: cached values are rounded. Attention maps grow with the square of the length, and queries,
keys and values are three times a hidden state. The stages that read them may therefore compute
while all others cache. A student whose subwords differ from the teacher's can only learn from a
cache, since the teacher cannot read the rows of its steps.
"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.word_alignment import count_words
from xdistil.models.encoder import Transformer
from xdistil.teacher.cache import count_bytes
from xdistil.teacher.signals import Request, SignalSpec, merge_requests, signal_names

MOST_BYTES = 16 * 2**30  # of the cache of one set of texts, unless the config asks for more
DISK_RATE = 5e8  # bytes a second, written or read: an ordinary solid-state disk
CORE_RATE = 7e10  # float32 operations a second of a CPU core in an encoder's forward pass
ACCELERATOR_RATE = 1e14  # operations a second of a GPU or TPU in the same


@dataclass(frozen=True)
class CacheChoice:
    """Both options for one set of texts, and the chosen one."""

    texts: str  # the name of the set
    spec: SignalSpec
    subwords: int
    readings: float  # how often steps and evaluations read all of them, at most
    bytes: int  # of the cache
    computed_seconds: float  # infinite where the steps cannot compute them
    cached_seconds: float
    cached: bool

    @property
    def least_seconds(self) -> float:
        """Of the faster option that needs no permission from the config."""
        cached = self.cached_seconds if self.bytes <= MOST_BYTES else math.inf
        return min(cached, self.computed_seconds)


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

    def estimate_all(some: Iterable[Request]) -> dict[str, CacheChoice]:
        merged = merge_requests(some)
        return {name: estimate_request(each) for name, each in merged.items()}

    def estimate_request(request: Request) -> CacheChoice:
        subwords = request.teacher.subwords
        vectors = len(subwords.tokens)
        if by_word:
            vectors = int(count_words(request.teacher.examples, task).sum())
        pairs = int(np.square(np.diff(subwords.start)).sum())
        size = count_bytes(request.spec, teacher.cache_type, model, vectors, pairs)
        return estimate(
            request.texts,
            request.spec,
            size,
            len(subwords.tokens),
            request.readings,
            rate,
            teacher.cache,
            by_word,
        )

    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    rate = nominal_rate(sum(leaf.size for leaf in jax.tree.leaves({**shapes, "embeddings": {}})))
    whole = estimate_all(requests)
    plain = estimate_all(each for each in requests if each.spec.plain)
    others = estimate_all(each for each in requests if not each.spec.plain)
    choices: list[CacheChoice] = []
    for name, choice in whole.items():
        if name in plain and name in others:
            choices += settle(choice, plain[name], others[name], teacher.cache)
        else:
            choices.append(choice)
    return tuple(choices)


def estimate(
    texts: str,
    spec: SignalSpec,
    size: int,
    subwords: int,
    readings: float,
    rate: float,
    choice: str,
    by_word: bool = False,
) -> CacheChoice:
    """Seconds and bytes of both options.

    Args:
        size: bytes of the cache.
        readings: how often all subwords are read.
        rate: subwords a second that the teacher reads.
        choice: `always` or `never` to cache, or `auto`.
        by_word: the student's subwords are not the teacher's: the cache is the only option.
    """
    computed = math.inf if by_word else readings * subwords / rate
    cached = subwords / rate + (1 + readings) * size / DISK_RATE
    take = cached < computed and (by_word or size <= MOST_BYTES)
    if choice != "auto" and not by_word:
        take = choice == "always"
    return CacheChoice(texts, spec, subwords, readings, size, computed, cached, take)


def settle(
    whole: CacheChoice, plain: CacheChoice, others: CacheChoice, choice: str
) -> list[CacheChoice]:
    """One choice for all stages, or one for each kind of signal.

    Args:
        whole: of what all stages read.
        plain: of the stages that read logits and hidden states alone.
        others: of the other stages.
        choice: as in `estimate`.
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


def describe_choice(choice: CacheChoice) -> str:
    """The estimates in words."""
    options = {
        True: (
            f"cached: about {_describe_seconds(choice.cached_seconds)} and "
            f"{choice.bytes / 2**20:,.0f} MiB"
        ),
        False: f"computed in the steps: about {_describe_seconds(choice.computed_seconds)}",
    }
    other = options[not choice.cached]
    if math.isinf(choice.computed_seconds):
        other = "the only option: the student's subwords are not the teacher's"
    return (
        f"the teacher's {', '.join(signal_names(choice.spec))} of {choice.texts} "
        f"({choice.subwords:,} subwords, read up to {choice.readings:.3g} times) will be "
        f"{options[choice.cached]} ({other})"
    )


def _describe_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
