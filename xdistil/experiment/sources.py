"""What a run reads: texts, tokenizers and models, opened and checked; no text is packed yet."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.config import Experiment
from xdistil.data.corpus import Corpus, read_corpus
from xdistil.data.examples import Task
from xdistil.data.gold import find_file
from xdistil.data.made_texts import add_made_texts
from xdistil.data.segmentation import SPACES
from xdistil.data.streamed import JoinedExamples
from xdistil.data.synthetic_corpus import generate_corpus
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.data.unlabelled import lacks_labels, read_unlabelled
from xdistil.data.word_vectors import WordVectors, read_vectors
from xdistil.deploy.predictor import Predictor, load
from xdistil.errors import InputError
from xdistil.experiment.silver import read_votes, read_without_train
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.hf.folder import check_rows, load_model
from xdistil.models.trim import trim_model
from xdistil.models.types import Model, Params, count_parameters, trace_shapes
from xdistil.runtime.arithmetic import choose_dtype
from xdistil.runtime.workdir import choose_segmentation
from xdistil.student.design import check_width, design_student, with_dropout
from xdistil.student.embeddings import (
    EmbeddingInit,
    check_projection,
    embedding_kind,
    embedding_scale,
)
from xdistil.student.initialise import FromCheckpoint, FromScratch, KeptLayers, StudentInit
from xdistil.student.layer_selection import choose_layers, select_layers
from xdistil.student.tokenizer import choose_tokenizer
from xdistil.student.vocabulary import choose_vocabulary, count_texts, splits_alike
from xdistil.student.vocabulary_transfer import transfer_vocabulary
from xdistil.student.warm_start import check_start, open_start
from xdistil.teacher.head import find_task, is_fine_tuned
from xdistil.teacher.interface import NoTeacher, Teacher
from xdistil.teacher.model_teacher import ModelTeacher, match_subwords, match_words
from xdistil.teacher.source import has_no_teacher, open_teacher
from xdistil.teacher.voted_texts import VotedTexts, find_answers

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Sources:
    """What a run reads: texts and models."""

    experiment: Experiment
    corpus: Corpus
    teacher: Teacher  # before fine-tuning
    student: StudentInit
    voted: VotedTexts | None  # the votes of annotators, if there are any


def open_sources(
    experiment: Experiment, cache: Path, writes: bool = True, weights: bool = True
) -> Sources:
    """The first part of `build`, with its arguments: no text is packed."""
    data = replace(experiment.data, segmentation=choose_segmentation(experiment))
    experiment = replace(experiment, dtype=choose_dtype(experiment), data=data)
    corpus = load_corpus(experiment, cache, writes)
    transfer = find_data(experiment, cache).transfer
    corpus, voted = read_votes(experiment, corpus, transfer)
    corpus = add_made_texts(corpus, experiment.data, experiment.seed)
    # What was recognised is written beside the student.
    data = replace(experiment.data, scheme=corpus.reading.scheme)
    experiment = replace(experiment, data=data)
    texts = JoinedExamples(corpus.train, corpus.transfer)
    if voted is not None:
        voted.tell(texts, corpus.task)
    whole = open_teacher(experiment, corpus.task, texts, cache, writes, weights, voted)
    teacher, kept = _trim_teacher(whole, corpus, data.segmentation)
    teacher, student = _open_student(experiment, corpus, whole, teacher, kept, cache, writes)
    return Sources(experiment, corpus, teacher, student, voted)


def load_corpus(experiment: Experiment, cache: Path, writes: bool) -> Corpus:
    """The sentences of a run; without labels its task is that of the teacher's head."""
    data = find_data(experiment, cache)
    if data.generate and writes:
        generate_corpus(Path(data.folder), data.generate, experiment.seed)
    teacher, student = experiment.teacher, experiment.student
    if teacher.labels and lacks_labels(data):
        corpus = read_without_train(data, teacher.labels)
    elif is_fine_tuned(teacher) and lacks_labels(data):
        corpus = read_unlabelled(data, find_task(teacher), experiment.seed)
    else:
        transfer = not has_no_teacher(experiment)
        corpus = read_corpus(data, experiment.seed, transfer=transfer)
    if student.kind == "checkpoint":
        check_start(student.checkpoint, corpus.task)
    return corpus


