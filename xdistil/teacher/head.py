"""The head of a teacher that was fine-tuned beforehand, and whether it fits the labels."""

from xdistil import config
from xdistil.data.examples import Task
from xdistil.models.hf.folder import read_task
from xdistil.models.hf.head import check_head


def is_fine_tuned(teacher: config.Teacher) -> bool:
    """Whether the teacher is read from a folder or the hub and used without fine-tuning."""
    return bool(teacher.model) and not teacher.finetune


def find_task(teacher: config.Teacher) -> Task:
    """What the head of a teacher predicts, for a run that has no labels.

    Raises:
        InputError: it has no head, or one that predicts neither tags of entities nor at least two
            classes.
    """
    own = read_task(teacher.model, teacher.revision)
    remedy = "without labels, name a fine-tuned model"
    return check_head(own, f"teacher.model={teacher.model}", remedy, min_classes=2)


def check_classes(teacher: config.Teacher, task: Task, needs_head: bool) -> None:
    """Checks that a teacher used without fine-tuning predicts the task's labels, in any order.

    Args:
        needs_head: whether a stage learns its logits; otherwise an encoder without a head will do.

    Raises:
        InputError: it has another head or none; labels that one side lacks are named.
    """
    own = read_task(teacher.model, teacher.revision)
    if own is None and not needs_head:
        return
    remedy = "set teacher.finetune=True, or name a model that was fine-tuned on these labels"
    check_head(own, f"teacher.model={teacher.model}", remedy, task.name, task.labels)
