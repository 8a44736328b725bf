"""What a folder holds: a model with its sizes and scores, or a run and its state.

The state of a run is read from the files in its workdir alone, so the run may be active.
"""

import json
import re
import time
from pathlib import Path
from typing import Any, cast

import filelock

from xdistil.config import STORED
from xdistil.deploy.model_card import read_card
from xdistil.errors import InputError
from xdistil.evaluation.formatting import (
    align,
    format_bytes,
    format_count,
    format_duration,
    format_score,
)
from xdistil.evaluation.metrics import LANGUAGE_SCORE, MAIN_SCORE
from xdistil.evaluation.report import render_console, tabulate_gaps
from xdistil.evaluation.results import Scores, name_task, read_results
from xdistil.experiment.evaluate import measure_bytes
from xdistil.experiment.sweep import MANIFEST
from xdistil.models.hf.folder import load_model
from xdistil.models.types import count_parameters
from xdistil.runtime.workdir import holds_run

_WORST = 5  # languages in the table
_BEGUN = re.compile(r"INFO ((?:teacher|student|baseline-\S+) \d+/\d+ \S+) from step")


def inspect_folder(folder: Path) -> str:
    """A description of a model folder, or of the workdir of a run.

    Raises:
        InputError: the folder is neither, or is damaged.
    """
    config = folder / "config.json"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    if (folder / MANIFEST).exists():
        raise InputError(
            f"{folder} is the workdir of a sweep: name one of its runs, or see all of them with "
            f"xdistil table {folder}."
        )
    if not config.exists():
        raise InputError(
            f"{folder} is neither a model folder nor a workdir: name one that holds config.json."
        )
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config} is damaged: {error}.") from error
    return inspect_workdir(folder) if holds_run(folder) else inspect_model(folder)


def inspect_model(folder: Path) -> str:
    """Model type, parameters, sizes, labels, and the scores of the model card."""
    loaded = load_model(str(folder))
    counted, sizes = count_parameters(loaded.params), measure_bytes(folder)
    rows = [
        ("model", str(loaded.config["model_type"])),
        (
            "parameters",
            f"{format_count(counted['total'])} ({format_count(counted['embeddings'])} in the word "
            "embeddings)",
        ),
        *((f"bytes: {name}", format_bytes(cast(int, size))) for name, size in sizes.items()),
        ("task", loaded.task.name if loaded.task else "none (an encoder without a head)"),
        ("labels", ", ".join(loaded.task.labels) if loaded.task else "none"),
    ]
    lines = align(rows, (0, 1))
    scored = read_card(folder)
    if scored:
        lines += ["", *align([("language", "split", "score", "%"), *scored], (0, 1, 2))]
    return "\n".join(lines)


def inspect_workdir(workdir: Path) -> str:
    """How far a run is, its scores, and what the same command would do next."""
    results = read_results(workdir)
    if results is not None:
        return f"{workdir} holds a finished run.\n\n{render_console(results)}"
    cursors = _read_cursors(workdir)
    lines = [f"{workdir}: {_tell_place(workdir)}", _tell_next(workdir, cursors), ""]
    rows = [("stage", "steps", "monitor", "best", "score on dev", "time")]
    for course, (_, cursor) in cursors.items():
        for record in cursor["records"]:
            rows.append(
                (
                    f"{course} {record['name']}",
                    f"{record['steps']:,}",
                    record["monitor"],
                    "-" if record["best"] is None else f"{record['best']:.4g}",
                    format_score(_main(record["dev"])),
                    format_duration(record["seconds"]),
                )
            )
    if len(rows) > 1:
        lines += align(rows, (0, 2))
    gaps = _tabulate_gaps(cursors)
    if gaps:
        lines += ["", f"Languages on dev, largest loss first (at most {_WORST})", *gaps]
    return "\n".join(lines)


def _read_cursors(workdir: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The newest readable cursor of every plan with its folder, oldest plan first."""
    newest = {}
    for folder in sorted((workdir / "checkpoints").glob("*")):
        steps = sorted((s for s in folder.glob("*") if s.name.isdigit()), key=lambda s: int(s.name))
        for step in reversed(steps):
            try:
                cursor = json.loads((step / "cursor" / "metadata").read_text(encoding="utf-8"))
            except (OSError, ValueError):  # being written or removed, or damaged
                continue
            newest[folder.name] = (step, cursor)
            break
    return dict(sorted(newest.items(), key=lambda item: item[1][0].stat().st_mtime))


def _tell_place(workdir: Path) -> str:
    """Whether a run is active in the folder, and the last line of its log."""
    try:
        with filelock.FileLock(workdir / ".lock", timeout=0):
            state = "no run is active"
    except filelock.Timeout:
        state = "a run is active"
    except OSError:  # the lock file cannot be opened
        state = "it is unknown whether a run is active"
    log = workdir / "train.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    logged = [line.split(" ", 3)[-1] for line in lines if " INFO " in line or " WARNING " in line]
    return f"{state}; {f'last log line: {logged[-1]}' if logged else 'nothing is logged yet'}"


def _tell_next(workdir: Path, cursors: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """Where the same command starts or resumes."""
    if not cursors:
        return f"The same command starts with the {_name_first(workdir)}: there is no checkpoint."
    course, (folder, cursor) = list(cursors.items())[-1]
    age = format_duration(time.time() - folder.stat().st_mtime)
    log = (workdir / "train.log").read_text(encoding="utf-8", errors="replace")
    place = f"{course} {cursor['leg'] + 1}"
    begun = [name for name in _BEGUN.findall(log) if name.startswith(f"{place}/")]
    stage = begun[-1] if begun else place
    step = "which is done" if cursor["done"] else f"step {cursor['step']}"
    return (
        f"The same command resumes after {stage}, {step}: checkpoint {folder.name} was saved "
        f"{age} ago."
    )


def _name_first(workdir: Path) -> str:
    """What a run trains first: the student if there is no teacher or the teacher is done."""
    experiment = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    teacher, student = experiment["teacher"], experiment["student"]
    stored = any(teacher.get(name) for name in STORED)
    absent = not teacher.get("model") and (stored or student.get("kind") == "checkpoint")
    return "student" if absent or (workdir / "teacher").exists() else "teacher"


def _tabulate_gaps(cursors: dict[str, tuple[Path, dict[str, Any]]]) -> list[str]:
    """The languages on dev where the student loses most, after its last finished stage."""
    dev = {}
    for course in ("teacher", "student"):
        records = cursors[course][1]["records"] if course in cursors else []
        if not records or not records[-1]["dev"]:
            return []
        dev[course] = records[-1]["dev"]
    score = LANGUAGE_SCORE[name_task(dev["teacher"])]
    teacher, student = (dev[course]["per_language"] for course in ("teacher", "student"))
    rows = tabulate_gaps(teacher, student, score)[:_WORST]
    header = ("language", "teacher", "student", "gap", "sentences")
    return align([header, *rows], (0,)) if rows else []


def _main(dev: Scores | None) -> float | None:
    """The score that models are selected by."""
    if not dev:
        return None
    return dev[MAIN_SCORE[name_task(dev)]]
