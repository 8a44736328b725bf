"""Whole programs: their time, memory and disk, and the phases of a run.

A program is timed from the start of its process to its end, with the highest RssAnon (private
memory) and VmRSS (private memory and mapped pages of files, which the system may take back), read
from /proc every 0.2 s: a shorter peak may be missed.
"""

import contextlib
import json
import os
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.plans import CHECKPOINTS, REST, SIGNALS, START, TEACHER, TEXTS

READ_EVERY = 0.2  # seconds between two readings of a program's memory
COMPILATIONS = "JAX_COMPILATION_CACHE_DIR"


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
