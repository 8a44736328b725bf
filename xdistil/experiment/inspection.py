"""What a folder holds, in words: a model's parts and scores, or how far a run is.

A run is looked at from outside, through the files that it leaves, so that it may be at work.
"""

import json
import re
import time
from pathlib import Path
from typing import Any, cast

import filelock

from xdistil.deploy.model_card import read_card
from xdistil.errors import InputError
from xdistil.evaluation.formatting import (
    align,
    format_bytes,
    format_count,
    format_duration,
    format_score,
)
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.report import LANGUAGE_SCORE, render_console, tabulate_gaps
from xdistil.evaluation.results import Scores, read_results
from xdistil.experiment.evaluate import measure_bytes
from xdistil.models.hf.folder import load_model
from xdistil.models.types import count_parameters

_WORST = 5  # languages shown
_BEGUN = re.compile(r"INFO ((?:teacher|student|baseline-\S+) \d+/\d+ \S+) from step")


def inspect_folder(folder: Path) -> str:
    """Lines about a model folder, or about the workdir of a run.

    Raises:
        InputError: the folder is neither, or is damaged.
    """
    config = folder / "config.json"
    if not folder.is_dir() or not config.exists():
        raise InputError(
            f"{folder} is neither a model folder nor a workdir: name one that holds config.json."
        )
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{config} is damaged: {error}.") from error
    is_run = isinstance(content, dict) and {"plan", "teacher", "student"} <= content.keys()
    return inspect_workdir(folder) if is_run else inspect_model(folder)


def inspect_model(folder: Path) -> str:
    """Kind, parameters, bytes, labels, and the scores that the model card holds."""
    loaded = load_model(str(folder))
    counted, sizes = count_parameters(loaded.params), measure_bytes(folder)
    rows = [
        ("model", str(loaded.config["model_type"])),
        (
            "parameters",
            f"{format_count(counted['total'])}, {format_count(counted['embeddings'])} of them word "
            "embeddings",
        ),
        *((f"bytes: {name}", format_bytes(cast(int, size))) for name, size in sizes.items()),
        ("task", loaded.task.kind if loaded.task else "none: an encoder without a head"),
        ("labels", ", ".join(loaded.task.labels) if loaded.task else "none"),
    ]
    lines = align(rows, (0, 1))
    scored = read_card(folder)
    if scored:
        lines += ["", *align([("language", "split", "score", "%"), *scored], (0, 1, 2))]
    return "\n".join(lines)


def inspect_workdir(workdir: Path) -> str:
    """How far a run is, what it reached, and what its command would do next."""
    results = read_results(workdir)
    if results is not None:
        return f"{workdir} is finished: its command prints this again.\n\n{render_console(results)}"
    cursors = _read_cursors(workdir)
    lines = [f"{workdir}: {_tell_place(workdir)}", _tell_next(workdir, cursors), ""]
    rows = [("stage", "steps", "monitor", "its best", "score on dev", "time")]
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
        lines += ["", f"Dev, the largest loss of the student first (at most {_WORST})", *gaps]
    return "\n".join(lines)


def _read_cursors(workdir: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The newest readable cursor of every course with its folder, the oldest course first."""
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
    """Whether a run is at work in the folder, and the last line of its log."""
    try:
        with filelock.FileLock(workdir / ".lock", timeout=0):
            state = "nothing is at work in it"
    except filelock.Timeout:
        state = "a run is at work in it"
    except OSError:  # a folder that may be read only
        state = "whether a run is at work in it cannot be told"
    log = workdir / "train.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    told = [line.split(" ", 3)[-1] for line in lines if " INFO " in line or " WARNING " in line]
    return f"{state}; its last line: {told[-1]}" if told else f"{state}; it has said nothing yet"


def _tell_next(workdir: Path, cursors: dict[str, tuple[Path, dict[str, Any]]]) -> str:
    """What the same command would begin with."""
    if not cursors:
        begins = _name_first(workdir)
        return f"The same command begins with the {begins}: no checkpoint is there."
    course, (folder, cursor) = list(cursors.items())[-1]
    age = format_duration(time.time() - folder.stat().st_mtime)
    log = (workdir / "train.log").read_text(encoding="utf-8", errors="replace")
    place = f"{course} {cursor['leg'] + 1}"
    begun = [name for name in _BEGUN.findall(log) if name.startswith(f"{place}/")]
    stage = begun[-1] if begun else place
    what = "which is done" if cursor["done"] else f"step {cursor['step']}"
    return (
        f"The same command goes on behind {stage}, {what}: checkpoint {folder.name} was saved "
        f"{age} ago."
    )


def _name_first(workdir: Path) -> str:
    """What a run begins with: its student where there is no teacher, or that one is done."""
    experiment = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    teacher, student = experiment["teacher"], experiment["student"]
    absent = teacher.get("signals") or (
        student.get("kind") == "checkpoint" and not teacher.get("model")
    )
    return "student" if absent or (workdir / "teacher").exists() else "teacher"


def _tabulate_gaps(cursors: dict[str, tuple[Path, dict[str, Any]]]) -> list[str]:
    """The languages of dev on which the student's last scored stage loses most."""
    dev = {}
    for course in ("teacher", "student"):
        records = cursors[course][1]["records"] if course in cursors else []
        if not records or not records[-1]["dev"]:
            return []
        dev[course] = records[-1]["dev"]["per_language"]
    kind = "tagging" if "f1" in next(iter(dev["teacher"].values())) else "classification"
    rows = tabulate_gaps(dev["teacher"], dev["student"], LANGUAGE_SCORE[kind])[:_WORST]
    header = ("language", "teacher", "student", "gap", "sentences")
    return align([header, *rows], (0,)) if rows else []


def _main(dev: Scores | None) -> float | None:
    """The score that chooses."""
    if not dev:
        return None
    kind = "tagging" if "micro_f1" in dev else "classification"
    return dev[MAIN_SCORE[kind]]
