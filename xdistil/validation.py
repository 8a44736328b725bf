"""The check of an experiment's values, before data or models are opened.

Values are checked by group: data, teacher, student, the run itself, then the stages of both plans
and the baselines. What needs data or models to be checked is checked where they are opened.
"""

import dataclasses
import math
import re
from typing import Any

from xdistil.config import (
    BALANCED,
    CHOICES,
    LICENSE,
    LOSSES,
    MADE,
    SILVER,
    STORED,
    Baseline,
    Data,
    Experiment,
    Stage,
    Student,
    Teacher,
    find_stored,
    kind_of_roles,
    parse_columns,
    read_class_weights,
    split_names,
)
from xdistil.errors import InputError


def validate(experiment: Experiment) -> None:
    """Checks every value that can be checked without data or models.

    Raises:
        InputError: a value of the wrong type, out of its range, not among its choices, or two
            values that contradict each other; the sentence names the field.
    """
    _check_types(experiment, "")
    data, teacher, student = experiment.data, experiment.teacher, experiment.student
    _check_source(data, teacher)
    _check_data(data)
    _check_teacher(teacher)
    _check_student(student, teacher)
    _check_run(experiment)
    _check_plans(experiment)
    _check_made(experiment)
    _check_silver(experiment)
    for i, baseline in enumerate(experiment.baselines):
        _check_baseline(f"baselines[{i}]", baseline)


def _check_source(data: Data, teacher: Teacher) -> None:
    if data.folder and data.generate:
        raise InputError("data.folder and data.generate are both set: keep one of them.")
    if data.folder or data.generate:
        return
    if teacher.labels:  # which bring texts and labels
        return
    if not data.transfer:
        raise InputError("data.folder is empty: set --config.data.folder=FOLDER.")
    if not teacher.model or teacher.finetune:
        raise InputError(
            "data.transfer alone has no labels: set data.folder as well, or set teacher.model to a "
            "fine-tuned model and teacher.finetune=False."
        )


def _check_data(data: Data) -> None:
    _check_choices("data", data)
    if data.row_length < 8:
        raise InputError(f"data.row_length is {data.row_length}: it must be 8 subwords or more.")
    if data.max_length and not 4 <= data.max_length <= data.row_length:
        raise InputError(
            f"data.max_length is {data.max_length}: it must lie between 4 and data.row_length, "
            f"which is {data.row_length}."
        )
    if data.temperature < 1:
        raise InputError(
            f"data.temperature is {data.temperature}: it must be 1 (languages in "
            "proportion to their sentences) or more (small languages more often)."
        )
    if not 0 <= data.dev_fraction < 1:
        raise InputError(f"data.dev_fraction is {data.dev_fraction}: it must lie in [0, 1).")
    columns = kind_of_roles(parse_columns(data.columns))
    if data.separator and data.task not in ("auto", "multilabel"):
        raise InputError(
            f"data.separator is {data.separator}, but data.task is {data.task}, whose texts have "
            "one label each: set data.task=multilabel."
        )
    several = columns in ("single", "pair") and data.task == "multilabel"
    if columns and data.task not in ("auto", columns) and not several:
        raise InputError(
            f"data.task is {data.task}, but data.columns names the columns of {columns}: set "
            "data.task=auto."
        )


def _check_teacher(teacher: Teacher) -> None:
    _check_choices("teacher", teacher)
    for name in ("hidden_size", "layers", "heads", "vocabulary_size"):
        _at_least(f"teacher.{name}", getattr(teacher, name), 1)
    if not teacher.model and teacher.hidden_size % teacher.heads:
        raise InputError(
            f"teacher.hidden_size is {teacher.hidden_size}: it must be a multiple of "
            f"teacher.heads, which is {teacher.heads}."
        )
    rotated = teacher.hidden_size // teacher.heads
    if not teacher.model and teacher.family == "modernbert" and rotated % 2:
        raise InputError(
            f"teacher.hidden_size / teacher.heads is {rotated}: with teacher.family=modernbert it "
            "must be even, because rotary positions turn pairs of numbers."
        )
    if teacher.vocabulary == "seen" and not teacher.model:
        raise InputError(
            "teacher.vocabulary=seen needs a teacher.model, which is empty: set "
            "teacher.vocabulary=all. The vocabulary of a teacher from scratch is limited by "
            "teacher.vocabulary_size."
        )


