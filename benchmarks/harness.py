"""What the benchmarks share: timing in rounds, the speed of the machine, results and tables.

A shared machine is fast today and slow tomorrow, so seconds of two runs cannot be compared. All
candidates of a comparison are therefore timed in rounds of one run (ours, peer, ours, peer, ...),
and each round gives one ratio. A list of rounds is summarised by its minimum, median, 95th
percentile and maximum. The product of two square matrices is timed in the same rounds: its rate in
GFLOP/s (10^9 operations per second) is what the machine delivered in that run.

Whole programs are timed from the start of their process to its end, with the highest RssAnon
(private memory) and VmRSS (private memory and mapped pages of files, which the system may take
back), read from /proc every 0.2 s: a shorter peak may be missed.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.plans import CHECKPOINTS, REST, SIGNALS, START, TEACHER, TEXTS
from xdistil.config import Stage
from xdistil.data.packing import Batch, PackedTexts, Rows, fill_batch
from xdistil.data.subwords import Subwords
from xdistil.distill.stages import StageRun, plan_stages, texts_name
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.ops import array_type
from xdistil.models.types import Model
from xdistil.teacher.interface import NoTeacher, Teacher

ROOT = Path(__file__).resolve().parents[1]
TURN_SECONDS = 0.1  # of a turn at least, so that changing candidates costs little
FEWEST_ROUNDS = 5  # however short the time
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "tokenizers", "torch", "transformers")
MATRIX_PRODUCT, TORCH_MATRIX_PRODUCT = "matrix product, JAX", "matrix product, PyTorch"
PRODUCT_SIZES = {"cpu": 1024, "gpu": 8192}  # rows and columns of the matrices
# What the models of `transformers` call the arrays of a batch of one segment per row.
ARGUMENTS = {"input_ids": "tokens", "attention_mask": "segment", "token_type_ids": "token_type"}
READ_EVERY = 0.2  # seconds between two readings of a program's memory
COMPILATIONS = "JAX_COMPILATION_CACHE_DIR"

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


def run_cases(
    cases: Mapping[str, Callable[[], dict[str, Any]]],
    flags: argparse.Namespace,
    settings: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Runs the cases whose names contain --only; writes what is there after each."""
    results: dict[str, dict[str, Any]] = {}
    for name, run in cases.items():
        if flags.only in name:
            print(f"{name} ...", flush=True)
            results[name] = run()
            write_result(flags.output, flags, {**settings, "cases": results})
    return results


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


def multiply_in_torch(dtype: str = "float32", device: str = "cpu") -> Action:
    """An action: the same product in PyTorch."""
    import torch  # only where there is a peer to compare with

    size = PRODUCT_SIZES["gpu" if device == "cuda" else device]
    left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, dtype))

    def act() -> Counts:
        torch.set_num_threads(count_cores())  # the candidate before may have set another number
        left @ right
        wait_for_torch(device)
        return {"operations": 2.0 * size**3}

    return act


def on_threads(name: str, action: Action) -> dict[str, Action]:
    """A PyTorch action on all cores and on one, as two candidates.

    Where other work occupies a core, PyTorch's threads wait for each other, and one may be faster.
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
    """Waits for PyTorch's work on a GPU; on a CPU it is done when a call returns."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def start_torch() -> str:
    """PyTorch's device, the same kind as JAX's.

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


def open_in_torch(folder: Path, task: str, attention: str, **settings: Any) -> Any:
    """A folder's model with its head for a task in `transformers`, float32."""
    import torch
    import transformers

    kinds = {
        "tagging": transformers.AutoModelForTokenClassification,
        "classification": transformers.AutoModelForSequenceClassification,
    }
    return kinds[task].from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, **settings
    )


def to_torch(batch: Batch, device: str) -> dict[str, Any]:
    """A batch of one segment per row as the arguments of a model of `transformers`."""
    import torch

    return {
        name: torch.from_numpy(getattr(batch, field)).long().to(device)
        for name, field in ARGUMENTS.items()
    }


