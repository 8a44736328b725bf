"""A sweep: runs that differ in some fields, each in a workdir of its own below one folder.

A run is named by what differs, and is a process of its own. It is done when its results.json is
there and belongs to its config and its inputs. The runs share `shared/`: the fine-tuned teachers
and their signals, each by a fingerprint of what it depends on. sweep.json lists the runs.
"""

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdistil.config import Experiment
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_bytes, format_duration
from xdistil.evaluation.results import read_results
from xdistil.runtime.json_io import read_json, write_json

log = logging.getLogger("xdistil")

MANIFEST = "sweep.json"
SHARED = "shared"
VARIANT = "variant"  # the setting that is the text after the colon of --config

_LONGEST = 120  # characters of a run's name
_DIGITS = 6  # of the digest in a name that does not say everything

Settings = Mapping[str, str]  # what differs: values by field, `plan` or `variant`


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    name: str  # of its workdir
    settings: Settings
    experiment: Experiment
    arguments: tuple[str, ...]  # of `xdistil train`, without --workdir


def combine_settings(
    configured: Sequence[Settings], axes: Mapping[str, Sequence[str]]
) -> list[dict[str, str]]:
    """The settings of every run: those of the config file, each with every value of the axes.

    An axis replaces what the config file says of its field.

    Args:
        configured: what `sweep` of the config file yields; may be empty.
        axes: the values by field, in the order of the command line.
    """
    rows = [
        {name: value for name, value in each.items() if name not in axes} for each in configured
    ]
    different = list({json.dumps(row): row for row in rows}.values()) or [{}]
    products = list(itertools.product(*axes.values()))
    return [
        {**row, **dict(zip(axes, values, strict=True))} for row in different for values in products
    ]


def name_run(settings: Settings) -> str:
    """The name of a run's workdir, such as `plan=d2,seed=0`.

    Letters, digits and `. _ - + = ,` stay; brackets of a field become a point, and everything else
    an underscore. A name that leaves something out ends in a digest of all.
    """
    whole = ",".join(f"{name}={value}" for name, value in settings.items())
    fields = (re.sub(r"\[(\d+)\]", r".\1", name) for name in settings)
    told = ",".join(
        f"{name}={value}" for name, value in zip(fields, settings.values(), strict=True)
    )
    safe = re.sub(r"[^\w.+=,-]", "_", told, flags=re.ASCII)
    if safe == told and len(safe) <= _LONGEST:
        return safe
    return f"{safe[:_LONGEST]}-{hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]}"


def refuse_equal(runs: Sequence[PlannedRun]) -> None:
    """Raises InputError where two runs would be the same."""
    known: dict[str, str] = {}
    for run in runs:
        if (other := known.setdefault(repr(run.experiment), run.name)) != run.name:
            raise InputError(f"{other} and {run.name} are the same run: name each value once.")
        if run.experiment.distributed:
            raise InputError(
                "A run of a sweep is one process, and distributed is "
                f"{run.experiment.distributed!r}: leave it empty."
            )


def keep_names(runs: Sequence[PlannedRun], workdir: Path) -> tuple[PlannedRun, ...]:
    """The runs, named as in sweep.json, where the order of the fields may have been another."""
    if not (workdir / MANIFEST).exists():
        return tuple(runs)
    names = {frozenset(each.items()): name for name, each in read_manifest(workdir).items()}
    return tuple(
        replace(run, name=names.get(frozenset(run.settings.items()), run.name)) for run in runs
    )


def write_manifest(workdir: Path, runs: Sequence[PlannedRun]) -> None:
    """Writes sweep.json: these runs, and those of an earlier command that have ended."""
    rows = {run.name: dict(run.settings) for run in runs}
    before = read_manifest(workdir) if (workdir / MANIFEST).exists() else {}
    kept = {
        name: dict(settings)
        for name, settings in before.items()
        if name not in rows and (workdir / name / "results.json").exists()
    }
    listed = [{"name": name, "settings": each} for name, each in (kept | rows).items()]
    write_json(workdir / MANIFEST, {"format": 1, "runs": listed})


