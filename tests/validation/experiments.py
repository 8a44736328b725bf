"""A valid experiment and changes of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xdistil.config import Baseline, Experiment, Student
from xdistil.plans import d42


def make(**student: Any) -> Experiment:
    shape = {"embedding_size": 16, **student}
    experiment = Experiment(plan=d42(), student=Student(**shape), baselines=(Baseline(),))
    experiment.data.folder = "somewhere"
    return experiment


def put(path: str, value: Any) -> Callable[[Experiment], None]:
    """A change of one field, written as on the command line."""

    def change(experiment: Experiment) -> None:
        part: Any = experiment
        *steps, last = path.replace("[", ".").replace("]", "").split(".")
        for step in steps:
            part = part[int(step)] if step.isdigit() else getattr(part, step)
        setattr(part, last, value)

    return change


def crf(**fields: Any) -> Callable[[Experiment], None]:
    """A last stage that learns sentences, with other values of its fields."""

    def change(experiment: Experiment) -> None:
        experiment.plan = (
            *experiment.plan[:2],
            replace(experiment.plan[2], labels_loss="crf", **fields),
        )

    return change


def raw_texts(**teacher: Any) -> Callable[[Experiment], None]:
    """Makes of it a run on texts alone, with a teacher from a folder."""

    def change(experiment: Experiment) -> None:
        put("data.folder", "")(experiment)
        put("data.transfer", "texts.txt")(experiment)
        for name, value in {"model": "a-folder", "finetune": False, **teacher}.items():
            put(f"teacher.{name}", value)(experiment)

    return change
