"""A teacher that is fine-tuned already: what its head answers, and whether that fits the labels."""

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError, show
from xdistil.models.hf.folder import read_task
from xdistil.models.hf.head import list_labels


def is_fine_tuned(teacher: config.Teacher) -> bool:
    """Whether the teacher is read from a folder or the hub and used as it is."""
    return bool(teacher.model) and not teacher.finetune


def find_task(teacher: config.Teacher) -> Task:
    """What the head of a teacher answers, for a run that has no labels.

    Raises:
        InputError: it has no head, or one whose answers are neither tags of entities nor at least
            two classes.
    """
    task = read_task(teacher.model, teacher.revision)
    if task is None:
        raise InputError(
            f"teacher.model={teacher.model} has no head for tagging or classification: without "
            "labels name a fine-tuned model."
        )
    if task.kind == "tagging":
        for label in task.labels:
            if not is_tag(label):
                raise InputError(
                    f"teacher.model={teacher.model} tags words with classes such as {show(label)}: "
                    "only O and B-, I-, E- or S- with a type are tags of entities."
                )
    if len(task.labels) < 2:
        raise InputError(
            f"teacher.model={teacher.model} has one class alone, {show(task.labels[0])}: name a "
            "model that tells classes apart."
        )
    return task


def check_classes(teacher: config.Teacher, task: Task, wants_logits: bool) -> None:
    """Whether a teacher that is used as it is answers the labels of the task, in any order.

    Args:
        wants_logits: whether the plan learns from its answers; an encoder without a head will do
            otherwise.

    Raises:
        InputError: it has another head or none; labels that one side lacks are named.
    """
    own = read_task(teacher.model, teacher.revision)
    name = f"teacher.model={teacher.model}"
    remedy = "set teacher.finetune=True, or name a model that was fine-tuned on these labels"
    if own is None and not wants_logits:
        return
    if own is None or own.kind != task.kind:
        held = "no head" if own is None else f"a head for {own.kind}"
        raise InputError(
            f"{name} has {held}, and the task is {task.kind} with teacher.finetune=False: {remedy}."
        )
    missing = [label for label in task.labels if label not in own.labels]
    unexpected = [label for label in own.labels if label not in task.labels]
    if missing or unexpected:
        parts = [
            f"{what} {list_labels(labels)}"
            for what, labels in (("lacks", missing), ("has besides", unexpected))
            if labels
        ]
        raise InputError(
            f"{name} does not answer the task's labels (id2label of its config.json "
            f"{' and '.join(parts)}): {remedy}."
        )
