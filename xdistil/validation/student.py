"""Checks of the student: its shape, what it starts from, its tokenizer and its vocabulary."""

import math

from xdistil.config import STORED, Student, Teacher, find_stored
from xdistil.errors import InputError
from xdistil.validation.values import check_choices, check_least


def check_student(student: Student, teacher: Teacher) -> None:
    """What a student starts from exists and fits its kind and its teacher, or raises InputError."""
    check_choices("student", student)
    for name in ("hidden_size", "layers", "heads", "min_count"):
        check_least(f"student.{name}", getattr(student, name), 1)
    if not 0 <= student.embedding_scale < math.inf:
        raise InputError(
            f"student.embedding_scale is {student.embedding_scale}: it must be positive, or 0."
        )
    if not 0 <= student.dropout < 1:
        raise InputError(f"student.dropout is {student.dropout}: it must lie in [0, 1).")
    from_scratch = student.kind == "transformer" and not (student.checkpoint or student.keep_layers)
    if from_scratch and student.hidden_size % student.heads:
        raise InputError(
            f"student.hidden_size is {student.hidden_size}: it must be a multiple of "
            f"student.heads, which is {student.heads}."
        )
    if student.train_embedding_projection and not student.train_embeddings:
        raise InputError(
            "student.train_embedding_projection is True, but student.train_embeddings=False "
            "freezes the word embeddings: set student.train_embedding_projection=False."
        )
    if student.project_states and not student.train_embedding_projection:
        raise InputError(
            "student.project_states is True, but student.train_embedding_projection=False trains "
            "no projection: set student.project_states=False."
        )
    _check_start(student, teacher)
    _check_checkpoint(student)
    _check_tokenizers(teacher, student)
    if not student.checkpoint and student.kind == "bilstm" and not student.embedding_size:
        raise InputError("student.embedding_size is 0: a BiLSTM needs a width, such as 50.")
    if student.vocabulary == "all" and (student.min_count > 1 or student.vocabulary_size):
        named = "min_count" if student.min_count > 1 else "vocabulary_size"
        raise InputError(
            f"student.{named} is {getattr(student, named)}, but student.vocabulary=all keeps every "
            "subword: set student.vocabulary=seen."
        )


def _check_start(student: Student, teacher: Teacher) -> None:
    if student.keep_layers:
        free_values = {
            "checkpoint": "",
            "embeddings": "",
            "embedding_size": 0,
            "train_embedding_projection": False,
        }
        for name, free in free_values.items():
            if (value := getattr(student, name)) != free:
                raise InputError(
                    f"student.{name} is {value!r}, but student.keep_layers takes the layers and "
                    f"embeddings of the teacher: set student.{name}={free!r}."
                )
        if student.kind != "transformer":
            raise InputError(
                "student.keep_layers makes a transformer: set student.kind=transformer."
            )
    if student.start == "pretrained" and not teacher.model:
        raise InputError(
            "student.start is 'pretrained', but the teacher is trained from scratch: set "
            "teacher.model, or student.start=finetuned."
        )
    if bool(student.vectors) != (student.embeddings == "vectors"):
        raise InputError(
            "student.embeddings=vectors needs a file in student.vectors."
            if not student.vectors
            else f"student.vectors={student.vectors} is not used: set student.embeddings=vectors."
        )


def _check_checkpoint(student: Student) -> None:
    """A BiLSTM has none; a model whose fine-tuning is continued keeps tokenizer and embeddings."""
    if student.kind == "bilstm" and student.checkpoint:
        raise InputError(
            "student.checkpoint is set, but student.kind=bilstm starts from scratch: set "
            "student.kind=transformer to start from an encoder, or student.kind=checkpoint to "
            "continue fine-tuning a model."
        )
    if student.embeddings == "checkpoint" and not student.checkpoint:
        raise InputError("student.embeddings=checkpoint needs a student.checkpoint.")
    if student.kind != "checkpoint":
        return
    if not student.checkpoint:
        raise InputError(
            "student.kind=checkpoint continues fine-tuning a model: set student.checkpoint=FOLDER."
        )
    for name in ("tokenizer", "embeddings"):
        if (value := getattr(student, name)) not in ("", "checkpoint"):
            raise InputError(
                f"student.{name} is {value!r}, but student.kind=checkpoint keeps the {name} of "
                f"{student.checkpoint}: leave student.{name} empty."
            )


def _check_tokenizers(teacher: Teacher, student: Student) -> None:
    """The student has exactly one tokenizer, and stored signals stand alone."""
    if student.tokenizer_pieces and (student.tokenizer or student.checkpoint):
        other = "tokenizer" if student.tokenizer else "checkpoint"
        raise InputError(
            f"student.tokenizer_pieces and student.{other} are both set: each gives the student "
            "a tokenizer, so keep one of them."
        )
    stored = find_stored(teacher)
    if student.keep_layers and (student.tokenizer or student.tokenizer_pieces or stored):
        raise InputError(
            "student.keep_layers takes the layers and the tokenizer of the teacher: leave "
            f"student.tokenizer, student.tokenizer_pieces and teacher.{stored or STORED[0]} empty."
        )
    if not stored:
        return
    for name in ("model", "tokenizer", *STORED):
        if name != stored and getattr(teacher, name):
            raise InputError(
                f"teacher.{stored} and teacher.{name} are both set: stored {stored} "
                f"need no {name}, so leave one of them empty."
            )
    if not (student.tokenizer or student.tokenizer_pieces or student.checkpoint):
        raise InputError(
            f"teacher.{stored} has no tokenizer: set student.tokenizer=FOLDER, or "
            "student.tokenizer_pieces=8000 to train one on the transfer texts."
        )
    needs = {"svd": "embeddings", "pca": "embeddings", "contextual": "model"}
    if student.embeddings in needs:
        raise InputError(
            f"student.embeddings={student.embeddings} needs the {needs[student.embeddings]} of a "
            f"teacher, which teacher.{stored} does not have: set student.embeddings=random."
        )
