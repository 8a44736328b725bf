"""Where the metrics of a run go beside metrics.jsonl: TensorBoard files, and trackers on request.

A tracker is an adapter of three methods around another package. The id of a run is kept in its
workdir, so that a run that resumes continues its curves. Steps since the last checkpoint are logged
twice then, with the same values at the same steps.
"""

import importlib
import json
import logging
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import tensorboardX

from xdistil.config import split_names
from xdistil.errors import InputError, suggest
from xdistil.runtime.json_io import write_json

log = logging.getLogger("xdistil")

TRACKERS_FILE = "trackers.json"


class Tracker(Protocol):
    """What takes the numbers of a run."""

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step of a series, such as `student/logits`, whose steps count from 1."""

    def summary(self, values: Mapping[str, float]) -> None:
        """The numbers of a finished run."""

    def finish(self) -> None:
        """Nothing more comes from this process; the run may resume in another one."""


class TensorBoard:
    """Event files in a folder, opened at the first number."""

    def __init__(self, folder: Path, writes: bool = True) -> None:
        """With `writes` False nothing is written."""
        self._folder, self._writes = folder, writes

    @cached_property
    def _board(self) -> tensorboardX.SummaryWriter:
        return tensorboardX.SummaryWriter(str(self._folder), write_to_disk=self._writes)

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Adds scalars."""
        for name, value in values.items():
            self._board.add_scalar(f"{series}/{name}", value, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Nothing: results.json has them."""

    def finish(self) -> None:
        """Closes the file."""
        if "_board" in vars(self):
            self._board.close()


class WeightsAndBiases:
    """A run of wandb, which reads its other settings from its environment variables."""

    def __init__(self, module: Any, project: str, run: str, workdir: Path, config: Any) -> None:
        """Starts or resumes the run with the id `run`; its files are in the workdir."""
        self._run = module.init(
            project=project,
            id=run,
            name=workdir.name,
            dir=str(workdir),
            config=config,
            resume="allow",
        )
        self._series: set[str] = set()

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Logs numbers over the steps of the series: wandb's own must not fall, and these do."""
        axis = f"{series}/step"
        if series not in self._series:
            self._run.define_metric(axis)
            self._run.define_metric(f"{series}/*", step_metric=axis)
            self._series.add(series)
        self._run.log({axis: step, **{f"{series}/{name}": each for name, each in values.items()}})

    def summary(self, values: Mapping[str, float]) -> None:
        """Updates the summary of the run."""
        self._run.summary.update(dict(values))

    def finish(self) -> None:
        """Sends what is left."""
        self._run.finish()


class Trackio:
    """A run of trackio, which knows a run by its name."""

    def __init__(self, module: Any, project: str, run: str, workdir: Path, config: Any) -> None:
        """Starts or resumes the run."""
        name = f"{workdir.name}-{run}"
        self._run = module.init(project=project, name=name, config=config, resume="allow")

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """Logs numbers at a step."""
        self._run.log({f"{series}/{name}": value for name, value in values.items()}, step=step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Logs them behind all others: trackio has no summary."""
        self._run.log({f"summary/{name}": value for name, value in values.items()})

    def finish(self) -> None:
        """Sends what is left."""
        self._run.finish()


TRACKERS: dict[str, type[WeightsAndBiases] | type[Trackio]] = {
    "wandb": WeightsAndBiases,
    "trackio": Trackio,
}


class Guarded:
    """A tracker that must not end a run: the first error is a warning, and then it is left out."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        """`name` is that of the package."""
        self._name, self._tracker = name, tracker
        self._works = True

    def log(self, series: str, values: Mapping[str, float], step: int) -> None:
        """As the tracker does."""
        self._call("log", series, values, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """As the tracker does."""
        self._call("summary", values)

    def finish(self) -> None:
        """As the tracker does."""
        self._call("finish")

    def _call(self, method: str, *arguments: Any) -> None:
        if not self._works:
            return
        try:
            getattr(self._tracker, method)(*arguments)
        except Exception as error:  # of any package, mostly of a network
            self._works = False
            log.warning("%s failed and is left out from here on: %s", self._name, error)


def check_trackers(trackers: str) -> None:
    """Raises InputError where a name in `trackers` is unknown, or its package is not installed."""
    for name in split_names(trackers):
        if name not in TRACKERS:
            raise InputError(
                f"trackers is {trackers!r}: there is no tracker {name!r}{suggest(name, TRACKERS)}."
            )
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"trackers={name} needs the package {name} ({error}): pip install "
                f"'xdistil[{name}]', or leave trackers empty."
            ) from error


def open_trackers(trackers: str, project: str, workdir: Path, config: Any) -> list[Tracker]:
    """Starts the trackers of a run, or resumes them by the id in its workdir.

    Args:
        trackers: names, separated by commas.
        config: the experiment as a dict.

    Raises:
        InputError: a package cannot start a run, for example without a login.
    """
    opened: list[Tracker] = []
    for name in split_names(trackers):
        arguments = (project, _find_run(workdir), workdir.resolve(), config)
        try:
            tracker = TRACKERS[name](importlib.import_module(name), *arguments)
        except Exception as error:  # packages raise their own
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(
                f"trackers={name} cannot start ({reason}): log in to it or work offline as its "
                "documentation says, or leave trackers empty."
            ) from error
        opened.append(Guarded(name, tracker))
    return opened


def _find_run(workdir: Path) -> str:
    """The id of the run in a workdir, made at the first call."""
    path = workdir / TRACKERS_FILE
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, LookupError, TypeError):
        run = uuid.uuid4().hex[:12]
        write_json(path, {"run": run})
        return run
