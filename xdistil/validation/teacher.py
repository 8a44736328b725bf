"""Checks of the teacher, and of the annotators in its place or beside it."""

from pathlib import Path

from xdistil.config import SILVER, Experiment, Teacher, find_stored
from xdistil.errors import InputError
from xdistil.validation.values import check_choices, check_least


def check_teacher(teacher: Teacher) -> None:
    """A teacher from scratch has a possible shape, and its folders are no files, or raises
    InputError."""
    check_choices("teacher", teacher)
    for name in ("cache_folder", "shared_folder"):
        folder = getattr(teacher, name)
        if folder and Path(folder).is_file():
            raise InputError(f"teacher.{name} is {folder!r}, which is a file: name a folder.")
    for name in ("hidden_size", "layers", "heads", "vocabulary_size"):
        check_least(f"teacher.{name}", getattr(teacher, name), 1)
    if not teacher.model and teacher.hidden_size % teacher.heads:
        raise InputError(
            f"teacher.hidden_size is {teacher.hidden_size}: it must be a multiple of "
            f"teacher.heads, which is {teacher.heads}."
        )
    rotated = teacher.hidden_size // teacher.heads
    if not teacher.model and teacher.family == "modernbert" and rotated % 2:
        raise InputError(
            f"teacher.hidden_size / teacher.heads is {rotated}: with teacher.family=modernbert it "
            "must be even, because rotary positions turn pairs of numbers."
        )
    if teacher.vocabulary == "seen" and not teacher.model:
        raise InputError(
            "teacher.vocabulary=seen needs a teacher.model, which is empty: set "
            "teacher.vocabulary=all. The vocabulary of a teacher from scratch is limited by "
            "teacher.vocabulary_size."
        )


def check_silver(experiment: Experiment) -> None:
    """Stages on silver labels need annotators, and annotators beside a model need such a stage.

    Raises:
        InputError: they do not have them, or a field of the annotators contradicts another one.
    """
    teacher = experiment.teacher
    plans = [("plan", experiment.plan)]
    if teacher.finetune and not find_stored(teacher):
        plans.append(("teacher.plan", teacher.plan))
    silver = [
        f"{path}[{i}]"
        for path, plan in plans
        for i, stage in enumerate(plan)
        if stage.data == SILVER
    ]
    if silver and not teacher.labels:
        raise InputError(
            f"{silver[0]}.data is silver, which are the texts of teacher.labels: name files of "
            "annotators' answers there."
        )
    if teacher.labels and teacher.model and not silver:
        first = "teacher.plan[0].data" if teacher.finetune else "plan[0].data"
        raise InputError(
            "teacher.model and teacher.labels are both set, and no stage learns the labels of "
            f"annotators: set {first}=silver, or leave one of them empty."
        )
    if teacher.min_agreement and not teacher.labels:
        raise InputError(
            "teacher.min_agreement is set, and there are no annotators: set teacher.labels."
        )
    if teacher.calibrate and not teacher.labels:
        raise InputError(
            "teacher.calibrate is set, and there are no annotators: set teacher.labels."
        )
    if teacher.calibrate and teacher.votes == "majority":
        raise InputError(
            "teacher.calibrate fits probabilities, and teacher.votes=majority has labels alone: "
            "set teacher.votes to share, learned or auto, or set teacher.calibrate=False."
        )
    if teacher.min_agreement > 1:
        raise InputError(
            f"teacher.min_agreement is {teacher.min_agreement}: it must lie from 0 to 1."
        )
