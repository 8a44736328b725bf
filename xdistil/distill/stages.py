"""Stages of a plan, resolved for one student and one teacher and joined with their texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xdistil.config import Stage
from xdistil.data import batches
from xdistil.data.decoding import VITERBI, find_legal
from xdistil.data.examples import Task
from xdistil.data.packing import PackedTexts
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.word_alignment import choose_decoding
from xdistil.distill.class_weights import weigh_classes
from xdistil.distill.losses import LOSSES, LossConfig, read_spec
from xdistil.distill.masking import choose_masking
from xdistil.distill.sentence_loss import Legal
from xdistil.distill.step import StepConfig
from xdistil.distill.unfreezing import EMBEDDINGS, HEAD, PROJECTION, expand_plan, list_groups
from xdistil.errors import InputError
from xdistil.models.types import Model, trace_shapes
from xdistil.teacher.interface import Teacher
from xdistil.teacher.signals import Request, SignalSpec

LEAST_STEPS_BETWEEN_EVALUATIONS = 50  # where an epoch is shorter than that
_SCHEDULED = 4096  # learning rates are computed for a multiple of so many steps


class Steps(NamedTuple):
    """How many batches a stage run takes."""

    rows: int  # in a batch
    epoch: int  # batches in an epoch
    total: int  # batches in all, at most


@dataclass(frozen=True)
class StageRun:
    """One optimisation: a stage's losses with one fixed set of trainable groups."""

    config: Stage  # as the user wrote it
    place: str  # of that in the config, such as `plan[0]`
    name: str  # `logits/bilstm`: the stage and the last unfrozen group
    trainable: tuple[str, ...]  # groups, from the head downwards
    epochs: float  # at most
    step: StepConfig
    projections: tuple[tuple[int, int], ...]  # (student width, teacher width) of compared hidden
    # states; one for all of them where their projection is shared
    texts: str  # the name of the training texts
    train: PackedTexts
    dev: PackedTexts
    weighs_languages: bool = False  # by the gaps of the student before its first step
    samples_doubtful: bool = False  # texts, by the student's doubts before its first step

    @property
    def spec(self) -> SignalSpec:
        """What its losses read of the teacher."""
        return read_spec(self.step.losses)

    @property
    def learns_labels(self) -> bool:
        """Whether labels are among the losses; then the main score is monitored."""
        return any(name == "labels" for name, _ in self.step.losses.weights)

    @property
    def monitors_worst(self) -> bool:
        """Whether the score of the worst languages is monitored."""
        return self.config.keep == "worst"

    @property
    def monitors_score(self) -> bool:
        """Whether a score is monitored, and not the stage's loss on dev."""
        return self.learns_labels or self.monitors_worst

    @property
    def trains_head(self) -> bool:
        """Whether the losses reach the head, so that scores mean something afterwards."""
        return any(LOSSES[name].trains_head for name, _ in self.step.losses.weights)

    @property
    def caches_features(self) -> bool:
        """Whether what its frozen encoder makes of the texts is computed once for all epochs."""
        if self.step.masking is not None:  # other words are hidden in every epoch
            return False
        return self.step.encoder_frozen and self.epochs > 1

    def count_steps(self, batch_size: int) -> Steps:
        """The steps on its packed texts.

        Args:
            batch_size: sentences a step where the stage does not say its own.
        """
        size, rows = self.config.batch_size or batch_size, self.train.rows
        batch_rows = batches.rows_per_batch(self.train.subwords, rows.subword.shape[1], size)
        epoch = batches.steps_per_epoch(rows, batch_rows)
        return Steps(batch_rows, epoch, batches.count_steps(rows, batch_rows, self.epochs))

    def schedule_rates(self, steps: int) -> np.ndarray:
        """f32[steps] learning rates: a linear warm-up from 0, then the schedule to lr_end."""
        stage = self.config
        warmup = round(stage.warmup * steps)
        rest = max(steps - warmup, 1)
        after = {
            "constant": optax.constant_schedule(stage.lr),
            "linear": optax.linear_schedule(stage.lr, stage.lr_end, rest),
            "cosine": optax.cosine_decay_schedule(stage.lr, rest, alpha=stage.lr_end / stage.lr),
        }[stage.schedule]
        rise = optax.linear_schedule(0.0, stage.lr, max(warmup, 1))
        schedule = optax.join_schedules([rise, after], [warmup])
        # Each operation is compiled for the number of steps: few numbers are few programs.
        counted = -(-steps // _SCHEDULED) * _SCHEDULED
        return np.asarray(jax.vmap(schedule)(jnp.arange(counted))[:steps], np.float32)


def steps_between_evaluations(eval_every: int, epoch: int) -> int:
    """As the config says, or once an epoch; an epoch may be too short for that."""
    return eval_every or max(epoch, LEAST_STEPS_BETWEEN_EVALUATIONS)


def plan_stages(
    plan: Sequence[Stage],
    field: str,
    model: Model,
    teacher: Teacher,
    texts: Mapping[str, PackedTexts],
    train_embeddings: bool = True,
    task: Task | None = None,
    tokenizer: Tokenizer | None = None,
) -> tuple[StageRun, ...]:
    """The stage runs of a plan, in order.

    Args:
        field: the plan's place in the config, for errors.
        model: the one that is trained.
        texts: by name: `dev`, and what `texts_name` calls those of every stage.
        task: for stages that learn logits or labels; None: a text or word has one class, and no
            stage weighs them.
        tokenizer: the model's, for stages that hide words; None: no stage does.

    Raises:
        InputError: a stage asks for what student or teacher do not have: layers that do not exist,
            attention maps of another number of heads, a teacher where there is none, a subword
            that stands for a hidden one; or it weighs a class that the task does not have.
    """
    shapes = trace_shapes(model)
    has_words = task is None or task.kind == "tagging"
    runs = []
    for part in expand_plan(tuple(plan), list_groups(shapes), train_embeddings):
        stage, place = plan[part.stage], f"{field}[{part.stage}]"
        losses, train = resolve_losses(stage, place, model, teacher), texts[texts_name(stage)]
        if task is not None:
            weights = weigh_classes(
                stage.class_weights,
                f"{place}.class_weights",
                task,
                train.subwords,
                train.soft_labels,
            )
            legal = _list_legal(stage, place, task)
            losses = replace(losses, class_weights=weights, multilabel=task.multilabel, legal=legal)
        projections = _list_projections(losses, place, teacher)
        trainable = part.trainable
        if any(width != target for width, target in projections):
            # The loss reads the student through projections that start at random.
            trainable = (PROJECTION, *trainable)
        frozen = {HEAD, PROJECTION}.issuperset(part.trainable)
        step = StepConfig(
            losses=losses,
            clip=float(stage.clip),
            weight_decay=float(stage.weight_decay),
            encoder_frozen=frozen and all(LOSSES[name].trains_head for name, _ in losses.weights),
            masking=choose_masking(stage, place, tokenizer, has_words),
        )
        runs.append(
            StageRun(
                config=stage,
                place=place,
                name=part.name,
                trainable=trainable,
                epochs=part.epochs,
                step=step,
                projections=projections,
                texts=texts_name(stage),
                train=train,
                dev=texts["dev"],
            )
        )
    return tuple(runs)


def _list_legal(stage: Stage, place: str, task: Task) -> Legal:
    """The tags that may follow one another, where those of sentences are learned."""
    for field, other in (("logits_loss", "mse"), ("labels_loss", "ce")):
        if getattr(stage, field) != "crf":
            continue
        if choose_decoding(task) != VITERBI:
            raise InputError(
                f"{place}.{field} is crf, which learns the IOB2 tags of sentences, and the task is "
                f"{task.name} with the labels {', '.join(task.labels[:3])}: set "
                f"{place}.{field}={other}."
            )
        return find_legal(task.labels)
    return ()


def list_trained(stages: Sequence[StageRun], starts_trained: bool) -> list[bool]:
    """For each stage run: whether a head was trained before it, so that predictions mean something.

    Args:
        starts_trained: whether the student begins with a head that was trained.
    """
    trained = [starts_trained]
    for stage in stages:
        trained.append(trained[-1] or stage.trains_head)
    return trained[:-1]


def resolve_losses(stage: Stage, place: str, model: Model, teacher: Teacher) -> LossConfig:
    """The losses of a stage with layer maps, heads and kinds. Raises as `plan_stages`."""
    names = stage.loss.split("+")
    if names != ["labels"]:
        teacher.shape(f"{place}.loss is {stage.loss!r}")
    losses = LossConfig(
        model=model,
        weights=tuple((name, float(getattr(stage, f"{name}_weight"))) for name in names),
        shared_projection=stage.projections == "shared",
        hidden_loss=stage.hidden_loss,
        attention_loss=stage.attention_loss,
        logits_loss=stage.logits_loss,
        labels_loss=stage.labels_loss,
        temperature=float(stage.temperature),
    )
    for name in LOSSES:
        if name in names:
            losses = LOSSES[name].resolve(losses, stage, place, teacher)
    return losses


def _list_projections(
    losses: LossConfig, place: str, teacher: Teacher
) -> tuple[tuple[int, int], ...]:
    """(student width, teacher width) of every pair of hidden states that is compared."""
    if not losses.hidden_map or losses.model.projection_size is not None:
        return ()
    pair = (losses.model.config.hidden_size, teacher.shape(place).hidden_size)
    return (pair,) if losses.shared_projection else (pair,) * len(losses.hidden_map)


def texts_name(stage: Stage) -> str:
    """What a stage's texts are called: transfer, all, silver, train, or a share of train."""
    if stage.data != "train" or stage.label_fraction == 1:
        return stage.data
    return f"{100 * stage.label_fraction:g}% of train"


def request_signals(
    stages: Sequence[StageRun],
    teacher_texts: Mapping[str, PackedTexts],
    batch_size: int,
    eval_every: int,
) -> list[Request]:
    """What stages read of the teacher, on their texts and on dev.

    Args:
        teacher_texts: by name, in the teacher's subwords; empty where these are the student's.
        batch_size, eval_every: of the experiment.
    """
    requests = []
    for stage in stages:
        if stage.spec == SignalSpec():
            continue
        steps = stage.count_steps(batch_size)
        every = steps_between_evaluations(eval_every, steps.epoch)
        evaluations = 1 + ceil(steps.total / every)
        for name, readings, texts in (
            (stage.texts, stage.epochs, stage.train),
            ("dev", float(evaluations), stage.dev),
        ):
            read = teacher_texts.get(name, texts)
            requests.append(Request(stage.place, name, stage.spec, readings, texts, read))
    return requests


def train_projection(stages: Sequence[StageRun], width: int) -> tuple[StageRun, ...]:
    """The stage runs, where those that train word embeddings train their projection too.

    Args:
        width: of the teacher's word embeddings; 0: no projection is trained.
    """
    return tuple(
        replace(stage, step=replace(stage.step, projected_width=width))
        if EMBEDDINGS in stage.trainable
        else stage
        for stage in stages
    )


def with_model(stage: StageRun, model: Model, train: PackedTexts, dev: PackedTexts) -> StageRun:
    """The same stage for another model, on other texts."""
    step = replace(stage.step, losses=replace(stage.step.losses, model=model))
    return replace(stage, step=step, train=train, dev=dev)
