"""Kills real runs of train.py by the clock and compares their end with that of one left alone.

    python -m tests.killing --kills=200 --seed=1

The run is the quickstart, shrunk, with the teacher's signals cached. It is started, killed at a
random moment by SIGKILL or, one time in four, SIGTERM, and started again by the same command, from
another directory and with another PYTHONHASHSEED, until it has been killed as often as asked; then
it is let go to its end. If it ends before, the next run is begun. Now and then a file of the newest
checkpoint, or of the cache, is damaged in between.

Parameters, configs, tokenizers, predictions, scores, early stopping and lines of metrics must be
the same bits; only what is timed may differ. The table tells where the kills hit.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = (
    f"--config={ROOT}/configs/quickstart.py:smoke",
    "--config.teacher.cache=always",
    "--config.student.vocabulary=seen",
    "--config.plan[1].unfreeze=gradual",
    "--config.plan[1].thaw_epochs=2",
    "--config.plan[2].patience=2",
    "--config.eval_every=40",
    "--config.log_every=4",
    "--config.checkpoint_minutes=0.02",
)
TIMED = ("tokens_per_second",)
LIMIT = 600.0  # seconds after which a run is taken for hanging
STOPPED = 75
_UNDER_WAY = re.compile("\n(.* from step |computing |predicting and scoring)")  # told by the run


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
    begin = time.monotonic()
    _wait(_start(expected), 0)
    # The second one finds its programs compiled: that is the pace of those that are killed.
    shutil.rmtree(expected)
    begin = time.monotonic()
    process = _start(expected)
    while not (expected / "metrics.jsonl").exists():
        time.sleep(0.05)
    ready = time.monotonic() - begin
    _wait(process, 0)
    whole = time.monotonic() - begin
    left = kills
    while left or not report.runs:
        workdir = folder / f"killed-{report.runs}"
        while True:
            process = _start(workdir, draw.randrange(1 << 32))
            # A quarter of the kills in what comes before the first step, the rest behind it, so
            # far apart that a run of all the kills comes to about its end.
            if draw.random() < 0.25:
                delay = draw.uniform(0, ready)
            else:
                _wait_until_under_way(process, workdir)
                delay = draw.uniform(0, 1 + 4 * (whole - ready) / max(kills, 1))
            if not left or _ends_within(process, delay):
                _wait(process, 0)
                break
            _kill(process, draw, report, workdir)
            left -= 1
            if draw.random() < 0.2:
                _damage(workdir, draw, report)
        report.runs += 1
        report.differences += compare(expected, workdir)
    return report


def compare(expected: Path, workdir: Path) -> list[str]:
    """What differs between two finished workdirs, apart from times."""
    found = []
    for name in ("teacher", "student", "predictions"):
        for path in sorted((expected / name).rglob("*")):
            other = workdir / path.relative_to(expected)
            if path.is_file() and (not other.exists() or path.read_bytes() != other.read_bytes()):
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


def _start(workdir: Path, hash_seed: int = 0) -> subprocess.Popen[bytes]:
    # From another directory each time, which must make no difference, nor must the order of sets.
    command = [sys.executable, str(ROOT / "train.py"), *CONFIG, f"--workdir={workdir}"]
    folder = workdir.parent / f"directory-{hash_seed % 3}"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    with workdir.with_suffix(".log").open("a") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def _wait(process: subprocess.Popen[bytes], code: int) -> None:
    ended = process.wait(LIMIT)
    if ended != code:
        raise RuntimeError(f"{process.args!r} ended with {ended} instead of {code}")


def _wait_until_under_way(process: subprocess.Popen[bytes], workdir: Path) -> None:
    """Until this start of the run trains, computes signals or scores."""
    output = workdir.with_suffix(".log")
    before = len(_UNDER_WAY.findall(output.read_text(errors="replace")))
    while process.poll() is None:
        if len(_UNDER_WAY.findall(output.read_text(errors="replace"))) > before:
            return
        time.sleep(0.02)


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
    names = {path.name for path in workdir.rglob("*")}
    if any("orbax-checkpoint-tmp" in name for name in names):
        return "the writing of a checkpoint"
    if any(name in (".teacher.new", ".student.new") for name in names):
        return "the export of a model"
    log = workdir / "train.log"
    lines = log.read_text().splitlines() if log.exists() else []
    for line in reversed(lines):
        words = line.split(" ", 3)[-1]
        for sign, phase in (
            ("computing", "the writing of a cache"),
            ("measuring the speed", "the measuring of speed"),
            ("predicting and scoring", "the scores"),
            ("teacher 1/1", "training: teacher"),
            ("student 1/", "training: representation"),
            ("student ", "training: logits and labels"),
            ("baseline-", "training: baseline"),
        ):
            if words.startswith(sign) and " step " in words + " step ":
                return phase
        if words.startswith("JAX "):
            break
    return "the start, before the first step"


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
