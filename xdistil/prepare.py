"""Everything a run needs before its first step, read and checked: texts, teacher, student's shape.

Nothing here trains and nothing is scored. Whatever is wrong with files, labels, models or the plan
is found here, before anything is compiled.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil import config
from xdistil.config import Experiment, Stage
from xdistil.data.examples import Corpus, Example, Task, read_corpus, take_evenly
from xdistil.data.generate import generate_corpus
from xdistil.data.packing import Rows, load_packed, pack, save_packed
from xdistil.data.pieces import (
    LanguageCount,
    Pieces,
    Tokenizer,
    count_pieces,
    cut_pieces,
    load_tokenizer,
)
from xdistil.data.vectors import WordVectors, read_vectors
from xdistil.data.vocabulary import train_wordpiece
from xdistil.distill.recipes import PlannedStage, check_teacher, plan_stages
from xdistil.errors import InputError
from xdistil.models.bert import Encoder, EncoderConfig
from xdistil.models.bilstm import BiLSTM
from xdistil.models.compress import seen_vocabulary, trim_embeddings, trim_tokenizer
from xdistil.models.folders import Loaded, Model, Transformer, load_model
from xdistil.models.layers import choose_layers, cut_layers
from xdistil.models.structs import Params
from xdistil.models.student import check_width, design_student, with_dropout

log = logging.getLogger("xdistil")

SPLITS = ("train", "dev", "test", "transfer")

_WHOLE = 1 << 30  # a length in pieces that no text reaches


@dataclass(frozen=True)
class Texts:
    """Examples, cut into pieces and packed."""

    examples: list[Example]
    pieces: Pieces
    rows: Rows


@dataclass(frozen=True)
class Prepared:
    """The outcome of `prepare`."""

    corpus: Corpus
    counts: dict[str, dict[str, LanguageCount]]  # by split and language, with the student's pieces
    tokenizer: Tokenizer  # the teacher's
    teacher: Transformer
    teacher_params: Params  # as loaded or drawn, before fine-tuning
    teacher_stages: tuple[PlannedStage, ...]  # empty: the teacher is used as it is
    teacher_texts: dict[str, Texts]  # train, dev and test in the teacher's pieces
    student_tokenizer: Tokenizer
    kept: np.ndarray | None  # i32[v] teacher id of each student piece; None: the same vocabulary
    student: Model
    checkpoint_params: Params | None  # of a student that starts from a checkpoint
    kept_layers: tuple[int, ...]  # of the teacher, that the student is made of; empty: it is not
    vectors: WordVectors | None  # of the student's pieces, where it starts from text vectors
    student_stages: tuple[PlannedStage, ...]
    student_texts: dict[str, Texts]  # all splits in the student's pieces, and what `all` names


def prepare(experiment: Experiment, cache: Path, writes: bool = True) -> Prepared:
    """Reads and checks everything.

    Args:
        cache: a folder for what is made on the way: generated corpus, trained tokenizer, packed
            rows.
        writes: make these; otherwise they are there, made by a call before.

    Raises:
        InputError: whatever is wrong, in one sentence.
    """
    data = find_data(experiment, cache)
    if data.generate and writes:
        generate_corpus(Path(data.folder), data.generate, experiment.seed)
    corpus = read_corpus(data, experiment.seed)
    tokenizer, teacher, teacher_params = _load_teacher(experiment, corpus, cache, writes)
    shape = teacher.config
    if data.row_length > shape.positions:
        raise InputError(
            f"data.row_length is {data.row_length}, but the teacher has only {shape.positions} "
            "positions: lower data.row_length."
        )
    max_length = data.max_length or data.row_length
    splits = {name: getattr(corpus, name) for name in SPLITS}
    if any(stage.data == "all" for stage in experiment.plan):
        splits["all"] = corpus.transfer + [replace(each, labels=None) for each in corpus.train]
    cut = {
        name: cut_pieces(examples, corpus.task, tokenizer, max_length)
        for name, examples in splits.items()
        if examples is not None
    }
    student_tokenizer, kept, student_cut = tokenizer, None, cut
    if experiment.student.vocabulary == "seen":
        # From the whole texts: a piece behind a cut decides how its word is cut, and so where.
        kept = seen_vocabulary(
            tokenizer,
            *(
                cut_pieces(splits[name], corpus.task, tokenizer, _WHOLE)
                for name in ("train", "transfer")
            ),
        )
        student_tokenizer = trim_tokenizer(tokenizer, kept)
        student_cut = {
            name: cut_pieces(splits[name], corpus.task, student_tokenizer, max_length)
            for name in cut
        }

    def pack_into(folder: Path, name: str, pieces: Pieces) -> Texts:
        if writes:
            save_packed(folder / name, pieces, pack(pieces, data.row_length, experiment.seed))
        return Texts(splits[name], *load_packed(folder / name))

    teacher_texts = {
        name: pack_into(cache / "teacher", name, pieces)
        for name, pieces in cut.items()
        if name not in ("transfer", "all")
    }
    student_texts = {
        name: pack_into(cache / "student", name, pieces) for name, pieces in student_cut.items()
    }
    kept_layers: tuple[int, ...] = ()
    checkpoint_params: Params | None = None
    if experiment.student.keep_layers:
        kept_layers = choose_layers(experiment.student.keep_layers, shape.layers)
        student = with_dropout(cut_layers(teacher, kept_layers), experiment.student.dropout)
        student = student if kept is None else _trim_model(student, student_tokenizer)
    else:
        student, checkpoint_params = _load_student(
            experiment, shape, student_tokenizer, tokenizer, kept, corpus.task
        )
    student_stages = plan_stages(
        experiment.plan, "plan", student, shape, experiment.student.train_embeddings
    )
    check_teacher(student_stages, teacher)
    vectors = None
    if experiment.student.vectors:
        path, width = Path(experiment.student.vectors), student.config.embedding_size
        vectors = read_vectors(path, width, student_tokenizer)
    teacher_plan = experiment.teacher.plan if experiment.teacher.finetune else ()
    return Prepared(
        corpus=corpus,
        counts={
            name: count_pieces(splits[name], corpus.task, pieces, student_tokenizer)
            for name, pieces in student_cut.items()
            if name != "all"
        },
        tokenizer=tokenizer,
        teacher=teacher,
        teacher_params=teacher_params,
        teacher_stages=plan_stages(teacher_plan, "teacher.plan", teacher, None),
        teacher_texts=teacher_texts,
        student_tokenizer=student_tokenizer,
        kept=kept,
        student=student,
        checkpoint_params=checkpoint_params,
        kept_layers=kept_layers,
        vectors=vectors,
        student_stages=student_stages,
        student_texts=student_texts,
    )


def find_data(experiment: Experiment, cache: Path) -> config.Data:
    """The fields of `data`; the folder of a corpus that is generated lies in the cache."""
    data = experiment.data
    return replace(data, folder=str(cache / "corpus")) if data.generate else data


def find_texts(experiment: Experiment, prepared: Prepared, plan: str, stage: Stage) -> Texts:
    """The texts that a stage learns from.

    Labelled ones are the first of each language, as large a share of them all as the stage says,
    packed by themselves.

    Args:
        plan: teacher or student: in whose pieces.
    """
    tokenizer, texts = prepared.student_tokenizer, prepared.student_texts
    if plan == "teacher":
        tokenizer, texts = prepared.tokenizer, prepared.teacher_texts
    found, share, data = texts[stage.data], stage.label_fraction, experiment.data
    if stage.data != "train" or share == 1.0:
        return found
    examples = take_evenly(found.examples, max(1, round(share * len(found.examples))))
    length = data.max_length or data.row_length
    pieces = cut_pieces(examples, prepared.corpus.task, tokenizer, length)
    return Texts(examples, pieces, pack(pieces, data.row_length, experiment.seed))


def _load_teacher(
    experiment: Experiment, corpus: Corpus, cache: Path, writes: bool
) -> tuple[Tokenizer, Transformer, Params]:
    teacher, task = experiment.teacher, corpus.task
    if not teacher.model:
        folder = cache / "tokenizer"
        if writes:
            train_wordpiece([*corpus.train, *corpus.transfer], teacher.vocabulary_size, folder)
        tokenizer = load_tokenizer(str(folder))
        shape = EncoderConfig(
            vocabulary_size=tokenizer.vocabulary_size,
            embedding_size=teacher.hidden_size,
            hidden_size=teacher.hidden_size,
            layers=teacher.layers,
            heads=teacher.heads,
            intermediate_size=4 * teacher.hidden_size,
            padding_id=tokenizer.pad,
        )
        model = Encoder(shape, task.kind, len(task.labels), experiment.dtype)
        key = jax.random.key(experiment.seed)
        return tokenizer, model, jax.device_get(jax.jit(model.init_params)(key))
    tokenizer = load_tokenizer(
        teacher.tokenizer or teacher.model, teacher.revision, words=task.kind == "tagging"
    )
    loaded = load_model(teacher.model, teacher.revision, task, experiment.dtype, experiment.seed)
    for note in loaded.notes:
        log.info("teacher: %s", note)
    if isinstance(loaded.model, BiLSTM):
        raise InputError(f"teacher.model={teacher.model} is a student: name an encoder.")
    _check_rows(tokenizer, loaded, "name the model's own tokenizer in teacher.tokenizer")
    return tokenizer, loaded.model, loaded.params


def _check_rows(tokenizer: Tokenizer, loaded: Loaded, remedy: str) -> None:
    rows = loaded.model.config.vocabulary_size
    if tokenizer.vocabulary_size > rows:
        raise InputError(
            f"The tokenizer of {tokenizer.source} has {tokenizer.vocabulary_size} pieces and the "
            f"model's embeddings only {rows} rows: {remedy}."
        )


def _load_student(
    experiment: Experiment,
    teacher: EncoderConfig,
    tokenizer: Tokenizer,
    teacher_tokenizer: Tokenizer,
    kept: np.ndarray | None,
    task: Task,
) -> tuple[Model, Params | None]:
    student = experiment.student
    if not student.checkpoint:
        model = design_student(student, teacher, tokenizer, task, experiment.dtype)
        return model, None
    own = load_tokenizer(student.checkpoint)
    if own.backend.get_vocab() != teacher_tokenizer.backend.get_vocab():
        raise InputError(
            f"student.checkpoint={student.checkpoint} has another vocabulary than the teacher: "
            "choose a checkpoint of the teacher's tokenizer, or leave student.checkpoint empty."
        )
    loaded = load_model(student.checkpoint, "main", task, experiment.dtype)
    for note in loaded.notes:
        log.info("student: %s", note)
    if isinstance(loaded.model, BiLSTM):
        raise InputError(f"student.checkpoint={student.checkpoint} is no transformer.")
    if experiment.data.row_length > loaded.model.config.positions:
        raise InputError(
            f"data.row_length is {experiment.data.row_length}, but the student's checkpoint has "
            f"only {loaded.model.config.positions} positions: lower data.row_length."
        )
    _check_rows(own, loaded, "name another folder in student.checkpoint")
    check_width(student, loaded.model.config.embedding_size, teacher.embedding_size)
    model, params = with_dropout(loaded.model, student.dropout), loaded.params
    if kept is not None:
        params = trim_embeddings(params, kept)
        model = _trim_model(model, tokenizer)
    return model, params


def _trim_model(model: Model, tokenizer: Tokenizer) -> Model:
    """The same model for the pieces of a trimmed tokenizer."""
    rows, pad = tokenizer.vocabulary_size, tokenizer.pad
    shape: Any = replace(model.config, vocabulary_size=rows, padding_id=pad)
    if isinstance(model, Transformer) and shape.first_position != model.config.first_position:
        raise InputError(
            f"student.vocabulary=seen moves the padding of a {model.config.model_type}, whose "
            "positions are counted from it: set student.vocabulary=all."
        )
    return model.clone(config=shape)
