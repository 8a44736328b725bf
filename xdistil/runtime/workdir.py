"""The workdir of a run: its config never changes, and only one run at a time uses it."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from xdistil.config import (
    EARLIER,
    PATHS,
    RENAMED,
    STORED,
    Data,
    Experiment,
    Student,
    expand_paths,
)
from xdistil.errors import InputError
from xdistil.runtime.json_io import write_json

# Fields that may differ when a run resumes: they change no result, or name files whose content is
# compared.
FREE = (
    "trackers",
    "project",
    "license",
    "log_every",
    "speed_seconds",
    "checkpoint_minutes",
    "distributed",
    "mesh.teacher_shards",
    "data.folder",
    "data.transfer",
    "teacher.model",
    "teacher.revision",
    "teacher.tokenizer",
    "teacher.shared_folder",
    *(f"teacher.{name}" for name in STORED),
    "student.tokenizer",
    "student.checkpoint",
)


def claim_workdir(workdir: Path, experiment: Experiment) -> None:
    """Writes config.json, or checks the one that exists.

    Raises:
        InputError: as `check_workdir`.
    """
    check_workdir(workdir, experiment)
    path = workdir / "config.json"
    if not path.exists():
        write_json(path, dataclasses.asdict(experiment))


def check_workdir(workdir: Path, experiment: Experiment) -> None:
    """Compares an experiment with the config.json of the workdir, if there is one.

    An earlier version may have written it: a field that is not in it has its default, or what that
    version did (`EARLIER`), and one that was renamed counts under its new name.

    Raises:
        InputError: the workdir belongs to another experiment; the message names the first field
            that differs.
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another --workdir.") from error
    there = _flatten(_update(stored, Experiment))
    there |= {f"data.{name}": value for name, value in _begun_before(stored).items()}
    if _ignored_layers(stored) is not None:
        there["student.layers"] = 1
    experiment = continue_begun(workdir, experiment)
    for name in map(".".join, PATHS):  # an earlier version wrote a ~ as it was typed
        if isinstance(there.get(name), str):
            there[name] = expand_paths(there[name])
    here = _flatten(dataclasses.asdict(experiment))
    for name in sorted(there.keys() | here.keys()):
        if name in FREE or there.get(name) == here.get(name):
            continue
        raise InputError(
            f"{workdir} holds a run with {name}={there.get(name)!r}, and this one has "
            f"{here.get(name)!r}: name another --workdir, or set --config.{name} to the old value."
        )


def choose_segmentation(experiment: Experiment, workdir: Path | None = None) -> str:
    """`units` or `spaces`: what the config says, or for `auto` what the run began with.

    Args:
        workdir: whose config.json, if there is one, says that; a run that an earlier version began
            knew spaces alone.
    """
    said = experiment.data.segmentation
    if said != "auto":
        return said
    if workdir is None or not (workdir / "config.json").exists():
        return "units"
    try:
        stored = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
        return str(stored["data"].get("segmentation", EARLIER[Data]["segmentation"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "units"  # `check_workdir` reports what is damaged


def continue_begun(workdir: Path, experiment: Experiment) -> Experiment:
    """The experiment as the run in the workdir began, if an earlier version began it.

    That took the first sentences of each language, recognised no tag scheme, left word embeddings
    in the size of their source, cut a vocabulary by the counts in all texts, and built one BiLSTM
    whatever the number of layers.
    """
    try:
        stored = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # `check_workdir` reports what is damaged
        return experiment
    earlier = {
        name: value for name, value in EARLIER[Student].items() if _lacks(stored, "student", name)
    }
    if experiment.student.layers == _ignored_layers(stored):
        earlier["layers"] = 1
    if earlier:
        student = dataclasses.replace(experiment.student, **earlier)
        experiment = dataclasses.replace(experiment, student=student)
    if _lacks(stored, "teacher", "min_agreement") and experiment.teacher.votes == "auto":
        # Votes were not chosen on dev then.
        votes = stored["teacher"].get("votes", experiment.teacher.votes)
        teacher = dataclasses.replace(experiment.teacher, votes=votes)
        experiment = dataclasses.replace(experiment, teacher=teacher)
    if not (begun := _begun_before(stored)):
        return experiment
    data = dataclasses.replace(experiment.data, draw=begun["draw"])
    if data.scheme == "auto":
        data.scheme = begun["scheme"]
    return dataclasses.replace(experiment, data=data)


def _begun_before(stored: Any) -> dict[str, Any]:
    """The fields of `data` that had another default when an earlier version wrote config.json."""
    if not _lacks(stored, "data", "draw"):
        return {}
    return {"draw": "first", "scheme": stored["data"].get("scheme", "iob2")}


def _ignored_layers(stored: Any) -> int | None:
    """What config.json says of a BiLSTM's layers, if the version that wrote it did not read that.

    None: it did. Stages of a version that did not could not hide words.
    """
    if not isinstance(stored, dict) or not isinstance(stored.get("student"), dict):
        return None
    student, plan = stored["student"], stored.get("plan")
    if student.get("kind") != "bilstm" or not isinstance(plan, list):
        return None
    earlier = all(isinstance(stage, dict) and "mask" not in stage for stage in plan)
    return student.get("layers") if earlier else None


def _lacks(stored: Any, group: str, name: str) -> bool:
    """Whether config.json has the group, but not this field of it."""
    fields = stored.get(group) if isinstance(stored, dict) else None
    return isinstance(fields, dict) and name not in fields


def holds_run(folder: Path) -> bool:
    """Whether a folder is the workdir of a run, by its config.json."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"plan", "teacher", "student"} <= content.keys()


def open_workdir(workdir: Path) -> None:
    """Creates the folder.

    Raises:
        InputError: it cannot be created or written to.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--workdir={workdir} cannot be written to ({error.strerror}): name another folder."
        ) from error


@contextlib.contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Locks the workdir until the end of the block or of the process.

    Raises:
        InputError: another run has locked it.
    """
    import filelock  # prediction, which imports this module, does not need it

    try:
        with filelock.FileLock(workdir / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise InputError(
            f"Another run uses {workdir}: wait until it ends, or name another --workdir."
        ) from None


def _update(stored: Any, kind: Any) -> Any:
    """What config.json says of a field of the type `kind`, with the names and fields of today."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(stored, dict):
        types = {item.name: item.type for item in dataclasses.fields(kind)}
        renamed = RENAMED.get(kind, {})
        named = {renamed.get(name) or name: value for name, value in stored.items()}
        there = {name: _update(value, types.get(name)) for name, value in named.items()}
        return {**dataclasses.asdict(kind()), **EARLIER.get(kind, {}), **there}
    if get_origin(kind) is tuple and isinstance(stored, list):
        return [_update(value, get_args(kind)[0]) for value in stored]
    return stored


def _flatten(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        parts = [_flatten(value, f"{path}.{key}" if path else key) for key, value in tree.items()]
    elif isinstance(tree, list | tuple):
        parts = [_flatten(value, f"{path}[{i}]") for i, value in enumerate(tree)]
    else:
        return {path: tree}
    return {name: value for part in parts for name, value in part.items()}