def _check_student(student: Student, teacher: Teacher) -> None:
    _check_choices("student", student)
    for name in ("hidden_size", "layers", "heads", "min_count"):
        _at_least(f"student.{name}", getattr(student, name), 1)
    if not 0 <= student.embedding_scale < math.inf:
        raise InputError(
            f"student.embedding_scale is {student.embedding_scale}: it must be positive, or 0."
        )
    if not 0 <= student.dropout < 1:
        raise InputError(f"student.dropout is {student.dropout}: it must lie in [0, 1).")
    from_scratch = student.kind == "transformer" and not (student.checkpoint or student.keep_layers)
    if from_scratch and student.hidden_size % student.heads:
        raise InputError(
            f"student.hidden_size is {student.hidden_size}: it must be a multiple of "
            f"student.heads, which is {student.heads}."
        )
    _check_start(student, teacher)
    _check_checkpoint(student)
    _check_tokenizers(teacher, student)
    if not student.checkpoint and student.kind == "bilstm" and not student.embedding_size:
        raise InputError("student.embedding_size is 0: a BiLSTM needs a width, such as 50.")
    if student.vocabulary == "all" and (student.min_count > 1 or student.vocabulary_size):
        named = "min_count" if student.min_count > 1 else "vocabulary_size"
        raise InputError(
            f"student.{named} is {getattr(student, named)}, but student.vocabulary=all keeps every "
            "subword: set student.vocabulary=seen."
        )


def _check_start(student: Student, teacher: Teacher) -> None:
    if student.keep_layers:
        for name, free in (("checkpoint", ""), ("embeddings", ""), ("embedding_size", 0)):
            if (value := getattr(student, name)) != free:
                raise InputError(
                    f"student.{name} is {value!r}, but student.keep_layers takes the layers and "
                    f"embeddings of the teacher: set student.{name}={free!r}."
                )
        if student.kind != "transformer":
            raise InputError(
                "student.keep_layers makes a transformer: set student.kind=transformer."
            )
    if student.start == "pretrained" and not teacher.model:
        raise InputError(
            "student.start is 'pretrained', but the teacher is trained from scratch: set "
            "teacher.model, or student.start=finetuned."
        )
    if bool(student.vectors) != (student.embeddings == "vectors"):
        raise InputError(
            "student.embeddings=vectors needs a file in student.vectors."
            if not student.vectors
            else f"student.vectors={student.vectors} is not used: set student.embeddings=vectors."
        )


def _check_checkpoint(student: Student) -> None:
    """A BiLSTM has none; a model whose fine-tuning is continued keeps tokenizer and embeddings."""
    if student.kind == "bilstm" and student.checkpoint:
        raise InputError(
            "student.checkpoint is set, but student.kind=bilstm starts from scratch: set "
            "student.kind=transformer to start from an encoder, or student.kind=checkpoint to "
            "continue fine-tuning a model."
        )
    if student.embeddings == "checkpoint" and not student.checkpoint:
        raise InputError("student.embeddings=checkpoint needs a student.checkpoint.")
    if student.kind != "checkpoint":
        return
    if not student.checkpoint:
        raise InputError(
            "student.kind=checkpoint continues fine-tuning a model: set student.checkpoint=FOLDER."
        )
    for name in ("tokenizer", "embeddings"):
        if (value := getattr(student, name)) not in ("", "checkpoint"):
            raise InputError(
                f"student.{name} is {value!r}, but student.kind=checkpoint keeps the {name} of "
                f"{student.checkpoint}: leave student.{name} empty."
            )


def _check_tokenizers(teacher: Teacher, student: Student) -> None:
    """The student has exactly one tokenizer, and stored signals stand alone."""
    if student.tokenizer_pieces and (student.tokenizer or student.checkpoint):
        other = "tokenizer" if student.tokenizer else "checkpoint"
        raise InputError(
            f"student.tokenizer_pieces and student.{other} are both set: each gives the student "
            "a tokenizer, so keep one of them."
        )
    stored = find_stored(teacher)
    if student.keep_layers and (student.tokenizer or student.tokenizer_pieces or stored):
        raise InputError(
            "student.keep_layers takes the layers and the tokenizer of the teacher: leave "
            f"student.tokenizer, student.tokenizer_pieces and teacher.{stored or STORED[0]} empty."
        )
    if not stored:
        return
    for name in ("model", "tokenizer", *STORED):
        if name != stored and getattr(teacher, name):
            raise InputError(
                f"teacher.{stored} and teacher.{name} are both set: stored {stored} "
                f"need no {name}, so leave one of them empty."
            )
    if not (student.tokenizer or student.tokenizer_pieces or student.checkpoint):
        raise InputError(
            f"teacher.{stored} has no tokenizer: set student.tokenizer=FOLDER, or "
            "student.tokenizer_pieces=8000 to train one on the transfer texts."
        )
    needs = {"svd": "embeddings", "pca": "embeddings", "contextual": "model"}
    if student.embeddings in needs:
        raise InputError(
            f"student.embeddings={student.embeddings} needs the {needs[student.embeddings]} of a "
            f"teacher, which teacher.{stored} does not have: set student.embeddings=random."
        )


