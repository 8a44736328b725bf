"""Short runs of some students of a frontier: a config file, and `xdistil sweep` with it."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdistil.config import Student
from xdistil.experiment.sweep import name_run
from xdistil.runtime.json_io import write_text
from xdistil.student.shapes import Shape, list_overrides

CONFIG = '''\
"""Short runs of students that xdistil frontier chose, with {share:.0%} of the epochs.

xdistil sweep --config={path} --workdir={runs}
"""

from xdistil.cli.overrides import make_experiment

CONFIG = {config!r}
OVERRIDES = {overrides!r}
SHAPES = {settings!r}


def get_config():
    experiment = make_experiment(CONFIG, OVERRIDES)
    experiment.baselines = ()
    experiment.speed_seconds = 0.0
    for stage in experiment.plan:
        stage.epochs *= {share!r}
        stage.unfreeze_epochs *= {share!r}
    return experiment


def sweep():
    yield from SHAPES
'''


def write_config(
    workdir: Path,
    shapes: Sequence[Shape],
    student: Student,
    config: str,
    overrides: Sequence[tuple[str, str]],
    share: float,
) -> list[Path]:
    """Writes short_runs.py; returns the workdirs of the runs, in the order of the shapes.

    Args:
        student: that of the config.
        config: as of --config.
        overrides: (path, value) of the other flags of the config.
        share: of the plan's epochs.
    """
    # The hidden size is always there: a run is named by its settings.
    settings = [
        {"student.hidden_size": str(shape.student.hidden_size)}
        | dict(_split(flag) for flag in list_overrides(shape.student, student))
        for shape in shapes
    ]
    path, runs = workdir / "short_runs.py", workdir / "runs"
    text = CONFIG.format(
        path=path,
        runs=runs,
        config=config,
        overrides=list(overrides),
        settings=settings,
        share=share,
    )
    write_text(path, text)
    return [runs / name_run(each) for each in settings]


def _split(flag: str) -> tuple[str, str]:
    name, _, value = flag.removeprefix("--config.").partition("=")
    return name, value


def run_sweep(workdir: Path) -> int:
    """Trains what short_runs.py says and is not trained yet; returns the exit code of the sweep."""
    arguments = [f"--config={workdir / 'short_runs.py'}", f"--workdir={workdir / 'runs'}"]
    process = subprocess.Popen([sys.executable, "-m", "xdistil", "sweep", *arguments])

    def forward(number: int, _: Any) -> None:
        process.send_signal(number)

    # The sweep saves its state and ends. Ctrl-C in a terminal reaches it as well.
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
