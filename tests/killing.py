"""Kills real runs of train.py by the clock and compares their end with that of one left alone.

    python -m tests.killing --kills=200 --seed=1

The run is the quickstart, shrunk, with the teacher's signals cached. It is started, killed at a
random moment by SIGKILL or, one time in four, SIGTERM, and started again by the same command, from
another directory and with another PYTHONHASHSEED, twenty times; then it is let go to its end, and
the next run is begun, until there were as many kills as asked for. The moments are drawn from all
phases of a run alike, however long they are: a run left alone tells how long each lasts. Now and
then a file of the newest checkpoint, or of the cache, is damaged in between.

Parameters, configs, tokenizers, predictions, scores, early stopping and lines of metrics must be
the same bits; only what is timed may differ, and the model cards that tell of it. The table tells
where the kills hit.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = (
    f"--config={ROOT}/configs/quickstart.py:smoke",
    "--config.teacher.cache=always",
    "--config.student.vocabulary=seen",
    "--config.plan[1].unfreeze=gradual",
    "--config.plan[1].unfreeze_epochs=2",
    "--config.plan[2].patience=2",
    "--config.eval_every=40",
    "--config.log_every=4",
    "--config.checkpoint_minutes=0.03",
)
# The phases of a run in their order, and what tells that one began: a line of the log, or a folder.
PHASES = (
    ("the start, before the first step", "."),
    ("training: teacher", "teacher 1/1 train from"),
    ("the export of the teacher", ".teacher.new"),
    ("the writing of a cache", "computing logits"),
    ("training: representation", "student 1/"),
    ("training: logits", "student [2-5]/"),
    ("the export of a student", ".student.new"),
    ("training: labels", "student [6-9]/"),
    ("training: a baseline", "baseline-"),
    ("the scores", "predicting and scoring"),
    ("the measuring of speed", "measuring the speed"),
)
KILLS_A_RUN = 20
STARTED = "started"  # a file touched at every start
TIMED = ("tokens_per_second",)
LIMIT = 600.0  # seconds after which a run is taken for hanging
STOPPED = 75


@dataclass
class Report:
    """What was done to runs and what came of it."""

    phases: collections.Counter[str] = field(default_factory=collections.Counter)
    signals: collections.Counter[str] = field(default_factory=collections.Counter)
    damages: collections.Counter[str] = field(default_factory=collections.Counter)
    runs: int = 0
    longest_leave: float = 0.0  # seconds from SIGTERM to the end of the process
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A table."""
        lines = [("killed in", "times"), *((n, str(c)) for n, c in self.phases.most_common())]
        lines += [("", ""), ("signal", "times"), *((n, str(c)) for n, c in self.signals.items())]
        lines += [("", ""), ("damage", "times"), *((n, str(c)) for n, c in self.damages.items())]
        lines += [
            ("", ""),
            ("runs that came to their end", str(self.runs)),
            ("seconds from SIGTERM to the end, at most", f"{self.longest_leave:.1f}"),
            ("files and numbers that differ", str(len(self.differences))),
        ]
        return "\n".join(f"{name:44}{value:>6}".rstrip() for name, value in lines)


def kill_runs(folder: Path, kills: int, seed: int) -> Report:
    """Runs the quickstart undisturbed, then under `kills` kills; `folder` is empty."""
    draw, report = random.Random(seed), Report()
    expected = folder / "undisturbed"
    _wait(_start(expected), 0)
    # The second one finds its programs compiled: that is the pace of those that are killed.
    shutil.rmtree(expected)
    lengths = _time_phases(_start(expected), expected)
    left = kills
    while left or not report.runs:
        workdir = folder / f"killed-{report.runs}"
        now = min(left, KILLS_A_RUN)
        left -= now
        for aim in sorted(draw.randrange(len(PHASES)) for _ in range(now)):
            process = _start(workdir, draw.randrange(1 << 32))
            _wait_for_phase(process, workdir, aim)
            if _ends_within(process, draw.uniform(0, lengths[aim])):
                break
            _kill(process, draw, report, workdir)
            if draw.random() < 0.2:
                _damage(workdir, draw, report)
        _wait(_start(workdir), 0)
        report.runs += 1
        report.differences += compare(expected, workdir)
    return report


def compare(expected: Path, workdir: Path) -> list[str]:
    """What differs between two finished workdirs, apart from times."""
    found = []
    for name in ("teacher", "student", "predictions"):
        for path in sorted((expected / name).rglob("*")):
            other = workdir / path.relative_to(expected)
            timed = path.name == "README.md"
            if (
                path.is_file()
                and not timed
                and (not other.exists() or path.read_bytes() != other.read_bytes())
            ):
                found.append(str(other))
    ours, theirs = (_read_results(folder) for folder in (workdir, expected))
    found += [f"{workdir}/results.json: {key}" for key in theirs if ours.get(key) != theirs[key]]
    ours_lines, theirs_lines = (_read_metrics(folder) for folder in (workdir, expected))
    if len(ours_lines) != len(theirs_lines):
        found.append(f"{workdir}/metrics.jsonl: {len(ours_lines)} lines, not {len(theirs_lines)}")
    found += [
        f"{workdir}/metrics.jsonl: {ours} instead of {theirs}"
        for ours, theirs in zip(ours_lines, theirs_lines, strict=False)
        if ours != theirs
    ]
    return found