def _check_run(experiment: Experiment) -> None:
    for name in ("batch_size", "log_every"):
        _at_least(name, getattr(experiment, name), 1)
    _at_least("mesh.teacher_shards", experiment.mesh.teacher_shards, 1)
    for name in ("dtype", "export"):
        _choice(name, getattr(experiment, name), name)
    if experiment.distributed not in ("", "auto") and not re.fullmatch(
        r"[^,\s]+:\d+,\d+,[1-9]\d*", experiment.distributed
    ):
        raise InputError(
            f"distributed is {experiment.distributed!r}: it must be empty, auto, or "
            "HOST:PORT,INDEX,COUNT such as 10.0.0.1:1234,0,2."
        )
    if experiment.license and not re.fullmatch(LICENSE, experiment.license):
        raise InputError(
            f"license is {experiment.license!r}: it must be a name in lower case, as on the "
            "hub, such as apache-2.0."
        )


def _check_plans(experiment: Experiment) -> None:
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
    _check_choices("stage", stage, path)
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


def _check_made(experiment: Experiment) -> None:
    """Texts are made of tagged sentences, and only a model answers them."""
    data, teacher, student = experiment.data, experiment.teacher, experiment.student
    stored = find_stored(teacher)
    for name in MADE:
        said = f"data.{name} is {getattr(data, name)}"
        if not getattr(data, name):
            continue
        if data.task not in ("auto", "tagging"):
            raise InputError(
                f"{said}, but data.task is {data.task}, and texts are made of tagged sentences "
                f"alone: set data.{name}=0."
            )
        if stored:
            raise InputError(
                f"{said}, but teacher.{stored} does not answer texts that are made: set "
                f"data.{name}=0, or name a teacher.model."
            )
        if student.kind == "checkpoint" and not teacher.model:
            raise InputError(
                f"{said}, but there is no teacher to answer them: set data.{name}=0, or name a "
                "teacher.model."
            )


def _check_silver(experiment: Experiment) -> None:
    """Stages on silver labels need annotators, and annotators beside a model need such a stage."""
    teacher = experiment.teacher
    plans = [("plan", experiment.plan)]
    if teacher.finetune and not find_stored(teacher):
        plans.append(("teacher.plan", teacher.plan))
    silver = [
        f"{path}[{i}]"
        for path, plan in plans
        for i, stage in enumerate(plan)
        if stage.data == SILVER
    ]
    if silver and not teacher.labels:
        raise InputError(
            f"{silver[0]}.data is silver, which are the texts of teacher.labels: name files of "
            "annotators' answers there."
        )
    if teacher.labels and teacher.model and not silver:
        first = "teacher.plan[0].data" if teacher.finetune else "plan[0].data"
        raise InputError(
            "teacher.model and teacher.labels are both set, and no stage learns the labels of "
            f"annotators: set {first}=silver, or leave one of them empty."
        )
    if teacher.min_agreement and not teacher.labels:
        raise InputError(
            "teacher.min_agreement is set, and there are no annotators: set teacher.labels."
        )
    if teacher.calibrate and not teacher.labels:
        raise InputError(
            "teacher.calibrate is set, and there are no annotators: set teacher.labels."
        )
    if teacher.calibrate and teacher.votes == "majority":
        raise InputError(
            "teacher.calibrate fits probabilities, and teacher.votes=majority has labels alone: "
            "set teacher.votes to share, learned or auto, or set teacher.calibrate=False."
        )
    if teacher.min_agreement > 1:
        raise InputError(
            f"teacher.min_agreement is {teacher.min_agreement}: it must lie from 0 to 1."
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


def _check_types(part: Any, path: str) -> None:
    for item in dataclasses.fields(part):
        value, name = getattr(part, item.name), path + item.name
        kind: Any = item.type
        if dataclasses.is_dataclass(value):
            _check_types(value, name + ".")
        elif isinstance(value, tuple | list):
            for i, element in enumerate(value):
                _check_types(element, f"{name}[{i}].")
        elif isinstance(value, bool) or item.type is bool:
            if not (isinstance(value, bool) and item.type is bool):
                raise InputError(f"{name} is {value!r}: it must be {_type_name(item.type)}.")
        elif item.type is float and isinstance(value, int | float):
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} is {value}: it must be a finite number, 0 or more.")
        elif not isinstance(value, kind):
            raise InputError(f"{name} is {value!r}: it must be {_type_name(item.type)}.")
        elif item.type is int and value < 0:
            raise InputError(f"{name} is {value}: it must be 0 or more.")


def _type_name(kind: Any) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    return names[kind]


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"{name} is {value}: it must be {least} or more.")


def _check_choices(group: str, part: Any, path: str = "") -> None:
    """Every field of a group that has choices; errors name it at `path`, or else in its group."""
    for key in CHOICES:
        owner, _, name = key.rpartition(".")
        if owner == group:
            _choice(f"{path or group}.{name}", getattr(part, name), key)


def _choice(name: str, value: str, key: str) -> None:
    if value not in CHOICES[key]:
        choices = ", ".join(choice or "empty" for choice in CHOICES[key])
        raise InputError(f"{name} is {value!r}: it must be one of {choices}.")
