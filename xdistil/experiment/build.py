"""Config -> run: everything is read and checked before the first step.

Nothing here trains and nothing is scored. Whatever is wrong with files, labels, models or the plan
is found here, before anything is compiled.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.config import SILVER, Baseline, Experiment, Stage, split_names
from xdistil.data.corpus import Corpus, read_corpus, take_evenly
from xdistil.data.examples import Example, Task
from xdistil.data.gold import find_file
from xdistil.data.made_texts import add_made_texts
from xdistil.data.packing import (
    PackedTexts,
    Rows,
    load_packed,
    pack,
    pack_languages,
    save_packed,
)
from xdistil.data.segmentation import SPACES
from xdistil.data.streamed import JoinedExamples, StreamedExamples
from xdistil.data.subwords import Cutting, Subwords, first_examples, join_subwords, tokenize_blocks
from xdistil.data.synthetic_corpus import generate_corpus
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.data.unlabelled import lacks_labels, read_unlabelled
from xdistil.data.word_vectors import WordVectors, read_vectors
from xdistil.deploy.predictor import Predictor, load
from xdistil.deploy.preprocessing import choose_overlap
from xdistil.distill.language_gaps import choose_weighing
from xdistil.distill.masking import choose_masking
from xdistil.distill.stages import (
    StageRun,
    plan_stages,
    request_signals,
    resolve_losses,
    texts_name,
)
from xdistil.errors import InputError
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.results import ScoreName
from xdistil.experiment.shared_texts import find_packed, hold_packed
from xdistil.experiment.silver import read_votes, read_without_train
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.hf.folder import check_rows, load_model
from xdistil.models.trim import trim_model
from xdistil.models.types import Model, Params, count_parameters, trace_shapes
from xdistil.plans import without_labels
from xdistil.runtime.arithmetic import choose_dtype
from xdistil.runtime.workdir import choose_segmentation
from xdistil.student.design import check_width, design_student, with_dropout
from xdistil.student.embeddings import EmbeddingInit, embedding_kind
from xdistil.student.initialise import FromCheckpoint, FromScratch, KeptLayers, StudentInit
from xdistil.student.layer_selection import choose_layers, select_layers
from xdistil.student.tokenizer import choose_tokenizer
from xdistil.student.vocabulary import choose_vocabulary, count_texts
from xdistil.student.vocabulary_transfer import transfer_vocabulary
from xdistil.student.warm_start import check_start, open_start
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.head import find_task, is_fine_tuned
from xdistil.teacher.interface import NoTeacher, Teacher, Unit
from xdistil.teacher.model_teacher import ModelTeacher, match_subwords, match_words
from xdistil.teacher.signals import Request
from xdistil.teacher.source import has_no_teacher, open_teacher
from xdistil.teacher.voted_texts import VotedTexts, find_answers

log = logging.getLogger("xdistil")

# Texts of steps, whose languages a temperature draws.
LEARNT = ("train", "transfer", "all", SILVER)


@dataclass(frozen=True)
class BaselineRun:
    """A label-only baseline: the same stage at each of its learning rates."""

    config: Baseline
    lrs: tuple[float, ...]
    stages: tuple[StageRun, ...]  # one for each learning rate


@dataclass(frozen=True)
class Sources:
    """What a run reads: texts and models."""

    experiment: Experiment
    corpus: Corpus
    teacher: Teacher  # before fine-tuning
    student: StudentInit
    voted: VotedTexts | None  # the votes of annotators, if there are any


@dataclass(frozen=True)
class Run:
    """What a run is made of; pure data, without devices."""

    experiment: Experiment
    corpus: Corpus
    teacher: Teacher  # before fine-tuning
    finetuning: tuple[StageRun, ...]  # empty: the teacher is used without fine-tuning
    teacher_texts: Mapping[str, PackedTexts]  # in the teacher's subwords; empty without a model
    student: StudentInit
    texts: Mapping[str, PackedTexts]  # in the student's subwords
    stages: tuple[StageRun, ...]  # of the student's plan
    baselines: tuple[BaselineRun, ...]
    voted: VotedTexts | None = None  # the votes of annotators, if there are any

    @property
    def metric(self) -> ScoreName:
        """The score that selects models."""
        return MAIN_SCORE[self.corpus.task.name]

    @property
    def requests(self) -> list[Request]:
        """What the student's stages read of the teacher."""
        read = self.teacher_texts if self.teacher.unit is Unit.WORD else {}
        experiment = self.experiment
        return request_signals(self.stages, read, experiment.batch_size, experiment.eval_every)


