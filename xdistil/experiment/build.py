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
from xdistil.data.corpus import Corpus, read_corpus, take_evenly
from xdistil.data.examples import Example, Task
from xdistil.data.packing import Rows, load_packed, pack, pack_languages, save_packed
from xdistil.data.subwords import LanguageCount, Subwords, count_subwords, tokenize
from xdistil.data.synthetic_corpus import generate_corpus
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.data.unlabelled import lacks_labels, read_unlabelled
from xdistil.data.word_vectors import WordVectors, read_vectors
from xdistil.deploy.predictor import Predictor
from xdistil.distill.recipes import PlannedStage, check_teacher, plan_stages, wanted_signals
from xdistil.errors import InputError
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.hf.folder import Model, Transformer, check_rows, load_model
from xdistil.models.trim import trim_model
from xdistil.models.types import Params
from xdistil.plans import without_labels
from xdistil.student.design import check_width, design_student, with_dropout
from xdistil.student.layer_selection import choose_layers, select_layers
from xdistil.student.tokenizer import check_losses, choose_tokenizer, settle_start, shape_of
from xdistil.student.warm_start import check_start, open_before, open_start, tunes_alone
from xdistil.teacher.head import check_classes, find_task, is_ready
from xdistil.teacher.signal_file import SignalFolder, open_signals
from xdistil.teacher.signals import signal_names

log = logging.getLogger("xdistil")

SPLITS = ("train", "dev", "test", "transfer", "gold_dev")
LEARNT = ("train", "transfer", "all")  # texts of steps, whose languages a temperature draws


@dataclass(frozen=True)
class Texts:
    """Examples, cut into subwords and packed."""

    examples: list[Example]
    subwords: Subwords
    rows: Rows