def find_data(experiment: Experiment, cache: Path) -> config.Data:
    """The fields of `data`; the folder of a corpus that is generated lies in the cache.

    The values of a file of signals belong to the words of the transfer texts as they are written.
    The texts that annotators answered are transfer texts where there are no others.
    """
    data = experiment.data
    if experiment.teacher.signals:
        data = replace(data, segmentation=SPACES)
    labels = experiment.teacher.labels
    if (
        labels
        and not data.transfer
        and not (data.folder and find_file(Path(data.folder), "transfer"))
    ):
        find_answers(labels)  # so that a mistake names this field
        data = replace(data, transfer=labels)
    return replace(data, folder=str(cache / "corpus")) if data.generate else data


def _trim_teacher(
    teacher: Teacher, corpus: Corpus, segmentation: str
) -> tuple[Teacher, np.ndarray | None]:
    """The teacher with the subwords that the texts hold alone, where the config asks for that, and
    the ids of these; None: all."""
    if not isinstance(teacher, ModelTeacher) or teacher.config.vocabulary != "seen":
        return teacher, None
    whole = teacher.tokenizer
    padding = (teacher.model.config.padding_id,)
    texts = JoinedExamples(JoinedExamples(corpus.train, corpus.transfer), corpus.silver)
    counts = count_ids(texts, corpus.task, whole, segmentation)
    kept = choose_subwords(whole, counts, also=padding)
    tokenizer = trim_tokenizer(whole, kept)
    model, params = trim_model(teacher.model, teacher.params, kept)
    sizes = [count_parameters(trace_shapes(each))["total"] for each in (model, teacher.model)]
    log.info(
        "teacher: kept the %d of %d subwords in the texts, and %s of %s parameters",
        *(len(kept), whole.vocabulary_size),
        *(f"{size:,}" for size in sizes),
    )
    trimmed = replace(
        teacher, model=model, params=params, tokenizer=tokenizer, padding_id=tokenizer.pad
    )
    return trimmed, kept


def _open_student(
    experiment: Experiment,
    corpus: Corpus,
    whole: Teacher,
    teacher: Teacher,
    teacher_kept: np.ndarray | None,
    cache: Path,
    writes: bool,
) -> tuple[Teacher, StudentInit]:
    """The student, and the teacher as it reads the student's texts.

    Args:
        whole: the teacher before its vocabulary was trimmed to the ids `teacher_kept`.
    """
    student, task = experiment.student, corpus.task
    teachers = whole.tokenizer if isinstance(whole, ModelTeacher) else None
    own = choose_tokenizer(student, task, corpus.transfer, cache, writes, teachers)
    shared = isinstance(teacher, ModelTeacher) and own is teachers
    base = teacher.tokenizer if isinstance(teacher, ModelTeacher) and shared else own
    tokenizer, kept, alike = base, None, shared
    if student.vocabulary == "seen":
        counts = count_texts(student, corpus, base, experiment.data.segmentation)
        kept = choose_vocabulary(student, base, counts)
        tokenizer = trim_tokenizer(base, kept)
        alike = shared and splits_alike(counts, kept)
    if isinstance(teacher, ModelTeacher):
        if alike or (shared and teacher.config.subwords == "student"):
            teacher = match_subwords(teacher, tokenizer, kept)
        else:
            teacher = match_words(teacher, shared)
        if student.keep_layers:
            layers = choose_layers(student.keep_layers, teacher.model.config.layers)
            small, _ = select_layers(teacher.model, teacher.params, layers, kept)
            dropped = with_dropout(small, student.dropout)
            return teacher, KeptLayers(dropped, tokenizer, teacher.model, layers, kept)
    # The ids, among those of its own tokenizer before any was trimmed, that a checkpoint keeps.
    of_own = _compose(teacher_kept, kept) if shared else kept
    kind = embedding_kind(student, isinstance(teacher, ModelTeacher))
    check_projection(student, kind)
    if student.checkpoint:
        model, params = _load_checkpoint(experiment, corpus, own, of_own)
    else:
        shape = shape_student(teacher, experiment.data.row_length)
        model, params = design_student(student, shape, tokenizer, task, experiment.dtype), {}
    width = model.config.embedding_size
    if not isinstance(teacher, NoTeacher):
        check_width(kind, width, teacher.shape(""))
    rows = _choose_rows(teacher, tokenizer, kept, shared)
    vectors = WordVectors(np.zeros(0, np.int32), np.zeros((0, width), np.float32), 0)
    if student.vectors:
        vectors = read_vectors(Path(student.vectors), width, tokenizer)
    scale = embedding_scale(student, kind, width)
    embeddings = EmbeddingInit(kind, rows, vectors, scale)
    if student.checkpoint:
        return teacher, FromCheckpoint(model, tokenizer, embeddings, params)
    return teacher, FromScratch(model, tokenizer, embeddings)


