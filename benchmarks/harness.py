"""What all benchmarks share: flags, the description of the machine, results and tables."""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "tokenizers", "torch", "transformers")


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


def count_cores() -> int:
    """CPU cores that this process may use, where the system tells."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


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
