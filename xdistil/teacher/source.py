"""The teacher of a run, chosen once: a model, a file of signals, annotators, or none."""

import logging
from collections.abc import Sequence
from pathlib import Path

import jax

from xdistil.config import Experiment, find_stored
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.errors import InputError
from xdistil.models.encoder import Transformer
from xdistil.models.hf.folder import check_rows, load_model, make_hollow
from xdistil.models.hf.record import read_decoding
from xdistil.models.types import Params
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.from_scratch import design_teacher
from xdistil.teacher.head import check_classes, is_fine_tuned
from xdistil.teacher.interface import NoTeacher, Teacher
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signal_file import open_signals
from xdistil.teacher.voted_texts import VotedTexts

log = logging.getLogger("xdistil")


def has_no_teacher(experiment: Experiment) -> bool:
    """Whether the student continues from a checkpoint on labels alone."""
    teacher, student = experiment.teacher, experiment.student
    return student.kind == "checkpoint" and not (teacher.model or find_stored(teacher))


def open_teacher(
    experiment: Experiment,
    task: Task,
    texts: Sequence[Example],
    cache: Path,
    writes: bool,
    weights: bool = True,
    voted: VotedTexts | None = None,
) -> Teacher:
    """The teacher before fine-tuning, with all of its subwords.

    Args:
        texts: what the tokenizer of a teacher from scratch is trained on.
        cache: a folder for that tokenizer.
        writes: train it; otherwise it is there.
        weights: read or draw the parameters of a model; otherwise they are zeros without memory.
        voted: the votes of annotators, who are the teacher where there is no model.

    Raises:
        InputError: there is no such model or file, or it does not fit the task.
    """
    if experiment.teacher.signals:
        return FileTeacher(open_signals(experiment.teacher.signals, task), task)
    if voted is not None and not experiment.teacher.model:
        return FileTeacher(voted, task)
    if has_no_teacher(experiment):
        return NoTeacher()
    if experiment.teacher.model:
        tokenizer, model, params, decoding = _load(experiment, task, weights)
    else:
        tokenizer, model, params = _make(
            experiment, task, texts, cache / "tokenizer", writes, weights
        )
        decoding = ARGMAX
    if experiment.data.row_length > model.config.positions:
        raise InputError(
            f"data.row_length is {experiment.data.row_length}, but the teacher has only "
            f"{model.config.positions} positions: lower data.row_length."
        )
    return ModelTeacher(experiment.teacher, model, params, tokenizer, task, decoding, tokenizer.pad)


def _make(
    experiment: Experiment,
    task: Task,
    texts: Sequence[Example],
    folder: Path,
    writes: bool,
    weights: bool,
) -> tuple[Tokenizer, Transformer, Params]:
    """A teacher from scratch, with a tokenizer trained on the texts."""
    teacher = experiment.teacher
    if writes:
        train_wordpiece(texts, teacher.vocabulary_size, folder)
    tokenizer = load_tokenizer(str(folder))
    model = design_teacher(teacher, tokenizer, task, experiment.dtype)
    if not weights:
        return tokenizer, model, make_hollow(model)
    key = jax.random.key(experiment.seed)
    return tokenizer, model, jax.device_get(jax.jit(model.init_params)(key))


def _load(
    experiment: Experiment, task: Task, weights: bool
) -> tuple[Tokenizer, Transformer, Params, str]:
    """A teacher from a folder or the hub, and how its tags are decoded."""
    teacher = experiment.teacher
    if is_fine_tuned(teacher):
        check_classes(teacher, task, needs_head=False)
    source = teacher.tokenizer or teacher.model
    # The revision is the model's: another folder or hub id has none of that name.
    revision = teacher.revision if source == teacher.model else "main"
    tokenizer = load_tokenizer(source, revision, words=task.kind == "tagging")
    loaded = load_model(
        teacher.model, teacher.revision, task, experiment.dtype, experiment.seed, weights
    )
    for note in loaded.notes:
        log.info("teacher: %s", note)
    if not isinstance(loaded.model, Transformer):
        raise InputError(f"teacher.model={teacher.model} is a student: name an encoder.")
    check_rows(tokenizer, loaded, "name the model's own tokenizer in teacher.tokenizer")
    decoding = read_decoding(loaded.config, f"{teacher.model}: config.json")
    return tokenizer, loaded.model, loaded.params, decoding