@dataclass(frozen=True)
class Prepared:
    """The outcome of `prepare`."""

    corpus: Corpus
    counts: dict[
        str, dict[str, LanguageCount]
    ]  # by split and language, with the student's subwords
    tokenizer: Tokenizer  # the teacher's; the student's where the teacher is a file of signals
    teacher: Transformer | None  # None: a file of signals, or none at all
    signals: SignalFolder | None  # that file
    teacher_params: Params  # as loaded or drawn, before fine-tuning
    teacher_stages: tuple[PlannedStage, ...]  # empty: the teacher is used as it is
    teacher_texts: dict[str, Texts]  # train, dev, test and gold_dev in the teacher's subwords, the
    # others where it reads them so; none of a file of signals
    student_tokenizer: Tokenizer
    at_words: bool  # the student's subwords are not the teacher's: its signals are those of words
    kept: (
        np.ndarray | None
    )  # i32[v] the id of each student subword before subwords were dropped, the
    # teacher's unless `at_words`; None: none were
    student: Model
    checkpoint_params: Params | None  # of a student that starts from a checkpoint
    before: Predictor | None  # that checkpoint as it was, to be scored where there is no teacher
    kept_layers: tuple[int, ...]  # of the teacher, that the student is made of; empty: it is not
    vectors: WordVectors | None  # of the student's subwords, where it starts from text vectors
    student_stages: tuple[PlannedStage, ...]
    student_texts: dict[str, Texts]  # all splits in the student's subwords, and what `all` names


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
    corpus = _read_corpus(data, experiment)
    if experiment.student.kind == "checkpoint":
        check_start(experiment.student.checkpoint, corpus.task)
    signals, tokenizer, whole, teacher, teacher_kept = None, None, None, None, None
    teacher_params: Params = {}
    shape: EncoderConfig | None = None
    if experiment.teacher.signals:
        signals = open_signals(experiment.teacher.signals, corpus.task)
        shape = shape_of(signals, data.row_length)
    elif not tunes_alone(experiment):
        whole, teacher, teacher_params = _load_teacher(experiment, corpus, cache, writes)
        tokenizer = whole
        if experiment.teacher.vocabulary == "seen":
            padding = (teacher.config.padding_id,)
            teacher_kept = choose_subwords(whole, _count_seen(corpus, whole), also=padding)
            tokenizer = trim_tokenizer(whole, teacher_kept)
            teacher, teacher_params = trim_model(teacher, teacher_params, teacher_kept)
            log.info(
                "teacher: kept %d of %d subwords, which the texts hold",
                len(teacher_kept),
                whole.vocabulary_size,
            )
        shape = teacher.config
    own = choose_tokenizer(experiment, corpus, cache, writes, whole)
    at_words = shape is not None and own is not whole
    if at_words:
        check_losses(experiment)
        teacher_kept = None  # of no concern to the student
    base = own if tokenizer is None or at_words else tokenizer
    if shape is not None and data.row_length > shape.positions:
        raise InputError(
            f"data.row_length is {data.row_length}, but the teacher has only {shape.positions} "
            "positions: lower data.row_length."
        )
    max_length = data.max_length or data.row_length
    splits = {name: found for name in SPLITS if (found := getattr(corpus, name))}
    if corpus.gold and any(stage.data == "all" for stage in experiment.plan):
        splits["all"] = corpus.transfer + _without_labels(corpus.train)
    read = splits
    if not corpus.gold:
        # Gold that is there for its scores alone may have tags that the head does not name.
        read = {name: _without_labels(examples) for name, examples in splits.items()}

    def cut_all(tokenizer: Tokenizer) -> dict[str, Subwords]:
        return {
            name: tokenize(examples, corpus.task, tokenizer, max_length)
            for name, examples in read.items()
        }

    cut = {} if tokenizer is None else cut_all(tokenizer)
    student_tokenizer, kept = base, None
    if experiment.student.vocabulary == "seen":
        kept = choose_subwords(
            base,
            _count_seen(corpus, base),
            experiment.student.least_count,
            experiment.student.vocabulary_size,
            field="student.vocabulary_size",
        )
        student_tokenizer = trim_tokenizer(base, kept)
    student_cut = cut if student_tokenizer is tokenizer else cut_all(student_tokenizer)

    def pack_into(folder: Path, name: str, subwords: Subwords) -> Texts:
        if writes:
            save_packed(folder / name, subwords, _pack(experiment, name, splits[name], subwords))
        return Texts(splits[name], *load_packed(folder / name))

    teacher_texts = {
        name: pack_into(cache / "teacher", name, subwords)
        for name, subwords in cut.items()
        if at_words or name not in ("transfer", "all")
    }
    student_texts = {
        name: pack_into(cache / "student", name, subwords) for name, subwords in student_cut.items()
    }
    kept_layers: tuple[int, ...] = ()
    checkpoint_params: Params | None = None
    student: Model
    if experiment.student.keep_layers and teacher is not None:
        kept_layers = choose_layers(experiment.student.keep_layers, teacher.config.layers)
        student, _ = select_layers(teacher, teacher_params, kept_layers, kept)
        student = with_dropout(student, experiment.student.dropout)
    else:
        student, checkpoint_params = _load_student(
            experiment, shape, student_tokenizer, own, _compose(teacher_kept, kept), corpus.task
        )
    before = None
    if tunes_alone(experiment):
        before = open_before(experiment.student.checkpoint, corpus.task)
    vectors = None
    if experiment.student.vectors:
        path, width = Path(experiment.student.vectors), student.config.embedding_size
        vectors = read_vectors(path, width, student_tokenizer)
    teacher_plan = experiment.teacher.plan if experiment.teacher.finetune else ()

    def plan_student(plan: tuple[Stage, ...]) -> tuple[PlannedStage, ...]:
        return plan_stages(plan, "plan", student, shape, experiment.student.train_embeddings)

    student_stages = plan_student(experiment.plan)  # its mistakes are told by the stages' numbers
    if not corpus.gold:
        student_stages = plan_student(without_labels(experiment.plan))
    if teacher is not None:
        check_teacher(student_stages, teacher)
    prepared = Prepared(
        corpus=corpus,
        counts={
            name: count_subwords(splits[name], corpus.task, subwords, student_tokenizer)
            for name, subwords in student_cut.items()
            if name != "all"
        },
        tokenizer=tokenizer or base,
        teacher=teacher,
        signals=signals,
        teacher_params=teacher_params,
        teacher_stages=(
            () if teacher is None else plan_stages(teacher_plan, "teacher.plan", teacher, None)
        ),
        teacher_texts=teacher_texts,
        student_tokenizer=student_tokenizer,
        at_words=at_words,
        kept=kept,
        student=student,
        checkpoint_params=checkpoint_params,
        before=before,
        kept_layers=kept_layers,
        vectors=vectors,
        student_stages=student_stages,
        student_texts=student_texts,
    )
    if signals is not None:
        _check_signals(experiment, prepared, signals)
    return prepared


def find_data(experiment: Experiment, cache: Path) -> config.Data:
    """The fields of `data`; the folder of a corpus that is generated lies in the cache."""
    data = experiment.data
    return replace(data, folder=str(cache / "corpus")) if data.generate else data


def find_texts(experiment: Experiment, prepared: Prepared, plan: str, stage: Stage) -> Texts:
    """The texts that a stage learns from.

    Labelled ones are the first of each language, as large a share of them all as the stage says,
    packed by themselves.

    Args:
        plan: teacher or student: in whose subwords.
    """
    tokenizer, texts = prepared.student_tokenizer, prepared.student_texts
    if plan == "teacher":
        tokenizer, texts = prepared.tokenizer, prepared.teacher_texts
    found, share, data = texts[stage.data], stage.label_fraction, experiment.data
    if stage.data != "train" or share == 1.0:
        return found
    examples = take_evenly(found.examples, max(1, round(share * len(found.examples))))
    length = data.max_length or data.row_length
    subwords = tokenize(examples, prepared.corpus.task, tokenizer, length)
    return Texts(examples, subwords, _pack(experiment, "train", examples, subwords))


