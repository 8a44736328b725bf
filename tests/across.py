"""Checks that this code resumes runs that older code started, bit by bit.

    .ci/across REV

The run is that of tests/killing.py with the flags of REV. The code of REV starts it and is killed
in each phase in turn, by SIGKILL or, one time in four, by SIGTERM. After each kill this checkout
takes a copy of the workdir and finishes the run. `tests.killing.compare` then compares it with
a run that REV finished undisturbed.

A run that restarts ends with the same bits as one that resumes. So these count as differences too:
cached signals under other names, checkpoints of other plans, and warnings about checkpoints,
metrics.jsonl or damaged files in the part of train.log that this checkout wrote.

Times, model cards and results.md are not compared, so their wording may change. Bits are equal only
on one machine with the same visible cores. Both revisions use the same Python environment.
"""

import argparse
import importlib.util
import json
import random
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests import killing
from xdistil.config import EARLIER, Student

TRIES = 8  # to hit a phase


@dataclass
class Row:
    """A phase, the signal that killed the old code in it, and the differences at the end."""

    phase: str
    signal: str
    differences: list[str]

    def __str__(self) -> str:
        """A line of the table."""
        return f"{self.phase:36}{self.signal:9}{len(self.differences) or 'none':>11}"


def load_old(code: Path) -> ModuleType:
    """tests/killing.py of another checkout: its phases, its flags, and runs of its train.py."""
    spec = importlib.util.spec_from_file_location("old_killing", code / "tests" / "killing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def end_runs(folder: Path, old: ModuleType, seed: int) -> list[Row]:
    """One row per phase of the old code; `folder` is empty."""
    rows: list[Row] = []
    expected, begun = folder / "undisturbed", folder / "begun"
    old._wait(old._start(expected), 0)
    # The second run finds its programs compiled, as the killed ones do.
    shutil.rmtree(expected)
    lengths = old._time_phases(old._start(expected), expected)
    begun.mkdir()
    for aim, (phase, _) in enumerate(old.PHASES):
        workdir = folder / f"killed-{aim}"
        name = kill_in_phase(old, begun, workdir, aim, lengths[aim], random.Random(f"{seed} {aim}"))
        if not name:
            rows.append(Row(phase, "", [f"{phase}: not hit in {TRIES} tries"]))
        else:
            shutil.rmtree(begun)
            shutil.copytree(workdir, begun)
            rows.append(Row(phase, name, end_run(old, workdir, expected)))
        print(rows[-1], flush=True)
    return rows


def kill_in_phase(
    old: ModuleType, begun: Path, workdir: Path, aim: int, seconds: float, draw: random.Random
) -> str:
    """Resumes a copy of `begun` with the old code and kills it within a phase.

    Returns:
        The signal, empty where the phase was not hit.
    """
    for _ in range(TRIES):
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(begun, workdir)
        process, report = old._start(workdir, draw.randrange(1 << 32)), old.Report()
        if old.PHASES[aim][1].endswith(".new"):  # a folder that exists for milliseconds
            while process.poll() is None and not (workdir / old.PHASES[aim][1]).exists():
                time.sleep(0.0005)
            seconds = 0.0
        else:
            old._wait_for_phase(process, workdir, aim)
        if not old._ends_within(process, draw.uniform(0, seconds)):
            old._kill(process, draw, report, workdir)
            if old._reach_phase(workdir) == aim:
                return next(iter(report.signals))
        seconds /= 2
    return ""


def end_run(old: ModuleType, workdir: Path, expected: Path) -> list[str]:
    """Finishes a run with this checkout; returns what differs from the undisturbed run."""
    log = workdir / "train.log"
    before = log.stat().st_size if log.exists() else 0
    # The config file is this checkout's, the flags are the old ones: they must still be accepted.
    # What a run of REV may have done otherwise before there was a field for it.
    began = json.loads((expected / "config.json").read_text(encoding="utf-8"))
    more = [f"--config.teacher.family={began['teacher'].get('family', 'bert')}"]
    if not (workdir / "config.json").exists():  # nothing tells that REV began it: it is a new run
        more += [
            f"--config.student.{name}={began['student'].get(name, value)}"
            for name, value in EARLIER[Student].items()
        ]
    config = (killing.CONFIG[0], *old.CONFIG[1:], *more)
    code = killing._start(workdir, config=config).wait(killing.LIMIT)
    if code:
        told = workdir.with_suffix(".log").read_text(errors="replace").splitlines()
        return [f"{workdir} ended with {code}: {line}" for line in told[-1:]]
    found = killing.compare(expected, workdir)
    for part in ("cache/signals", "checkpoints"):
        names, others = (sorted(x.name for x in (w / part).iterdir()) for w in (workdir, expected))
        found += [f"{workdir}/{part}: {names} instead of {others}"] if names != others else []
    told = log.read_bytes()[before:].decode(errors="replace").splitlines()
    lost = re.compile("WARNING .*(checkpoint|metrics.jsonl|damaged|corrupt)", re.IGNORECASE)
    return found + [f"{workdir}/train.log: {line}" for line in told if lost.search(line)]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("code", type=Path, help="the older checkout")
    parser.add_argument("folder", type=Path, help="an empty one, for the runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = end_runs(options.folder.resolve(), load_old(options.code.resolve()), options.seed)
    print(f"\n{'killed in':36}{'by':9}{'differences':>11}", *rows, sep="\n")
    differences = [line for row in rows for line in row.differences]
    print(*differences, sep="\n")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main())