def count_cores() -> int:
    """CPU cores that this process may use, where the system tells."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def draw_sentences(
    generator: np.random.Generator, lengths: np.ndarray, vocabulary: int, classes: int
) -> Subwords:
    """Random subwords in sentences of these lengths i64[S]; the id of a subword gives its class."""
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = generator.integers(1, vocabulary, start[-1], np.int32)
    return Subwords(
        tokens=tokens,
        token_type=np.zeros(len(tokens), np.int8),
        labels=tokens % classes,
        label_mask=np.ones(len(tokens), bool),
        word=(np.arange(start[-1]) - np.repeat(start[:-1], lengths)).astype(np.int32),
        start=start,
        example=np.arange(len(lengths), dtype=np.int32),
    )


def pad_segments(
    subwords: Subwords, segments: Sequence[int], padding_id: int, length: int = 0, multiple: int = 1
) -> Batch:
    """One segment per row, padded or cut to a length.

    Args:
        length: of every row; 0: that of the longest segment.
        multiple: the length is rounded up to a multiple of it.
    """
    start = subwords.start[list(segments)][:, None]
    end = subwords.start[1:][list(segments)][:, None]
    length = -(-(length or int((end - start).max())) // multiple) * multiple
    within = np.arange(length)
    real = start + within < end
    rows = Rows(np.where(real, start + within, -1), real, np.where(real, within, 0))
    return fill_batch(subwords, rows, np.arange(len(segments)), padding_id)


@dataclass(frozen=True, kw_only=True)
class ShapeOnly(NoTeacher):
    """A teacher that has a shape, for plans: the benchmarks compute or draw its signals."""

    config: EncoderConfig

    def shape(self, where: str) -> EncoderConfig:
        """Its layers and widths."""
        return self.config


def plan_on(
    texts: PackedTexts, plan: Sequence[Stage], model: Model, teacher: EncoderConfig | None
) -> tuple[StageRun, ...]:
    """The stage runs of a plan, all of them on the same texts."""
    source: Teacher = NoTeacher() if teacher is None else ShapeOnly(config=teacher)
    named = dict.fromkeys(("dev", *map(texts_name, plan)), texts)
    return plan_stages(plan, "plan", model, source, named)


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    began: float  # seconds since 1970
    seconds: float
    peak_rss_anon: int  # bytes
    peak_rss: int  # bytes
    cpu_seconds: float  # of all of its threads
    peak_disk: int  # bytes of its temporary files


def run_watched(command: list[str], log: Path) -> Cost:
    """Runs a command from the checkout's root to its end; its output goes to the file `log`.

    It finds no compiled programs of an earlier run: its own go to a folder beside the log, and so
    do its temporary files.

    Raises:
        RuntimeError: it failed; the text holds the end of its output.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **{name: value for name, value in os.environ.items() if name != COMPILATIONS},
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(log.parent / "user-cache"),
        "TMPDIR": str(log.parent / "temporary"),
    }
    (log.parent / "temporary").mkdir(exist_ok=True)
    peaks = {"RssAnon": 0, "VmRSS": 0, "disk": 0}
    cpu = _read_cpu()
    with log.open("wb") as output:
        began, start = time.time(), time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                disk = measure_folder(log.parent / "temporary")
                for name, size in {**_read_memory(process.pid), "disk": disk}.items():
                    peaks[name] = max(peaks[name], size)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(READ_EVERY)
        finally:
            process.kill()  # only where this loop was interrupted: an ended process ignores it
    seconds = time.monotonic() - start
    if process.returncode:
        tail = log.read_text("utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    cpu = _read_cpu() - cpu
    return Cost(began, seconds, peaks["RssAnon"], peaks["VmRSS"], cpu, peaks["disk"])


def measure_folder(folder: Path) -> int:
    """Bytes of all files in a folder; some may disappear meanwhile."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(where, name)).st_size
    return total


def _read_cpu() -> float:
    """Seconds that ended children of this process computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _read_memory(pid: int) -> dict[str, int]:
    """Bytes of RssAnon and VmRSS; nothing for a process that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    found = re.findall(r"^(RssAnon|VmRSS):\s+(\d+) kB$", status, re.MULTILINE)
    return {name: int(size) * 1024 for name, size in found}


def read_phases(workdir: Path, cost: Cost) -> dict[str, float]:
    """Seconds of every phase of a finished run of xdistil; they add up to `cost.seconds`.

    The student's stages come from results.json; the other times from the first line of train.log
    and from the modification times of files. Time before the last checkpoint that is in no stage
    counts as checkpoints, and so does the student's folder. The rest is predictions, scores and
    the end of the process.
    """
    day, hour = (workdir / "train.log").read_text("utf-8").split(maxsplit=2)[:2]
    began = datetime.strptime(f"{day} {hour}", "%Y-%m-%d %H:%M:%S,%f").timestamp()
    read = (workdir / "environment.json").stat().st_mtime
    # The model card in the same folder is written at the end of the run.
    finetuned = (workdir / "teacher" / "model.safetensors").stat().st_mtime
    signals = workdir / "cache" / "signals"
    # Without a cache, the teacher's outputs are computed within the stages.
    cached = _find_newest(signals) if signals.exists() else finetuned
    trained = _find_newest(workdir / "checkpoints" / "student")
    stages = json.loads((workdir / "results.json").read_text("utf-8"))["timing"]["stages"]
    phases = {
        START: began - cost.began,
        TEXTS: read - began,
        TEACHER: finetuned - read,
        SIGNALS: cached - finetuned,
        **stages,
        CHECKPOINTS: trained - cached - sum(stages.values()),
    }
    return {**phases, REST: cost.seconds - sum(phases.values())}


def _find_newest(folder: Path) -> float:
    """When the newest file in a folder was written, in seconds since 1970."""
    return max(path.stat().st_mtime for path in folder.rglob("*"))


def describe_machine() -> dict[str, Any]:
    """Processor, device, load and versions."""
    cpus = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpus.read_text() if cpus.exists() else "")
    installed = {each.name for each in importlib.metadata.distributions()}
    return {
        "processor": name[1] if name else platform.processor() or platform.machine(),
        "cores": count_cores(),
        "device": jax.local_devices()[0].device_kind,
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        # Without a peer PyTorch may be missing.
        **{each: importlib.metadata.version(each) for each in LIBRARIES if each in installed},
    }


def describe_command(flags: argparse.Namespace) -> str:
    """The command that was given, with folders and files by their names alone."""
    told = [f"python -m benchmarks.{Path(sys.argv[0]).stem}"]
    for name, value in vars(flags).items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            told.append(flag)
        elif value not in (None, False, "") and name != "output":
            # Absolute, so that a folder given as `.` has a name.
            for each in value if isinstance(value, list) else (value,):
                told.append(f"{flag}={each.absolute().name if isinstance(each, Path) else each}")
    return " ".join(told)


def write_result(path: Path | None, flags: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Writes command, machine and result as JSON, whole or not at all; no path, no file.

    A `machine` in the result stands in the place of this one, for results that were read.
    """
    if path is None:
        return
    content = {"command": describe_command(flags), "machine": describe_machine(), **result}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser that shows the first line of a module's docstring, and has the flag --output."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--output", type=Path, help="the JSON to write; without it, the table only")
    return parser


def add_case_flags(parser: argparse.ArgumentParser, seconds: float) -> None:
    """The flags of a command that runs several cases."""
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--seconds", type=float, default=seconds, help="per case, at least")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the first is left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip(), flush=True)


def show(summary: Mapping[str, float], digits: int = 0, factor: float = 1.0) -> str:
    """`median (min to max)` of a summary, times a factor."""
    low, middle, high = (summary[name] * factor for name in ("min", "median", "max"))
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"