def build(experiment: Experiment, cache: Path, writes: bool = True, weights: bool = True) -> Run:
    """Reads and checks everything.

    Args:
        cache: a folder for what is made on the way: generated corpus, trained tokenizers, packed
            rows.
        writes: make these; otherwise they are there, made by a call before.
        weights: read the numbers of a teacher's model; a plan needs its shapes alone.

    Raises:
        InputError: whatever is wrong, in one sentence.
    """
    sources = open_sources(experiment, cache, writes, weights)
    experiment, corpus = sources.experiment, sources.corpus
    teacher, student = sources.teacher, sources.student
    _check_texts(experiment, corpus, teacher)
    packer = _Packer(experiment, corpus, cache, writes, sources.voted)
    teacher_texts: dict[str, PackedTexts] = {}
    if isinstance(teacher, ModelTeacher):
        learnt = experiment.teacher.plan
        if teacher.unit is Unit.WORD:  # it reads the texts of the student's stages too
            learnt += experiment.plan
        splits = packer.list_splits(transfer=teacher.unit is Unit.WORD)
        teacher_texts = packer.pack_all(splits, teacher.tokenizer, "teacher", learnt)
    learnt = experiment.plan + _list_baseline_stages(experiment)
    splits = packer.list_splits(transfer=True)
    student_texts = packer.pack_all(splits, student.tokenizer, "student", learnt)
    for index, stage in enumerate(experiment.plan):
        # Errors name the stages of the user's plan, whatever is left of it without labels.
        resolve_losses(stage, f"plan[{index}]", student.model, teacher)
        choose_masking(stage, f"plan[{index}]", student.tokenizer, whole_words=True)
    stages = plan_stages(
        experiment.plan if corpus.gold else without_labels(experiment.plan),
        "plan",
        student.model,
        teacher,
        student_texts,
        experiment.student.train_embeddings,
        corpus.task,
        student.tokenizer,
    )
    stages = _weigh_languages(experiment, corpus, teacher, stages)
    run = Run(
        experiment=experiment,
        corpus=corpus,
        teacher=teacher,
        finetuning=plan_finetuning(teacher, teacher_texts, corpus.task),
        teacher_texts=teacher_texts,
        student=student,
        texts=student_texts,
        stages=stages,
        baselines=_plan_baselines(experiment, corpus, student.model, student_texts, stages),
        voted=sources.voted,
    )
    for request in run.requests:
        teacher.check(request)
    if isinstance(teacher, NoTeacher):
        open_before(experiment.student.checkpoint, corpus.task)
    return run


def _weigh_languages(
    experiment: Experiment, corpus: Corpus, teacher: Teacher, stages: tuple[StageRun, ...]
) -> tuple[StageRun, ...]:
    """The stage runs, those marked that weigh languages; InputError where there are no gaps."""
    weighed = [stage for stage in stages if stage.config.gap_weight]
    if not weighed:
        return stages
    field = f"{weighed[0].place}.gap_weight is {weighed[0].config.gap_weight:g}"
    if isinstance(teacher, NoTeacher):
        raise InputError(f"{field}, and there is no teacher to compare with: set it to 0.")
    if isinstance(teacher, FileTeacher) and isinstance(why := teacher.predict(corpus.dev), str):
        raise InputError(
            f"{field}, but the teacher has no scores on dev to compare with ({why}): set it to 0."
        )
    student = experiment.student
    kept = bool(student.keep_layers) and student.start == "finetuned"
    return choose_weighing(stages, kept or student.kind == "checkpoint", corpus.dev)


def open_sources(
    experiment: Experiment, cache: Path, writes: bool = True, weights: bool = True
) -> Sources:
    """The first part of `build`, with its arguments: no text is tokenized."""
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


def _check_texts(experiment: Experiment, corpus: Corpus, teacher: Teacher) -> None:
    """Raises InputError where a stage learns texts that are not there."""
    plans = [("plan", experiment.plan)]
    if isinstance(teacher, ModelTeacher) and teacher.config.finetune:
        plans.append(("teacher.plan", teacher.config.plan))
    for path, plan in plans:
        for index, stage in enumerate(plan):
            place = f"{path}[{index}].data"
            if stage.data == "train" and corpus.gold and not corpus.train:
                where = experiment.data.folder
                raise InputError(
                    f"{place} is train, and "
                    + (f"{where} has no train file" if where else "data.folder is empty")
                    + f": set {place}=silver to learn what annotators say."
                )
            if stage.data == SILVER and not corpus.silver:
                raise InputError(
                    f"{place} is silver, and annotators answered no text that may be learnt: all "
                    "are in dev or test, have no vote, or have less than teacher.min_agreement."
                )


def plan_finetuning(
    teacher: Teacher, texts: Mapping[str, PackedTexts], task: Task
) -> tuple[StageRun, ...]:
    """The stages that fine-tune a teacher; none where it is used without."""
    if not isinstance(teacher, ModelTeacher) or not teacher.config.finetune:
        return ()
    plan, field, nobody = teacher.config.plan, "teacher.plan", NoTeacher()
    return plan_stages(plan, field, teacher.model, nobody, texts, task=task)


