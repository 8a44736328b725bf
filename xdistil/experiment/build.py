"""Config -> run: everything is read and checked before the first step.

Nothing here trains and nothing is scored. Whatever is wrong with files, labels, models or the plan
is found here, before anything is compiled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdistil.config import SILVER, Baseline, Experiment, Stage, Student, split_names
from xdistil.data.corpus import Corpus
from xdistil.data.examples import Task
from xdistil.data.packing import PackedTexts
from xdistil.data.word_alignment import choose_decoding
from xdistil.distill.doubts import choose_sampling
from xdistil.distill.language_gaps import choose_weighing
from xdistil.distill.layer_maps import middle_and_last
from xdistil.distill.masking import choose_masking
from xdistil.distill.stages import (
    StageRun,
    plan_stages,
    request_signals,
    resolve_losses,
    train_projection,
)
from xdistil.errors import InputError
from xdistil.evaluation import metrics
from xdistil.evaluation.results import ScoreName
from xdistil.evaluation.worst import LEAST
from xdistil.experiment.packer import Packer
from xdistil.experiment.sources import open_before, open_sources
from xdistil.models.types import Model
from xdistil.plans import without_labels
from xdistil.student.initialise import StudentInit
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import NoTeacher, Teacher, Unit
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import Request
from xdistil.teacher.voted_texts import VotedTexts


@dataclass(frozen=True)
class BaselineRun:
    """A label-only baseline: the same stage at each of its learning rates."""

    config: Baseline
    lrs: tuple[float, ...]
    stages: tuple[StageRun, ...]  # one for each learning rate


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
        return metrics.MAIN_SCORE[self.corpus.task.name]

    @property
    def teacher_decoding(self) -> str:
        """How a teacher's tags are decoded: as it learns them here, or as its folder says."""
        if isinstance(self.teacher, ModelTeacher) and not self.finetuning:
            return self.teacher.decoding
        return choose_decoding(self.corpus.task)

    @property
    def student_decoding(self) -> str:
        """How the student's tags are decoded; as the teacher's, where it learns neither gold labels
        nor the tags of sentences."""
        if any(stage.learns_labels or stage.step.losses.legal for stage in self.stages):
            return choose_decoding(self.corpus.task)
        return self.teacher_decoding

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
    _check_worst(experiment, corpus)
    packer = Packer(experiment, corpus, cache, writes, sources.voted)
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
    width, states = _projected_widths(experiment.student, teacher)
    stages = train_projection(stages, width + states)
    trained = has_trained_head(experiment.student)
    stages = _weigh_languages(corpus, teacher, stages, trained)
    stages = choose_sampling(stages, trained)
    run = Run(
        experiment=experiment,
        corpus=corpus,
        teacher=teacher,
        finetuning=plan_finetuning(teacher, teacher_texts, corpus.task),
        teacher_texts=teacher_texts,
        student=student,
        texts=student_texts,
        stages=stages,
        baselines=_plan_baselines(experiment, corpus, student.model, student_texts, stages, width),
        voted=sources.voted,
    )
    for request in run.requests:
        teacher.check(request)
    if isinstance(teacher, NoTeacher):
        open_before(experiment.student.checkpoint, corpus.task)
    return run


def _projected_widths(student: Student, teacher: Teacher) -> tuple[int, int]:
    """The widths of the teacher's word embeddings and of its states of isolated subwords; 0 where
    no stage trains how they are projected."""
    if not student.train_embedding_projection:
        return 0, 0
    assert isinstance(teacher, ModelTeacher)  # `open_sources` asks
    shape, layers = teacher.model.config, middle_and_last(teacher.model.depth)
    return shape.embedding_size, student.project_states * len(layers) * shape.hidden_size


def has_trained_head(student: Student) -> bool:
    """Whether a student begins with the head of a checkpoint, or of the fine-tuned teacher."""
    kept = bool(student.keep_layers) and student.start == "finetuned"
    return kept or student.kind == "checkpoint"


def _weigh_languages(
    corpus: Corpus, teacher: Teacher, stages: tuple[StageRun, ...], starts_trained: bool
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
    return choose_weighing(stages, starts_trained, corpus.dev)


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


def _check_worst(experiment: Experiment, corpus: Corpus) -> None:
    """Raises InputError where a stage monitors the worst languages of a dev set of few."""
    plans = (("plan", experiment.plan), ("teacher.plan", experiment.teacher.plan))
    places = [
        f"{path}[{index}].keep"
        for path, plan in plans
        for index, stage in enumerate(plan)
        if stage.keep == "worst"
    ]
    if not places:
        return
    labelled = [each for each in corpus.dev if each.labels is not None]
    perfect = metrics.score(corpus.task, labelled, [each.labels or () for each in labelled])
    count = sum(
        each[metrics.LANGUAGE_SCORE[corpus.task.name]] is not None
        for each in perfect["per_language"].values()
    )
    if count < LEAST:
        raise InputError(
            f"{places[0]} is worst, but dev has {count} languages with a score and {LEAST} are "
            f"needed: set {places[0]}=best."
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
    """A stage for each baseline, with the loss of the plan's last stage on labels."""
    stages = [stage for stage in experiment.plan if "labels" in stage.loss]
    last = stages[-1] if stages else Stage()
    return tuple(
        Stage(
            name="labels",
            loss="labels",
            data="train",
            patience=baseline.patience,
            label_fraction=baseline.label_fraction,
            labels_loss=last.labels_loss,
            class_weights=last.class_weights,
        )
        for baseline in experiment.baselines
    )


def _plan_baselines(
    experiment: Experiment,
    corpus: Corpus,
    model: Model,
    texts: Mapping[str, PackedTexts],
    stages: Sequence[StageRun],
    projected_width: int,
) -> tuple[BaselineRun, ...]:
    """Baselines may take as many steps as the whole plan, unless they say how many epochs.

    Args:
        projected_width: as in `train_projection`.
    """
    if not corpus.gold or not corpus.train:
        return ()
    size, train_embeddings = experiment.batch_size, experiment.student.train_embeddings
    least = sum(stage.count_steps(size).total for stage in stages)

    def plan(index: int, stage: Stage) -> StageRun:
        field, nobody = f"baselines[{index}]", NoTeacher()
        runs = plan_stages((stage,), field, model, nobody, texts, train_embeddings, corpus.task)
        return train_projection(runs, projected_width)[0]

    runs = []
    pairs = zip(experiment.baselines, _list_baseline_stages(experiment), strict=True)
    for index, (baseline, stage) in enumerate(pairs):
        epochs = baseline.epochs or least / plan(index, stage).count_steps(size).epoch
        lrs = tuple(map(float, split_names(baseline.lrs)))
        rates = [replace(stage, lr=lr, epochs=epochs) for lr in lrs]
        runs.append(BaselineRun(baseline, lrs, tuple(plan(index, each) for each in rates)))
    return tuple(runs)