def _pack(experiment: Experiment, split: str, examples: list[Example], subwords: Subwords) -> Rows:
    data, seed = experiment.data, experiment.seed
    if data.temperature == 1 or split not in LEARNT:
        return pack(subwords, data.row_length, seed)
    return pack_languages(subwords, data.row_length, seed, examples, data.temperature)


def _without_labels(examples: list[Example]) -> list[Example]:
    return [replace(each, labels=None) for each in examples]


def _read_corpus(data: config.Data, experiment: Experiment) -> Corpus:
    teacher = experiment.teacher
    if is_ready(teacher) and lacks_labels(data):
        return read_unlabelled(data, find_task(teacher), experiment.seed)
    return read_corpus(data, experiment.seed, transfer=not tunes_alone(experiment))


def _count_seen(corpus: Corpus, tokenizer: Tokenizer) -> np.ndarray:
    train, transfer = (
        count_ids(examples, corpus.task, tokenizer) for examples in (corpus.train, corpus.transfer)
    )
    return train + transfer


def _compose(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    # The ids that are kept of those that were kept first.
    if first is None or second is None:
        return second if first is None else first
    return first[second]


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
    if is_ready(teacher):
        wants_logits = any("logits" in stage.loss.split("+") for stage in experiment.plan)
        check_classes(teacher, task, wants_logits)
    source = teacher.tokenizer or teacher.model
    # The revision is the model's: another folder or hub id has none of that name.
    revision = teacher.revision if source == teacher.model else "main"
    tokenizer = load_tokenizer(source, revision, words=task.kind == "tagging")
    loaded = load_model(teacher.model, teacher.revision, task, experiment.dtype, experiment.seed)
    for note in loaded.notes:
        log.info("teacher: %s", note)
    if isinstance(loaded.model, BiLSTM):
        raise InputError(f"teacher.model={teacher.model} is a student: name an encoder.")
    check_rows(tokenizer, loaded, "name the model's own tokenizer in teacher.tokenizer")
    return tokenizer, loaded.model, loaded.params


def _check_signals(experiment: Experiment, prepared: Prepared, signals: SignalFolder) -> None:
    """Every stage finds in the file what it learns, and watches on dev."""
    by_stage = {planned.substage.stage: planned for planned in prepared.student_stages}
    for planned in by_stage.values():
        names = signal_names(wanted_signals(planned.recipe))
        if missing := [name for name in names if name not in signals.values]:
            stage = planned.substage.stage
            raise InputError(
                f"plan[{stage}] learns {missing[0]}, which is not in the signals of "
                f"{signals.path}: they are {', '.join(sorted(signals.values))}."
            )
        if names:
            for what, texts in (
                (planned.stage.data, find_texts(experiment, prepared, "student", planned.stage)),
                ("dev", prepared.student_texts["dev"]),
            ):
                signals.locate(texts.examples, prepared.corpus.task, what)


def _load_student(
    experiment: Experiment,
    teacher: EncoderConfig | None,
    tokenizer: Tokenizer,
    own: Tokenizer,
    kept: np.ndarray | None,
    task: Task,
) -> tuple[Model, Params | None]:
    # `own` is the student's tokenizer before any was trimmed, and `kept` are ids of it.
    student = settle_start(experiment)
    if not student.checkpoint:
        assert teacher is not None  # or `validate` asks for a checkpoint
        # Rows of positions beyond any row are never read: some teachers have thousands.
        most = max(EncoderConfig.positions, experiment.data.row_length)
        teacher = replace(teacher, positions=min(teacher.positions, most))
        model = design_student(student, teacher, tokenizer, task, experiment.dtype)
        return model, None
    if student.kind == "checkpoint":
        loaded = open_start(student.checkpoint, task, experiment.dtype, experiment.seed)
    else:
        loaded = load_model(student.checkpoint, "main", task, experiment.dtype)
    for note in loaded.notes:
        log.info("student: %s", note)
    shape: Any = loaded.model.config
    if isinstance(loaded.model, BiLSTM):
        if student.kind != "checkpoint":
            raise InputError(
                f"student.checkpoint={student.checkpoint} is no transformer: set "
                "student.kind=checkpoint to go on with it."
            )
    elif experiment.data.row_length > shape.positions:
        raise InputError(
            f"data.row_length is {experiment.data.row_length}, but the student's checkpoint has "
            f"only {shape.positions} positions: lower data.row_length."
        )
    check_rows(own, loaded, "name another folder in student.checkpoint")
    if teacher is not None:
        check_width(student, shape.embedding_size, teacher.embedding_size)
    model, params = with_dropout(loaded.model, student.dropout), loaded.params
    if kept is not None:
        model, params = trim_model(model, params, kept)
    return model, params