def shape_student(teacher: Teacher, row_length: int) -> EncoderConfig:
    """The teacher's shape with as many positions as a student from scratch has."""
    shape = teacher.shape("the student takes its positions from a teacher")
    positions = min(shape.positions, max(EncoderConfig.positions, row_length))
    return replace(shape, positions=max(positions, row_length))


def _choose_rows(
    teacher: Teacher, tokenizer: Tokenizer, kept: np.ndarray | None, shared: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """How the teacher's word embeddings become a row for each of the student's subwords.

    Args:
        shared: the student's subwords are the teacher's of the ids `kept`, or all of them.
    """
    if isinstance(teacher, ModelTeacher) and not shared:
        return partial(transfer_vocabulary, tokenizer, teacher.tokenizer)
    if kept is None:
        return lambda table: table
    return lambda table: table[kept]


def _compose(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    # The ids that are kept of those that were kept first.
    if first is None or second is None:
        return second if first is None else first
    return first[second]


def _load_checkpoint(
    experiment: Experiment, corpus: Corpus, own: Tokenizer, kept: np.ndarray | None
) -> tuple[Model, Params]:
    """The student that starts from a checkpoint.

    Args:
        own: its tokenizer, before it was trimmed to the ids `kept`.
    """
    student, task = experiment.student, corpus.task
    if student.kind == "checkpoint":
        loaded = open_start(student.checkpoint, task, experiment.dtype, experiment.seed)
    else:
        loaded = load_model(student.checkpoint, "main", task, experiment.dtype)
    for note in loaded.notes:
        log.info("student: %s", note)
    positions = loaded.model.max_positions
    if student.kind != "checkpoint" and positions is None:
        raise InputError(
            f"student.checkpoint={student.checkpoint} is no transformer: set "
            "student.kind=checkpoint to continue with it."
        )
    if positions is not None and experiment.data.row_length > positions:
        raise InputError(
            f"data.row_length is {experiment.data.row_length}, but the student's checkpoint has "
            f"only {positions} positions: lower data.row_length."
        )
    check_rows(own, loaded, "name another folder in student.checkpoint")
    model, params = with_dropout(loaded.model, student.dropout), loaded.params
    return (model, params) if kept is None else trim_model(model, params, kept)


def open_before(checkpoint: str, task: Task) -> Predictor | None:
    """The checkpoint that a student without a teacher starts from, as it is; None where its head
    predicts none of the task's labels.

    Raises:
        InputError: there is no such folder, or it cannot be used as it is.
    """
    own = check_start(checkpoint, task)
    shared = set(own.labels) & set(task.labels) - {"O"}
    return load(checkpoint).predictor if shared else None
