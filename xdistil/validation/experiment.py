"""The check of an experiment's values, before data or models are opened.

Values are checked by group: data, teacher, student, the run itself, then the stages of both plans
and the baselines. What needs data or models to be checked is checked where they are opened.
"""

import re

from xdistil.config import (
    LICENSE,
    MADE,
    MADE_OF_TAGGED,
    Data,
    Experiment,
    Teacher,
    find_stored,
    kind_of_roles,
    parse_columns,
)
from xdistil.errors import InputError
from xdistil.validation.stages import check_baselines, check_plans
from xdistil.validation.student import check_student
from xdistil.validation.teacher import check_silver, check_teacher
from xdistil.validation.values import check_choice, check_choices, check_least, check_types

_MOST_MADE = 10_000_000  # texts of a kind


def validate(experiment: Experiment) -> None:
    """Checks every value that can be checked without data or models.

    Raises:
        InputError: a value of the wrong type, out of its range, not among its choices, or two
            values that contradict each other; the sentence names the field.
    """
    check_types(experiment, "")
    data, teacher, student = experiment.data, experiment.teacher, experiment.student
    _check_source(data, teacher)
    _check_data(data)
    check_teacher(teacher)
    check_student(student, teacher)
    _check_run(experiment)
    check_plans(experiment)
    _check_made(experiment)
    check_silver(experiment)
    check_baselines(experiment.baselines)


def _check_source(data: Data, teacher: Teacher) -> None:
    if data.folder and data.generate:
        raise InputError("data.folder and data.generate are both set: keep one of them.")
    if data.folder or data.generate:
        return
    if teacher.labels:  # which bring texts and labels
        return
    if not data.transfer:
        raise InputError("data.folder is empty: set --config.data.folder=FOLDER.")
    if not teacher.model or teacher.finetune:
        raise InputError(
            "data.transfer alone has no labels: set data.folder as well, or set teacher.model to a "
            "fine-tuned model and teacher.finetune=False."
        )


def _check_data(data: Data) -> None:
    check_choices("data", data)
    if data.row_length < 8:
        raise InputError(f"data.row_length is {data.row_length}: it must be 8 subwords or more.")
    if data.max_length and not 4 <= data.max_length <= data.row_length:
        raise InputError(
            f"data.max_length is {data.max_length}: it must lie between 4 and data.row_length, "
            f"which is {data.row_length}."
        )
    if data.temperature < 1:
        raise InputError(
            f"data.temperature is {data.temperature}: it must be 1 (languages in "
            "proportion to their sentences) or more (small languages more often)."
        )
    if not 0 <= data.dev_fraction < 1:
        raise InputError(f"data.dev_fraction is {data.dev_fraction}: it must lie in [0, 1).")
    columns = kind_of_roles(parse_columns(data.columns))
    if data.separator and data.task not in ("auto", "multilabel"):
        raise InputError(
            f"data.separator is {data.separator}, but data.task is {data.task}, whose texts have "
            "one label each: set data.task=multilabel."
        )
    several = columns in ("single", "pair") and data.task == "multilabel"
    if columns and data.task not in ("auto", columns) and not several:
        raise InputError(
            f"data.task is {data.task}, but data.columns names the columns of {columns}: set "
            "data.task=auto."
        )


def _check_run(experiment: Experiment) -> None:
    for name in ("batch_size", "log_every"):
        check_least(name, getattr(experiment, name), 1)
    check_least("mesh.teacher_shards", experiment.mesh.teacher_shards, 1)
    for name in ("dtype", "export"):
        check_choice(name, getattr(experiment, name), name)
    if experiment.distributed not in ("", "auto") and not re.fullmatch(
        r"[^,\s]+:\d+,\d+,[1-9]\d*", experiment.distributed
    ):
        raise InputError(
            f"distributed is {experiment.distributed!r}: it must be empty, auto, or "
            "HOST:PORT,INDEX,COUNT such as 10.0.0.1:1234,0,2."
        )
    if experiment.license and not re.fullmatch(LICENSE, experiment.license):
        raise InputError(
            f"license is {experiment.license!r}: it must be a name in lower case, as on the "
            "hub, such as apache-2.0."
        )


def _check_made(experiment: Experiment) -> None:
    """Made texts fit into memory and the task, and a model answers them."""
    data, teacher, student = experiment.data, experiment.teacher, experiment.student
    stored = find_stored(teacher)
    for name in MADE:
        said = f"data.{name} is {getattr(data, name)}"
        if not getattr(data, name):
            continue
        if getattr(data, name) > _MOST_MADE:
            raise InputError(
                f"{said}: it must be at most {_MOST_MADE}, since made texts are held in memory."
            )
        if data.task not in ("auto", "tagging") and name in MADE_OF_TAGGED:
            raise InputError(
                f"{said}, but data.task is {data.task}, and such texts are made of tagged "
                f"sentences alone: set data.{name}=0."
            )
        if stored:
            raise InputError(
                f"{said}, but teacher.{stored} does not answer texts that are made: set "
                f"data.{name}=0, or name a teacher.model."
            )
        if student.kind == "checkpoint" and not teacher.model:
            raise InputError(
                f"{said}, but there is no teacher to answer them: set data.{name}=0, or name a "
                "teacher.model."
            )
