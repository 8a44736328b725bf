"""Timing in rounds, and the speed of the machine.

A shared machine is fast today and slow tomorrow, so seconds of two runs cannot be compared. All
candidates of a comparison are therefore timed in rounds of one run (ours, peer, ours, peer, ...),
and each round gives one ratio. A list of rounds is summarised by its minimum, median, 95th
percentile and maximum. The product of two square matrices is timed in the same rounds: its rate in
GFLOP/s (10^9 operations per second) is what the machine delivered in that run.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import print_table, show
from xdistil.models.ops import array_type

TURN_SECONDS = 0.1  # of a turn at least, so that changing candidates costs little
FEWEST_ROUNDS = 5  # however short the time
MATRIX_PRODUCT, TORCH_MATRIX_PRODUCT = "matrix product, JAX", "matrix product, PyTorch"
PRODUCT_SIZES = {"cpu": 1024, "gpu": 8192}  # rows and columns of the matrices

Counts = dict[str, float]  # how much an action did: tokens, operations, sentences
Action = Callable[[], Counts]  # returns when the work is done, not when it is only queued


class Turn(NamedTuple):
    """A candidate's part of a round: the mean of its repetitions."""

    seconds: float
    counts: Counts


def time_rounds(
    actions: Mapping[str, Action],
    seconds: float,
    warm_up: int = 2,
    turn_seconds: float = TURN_SECONDS,
    untimed: int = 0,
) -> dict[str, list[Turn]]:
    """The turns of every action, one per round.

    Args:
        seconds: time to spend after the warm-up; there are at least FEWEST_ROUNDS rounds.
        warm_up: calls of every action before the first round, for compilation and caches.
        turn_seconds: a shorter action is repeated for this long; 0: one call per turn.
        untimed: calls at the start of every turn that are not timed, while threads of the candidate
            before may still be busy.
    """
    for action in actions.values():
        for _ in range(warm_up):
            action()
    turns: dict[str, list[Turn]] = {name: [] for name in actions}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        for name, action in actions.items():
            for _ in range(untimed):
                action()
            turns[name].append(_time_turn(action, turn_seconds))
        rounds += 1
    return turns


def _time_turn(action: Action, turn_seconds: float) -> Turn:
    total: Counts = {}
    calls, start = 0, time.perf_counter()
    while True:
        for thing, count in action().items():
            total[thing] = total.get(thing, 0.0) + count
        calls += 1
        passed = time.perf_counter() - start
        if passed >= turn_seconds:
            return Turn(passed / calls, {thing: count / calls for thing, count in total.items()})


def rates(turns: Sequence[Turn], thing: str) -> list[float]:
    """The count of a thing per second, in each round."""
    return [turn.counts[thing] / turn.seconds for turn in turns]


def summarise(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median, 95th percentile and maximum."""
    names = {"min": 0, "median": 50, "p95": 95, "max": 100}
    return {name: float(np.percentile(values, share)) for name, share in names.items()}


def compare(ours: Sequence[Turn], peer: Sequence[Turn], thing: str) -> dict[str, float]:
    """How many times as fast ours is, from the rates of the same round."""
    pairs = zip(rates(ours, thing), rates(peer, thing), strict=True)
    return summarise([mine / theirs for mine, theirs in pairs])


def describe(turns: Sequence[Turn]) -> dict[str, Any]:
    """Seconds of an action, and how much it does per second of everything that it counts."""
    return {
        "rounds": len(turns),
        "seconds": summarise([turn.seconds for turn in turns]),
        **{f"{thing}_per_second": summarise(rates(turns, thing)) for thing in turns[0].counts},
    }


def describe_comparison(
    turns: Mapping[str, Sequence[Turn]], reference: str, thing: str
) -> dict[str, Any]:
    """Describes every action, and how many times as fast the reference is at what both count."""
    described = {name: describe(mine) for name, mine in turns.items()}
    for name, mine in turns.items():
        if thing in mine[0].counts:
            described[name]["reference_over_it"] = compare(turns[reference], mine, thing)
    return described


def print_comparison(title: str, described: Mapping[str, Any], reference: str, thing: str) -> None:
    """A line per candidate, with the rate of the reference over its own."""
    rows = []
    for name, told in described.items():
        cells = [name, show(told["seconds"], 2, 1000), f"{1000 * told['seconds']['p95']:.2f}"]
        if "reference_over_it" in told:
            cells += [show(told[f"{thing}_per_second"]), show(told["reference_over_it"], 2)]
        else:
            cells += [f"{show(told['operations_per_second'], 1, 1e-9)} GFLOP/s", ""]
        rows.append(cells)
    header = (title, "milliseconds", "p95", f"{thing}/s", f"{reference} / this")
    print_table(header, rows)


def multiply_in_jax(dtype: str = "float32") -> Action:
    """An action: the product of two square matrices in JAX, counted in `operations`."""
    size = PRODUCT_SIZES[jax.default_backend()]
    left, right = jax.random.normal(jax.random.key(0), (2, size, size), jnp.float32).astype(dtype)
    # A CPU multiplies in bfloat16 where the result is float32.
    product = jax.jit(partial(jnp.matmul, preferred_element_type=array_type(dtype)))

    def act() -> Counts:
        jax.block_until_ready(product(left, right))
        return {"operations": 2.0 * size**3}

    return act
