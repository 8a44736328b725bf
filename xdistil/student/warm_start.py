"""A labelled model as the start of a student: its own subwords, its head fitted to the labels.

Without a teacher such a run tunes the student on labels alone. Classes are matched by name: those
that the head knows keep their part of its last layer, others begin at random, and all that lies
below stays.
"""

import numpy as np
from flax import traverse_util

from xdistil.config import Experiment
from xdistil.data.examples import Task
from xdistil.deploy.predictor import Predictor, load
from xdistil.errors import InputError
from xdistil.models.hf.folder import Loaded, draw_head, is_output, load_model, read_task
from xdistil.models.hf.head import check_answers, list_labels


def tunes_alone(experiment: Experiment) -> bool:
    """Whether the student goes on from a checkpoint without a teacher."""
    teacher, student = experiment.teacher, experiment.student
    return student.kind == "checkpoint" and not (teacher.model or teacher.signals)


def check_start(name: str, task: Task) -> Task:
    """The task of the head in a model's folder, or hub id, which is of the kind asked for.

    Raises:
        InputError: there is no such folder, or no such head in it.
    """
    own = check_answers(read_task(name), f"student.checkpoint={name}")
    if own.kind != task.kind:
        raise InputError(
            f"student.checkpoint={name} has a head for {own.kind}, and the labels are of "
            f"{task.kind}: name a student of that."
        )
    return own


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


def open_before(name: str, task: Task) -> Predictor | None:
    """The same model as it is, to be scored; None where it answers none of the task's labels.

    Raises:
        InputError: as `open_start`, and where the folder cannot be used as it is.
    """
    own = check_start(name, task)
    shared = set(own.labels) & set(task.labels) - {"O"}
    return load(name).predictor if shared else None


def describe_head(name: str, task: Task) -> str:
    """What becomes of the classes of its head."""
    own = check_start(name, task)
    new = [label for label in task.labels if label not in own.labels]
    gone = [label for label in own.labels if label not in task.labels]
    told = f"its head keeps {len(own.labels) - len(gone)} of {len(own.labels)} classes"
    return "".join(
        [
            told,
            f", without {list_labels(gone)}" if gone else "",
            f", and begins at random for {list_labels(new)}" if new else "",
        ]
    )