def read_manifest(workdir: Path) -> dict[str, Settings]:
    """The settings of the runs of a sweep, by name.

    Raises:
        InputError: the folder holds no sweep, or its sweep.json is damaged or lists no runs.
    """
    path = workdir / MANIFEST
    if not path.exists():
        raise InputError(f"{workdir} has no {MANIFEST}: name the --workdir of an xdistil sweep.")
    try:
        runs: dict[str, Settings] = {
            str(each["name"]): {str(name): str(value) for name, value in each["settings"].items()}
            for each in read_json(path)["runs"]
        }
    except (LookupError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged: remove it, and run the sweep again.") from None
    if not runs:
        raise InputError(f"{path} lists no runs: remove it, and run the sweep again.")
    return runs


def is_done(run: PlannedRun, workdir: Path, known: dict) -> bool:
    """Whether the run has ended with the inputs that are there now; nothing is written.

    Args:
        workdir: of the sweep.
        known: the same object for all runs of a sweep, as in `check_finished`.

    Raises:
        InputError: its workdir belongs to another config, or its inputs have changed.
    """
    folder = workdir / run.name
    results = read_results(folder)
    if results is None:
        return False
    # JAX is imported with these, and a sweep whose runs are all new does not need it.
    from xdistil.experiment.finished import check_finished
    from xdistil.runtime.session import continue_experiment

    check_finished(continue_experiment(run.experiment, folder), folder, results, known)
    return True


def measure_disk(folder: Path) -> int:
    """Bytes of the files in a folder that no other run has; those have several links."""
    stats = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum(each.st_size for each in stats if each.st_nlink == 1)


def describe_sweep(
    workdir: Path, runs: Sequence[PlannedRun], done: Sequence[str]
) -> list[list[str]]:
    """Rows of a table: name, state, time and disk of each run, and of all.

    A run that is not done is estimated by the mean of those that are and differ in the seed alone,
    or else of all that are.
    """
    seconds: dict[str, float] = {}
    disk: dict[str, float] = {}
    for run in runs:
        results = read_results(workdir / run.name) if run.name in done else None
        if results is not None:
            seconds[run.name] = results["timing"].get("total", 0.0)
            disk[run.name] = measure_disk(workdir / run.name)
    rows = [["run", "state", "time", "disk"]]
    totals = [0.0, 0.0]
    for run in runs:
        state = "done" if run.name in done else "to do"
        if state == "to do" and (workdir / run.name / "config.json").exists():
            state = "begun"
        values = [_estimate(run, runs, each) for each in (seconds, disk)]
        about = "" if state == "done" else "about "
        rows.append([run.name, state, *_tell(values, about)])
        totals = [total + (value or 0.0) for total, value in zip(totals, values, strict=True)]
    left = len(runs) - len(done)
    told = _tell(totals if seconds else [None, None], "about " if left else "")
    return [*rows, [f"all {len(runs)}", f"{left} to do", *told]]


def _estimate(
    run: PlannedRun, runs: Sequence[PlannedRun], measured: Mapping[str, float]
) -> float | None:
    if run.name in measured:
        return measured[run.name]
    alike = [
        measured[each.name]
        for each in runs
        if each.name in measured and _drop_seed(each) == _drop_seed(run)
    ]
    values = alike or list(measured.values())
    return sum(values) / len(values) if values else None


def _drop_seed(run: PlannedRun) -> dict[str, str]:
    return {name: value for name, value in run.settings.items() if name != "seed"}


def _tell(values: Sequence[float | None], about: str) -> list[str]:
    seconds, size = values
    return [
        "unknown" if seconds is None else f"{about}{_format_time(seconds)}",
        "unknown" if size is None else f"{about}{format_bytes(round(size))}",
    ]


def _format_time(seconds: float) -> str:
    return format_duration(seconds) if seconds < 3600 else f"{seconds / 3600:.1f} h"
