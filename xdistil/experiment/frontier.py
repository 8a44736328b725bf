"""Which student to train under a budget of size and latency.

Sizes of all shapes are computed in closed form. Latency is measured for few of them: those that are
near the front, where a shape has as much capacity as the budget allows.
"""

import logging
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xdistil.config import Experiment, Student, validate
from xdistil.data.examples import Example
from xdistil.data.subwords import Cutting, cut_and_count
from xdistil.data.tokenizer import Tokenizer, save_tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.deploy.preprocessing import choose_overlap
from xdistil.distill.stages import resolve_losses
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_bytes, format_duration
from xdistil.evaluation.frontier_table import FrontierRow, FrontierTable
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.report import SCORE_NAMES
from xdistil.experiment.build import Sources, open_sources, shape_student
from xdistil.experiment.latency import BATCH, Latency, measure_latency, write_random
from xdistil.models.encoder_config import EncoderConfig
from xdistil.plans import without_labels
from xdistil.runtime.environment import read_cpu_information
from xdistil.student.design import check_width, design_student
from xdistil.student.embeddings import embedding_kind
from xdistil.student.footprint import measure_footprint
from xdistil.student.shapes import (
    KINDS,
    VOCABULARY_SIZES,
    Axes,
    Shape,
    find_largest,
    list_overrides,
    list_students,
    name_shape,
)
from xdistil.teacher.model_teacher import ModelTeacher

log = logging.getLogger("xdistil")

_COUNTED = 1000  # texts whose subwords are counted
_PILOTS = 4  # shapes of each kind that are measured first
_SLACK = 1.1  # times the budget, within which an estimate is worth a measurement
_ROUNDS = 5


