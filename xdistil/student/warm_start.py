"""A fine-tuned model as the start of a student: its own subwords, its head fitted to the labels.

Without a teacher, such a run continues fine-tuning on labels alone. Classes are matched by name:
those that the head knows keep their part of its last layer, others start at random, and everything
below is kept.
"""

import numpy as np
from flax import traverse_util

from xdistil.data.examples import Task
from xdistil.models.hf.folder import Loaded, draw_head, is_output, load_model, read_task
from xdistil.models.hf.head import check_head, list_labels


def check_start(name: str, task: Task) -> Task:
    """The task of the head in a model's folder, or hub id, which is of the kind asked for.

    Raises:
        InputError: there is no such folder, or no such head in it.
    """
    remedy = "name a model with a head for this kind of task"
    return check_head(read_task(name), f"student.checkpoint={name}", remedy, task.name)


def open_start(name: str, task: Task, dtype: str, seed: int) -> Loaded:
    """The model of a folder, or hub id, with its head fitted to the labels of a task.

    Args:
        seed: draws the part of the head's last layer that belongs to labels new to it.

    Raises:
        InputError: there is no such model, or none whose head does what the task asks for.
    """
    own = check_start(name, task)
    loaded = load_model(name, dtype=dtype)
    model = loaded.model.clone(classes=len(task.labels))
    kept = [index for index, label in enumerate(task.labels) if label in own.labels]
    before = [own.labels.index(task.labels[index]) for index in kept]
    leaves = traverse_util.flatten_dict(loaded.params)
    for path, drawn in draw_head(model, seed).items():
        if is_output(path):
            fitted = np.array(drawn)
            fitted[..., kept] = leaves[path][..., before]
            leaves[path] = fitted
    params = traverse_util.unflatten_dict(leaves)
    return Loaded(model, params, loaded.config, loaded.notes, task)


def describe_head(name: str, task: Task) -> str:
    """What happens to the classes of its head, in words."""
    own = check_start(name, task)
    new = [label for label in task.labels if label not in own.labels]
    gone = [label for label in own.labels if label not in task.labels]
    kept = f"its head keeps {len(own.labels) - len(gone)} of {len(own.labels)} classes"
    return "".join(
        [
            kept,
            f", without {list_labels(gone)}" if gone else "",
            f", and starts at random for {list_labels(new)}" if new else "",
        ]
    )