def _start(
    workdir: Path, hash_seed: int = 0, config: Sequence[str] = CONFIG
) -> subprocess.Popen[bytes]:
    # From another directory each time, which must make no difference, nor must the order of sets.
    command = [sys.executable, str(ROOT / "train.py"), *config, f"--workdir={workdir}"]
    folder = workdir.parent / f"directory-{hash_seed % 3}"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    (workdir.parent / STARTED).touch()
    with workdir.with_suffix(".log").open("a") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def _wait(process: subprocess.Popen[bytes], code: int) -> None:
    ended = process.wait(LIMIT)
    if ended != code:
        raise RuntimeError(f"{process.args!r} ended with {ended} instead of {code}")


def _time_phases(process: subprocess.Popen[bytes], workdir: Path) -> list[float]:
    """How long every phase of a run takes that is left alone: seconds."""
    began = []
    for aim in range(len(PHASES)):
        _wait_for_phase(process, workdir, aim)
        began.append(time.monotonic())
    _wait(process, 0)
    ends = [*began[1:], time.monotonic()]
    return [end - begin for begin, end in zip(began, ends, strict=True)]


def _wait_for_phase(process: subprocess.Popen[bytes], workdir: Path, aim: int) -> None:
    """Until this start of the run is in a phase, or behind it."""
    while process.poll() is None and _reach_phase(workdir) < aim:
        time.sleep(0.01)


def _reach_phase(workdir: Path) -> int:
    """The furthest phase that this start of a run has come to."""
    log = workdir / "train.log"
    start = log.read_text(errors="replace").rpartition(" JAX ")[2] if log.exists() else ""
    return max(
        number
        for number, (_, sign) in enumerate(PHASES)
        if sign == "." or re.search(f"INFO {sign}", start) or _is_newer(workdir / sign)
    )


def _is_newer(path: Path) -> bool:
    """Whether a file was made by the last start; one cut off before may lie there yet."""
    try:
        return path.stat().st_mtime > (path.parents[1] / STARTED).stat().st_mtime
    except FileNotFoundError:
        return False


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(
    process: subprocess.Popen[bytes], draw: random.Random, report: Report, workdir: Path
) -> None:
    gently = draw.random() < 0.25
    if gently:
        begin = time.monotonic()
        where = _find_phase(workdir)
        process.send_signal(signal.SIGTERM)
        code = process.wait(LIMIT)
        # Before its handler stands, or behind its last step, it ends as any program does.
        if code not in (STOPPED, -signal.SIGTERM, 0):
            raise RuntimeError(f"SIGTERM ended the run with {code}: see {workdir}.log")
        report.longest_leave = max(report.longest_leave, time.monotonic() - begin)
    else:
        process.kill()
        process.wait(LIMIT)
        where = _find_phase(workdir)
    report.phases[where] += 1
    report.signals["SIGTERM" if gently else "SIGKILL"] += 1


def _find_phase(workdir: Path) -> str:
    """Where a run is, or was when it ended, by the files and the log that it left."""
    # os.walk skips a folder that a running process renames at this moment; rglob fails.
    if any("orbax-checkpoint-tmp" in folder for folder, _, _ in os.walk(workdir)):
        return "the writing of a checkpoint"
    return PHASES[_reach_phase(workdir)][0]


def _damage(workdir: Path, draw: random.Random, report: Report) -> None:
    """Cuts a file short or flips a bit of it: of the newest checkpoint, or of the cache."""
    if draw.random() < 0.5:
        what = "cache"
        files = sorted((workdir / "cache").glob("signals/*.npy"))
    else:
        what = "newest checkpoint"
        newest: dict[Path, Path] = {}
        for path in sorted((workdir / "checkpoints").glob("*/*")):
            if path.name.isdigit():
                best = newest.get(path.parent, path)
                newest[path.parent] = max(best, path, key=lambda each: int(each.name))
        last = max(newest.values(), key=lambda each: each.stat().st_mtime, default=None)
        files = [p for p in sorted(last.rglob("*")) if p.is_file()] if last else []
    files = [path for path in files if path.stat().st_size]
    if not files:
        return
    path = draw.choice(files)
    if draw.random() < 0.5:
        os.truncate(path, path.stat().st_size // 2)
        report.damages[f"{what}: a file cut short"] += 1
        return
    with path.open("r+b") as file:
        file.seek(draw.randrange(path.stat().st_size))
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))
    report.damages[f"{what}: a bit flipped"] += 1


def _read_results(workdir: Path) -> dict[str, Any]:
    results = json.loads((workdir / "results.json").read_text())
    del results["timing"]
    return results


def _read_metrics(workdir: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name not in TIMED} for line in lines]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = kill_runs(Path(folder), options.kills, options.seed)
    print(report)
    print(*report.differences, sep="\n")
    return bool(report.differences)


if __name__ == "__main__":
    sys.exit(main())
