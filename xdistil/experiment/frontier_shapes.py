"""The shapes of students that a config can train, with their tokenizers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xdistil.config import Experiment, Student
from xdistil.data.examples import Example
from xdistil.data.subwords import Cutting, cut_and_count
from xdistil.data.tokenizer import Tokenizer, save_tokenizer
from xdistil.data.trim_tokenizer import trim_tokenizer
from xdistil.deploy.preprocessing import choose_overlap
from xdistil.distill.stages import resolve_losses
from xdistil.errors import InputError
from xdistil.experiment.sources import Sources, open_sources, shape_student
from xdistil.plans import without_labels
from xdistil.student.design import check_width, design_student
from xdistil.student.embeddings import embedding_kind
from xdistil.student.footprint import measure_footprint
from xdistil.student.shapes import VOCABULARY_SIZES, Axes, Shape, Vocabulary, list_students
from xdistil.student.vocabulary import choose_vocabulary, count_texts
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.validation.experiment import validate

log = logging.getLogger("xdistil")

_COUNTED = 1000  # texts whose subwords are counted


@dataclass(frozen=True)
class Basis:
    """What all shapes share."""

    student: Student  # as the config has it
    sources: Sources  # with the whole vocabulary of this student
    examples: list[Example]  # texts of the test set, or of dev, without labels, in random order


def open_basis(experiment: Experiment, folder: Path) -> Basis:
    """Reads data and teacher.

    Args:
        folder: for files on the way.

    Raises:
        InputError: the config is wrong, or its student has a shape of its own.
    """
    student = experiment.student
    for name in ("checkpoint", "keep_layers"):
        if value := getattr(student, name):
            raise InputError(
                f"student.{name} is {value!r}, which has a shape of its own: leave it empty to "
                "choose one."
            )
    unlimited = replace(experiment, student=replace(student, vocabulary_size=0))
    sources = open_sources(unlimited, folder, weights=False)
    corpus = sources.corpus
    examples = [each for each in corpus.test or corpus.dev if any(each.inputs)]
    order = np.random.default_rng(0).permutation(len(examples))[:_COUNTED]
    drawn = [replace(examples[index], labels=None) for index in order]
    return Basis(student, sources, drawn)


def make_vocabularies(basis: Basis, axes: Axes, folder: Path) -> dict[int, Vocabulary]:
    """Vocabularies by the value of student.vocabulary_size.

    Without values in `axes` these are that of the config and VOCABULARY_SIZES, without sizes that
    the tokenizer cannot have.

    Raises:
        InputError: it cannot have a size of `axes`, or that of the config.
    """
    corpus, data = basis.sources.corpus, basis.sources.experiment.data
    base = basis.sources.student.tokenizer
    wanted = [int(size) for size in axes.get("vocabulary_size", (basis.student.vocabulary_size,))]
    more = () if "vocabulary_size" in axes else VOCABULARY_SIZES
    tokenizers: dict[int, Tokenizer] = {}
    counts = None
    for size in dict.fromkeys((*wanted, *more)):
        if not 0 < size < base.vocabulary_size:
            if size in wanted and base not in tokenizers.values():
                tokenizers[size] = base
            continue
        student = replace(basis.student, vocabulary_size=size)
        if counts is None:
            counts = count_texts(student, corpus, base, data.segmentation)
        try:
            kept = choose_vocabulary(student, base, counts)
        except InputError as error:
            if size in wanted:
                raise
            log.info("no vocabulary of %d: %s", size, error)
            continue
        tokenizers[size] = trim_tokenizer(base, kept)
    return {
        size: describe_vocabulary(tokenizer, basis, folder / f"tokenizer-{size}")
        for size, tokenizer in tokenizers.items()
    }


def describe_vocabulary(tokenizer: Tokenizer, basis: Basis, folder: Path) -> Vocabulary:
    """A tokenizer with its numbers; `folder` is for its files."""
    data, examples = basis.sources.experiment.data, basis.examples
    save_tokenizer(tokenizer, folder)
    length = data.max_length or data.row_length
    task = basis.sources.corpus.task
    cutting = Cutting(length, data.segmentation, choose_overlap(length, data.segmentation))
    subwords, _ = cut_and_count(examples, task, tokenizer, cutting)
    size = sum(path.stat().st_size for path in folder.glob("tokenizer*"))
    return Vocabulary(tokenizer, size, len(subwords.tokens) / len(examples))


def list_shapes(basis: Basis, axes: Axes, vocabularies: Mapping[int, Vocabulary]) -> list[Shape]:
    """The shapes that the plan of the experiment can train.

    Raises:
        InputError: it can train none; the sentence is that of the last one.
    """
    sources = basis.sources
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
            check_width(kind, model.config.embedding_size, whole)
            for index, stage in enumerate(plan):
                resolve_losses(stage, f"plan[{index}]", model, teacher)
        except InputError as error:
            refused = error
            continue
        shape: Any = model.config  # a BiLSTM's or an encoder's, from `design_student`
        footprint = measure_footprint(shape, task.kind, len(task.labels), vocabulary.subwords)
        shapes.append(Shape(student, model, vocabulary, footprint))
    if not shapes:
        raise refused
    return shapes