def _list_baseline_stages(experiment: Experiment) -> tuple[Stage, ...]:
    """A stage for each baseline, with the class weights of the plan's last stage on labels."""
    weights = [stage.class_weights for stage in experiment.plan if "labels" in stage.loss]
    return tuple(
        Stage(
            name="labels",
            loss="labels",
            data="train",
            patience=baseline.patience,
            label_fraction=baseline.label_fraction,
            class_weights=weights[-1] if weights else "",
        )
        for baseline in experiment.baselines
    )


def _plan_baselines(
    experiment: Experiment,
    corpus: Corpus,
    model: Model,
    texts: Mapping[str, PackedTexts],
    stages: Sequence[StageRun],
) -> tuple[BaselineRun, ...]:
    """Baselines may take as many steps as the whole plan, unless they say how many epochs."""
    if not corpus.gold or not corpus.train:
        return ()
    size, train_embeddings = experiment.batch_size, experiment.student.train_embeddings
    least = sum(stage.count_steps(size).total for stage in stages)

    def plan(index: int, stage: Stage) -> StageRun:
        field, nobody = f"baselines[{index}]", NoTeacher()
        (run,) = plan_stages((stage,), field, model, nobody, texts, train_embeddings, corpus.task)
        return run

    runs = []
    pairs = zip(experiment.baselines, _list_baseline_stages(experiment), strict=True)
    for index, (baseline, stage) in enumerate(pairs):
        epochs = baseline.epochs or least / plan(index, stage).count_steps(size).epoch
        lrs = tuple(map(float, split_names(baseline.lrs)))
        rates = [replace(stage, lr=lr, epochs=epochs) for lr in lrs]
        runs.append(BaselineRun(baseline, lrs, tuple(plan(index, each) for each in rates)))
    return tuple(runs)


@dataclass(frozen=True)
class _Packer:
    """Packs the texts of a run in the subwords of any tokenizer."""

    experiment: Experiment
    corpus: Corpus
    cache: Path
    writes: bool
    voted: VotedTexts | None = None

    def list_splits(self, transfer: bool) -> dict[str, Sequence[Example]]:
        """The texts by name, with or without the transfer texts."""
        corpus = self.corpus
        names = ("train", "dev", "test", *(("transfer",) if transfer else ()), "gold_dev")
        plans = self.experiment.plan + self.experiment.teacher.plan
        if any(stage.data == SILVER for stage in plans):
            names = (*names, SILVER)
        splits = {name: found for name in names if (found := getattr(corpus, name))}
        if "transfer" in splits:
            splits["transfer"] = corpus.all_transfer
        if transfer and corpus.gold and any(each.data == "all" for each in self.experiment.plan):
            splits["all"] = JoinedExamples(corpus.all_transfer, _without_labels(corpus.train))
        return splits

    def pack_all(
        self,
        splits: Mapping[str, Sequence[Example]],
        tokenizer: Tokenizer,
        reader: str,
        stages: Iterable[Stage],
    ) -> dict[str, PackedTexts]:
        """All texts by name, with the shares of train that stages ask for.

        Args:
            reader: teacher or student, the folder in the cache.
        """
        packed = {}
        read = {texts_name(stage): stage for stage in stages}
        groups: set[str] = set()  # texts whose languages a stage weighs
        if reader == "student":
            plan = self.experiment.plan
            plan = plan if self.corpus.gold else without_labels(plan)
            groups = {texts_name(stage) for stage in plan if stage.gap_weight}
        for name, examples in splits.items():
            if name == "transfer" and "all" in splits and name not in read:
                continue
            # Gold that is there for its scores alone may have tags that the head does not name.
            texts = examples if self.corpus.gold else _without_labels(examples)
            grouped = name in groups
            if self.experiment.teacher.shared_folder:
                learnt, task = name in LEARNT, self.corpus.task
                folder = find_packed(self.experiment, task, tokenizer, texts, learnt, grouped)
            else:
                folder = self.cache / reader / name
            if self.writes:
                self._save(folder, name, examples, texts, tokenizer, grouped)
            packed[name] = self._join(examples, *load_packed(folder))
            if name == SILVER and self.voted is not None:
                soft = self.voted.label_softly(packed[name], self.corpus.task)
                packed[name] = replace(packed[name], soft_labels=soft)
        for name, stage in read.items():
            if name not in packed and "train" in packed:
                share = self._take_share(packed["train"], stage, tokenizer, name in groups)
                packed[name] = share
        if "transfer" in splits and "transfer" not in packed:
            packed["transfer"] = self._take_transfer(packed["all"])
        return packed

    def _save(
        self,
        folder: Path,
        name: str,
        examples: Sequence[Example],
        texts: Sequence[Example],
        tokenizer: Tokenizer,
        grouped: bool,
    ) -> None:
        """Writes subwords and rows, unless they are there for all runs that share them."""
        shared = self.experiment.teacher.shared_folder
        with hold_packed(folder) if shared else contextlib.nullcontext(True) as missing:
            if missing:
                parts = self._tokenize(texts, tokenizer, predicts=name not in LEARNT)
                save_packed(folder, parts, partial(self._pack, name, grouped, examples))

    def _take_transfer(self, every: PackedTexts) -> PackedTexts:
        """The transfer texts among `all`, where they come first; no stage reads them alone, so that
        they have no rows."""
        examples = self.corpus.all_transfer
        nothing = np.zeros((0, self.experiment.data.row_length), np.int32)
        subwords = first_examples(every.subwords, len(examples))
        return self._join(examples, subwords, Rows(nothing, nothing, nothing))

    def _take_share(
        self, texts: PackedTexts, stage: Stage, tokenizer: Tokenizer, grouped: bool
    ) -> PackedTexts:
        """The first of each language, as large a share of all as the stage says."""
        count = max(1, round(stage.label_fraction * len(texts.examples)))
        examples = take_evenly(texts.examples, count)
        subwords = join_subwords(self._tokenize(examples, tokenizer))
        rows = self._pack("train", grouped, examples, subwords)
        return self._join(examples, subwords, rows)

    def _join(self, examples: Sequence[Example], subwords: Subwords, rows: Rows) -> PackedTexts:
        return PackedTexts(examples, subwords, rows, self.experiment.data.segmentation)

    def _tokenize(
        self, examples: Sequence[Example], tokenizer: Tokenizer, predicts: bool = False
    ) -> Iterator[Subwords]:
        """Their subwords; windows overlap as in prediction where labels are predicted."""
        data, task = self.experiment.data, self.corpus.task
        length = data.max_length or data.row_length
        overlap = choose_overlap(length, data.segmentation) if predicts else 0
        cutting = Cutting(length, data.segmentation, overlap)
        return tokenize_blocks(examples, task, tokenizer, cutting)

    def _pack(
        self,
        name: str,
        grouped: bool,
        examples: Sequence[Example],
        subwords: Subwords,
        folder: Path | None = None,
    ) -> Rows:
        data, seed = self.experiment.data, self.experiment.seed
        if not grouped and (data.temperature == 1 or name not in LEARNT):
            return pack(subwords, data.row_length, seed, folder)
        return pack_languages(subwords, data.row_length, seed, examples, data.temperature, folder)


