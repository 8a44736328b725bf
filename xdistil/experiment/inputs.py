"""The inputs of a run by content: data files, tokenizer, teacher, a student's checkpoint or text
vectors.

The workdir keeps their fingerprints. A run that resumes with other content under the same names
would mix two runs: it is refused. Files may have moved.
"""

import hashlib
import json
from pathlib import Path

from xdistil.config import Experiment
from xdistil.data.corpus import list_files
from xdistil.data.tokenizer import Tokenizer
from xdistil.errors import InputError
from xdistil.experiment.build import Run
from xdistil.experiment.sources import Sources, find_data
from xdistil.runtime.json_io import write_json
from xdistil.student.initialise import FromCheckpoint
from xdistil.teacher.interface import Unit
from xdistil.teacher.signals import params_fingerprint
from xdistil.teacher.source import has_no_teacher

Inputs = dict[str, tuple[str, str]]  # by role: where it was read, and the SHA-256 of its content


def fingerprint_data(experiment: Experiment, cache: Path) -> Inputs:
    """The inputs that are data files; `cache` as `build` was given it."""
    files = list_files(find_data(experiment, cache))
    if has_no_teacher(experiment):  # unlabelled texts are not read
        files = {name: path for name, path in files.items() if not name.startswith("transfer")}
    return {name: (str(path), _digest_file(path)) for name, path in files.items()}


def fingerprint_inputs(run: Run | Sources, cache: Path) -> Inputs:
    """(where it was read, SHA-256 of its content) of everything that is read, by what it is.

    Args:
        cache: as `build` was given it.
    """
    experiment, corpus = run.experiment, run.corpus
    teacher, student = experiment.teacher, experiment.student
    inputs = fingerprint_data(experiment, cache)
    if run.teacher.unit is not Unit.SUBWORD and (student.tokenizer or student.checkpoint):
        inputs["student.tokenizer"] = (
            student.tokenizer or student.checkpoint,
            _digest_tokenizer(run.student.tokenizer),
        )
    inputs |= run.teacher.fingerprints()
    if run.voted is not None:
        files = run.voted.files.items()
        inputs |= {role: (str(path), _digest_file(path)) for role, path in files}
    if teacher.model and not corpus.gold:
        # Nothing else says which classes the teacher predicts.
        several = [corpus.task.name] if corpus.task.multilabel else []
        labels = json.dumps([*several, *corpus.task.labels]).encode()
        inputs["teacher.labels"] = (teacher.model, hashlib.sha256(labels).hexdigest())
    if isinstance(run.student, FromCheckpoint):
        digest = params_fingerprint(run.student.checkpoint)
        inputs["student.checkpoint"] = (student.checkpoint, digest)
    if student.vectors:
        inputs["student.vectors"] = (student.vectors, _digest_file(Path(student.vectors)))
    return inputs


def claim_inputs(workdir: Path, inputs: Inputs) -> None:
    """Writes inputs.json, unless it is there and says the same.

    Raises:
        InputError: the run in the workdir was begun with other content; the file is named.
    """
    there = read_inputs(workdir)
    if there is None:
        content = {name: list(each) for name, each in inputs.items()}
        write_json(workdir / "inputs.json", content)
    else:
        compare_inputs(workdir, there, inputs)


def read_inputs(workdir: Path) -> Inputs | None:
    """The content of inputs.json; None where it is not there.

    Raises:
        InputError: it is damaged.
    """
    path = workdir / "inputs.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another --workdir.") from error


def compare_inputs(workdir: Path, there: Inputs, inputs: Inputs) -> None:
    """Raises InputError where inputs are not those with which the run in a workdir started."""
    for name in sorted(there.keys() | inputs.keys()):
        if name not in inputs:
            raise InputError(
                f"{there[name][0]}, the {name} with which the run in {workdir} started, is gone: "
                "put it back, or name another --workdir."
            )
        if name not in there or there[name][1] != inputs[name][1]:
            raise InputError(
                f"{inputs[name][0]} is not the {name} that the run in {workdir} was begun with: "
                "put the old content back, or name another --workdir."
            )


def _digest_tokenizer(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