@dataclass(frozen=True)
class Budget:
    """What a student may take, as one backend of `deploy.predictor` loads it."""

    bytes: float  # of model file and tokenizer; inf: no limit
    seconds: float  # for a text on its own, with the first number of threads; inf: no limit
    backend: str
    threads: tuple[int, ...]  # numbers of cores that latency is measured with


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer that students may have."""

    tokenizer: Tokenizer
    bytes: int  # of its files
    subwords: float  # in a text, special ones included


@dataclass
class Front:
    """What was computed and measured."""

    budget: Budget
    shapes: list[Shape]  # all that were considered, smallest first
    fitting: int  # of them within the limit of bytes
    front: list[Shape]
    latencies: dict[str, dict[int, Latency]] = field(default_factory=dict)  # by name and threads
    unmeasured: int = 0  # shapes that may belong to the front

    def find_latency(self, shape: Shape, threads: int) -> Latency | None:
        """What was measured of a shape."""
        return self.latencies.get(name_shape(shape), {}).get(threads)


def find_front(
    experiment: Experiment, axes: Axes, budget: Budget, most: int, folder: Path
) -> tuple[Front, Sources]:
    """Computes, measures and chooses.

    Args:
        axes: values to try by field of the student, instead of the default ones.
        most: shapes that are measured.
        folder: for files on the way.

    Raises:
        InputError: the config is wrong, or no shape is within the budget.
    """
    student = experiment.student
    for name in ("checkpoint", "keep_layers"):
        if value := getattr(student, name):
            raise InputError(
                f"student.{name} is {value!r}, which has a shape of its own: leave it empty to "
                "choose one."
            )
    sources = open_sources(experiment, folder, weights=False)
    examples = draw_texts(sources)
    vocabularies = make_vocabularies(sources, axes, examples, folder)
    shapes = list_shapes(sources, axes, vocabularies)
    shapes.sort(key=lambda shape: shape.count_bytes(budget.backend))
    fitting = [shape for shape in shapes if shape.count_bytes(budget.backend) <= budget.bytes]
    if not fitting:
        size = format_bytes(shapes[0].count_bytes(budget.backend))
        raise InputError(
            f"--max-mb={budget.bytes / 1e6:g}: none of {len(shapes)} shapes is so small; the "
            f"smallest, {name_shape(shapes[0])}, takes {size} with its tokenizer (--backend="
            f"{budget.backend})."
        )
    log.info(
        "%d shapes, %d of them within %s", len(shapes), len(fitting), format_bytes_limit(budget)
    )
    found = Front(budget, shapes, len(fitting), [])
    texts = examples[:BATCH]

    def measure(chosen: Sequence[Shape], threads: int) -> list[Latency]:
        log.info("measuring %d shapes, %d thread(s)", len(chosen), threads)
        folders = [folder / "shapes" / name_shape(shape) for shape in chosen]
        for shape, place in zip(chosen, folders, strict=True):
            if not place.exists():
                tokenizer = vocabularies[shape.student.vocabulary_size].tokenizer
                place.parent.mkdir(exist_ok=True)
                data = sources.experiment.data
                task = sources.corpus.task
                write_random(place, shape.model, tokenizer, task, data, budget.backend)
        latencies = measure_latency(folders, texts, budget.backend, threads, _ROUNDS)
        for shape, latency in zip(chosen, latencies, strict=True):
            found.latencies.setdefault(name_shape(shape), {})[threads] = latency
        return latencies

    def measure_first(chosen: Sequence[Shape]) -> list[float]:
        return [latency.single for latency in measure(chosen, budget.threads[0])]

    found.front, found.unmeasured = search(fitting, budget.seconds, most, measure_first)
    for threads in budget.threads[1:]:
        measure(found.front, threads)
    shutil.rmtree(folder / "shapes")
    return found, sources


def format_bytes_limit(budget: Budget) -> str:
    """The limit of bytes in words."""
    return "any size" if math.isinf(budget.bytes) else format_bytes(round(budget.bytes))


def draw_texts(sources: Sources) -> list[Example]:
    """Texts of the test set, or of dev, without labels and in an order of chance."""
    corpus = sources.corpus
    examples = [each for each in corpus.test or corpus.dev if any(each.inputs)]
    order = np.random.default_rng(0).permutation(len(examples))[:_COUNTED]
    return [replace(examples[index], labels=None) for index in order]


def make_vocabularies(
    sources: Sources, axes: Axes, examples: Sequence[Example], folder: Path
) -> dict[int, Vocabulary]:
    """The student's vocabulary as the config has it (0), and its most frequent subwords by number.

    Sizes of VOCABULARY_SIZES that the tokenizer cannot have are left out.

    Raises:
        InputError: it cannot have a size of `axes`.
    """
    corpus, data = sources.corpus, sources.experiment.data
    base, given = sources.student.tokenizer, axes.get("vocabulary_size")
    sizes = [int(size) for size in given or (0, *VOCABULARY_SIZES)]
    tokenizers = {0: base} if 0 in sizes else {}
    counts = None
    for size in sizes:
        if not 0 < size < base.vocabulary_size:
            continue
        if counts is None:
            counts = count_ids(corpus.train, corpus.task, base, data.segmentation)
            counts += count_ids(corpus.transfer, corpus.task, base, data.segmentation)
        least = sources.experiment.student.min_count
        try:
            kept = choose_subwords(
                base, counts, least, size, field="--sweep: student.vocabulary_size"
            )
        except InputError as error:
            if given:
                raise
            log.info("no vocabulary of %d: %s", size, error)
            continue
        tokenizers[size] = trim_tokenizer(base, kept)
    return {
        size: _describe_vocabulary(tokenizer, sources, examples, folder / f"tokenizer-{size}")
        for size, tokenizer in tokenizers.items()
    }


def _describe_vocabulary(
    tokenizer: Tokenizer, sources: Sources, examples: Sequence[Example], folder: Path
) -> Vocabulary:
    data = sources.experiment.data
    save_tokenizer(tokenizer, folder)
    length = data.max_length or data.row_length
    task = sources.corpus.task
    cutting = Cutting(length, data.segmentation, choose_overlap(length, data.segmentation))
    subwords, _ = cut_and_count(examples, task, tokenizer, cutting)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Vocabulary(tokenizer, size, len(subwords.tokens) / len(examples))


def list_shapes(
    sources: Sources, axes: Axes, vocabularies: Mapping[int, Vocabulary]
) -> list[Shape]:
    """The shapes that the plan of the experiment can train.

    Raises:
        InputError: it can train none; the sentence is that of the last one.
    """
    experiment, teacher, task = sources.experiment, sources.teacher, sources.corpus.task
    whole = shape_student(teacher, experiment.data.row_length)
    plan = experiment.plan if sources.corpus.gold else without_labels(experiment.plan)
    # Attention maps are compared head by head.
    heads = whole.heads if any("attention" in stage.loss for stage in plan) else 0
    axes = {**axes, "vocabulary_size": tuple(vocabularies)}
    if experiment.student.vectors:  # text vectors have a width
        axes["embedding_size"] = (experiment.student.embedding_size,)
    shapes, refused = [], InputError("--sweep names no shape.")
    for student in list_students(experiment.student, axes, heads):
        vocabulary = vocabularies[student.vocabulary_size]
        try:
            validate(replace(experiment, student=student))
            model = design_student(student, whole, vocabulary.tokenizer, task, experiment.dtype)
            kind = embedding_kind(student, isinstance(teacher, ModelTeacher))
            check_width(kind, model.config.embedding_size, whole.embedding_size)
            for index, stage in enumerate(plan):
                resolve_losses(stage, f"plan[{index}]", model, teacher)
        except InputError as error:
            refused = error
            continue
        shape: Any = model.config  # a BiLSTM's or an encoder's, from `design_student`
        footprint = measure_footprint(shape, task.kind, len(task.labels), vocabulary.subwords)
        shapes.append(Shape(student, model, footprint, vocabulary.bytes))
    if not shapes:
        raise refused
    return shapes


def search(
    shapes: Sequence[Shape],
    limit: float,
    most: int,
    measure: Callable[[Sequence[Shape]], Sequence[float]],
) -> tuple[list[Shape], int]:
    """The largest shapes within a limit of seconds, and how many more may be among them.

    A few shapes of each kind are measured first. From what was measured, the others are estimated;
    those whose estimate makes them one of the largest are measured in turn, until all of these are.

    Args:
        most: shapes that are measured.
        measure: the seconds of some shapes.

    Raises:
        InputError: none that was measured is within the limit.
    """
    seconds: dict[str, float] = {}

    def add(chosen: Sequence[Shape]) -> None:
        seconds.update(zip(map(name_shape, chosen), measure(chosen), strict=True))

    if math.isfinite(limit):
        add(_choose_pilots(shapes)[:most])
    while True:
        guess = _estimate(shapes, seconds)
        near = [
            shape
            for shape in shapes
            if seconds.get(name_shape(shape), guess(shape) / _SLACK) <= limit
        ]
        fresh = [shape for shape in find_largest(near) if name_shape(shape) not in seconds]
        if not fresh or len(seconds) >= most:
            break
        add(_spread(fresh, most - len(seconds)))
    within = [shape for shape in shapes if seconds.get(name_shape(shape), math.inf) <= limit]
    if not within:
        name, fastest = min(seconds.items(), key=lambda pair: pair[1])
        raise InputError(
            f"--max-ms={1000 * limit:g}: none of {len(seconds)} shapes that were measured is so "
            f"fast; the fastest, {name}, takes {format_duration(fastest)} for a text."
        )
    return find_largest(within), len(fresh)


def _choose_pilots(shapes: Sequence[Shape]) -> list[Shape]:
    """Some of each kind, from the least arithmetic to the most."""
    pilots: list[Shape] = []
    for kind in KINDS:
        own = [shape for shape in shapes if shape.student.kind == kind]
        pilots += _spread(sorted(own, key=lambda shape: shape.footprint.flops), _PILOTS)
    return pilots


def _spread(shapes: Sequence[Shape], count: int) -> list[Shape]:
    """So many of them at equal distances, the first and the last among them."""
    places = np.unique(np.linspace(0, len(shapes) - 1, min(count, len(shapes))).round().astype(int))
    return [shapes[place] for place in places]


def _estimate(shapes: Sequence[Shape], seconds: Mapping[str, float]) -> Callable[[Shape], float]:
    """Seconds of a shape by least squares over its kind: a constant, arithmetic and layers.

    Without measurements nothing is too slow.
    """
    fits: dict[str, np.ndarray] = {}
    for kind in KINDS:
        known = [s for s in shapes if s.student.kind == kind and name_shape(s) in seconds]
        if known:
            times = np.array([seconds[name_shape(shape)] for shape in known])
            causes = np.array([_list_causes(shape) for shape in known])
            # Divided by the times, so that errors count in proportion.
            fits[kind] = np.linalg.lstsq(causes / times[:, None], np.ones(len(times)), rcond=None)[
                0
            ]

    def guess(shape: Shape) -> float:
        fit = fits.get(shape.student.kind)
        return 0.0 if fit is None else float(fit @ np.array(_list_causes(shape)))

    return guess


def _list_causes(shape: Shape) -> tuple[float, float, float]:
    config = shape.model.config
    layers = config.layers if isinstance(config, EncoderConfig) else 0
    return 1.0, shape.footprint.flops / 1e6, layers


def tabulate(front: Front, sources: Sources, experiment: Experiment) -> FrontierTable:
    """The front as plain data; overrides are those of the config."""
    budget = front.budget
    best = {name_shape(shape) for shape in front.front}
    rows = [_make_row(shape, front, experiment.student, best) for shape in front.shapes]
    limit = None if math.isinf(budget.seconds) else 1000 * budget.seconds
    return FrontierTable(
        rows=tuple(rows),
        threads=budget.threads,
        max_milliseconds=limit,
        score_name=f"dev {SCORE_NAMES[MAIN_SCORE[sources.corpus.task.kind]]}",
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
        layers=encoder.layers if encoder else None,
        heads=encoder.heads if encoder else None,
        intermediate_size=encoder.intermediate_size if encoder else None,
        parameters=footprint.parameters,
        encoder_parameters=footprint.encoder,
        float32_bytes=footprint.jax_bytes,
        int8_bytes=footprint.int8_bytes,
        tokenizer_bytes=shape.tokenizer_bytes,
        flops_per_subword=footprint.flops / footprint.subwords,
        flops_per_text=footprint.flops,
        milliseconds={
            threads: (1000 * latency.single, 1000 * latency.batch)
            for threads, latency in front.latencies.get(name, {}).items()
        },
        front=name in best,
        overrides=tuple(list_overrides(shape.student, base)),
    )
