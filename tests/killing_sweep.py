"""Kills a real sweep by the clock and compares its table with that of one left alone.

    python -m tests.killing_sweep --kills=10 --seed=1

The sweep is six short runs of the quickstart's smoke variant: three plans with two seeds. It is
started, killed at a random moment with SIGKILL or, one time in four, SIGTERM, and started again by
the same command; sometimes a run is killed in place of the sweep. Two runs go at once. The tables
in all formats must be the same, byte for byte.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xdistil.evaluation.tables import FORMATS

ROOT = Path(__file__).parents[1]
OPTIONS = (
    f"--config={ROOT}/configs/quickstart.py:smoke",
    "--config.speed_seconds=0",
    "--config.checkpoint_minutes=0.03",
    "--sweep=plan[1].lr=4e-3,2e-3,1e-3",
    "--sweep=seed=0,1",
    "--jobs=2",
)
COLUMNS = "score,languages,dev,teacher,retention,baselines,stages,parameters,bytes,passes"
LIMIT = 1800.0  # seconds after which a sweep is taken for hanging


def start(workdir: Path) -> subprocess.Popen[bytes]:
    """The sweep, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "xdistil", "sweep", *OPTIONS, f"--workdir={workdir}"]
    with workdir.with_suffix(".log").open("a") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def read_tables(workdir: Path) -> list[bytes]:
    """The table of a sweep in all formats."""
    command = [sys.executable, "-m", "xdistil", "table", str(workdir), f"--columns={COLUMNS}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return [
        subprocess.check_output([*command, f"--format={kind}"], cwd=ROOT, env=environment)
        for kind in FORMATS
    ]


def list_children(process: subprocess.Popen[bytes]) -> list[int]:
    """The process ids of the runs of a sweep."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(each) for each in path.read_text().split()]


def kill(process: subprocess.Popen[bytes], draw: random.Random) -> str:
    """Kills the sweep, or one of its runs and then the sweep; returns what was done."""
    children = list_children(process)
    told = ""
    if children and draw.random() < 0.3:
        os.kill(draw.choice(children), signal.SIGKILL)
        told = "SIGKILL to a run, then "
        time.sleep(draw.uniform(0, 2))
    number = signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL
    process.send_signal(number)
    process.wait(LIMIT)
    return f"{told}{number.name} to the sweep"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    draw, kills = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = Path(folder) / "alone", Path(folder) / "killed"
        for _ in range(2):
            # The second one finds its programs compiled: that is the pace of those that are killed.
            shutil.rmtree(alone, ignore_errors=True)
            began = time.monotonic()
            if start(alone).wait(LIMIT):
                raise RuntimeError((Path(folder) / "alone.log").read_text())
            length = time.monotonic() - began
        print(f"seed {options.seed}; a sweep left alone takes {length:.0f} s", flush=True)
        expected, since = read_tables(alone), 0
        while kills < options.kills or since:
            process = start(killed)
            if kills == options.kills:
                failed = process.wait(LIMIT)
            else:
                moment = draw.uniform(0, length / 3)  # most starts repeat what the last one lost
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                failed = process.poll()
            if failed is None:
                done = len(list(killed.glob("*/results.json")))
                kills, since = kills + 1, since + 1
                told = kill(process, draw)
                print(f"after {moment:.0f} s, {done} done: {told}", flush=True)
            elif failed:  # a run that was killed by itself is a failed run, and is started again
                print("a run failed", flush=True)
            else:
                same = read_tables(killed) == expected
                print(f"{since} kills: the tables are {'the same' if same else 'different'}")
                if not same:
                    return 1
                shutil.rmtree(killed)  # the next sweep takes the kills that are left
                since = 0
        print(f"{kills} kills\n\n{expected[0].decode()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
