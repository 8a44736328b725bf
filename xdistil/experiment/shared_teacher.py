"""A teacher that several runs share: fine-tuned once, by whichever run comes first.

Runs that name the same `teacher.shared_folder` find their teacher there, in a folder named by a
fingerprint of everything that its weights depend on: so a teacher of another seed, of other texts
or with another plan is another teacher. The folder is the workdir of that fine-tuning, with its
checkpoints. While one run fine-tunes, the others wait; if it is stopped or killed, another one
resumes from its last checkpoint.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from xdistil.config import Stage
from xdistil.data.packing import PackedTexts
from xdistil.data.segmentation import UNITS, find_joined
from xdistil.data.subwords import subwords_fingerprint
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.experiment.build import Run
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.session import Session
from xdistil.teacher.cache import hold_folder, packing_checksum
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import params_fingerprint

_DIGITS = 16  # of a fingerprint in the name of a folder
_STUDENTS = ("mask", "gap_weight", "sampling")  # fields of a stage that only a student's may set


@contextlib.contextmanager
def hold_teacher(run: Run, teacher: ModelTeacher, session: Session) -> Iterator[Session]:
    """The session of the shared teacher's fine-tuning, which no other run works on meanwhile.

    Args:
        teacher: before fine-tuning.

    Raises:
        StoppedError: a signal came while another run fine-tuned.
    """
    name = f"teacher-{fingerprint_teacher(run, teacher)[:_DIGITS]}"
    folder = Path(run.experiment.teacher.shared_folder) / name
    folder.mkdir(parents=True, exist_ok=True)
    check = session.preemption.raise_if_requested
    with (
        hold_folder(folder, check, work="fine-tunes the teacher"),
        contextlib.closing(RunLog(folder, writes=session.writes)) as run_log,
    ):
        yield replace(session, workdir=folder, run_log=run_log)


def fingerprint_teacher(run: Run, teacher: ModelTeacher) -> str:
    """SHA-256 of everything that the folder of the fine-tuned teacher depends on.

    Without fine-tuning that is the model, its tokenizer, the task and how texts are cut; with it
    also the texts, the plan, and the seed.
    """
    experiment, task = run.experiment, run.corpus.task
    content: dict[str, Any] = {
        "params": params_fingerprint(teacher.params),
        "model": str(teacher.model),
        "tokenizer": hashlib.sha256(teacher.tokenizer.backend.to_str().encode()).hexdigest(),
        "task": [task.name, task.labels],
        "preprocessing": record_preprocessing(run, run.teacher_decoding),
    }
    if run.finetuning:
        content |= {
            "seed": experiment.seed,
            "eval_every": experiment.eval_every,
            "dev": digest_texts(run.teacher_texts["dev"]),
            "gold": digest_gold(run.teacher_texts["dev"]),
            "stages": [
                [
                    _list_fields(stage.config, experiment.batch_size),
                    stage.name,
                    stage.epochs,
                    stage.step.losses.class_weights,
                    digest_texts(stage.train),
                    *_digest_soft(stage.train),
                ]
                for stage in run.finetuning
            ],
        }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _list_fields(stage: Stage, batch_size: int) -> dict[str, Any]:
    """A stage of a teacher, without fields of the student alone.

    Args:
        batch_size: of stages that do not set their own.
    """
    resolved = replace(stage, batch_size=stage.batch_size or batch_size)
    return {name: value for name, value in asdict(resolved).items() if name not in _STUDENTS}


def link_teacher(shared: Path, workdir: Path, first: bool) -> None:
    """Gives a workdir the folder of a shared teacher, and the lines of its metrics.

    The files are hard links where the file system has them, else copies: nothing changes a file of
    a model folder in place. Only the first process writes.
    """
    if not first:
        return
    lines, metrics = shared / "metrics.jsonl", workdir / "metrics.jsonl"
    if lines.exists() and not (metrics.exists() and metrics.stat().st_size):
        shutil.copyfile(lines, metrics)
    new = workdir / ".teacher.new"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(shared / "teacher", new, copy_function=_link)
    os.rename(new, workdir / "teacher")


def record_preprocessing(run: Run, decoding: str) -> dict[str, Any]:
    """How the texts of a run are cut, for the config.json of its model folders.

    Args:
        decoding: of the model's tags.
    """
    data, corpus = run.experiment.data, run.corpus
    tags = corpus.task.kind == "tagging" and data.segmentation == UNITS
    joined = find_joined(each.inputs for each in corpus.train) if tags else ""
    return write_preprocessing(data, joined, decoding)


def digest_texts(texts: PackedTexts) -> list[str]:
    """SHA-256 of the subwords and of the rows."""
    return [subwords_fingerprint(texts.subwords), packing_checksum(texts.rows)]


def _digest_soft(texts: PackedTexts) -> list[str]:
    """The probabilities of labels; nothing where labels are hard."""
    soft = texts.soft_labels
    if soft is None:
        return []
    known = soft.place >= 0
    parts = (known, np.ascontiguousarray(soft.values[soft.place[known]]))
    return [hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()]


def digest_gold(texts: PackedTexts) -> str:
    """SHA-256 of the words, labels and languages, which scores depend on beside the subwords."""
    digest = hashlib.sha256()
    for example in texts.examples:
        line = [example.inputs, example.labels, example.language]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
