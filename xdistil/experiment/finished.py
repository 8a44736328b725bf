"""A finished workdir: whether its results are still those of its inputs and outputs."""

import logging
import tempfile
from pathlib import Path

from xdistil.config import Experiment, find_stored
from xdistil.errors import InputError
from xdistil.evaluation.results import ModelResult, Results
from xdistil.experiment.evaluate import measure_bytes
from xdistil.experiment.inputs import (
    Inputs,
    compare_inputs,
    fingerprint_data,
    fingerprint_inputs,
    read_inputs,
)
from xdistil.experiment.sources import open_sources
from xdistil.teacher.source import has_no_teacher

log = logging.getLogger("xdistil")

_FOLDERS = ("figures", "predictions")  # outputs whose loss is reported

Known = dict[str, Inputs]  # inputs that were read already, by the fields that name them


def check_finished(
    experiment: Experiment, workdir: Path, results: Results, known: Known | None = None
) -> None:
    """Checks the data, the models and the outputs of a finished run; nothing is written.

    A missing output other than the student is a warning.

    Args:
        known: the same object in several calls: runs with the same inputs read them once.

    Raises:
        InputError: an input is gone or has another content, as in a run that resumes; or the
            student is gone or has another size than results.json says.
    """
    known = {} if known is None else known
    if (there := read_inputs(workdir)) is not None:
        _check_data(experiment, workdir, there, known)
        if any(name.startswith(("teacher", "student")) for name in there):
            _check_models(experiment, workdir, there, known)
    _check_student(workdir, results["student"])
    lost = [name for name in _FOLDERS if not (workdir / name).is_dir()]
    if "teacher" in results and results["teacher"]["bytes"] is not None:
        lost += ["teacher"] * (not (workdir / "teacher" / "config.json").exists())
    for name in lost:
        log.warning("%s/ is gone from %s", name, workdir)


def _check_data(experiment: Experiment, workdir: Path, there: Inputs, known: Known) -> None:
    # First, because a changed file may be one that cannot be read.
    if experiment.data.generate and not (workdir / "cache" / "corpus").is_dir():
        return  # a corpus that is generated is always the same
    recorded = {
        name: each for name, each in there.items() if not name.startswith(("teacher", "student"))
    }
    stored = experiment.teacher.signals, experiment.teacher.labels
    key = repr((experiment.data, has_no_teacher(experiment), stored))
    if experiment.data.generate or key not in known:
        known[key] = fingerprint_data(experiment, workdir / "cache")
    compare_inputs(workdir, recorded, known[key])


def _check_models(experiment: Experiment, workdir: Path, there: Inputs, known: Known) -> None:
    # What the run made on the way is read from its cache, or made again elsewhere.
    made = {
        "corpus": experiment.data.generate,
        "student_tokenizer": experiment.student.tokenizer_pieces,
        "tokenizer": not experiment.teacher.model and not find_stored(experiment.teacher),
    }
    key = repr((experiment.data, experiment.teacher, experiment.student, experiment.seed))
    if key in known and not experiment.data.generate:
        compare_inputs(workdir, there, known[key])
        return
    cache = workdir / "cache"
    whole = all((cache / name).is_dir() for name, needed in made.items() if needed)
    with tempfile.TemporaryDirectory() as folder:
        cache = cache if whole else Path(folder)
        sources = open_sources(experiment, cache, writes=not whole)
        known[key] = fingerprint_inputs(sources, cache)
    compare_inputs(workdir, there, known[key])


def _check_student(workdir: Path, row: ModelResult) -> None:
    folder = workdir / "student"
    remedy = f"put it back, or name another --workdir (xdistil inspect {workdir} shows the results)"
    if not (folder / "config.json").exists():
        raise InputError(f"{workdir} is finished, but its student/ is gone: {remedy}.")
    if (sizes := row["bytes"]) is None:
        return
    found = measure_bytes(folder)
    for part, size in (("model", sizes["model"]), ("tokenizer", sizes["tokenizer"])):
        there = found["model"] if part == "model" else found["tokenizer"]
        if there != size:
            raise InputError(
                f"{folder} is not the student of the finished run: its {part} files have {there} "
                f"bytes, and results.json says {size}: {remedy}."
            )
