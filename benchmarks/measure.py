"""What the benchmarks share: turns taken in one run, the machine's own rate, the file, the table.

A machine that does other work as well is slow today and fast tomorrow, so that seconds of two runs
say little. Here all that is compared takes turns within one run (ours, peer, ours, peer, ...), and
every round gives one ratio. What is told of a list of rounds is its minimum, median and maximum. A
product of two square matrices takes its turn too: its rate in GFLOP/s (10^9 operations a second)
is what the machine itself gave in that run.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.data.packing import Batch
from xdistil.data.subwords import Pieces

LEAST_SECONDS = 0.1  # of a turn, so that a switch of turns costs little
FEWEST_ROUNDS = 5  # however short the time
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "tokenizers", "torch", "transformers")
MATRIX_PRODUCT, TORCH_MATRIX_PRODUCT = "matrix product, JAX", "matrix product, PyTorch"

Counts = dict[str, float]  # how much an action did, by thing: tokens, operations, sentences
Action = Callable[[], Counts]  # returns when the work is done, not when it is only under way


class Turn(NamedTuple):
    """One turn of one contestant: the mean of its repetitions."""

    seconds: float
    counts: Counts


def take_turns(
    actions: Mapping[str, Action],
    seconds: float,
    warm_up: int = 2,
    turn_seconds: float = LEAST_SECONDS,
) -> dict[str, list[Turn]]:
    """Every action's turns, one a round.

    Args:
        seconds: time to spend, warm-up aside; there are at least FEWEST_ROUNDS rounds.
        warm_up: calls of every action that are not timed, for compilation and caches.
        turn_seconds: of a turn, at least: an action that is shorter is repeated.
    """
    for action in actions.values():
        for _ in range(warm_up):
            action()
    turns: dict[str, list[Turn]] = {name: [] for name in actions}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < deadline:
        for name, action in actions.items():
            turns[name].append(_take_turn(action, turn_seconds))
        rounds += 1
    return turns


def _take_turn(action: Action, least: float) -> Turn:
    total: Counts = {}
    calls, begin = 0, time.perf_counter()
    while True:
        for thing, count in action().items():
            total[thing] = total.get(thing, 0.0) + count
        calls += 1
        passed = time.perf_counter() - begin
        if passed >= least:
            return Turn(passed / calls, {thing: count / calls for thing, count in total.items()})


def rates(turns: Sequence[Turn], thing: str) -> list[float]:
    """The thing's count a second, in each round."""
    return [turn.counts[thing] / turn.seconds for turn in turns]


def summarise(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def compare(ours: Sequence[Turn], peer: Sequence[Turn], thing: str) -> dict[str, float]:
    """How many times faster ours is, from the rates of the same round."""
    pairs = zip(rates(ours, thing), rates(peer, thing), strict=True)
    return summarise([mine / theirs for mine, theirs in pairs])


def describe(turns: Sequence[Turn]) -> dict[str, Any]:
    """Seconds of an action, and a second's count of everything that it counts."""
    things = turns[0].counts
    return {
        "rounds": len(turns),
        "seconds": summarise([turn.seconds for turn in turns]),
        **{f"{thing}_per_second": summarise(rates(turns, thing)) for thing in things},
    }


def multiply_in_jax(size: int = 1024, dtype: str = "float32") -> Action:
    """An action: the product of two square matrices in JAX, counted in `operations`."""
    left, right = jax.random.normal(jax.random.key(0), (2, size, size), jnp.float32).astype(dtype)
    product = jax.jit(jnp.matmul)

    def act() -> Counts:
        jax.block_until_ready(product(left, right))
        return {"operations": 2.0 * size**3}

    return act


def multiply_in_torch(size: int = 1024, dtype: str = "float32", device: str = "cpu") -> Action:
    """An action: the same product in PyTorch."""
    import torch  # only where there is a peer to compare with

    left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, dtype))

    def act() -> Counts:
        torch.set_num_threads(count_cores())  # whatever the contestant before had
        left @ right
        wait_for_torch(device)
        return {"operations": 2.0 * size**3}

    return act


def on_threads(name: str, action: Action) -> dict[str, Action]:
    """A PyTorch action on all cores, and on one, under names of their own.

    Where other work holds a core, PyTorch's threads wait for each other, and one may be faster.
    """
    import torch

    def start(threads: int) -> Action:
        def act() -> Counts:
            torch.set_num_threads(threads)
            return action()

        return act

    counts = sorted({1, count_cores()}, reverse=True)
    return {f"{name}, threads: {threads}": start(threads) for threads in counts}


def wait_for_torch(device: str) -> None:
    """PyTorch's work on a GPU goes on when a call returns; on a CPU it does not."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def start_torch() -> str:
    """PyTorch's device, as JAX's is.

    Raises:
        SystemExit: JAX has a GPU, and this PyTorch cannot use one.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise SystemExit("JAX runs on a GPU, but this PyTorch has none: leave out the peer.")
    return "cuda"


def count_cores() -> int:
    """CPU cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pad_segments(
    pieces: Pieces, segments: Sequence[int], length: int, padding_id: int
) -> tuple[Batch, int]:
    """One segment a row, cut or padded to the length; and how many real pieces there are."""
    shape = (len(segments), length)
    batch = Batch(
        tokens=np.full(shape, padding_id, np.int32),
        segment=np.zeros(shape, np.int32),
        position=np.zeros(shape, np.int32),
        token_type=np.zeros(shape, np.int32),
        labels=np.zeros(shape, np.int32),
        label_mask=np.zeros(shape, bool),
    )
    for row, segment in enumerate(segments):
        first = pieces.start[segment]
        count = min(pieces.start[segment + 1] - first, length)
        for name in ("tokens", "token_type", "labels", "label_mask"):
            getattr(batch, name)[row, :count] = getattr(pieces, name)[first : first + count]
        batch.segment[row, :count] = 1
        batch.position[row, :count] = np.arange(count)
    return batch, int(np.count_nonzero(batch.segment))


def describe_machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue  # PyTorch, where there is no peer
    return {
        "processor": _read_processor(),
        "cores": count_cores(),
        "device": jax.local_devices()[0].device_kind,
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        **versions,
    }


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def describe_command(flags: argparse.Namespace) -> str:
    """The command that was given, folders and files by their names alone."""
    told = []
    for name, value in vars(flags).items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            told.append(flag)
        elif value not in (None, False, "") and name != "output":
            # Absolute, so that a folder given as `.` has a name.
            told.append(f"{flag}={value.absolute().name if isinstance(value, Path) else value}")
    return " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *told])


def write_result(path: Path | None, flags: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Writes command, machine and result as JSON, whole or not at all; no path, no file."""
    if path is None:
        return
    content = {"command": describe_command(flags), "machine": describe_machine(), **result}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def add_output(parser: argparse.ArgumentParser) -> None:
    """The flag that names the file of `write_result`."""
    parser.add_argument("--output", type=Path, help="the JSON to write; without it, the table only")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip(), flush=True)


def show(summary: Mapping[str, float], digits: int = 0, factor: float = 1.0) -> str:
    """`median (min to max)` of a summary, times a factor."""
    low, middle, high = (summary[name] * factor for name in ("min", "median", "max"))
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
