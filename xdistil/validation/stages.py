"""Checks of the stages of both plans, and of the baselines."""

import math
from collections.abc import Sequence

from xdistil.config import (
    BALANCED,
    LOSSES,
    SILVER,
    Baseline,
    Experiment,
    Stage,
    read_class_weights,
    split_names,
)
from xdistil.errors import InputError
from xdistil.validation.values import check_choices


def check_plans(experiment: Experiment) -> None:
    """Every stage of the student and of the teacher is possible, or raises InputError."""
    teacher = experiment.teacher
    if not experiment.plan:
        raise InputError("plan has no stage: add one, or use a config such as configs/ner.py.")
    if teacher.finetune and not teacher.plan:
        raise InputError("teacher.plan has no stage: add one, or set teacher.finetune=False.")
    for path, plan in (("plan", experiment.plan), ("teacher.plan", teacher.plan)):
        names = [stage.name for stage in plan]
        for i, stage in enumerate(plan):
            _check_stage(f"{path}[{i}]", stage)
            if (first := names.index(stage.name)) < i:
                raise InputError(
                    f"{path}[{i}].name is {stage.name!r}, like {path}[{first}].name: each stage of "
                    "a plan needs its own name."
                )
    for i, stage in enumerate(teacher.plan):
        if stage.loss != "labels":
            raise InputError(
                f"teacher.plan[{i}] has loss={stage.loss} and data={stage.data}: the teacher is "
                "fine-tuned with loss=labels, and data=train or data=silver."
            )
        if stage.gap_weight:
            raise InputError(
                f"teacher.plan[{i}].gap_weight is {stage.gap_weight:g}, but it is the student that "
                "has a gap to its teacher: set it to 0."
            )
        if stage.sampling != "even":
            raise InputError(
                f"teacher.plan[{i}].sampling is {stage.sampling}, but texts are drawn by the "
                "student's doubts alone: set it to even."
            )
        if stage.mask:
            raise InputError(
                f"teacher.plan[{i}].mask is {stage.mask}, but words are hidden from the student "
                "alone: set it to 0."
            )


def _check_stage(path: str, stage: Stage) -> None:
    losses = stage.loss.split("+")
    for loss in losses:
        if loss not in LOSSES:
            raise InputError(
                f"{path}.loss is {stage.loss!r}: it must be one of {', '.join(LOSSES)}, or several "
                "joined by +."
            )
    if len(set(losses)) < len(losses):
        raise InputError(f"{path}.loss is {stage.loss!r}: it names a loss twice.")
    check_choices("stage", stage, path)
    if "labels" in losses and stage.data not in ("train", SILVER):
        raise InputError(
            f"{path}.loss has labels, but {path}.data={stage.data} has none: set {path}.data=train."
        )
    if stage.data == SILVER and stage.label_fraction != 1:
        raise InputError(
            f"{path}.label_fraction is {stage.label_fraction}, but {path}.data=silver has no gold "
            "labels to take a share of: set it to 1."
        )
    for name in ("epochs", "lr", "temperature"):
        if getattr(stage, name) <= 0:
            raise InputError(f"{path}.{name} is {getattr(stage, name)}: it must be above 0.")
    if stage.class_weights and "labels" not in losses:
        raise InputError(
            f"{path}.class_weights is set, but {path}.loss is {stage.loss!r}: only the labels loss "
            "has classes to weigh."
        )
    if stage.class_weights != BALANCED:
        read_class_weights(stage.class_weights, f"{path}.class_weights")
    _check_sentences(stage, losses, path)
    if not 0 <= stage.warmup < 1:
        raise InputError(f"{path}.warmup is {stage.warmup}: it must lie in [0, 1).")
    if not 0 < stage.label_fraction <= 1:
        raise InputError(f"{path}.label_fraction is {stage.label_fraction}: it must lie in (0, 1].")
    if not 0 <= stage.mask < 1:
        raise InputError(f"{path}.mask is {stage.mask}: it must lie in [0, 1).")
    predicts = bool({"logits", "labels"}.intersection(losses))
    if stage.sampling == "doubtful" and not predicts:
        raise InputError(
            f"{path}.sampling is doubtful, but {path}.loss is {stage.loss!r}, which has no "
            f"probabilities to compare: set {path}.sampling=even."
        )
    if stage.keep == "worst" and not predicts:
        raise InputError(
            f"{path}.keep is worst, but {path}.loss is {stage.loss!r}, which does not train the "
            f"head, so scores say nothing of it: set {path}.keep=best."
        )
    for loss in losses:
        if getattr(stage, f"{loss}_weight") <= 0:
            raise InputError(
                f"{path}.{loss}_weight must be above 0: remove {loss} from {path}.loss instead."
            )
    if stage.patience and stage.keep == "last":
        raise InputError(
            f"{path}.patience is {stage.patience}, but {path}.keep=last does not keep the best "
            "parameters: set keep=best, or patience=0."
        )
    if not stage.name or any(not (c.isalnum() or c in "-_.") for c in stage.name):
        raise InputError(
            f"{path}.name is {stage.name!r}: it must consist of letters, digits, '-', '_' and '.'."
        )


def _check_sentences(stage: Stage, losses: Sequence[str], path: str) -> None:
    """What learns the tags of sentences fits their loss."""
    for loss, other in (("logits", "mse"), ("labels", "ce")):
        if getattr(stage, f"{loss}_loss") == "crf" and loss not in losses:
            raise InputError(
                f"{path}.{loss}_loss is crf, but {path}.loss is {stage.loss!r}: set "
                f"{path}.{loss}_loss={other}."
            )
    if stage.labels_loss != "crf":
        return
    remedy = f"set {path}.labels_loss=ce"
    if stage.class_weights:
        raise InputError(
            f"{path}.labels_loss is crf, which has no weights of single tags, and "
            f"{path}.class_weights is {stage.class_weights!r}: {remedy}, or empty class_weights."
        )
    if stage.data == SILVER:
        raise InputError(
            f"{path}.labels_loss is crf, which needs one tag a word, and {path}.data=silver has "
            f"the probabilities of several: {remedy}."
        )


def check_baselines(baselines: Sequence[Baseline]) -> None:
    """Every baseline is possible and has a name of its own, or raises InputError."""
    names = [baseline.name for baseline in baselines]
    for i, baseline in enumerate(baselines):
        _check_baseline(f"baselines[{i}]", baseline)
        if (first := names.index(baseline.name)) < i:
            raise InputError(
                f"baselines[{i}].name is {baseline.name!r}, as that of baselines[{first}]: name it "
                "otherwise."
            )


def _check_baseline(path: str, baseline: Baseline) -> None:
    if not 0 < baseline.label_fraction <= 1:
        raise InputError(
            f"{path}.label_fraction is {baseline.label_fraction}: it must lie in (0, 1]."
        )
    try:
        lrs = [float(lr) for lr in split_names(baseline.lrs)]
    except ValueError:
        lrs = []
    if not lrs or not all(math.isfinite(lr) and lr > 0 for lr in lrs):
        raise InputError(
            f"{path}.lrs is {baseline.lrs!r}: it must be numbers above 0, separated by commas."
        )
    if len(set(lrs)) < len(lrs):
        raise InputError(f"{path}.lrs is {baseline.lrs!r}: it has a number twice.")
    if not baseline.name.strip() or baseline.name in ("teacher", "student"):
        raise InputError(
            f"{path}.name is {baseline.name!r}: it must be a name of its own, for tables."
        )
