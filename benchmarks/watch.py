"""What does a program cost from its start to its end, and a run of xdistil in each of its phases?

    from watch import read_phases, run_watched

Counted are the seconds from the start of the process to its end, and the most of RssAnon (memory
of its own) and of VmRSS (that, and the pages of files that it maps and the system may take back at
any time), read from /proc every 0.2 s: a peak shorter than that may be missed.
"""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

READ_EVERY = 0.2  # seconds
COMPILED_FOLDER = "JAX_COMPILATION_CACHE_DIR"  # the variable that would name another one
ROOT = Path(__file__).resolve().parent.parent

# The phases outside the student's stages, as the tables name them.
START = "start and imports"
TEXTS = "texts read and cut"
TEACHER = "teacher fine-tuned"
SIGNALS = "teacher's outputs cached"
CHECKPOINTS = "checkpoints between stages"
REST = "scores and the rest"


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    began: float  # seconds since 1970
    seconds: float
    peak_rss_anon: int  # bytes
    peak_rss: int


def run_watched(command: list[str], log: Path) -> Cost:
    """Runs a command from the checkout's root to its end; its output goes to the file `log`.

    It finds no compiled programs of an earlier run: what it keeps for later runs goes to a folder
    beside the log.

    Raises:
        RuntimeError: it failed; the text holds the end of its output.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **{name: value for name, value in os.environ.items() if name != COMPILED_FOLDER},
        "PYTHONPATH": os.pathsep.join(paths),
        "XDG_CACHE_HOME": str(log.parent / "user-cache"),
    }
    peaks = {"RssAnon": 0, "VmRSS": 0}
    with log.open("wb") as output:
        began, start = time.time(), time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                for name, size in _read_memory(process.pid).items():
                    peaks[name] = max(peaks[name], size)
                try:
                    process.wait(READ_EVERY)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()  # only where this loop was interrupted: an ended process ignores it
    seconds = time.monotonic() - start
    if process.returncode:
        tail = log.read_text("utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Cost(began, seconds, peaks["RssAnon"], peaks["VmRSS"])


def _read_memory(pid: int) -> dict[str, int]:
    """Bytes of RssAnon and VmRSS; nothing for a process that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    found = re.findall(r"^(RssAnon|VmRSS):\s+(\d+) kB$", status, re.MULTILINE)
    return {name: int(size) * 1024 for name, size in found}


def read_phases(workdir: Path, cost: Cost) -> dict[str, float]:
    """Seconds of every phase of a finished run of xdistil; together they are `cost.seconds`.

    The student's stages come from results.json, all other moments from the first line of train.log
    and from the times at which files were written. What passes before the last checkpoint, and is
    in no stage, goes to checkpoints and to the student's folder. The rest is predictions, scores
    and the end of the process.
    """
    began = _read_first_moment(workdir / "train.log")
    described = (workdir / "environment.json").stat().st_mtime
    # The card beside it is written at the end of the run.
    taught = (workdir / "teacher" / "model.safetensors").stat().st_mtime
    signals = workdir / "cache" / "signals"
    # Without a cache, the teacher reads the texts within the stages.
    cached = _find_newest(signals) if signals.exists() else taught
    learnt = _find_newest(workdir / "checkpoints" / "student")
    stages = json.loads((workdir / "results.json").read_text("utf-8"))["timing"]["stages"]
    phases = {
        START: began - cost.began,
        TEXTS: described - began,
        TEACHER: taught - described,
        SIGNALS: cached - taught,
        **stages,
        CHECKPOINTS: learnt - cached - sum(stages.values()),
    }
    return {**phases, REST: cost.seconds - sum(phases.values())}


def _find_newest(folder: Path) -> float:
    """When the newest file in a folder was written, in seconds since 1970."""
    return max(path.stat().st_mtime for path in folder.rglob("*"))


def _read_first_moment(log: Path) -> float:
    """The time that the first line of a log begins with, in seconds since 1970."""
    day, hour = log.read_text("utf-8").split(maxsplit=2)[:2]
    return datetime.strptime(f"{day} {hour}", "%Y-%m-%d %H:%M:%S,%f").timestamp()
