"""Which student to train under a budget of size and latency.

Sizes of all shapes are computed in closed form. Latency is measured for few of them: those that are
near the front, where a shape has as much capacity as the budget allows.
"""

import logging
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xdistil.config import Student
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_bytes
from xdistil.evaluation.frontier_table import FrontierRow, FrontierTable
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.report import SCORE_NAMES
from xdistil.experiment.frontier_search import search
from xdistil.experiment.frontier_shapes import Basis, list_shapes, make_vocabularies
from xdistil.experiment.latency import BATCH, Latency, Stopwatch
from xdistil.models.encoder_config import EncoderConfig
from xdistil.runtime.environment import read_cpu_information
from xdistil.student.shapes import Axes, Shape, list_overrides, name_shape

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Budget:
    """What a student may take, as one backend of `deploy.predictor` loads it."""

    bytes: float  # of model file and tokenizer; inf: no limit
    seconds: float  # for a text on its own, with the first number of threads; inf: no limit
    backend: str
    threads: tuple[int, ...]  # numbers of cores that latency is measured with


@dataclass
class Front:
    """What was computed and measured."""

    budget: Budget
    shapes: list[Shape]  # all that were considered
    fitting: int  # of them within the limit of bytes
    front: list[Shape]
    latencies: dict[str, dict[int, Latency]] = field(default_factory=dict)  # by name and threads
    scores: dict[str, float] = field(default_factory=dict)  # on dev, by name
    unmeasured: int = 0  # shapes that may belong to the front

    def measure(self, stopwatch: Stopwatch, shapes: Sequence[Shape], threads: int) -> list[float]:
        """Measures some shapes and keeps that; returns their seconds for a text on its own."""
        latencies = stopwatch.measure(shapes, threads)
        for shape, latency in zip(shapes, latencies, strict=True):
            self.latencies.setdefault(name_shape(shape), {})[threads] = latency
        return [latency.single for latency in latencies]


def find_front(basis: Basis, axes: Axes, budget: Budget, most: int, folder: Path) -> Front:
    """The shapes of most capacity within the budget.

    Args:
        axes: values to try by field of the student, instead of the default ones.
        most: shapes that are measured.
        folder: for files on the way.

    Raises:
        InputError: no shape is within the budget.
    """
    vocabularies = make_vocabularies(basis, axes, folder)
    shapes = list_shapes(basis, axes, vocabularies)
    shapes.sort(key=lambda shape: shape.count_bytes(budget.backend))
    fitting = take_small(shapes, budget)
    log.info(
        "%d shapes, %d of them within %s", len(shapes), len(fitting), format_bytes_limit(budget)
    )
    found = Front(budget, shapes, len(fitting), [])
    stopwatch = make_stopwatch(basis, budget, folder)
    found.front, found.unmeasured = search(
        fitting,
        budget.seconds,
        most,
        lambda chosen: found.measure(stopwatch, chosen, budget.threads[0]),
    )
    for threads in budget.threads[1:]:
        found.measure(stopwatch, found.front, threads)
    return found


def take_small(shapes: Sequence[Shape], budget: Budget) -> list[Shape]:
    """Those within the limit of bytes; InputError where there is none."""
    fitting = [shape for shape in shapes if shape.count_bytes(budget.backend) <= budget.bytes]
    if not fitting:
        smallest = min(shapes, key=lambda shape: shape.count_bytes(budget.backend))
        size = format_bytes(smallest.count_bytes(budget.backend))
        raise InputError(
            f"--max-mb={budget.bytes / 1e6:g}: none of {len(shapes)} shapes is so small; the "
            f"smallest, {name_shape(smallest)}, takes {size} with its tokenizer (--backend="
            f"{budget.backend})."
        )
    return fitting


def make_stopwatch(basis: Basis, budget: Budget, folder: Path) -> Stopwatch:
    """A stopwatch for the backend of a budget."""
    data, task = basis.sources.experiment.data, basis.sources.corpus.task
    return Stopwatch(folder, task, data, budget.backend, basis.examples[:BATCH])


def format_bytes_limit(budget: Budget) -> str:
    """The limit of bytes in words."""
    return "any size" if math.isinf(budget.bytes) else format_bytes(round(budget.bytes))


def tabulate(front: Front, basis: Basis) -> FrontierTable:
    """The front as plain data; overrides are those of the config."""
    budget = front.budget
    best = {name_shape(shape) for shape in front.front}
    rows = [_make_row(shape, front, basis.student, best) for shape in front.shapes]
    limit = None if math.isinf(budget.seconds) else 1000 * budget.seconds
    return FrontierTable(
        rows=tuple(rows),
        threads=budget.threads,
        max_milliseconds=limit,
        score_name=f"dev {SCORE_NAMES[MAIN_SCORE[basis.sources.corpus.task.name]]}",
        environment={
            "backend": budget.backend,
            "max_mb": None if math.isinf(budget.bytes) else budget.bytes / 1e6,
            "max_ms": limit,
            "threads": list(budget.threads),
            "shapes": len(front.shapes),
            "within_max_mb": front.fitting,
            "texts": BATCH,
            "cpu": read_cpu_information("model name"),
            "cpu_cores": os.cpu_count(),
        },
    )


def _make_row(shape: Shape, front: Front, base: Student, best: Collection[str]) -> FrontierRow:
    config, footprint, name = shape.model.config, shape.footprint, name_shape(shape)
    encoder = config if isinstance(config, EncoderConfig) else None
    return FrontierRow(
        shape=name,
        kind=shape.student.kind,
        vocabulary_size=config.vocabulary_size,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        layers=config.own_layers,
        heads=encoder.heads if encoder else None,
        intermediate_size=encoder.intermediate_size if encoder else None,
        parameters=footprint.parameters,
        encoder_parameters=footprint.encoder,
        float32_bytes=footprint.jax_bytes,
        int8_bytes=footprint.int8_bytes,
        tokenizer_bytes=shape.vocabulary.bytes,
        flops_per_subword=footprint.flops / footprint.subwords,
        flops_per_text=footprint.flops,
        milliseconds={
            threads: (1000 * latency.single, 1000 * latency.batch)
            for threads, latency in front.latencies.get(name, {}).items()
        },
        front=name in best,
        score=front.scores.get(name),
        overrides=tuple(list_overrides(shape.student, base)),
    )