def _without_labels(examples: Sequence[Example]) -> Sequence[Example]:
    if isinstance(examples, StreamedExamples):  # they have none
        return examples
    return [replace(each, labels=None) for each in examples]


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
    tokenizer, kept = base, None
    if student.vocabulary == "seen":
        counts = count_texts(student, corpus, base, experiment.data.segmentation)
        kept = choose_vocabulary(student, base, counts)
        tokenizer = trim_tokenizer(base, kept)
    if isinstance(teacher, ModelTeacher):
        teacher = match_subwords(teacher, tokenizer, kept) if shared else match_words(teacher)
        if student.keep_layers:
            layers = choose_layers(student.keep_layers, teacher.model.config.layers)
            small, _ = select_layers(teacher.model, teacher.params, layers, kept)
            dropped = with_dropout(small, student.dropout)
            return teacher, KeptLayers(dropped, tokenizer, teacher.model, layers, kept)
    # The ids, among those of its own tokenizer before any was trimmed, that a checkpoint keeps.
    of_own = _compose(teacher_kept, kept) if shared else kept
    kind = embedding_kind(student, isinstance(teacher, ModelTeacher))
    if student.checkpoint:
        model, params = _load_checkpoint(experiment, corpus, own, of_own)
    else:
        shape = shape_student(teacher, experiment.data.row_length)
        model, params = design_student(student, shape, tokenizer, task, experiment.dtype), {}
    width = model.config.embedding_size
    if not isinstance(teacher, NoTeacher):
        check_width(kind, width, teacher.shape(""))
    rows = _choose_rows(teacher, tokenizer, kept)
    vectors = WordVectors(np.zeros(0, np.int32), np.zeros((0, width), np.float32), 0)
    if student.vectors:
        vectors = read_vectors(Path(student.vectors), width, tokenizer)
    scale = student.embedding_scale if student.kind == "bilstm" else 0.0
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
    teacher: Teacher, tokenizer: Tokenizer, kept: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """How the teacher's word embeddings become a row for each of the student's subwords."""
    if teacher.unit is Unit.WORD and isinstance(teacher, ModelTeacher):
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
