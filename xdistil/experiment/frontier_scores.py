"""Students that were trained, on the plane of size, latency and score."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from xdistil.config import Student
from xdistil.data.tokenizer import load_tokenizer
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_duration
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.results import read_results
from xdistil.experiment.frontier import Budget, Front, make_stopwatch, take_small
from xdistil.experiment.frontier_shapes import Basis, describe_vocabulary
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTMConfig
from xdistil.models.hf.folder import load_model
from xdistil.runtime.json_io import read_json
from xdistil.student.footprint import measure_footprint
from xdistil.student.shapes import Shape, name_shape

_CLOSED_FORMS = ("bert", "electra")  # and BiLSTMs


def score_front(basis: Basis, workdirs: Sequence[Path], budget: Budget, folder: Path) -> Front:
    """The students of finished runs that no other beats in size, latency and score on dev.

    Runs of one shape are seeds: their scores are averaged.

    Args:
        folder: for files on the way.

    Raises:
        InputError: a workdir is of no finished run, or of another task; or no student is within the
            budget.
    """
    shapes: dict[str, Shape] = {}
    scores: dict[str, list[float]] = {}
    for index, workdir in enumerate(workdirs):
        shape, score = read_run(workdir, basis, folder / f"run-{index}")
        shapes.setdefault(name_shape(shape), shape)
        scores.setdefault(name_shape(shape), []).append(score)
    every = list(shapes.values())
    fitting = take_small(every, budget)
    means = {name: statistics.mean(values) for name, values in scores.items()}
    found = Front(budget, every, len(fitting), [], scores=means)
    stopwatch = make_stopwatch(basis, budget, folder)
    for threads in budget.threads:
        found.measure(stopwatch, fitting, threads)
    seconds = {
        name: by_threads[budget.threads[0]].single for name, by_threads in found.latencies.items()
    }
    within = [shape for shape in fitting if seconds[name_shape(shape)] <= budget.seconds]
    if not within:
        name, fastest = min(seconds.items(), key=lambda pair: pair[1])
        raise InputError(
            f"--max-ms={1000 * budget.seconds:g}: none of {len(seconds)} students is so fast; the "
            f"fastest, {name}, takes {format_duration(fastest)} for a text."
        )
    costs = {
        name_shape(shape): (
            shape.count_bytes(budget.backend),
            seconds[name_shape(shape)],
            -means[name_shape(shape)],
        )
        for shape in within
    }
    found.front = [shapes[name] for name in find_undominated(costs)]
    return found


def add_scores(
    front: Front, chosen: Sequence[Shape], basis: Basis, workdirs: Sequence[Path], folder: Path
) -> None:
    """Puts students that were trained in the place of some shapes; they alone are the front.

    Latencies are those of a new measurement, in which these students take turns.

    Args:
        chosen: the shapes that the runs in `workdirs` trained.
        folder: for files on the way.
    """
    # That they are within the budget is known.
    free = replace(front.budget, bytes=math.inf, seconds=math.inf)
    scored = score_front(basis, workdirs, free, folder)
    names = {name_shape(shape) for shape in chosen}
    others = [shape for shape in front.shapes if name_shape(shape) not in names]
    front.shapes = sorted(
        [*others, *scored.shapes], key=lambda shape: shape.count_bytes(front.budget.backend)
    )
    front.front, front.scores = scored.front, scored.scores
    front.latencies |= scored.latencies


def find_undominated(costs: Mapping[str, Sequence[float]]) -> list[str]:
    """The names that no other beats: less of one cost, and of no cost more."""
    return [
        name
        for name, own in costs.items()
        if not any(
            tuple(other) != tuple(own) and all(a <= b for a, b in zip(other, own, strict=True))
            for other in costs.values()
        )
    ]


def read_run(workdir: Path, basis: Basis, folder: Path) -> tuple[Shape, float]:
    """The student of a finished run, and its main score on dev as a fraction.

    Raises:
        InputError: the run is not finished, has no score on dev, or another task; or its student
            is of another family than those of `design_student`.
    """
    results = read_results(workdir)
    if results is None:
        raise InputError(f"--results: {workdir} has no results.json: name finished runs.")
    task = basis.sources.corpus.task
    loaded = load_model(str(workdir / "student"), weights=False)
    if loaded.task is None or (loaded.task.name, set(loaded.task.labels)) != (
        task.name,
        set(task.labels),
    ):
        raise InputError(
            f"--results: the student of {workdir} has other labels than the data of the config."
        )
    scores = results["student"]["dev"]
    score = scores[MAIN_SCORE[task.name]] if scores else None
    if score is None or not math.isfinite(score):
        raise InputError(f"--results: the student of {workdir} has no score on dev.")
    model_config: Any = loaded.model.config
    plain = isinstance(model_config, EncoderConfig) and model_config.model_type in _CLOSED_FORMS
    if not (isinstance(model_config, BiLSTMConfig) or plain):
        raise InputError(
            f"--results: the student of {workdir} is a {model_config.model_type}; sizes are known "
            f"of BiLSTMs and of {' and '.join(_CLOSED_FORMS)}."
        )
    tokenizer = load_tokenizer(str(workdir / "student"), words=task.kind == "tagging")
    vocabulary = describe_vocabulary(tokenizer, basis, folder)
    footprint = measure_footprint(model_config, task.kind, len(task.labels), vocabulary.subwords)
    # Earlier versions built one BiLSTM, whatever the config said.
    student = replace(read_student(workdir), layers=model_config.layers)
    return Shape(student, loaded.model, vocabulary, footprint), score


def read_student(workdir: Path) -> Student:
    """The fields of `student` in the config.json of a run; those it lacks have their defaults."""
    stored = read_json(workdir / "config.json").get("student", {})
    names = {field.name for field in fields(Student)}
    return Student(**{name: value for name, value in stored.items() if name in names})
