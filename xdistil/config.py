"""An experiment as typed dataclasses, and the check of its values; nothing is computed here.

A config file's `get_config(arg)` returns an `Experiment`. It stays mutable while command-line
overrides are applied, then `validate` is called once and nobody changes it any more. Text fields
that take several values separate them by commas; an empty text or a zero means "not set".
"""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import Any

from xdistil.errors import InputError


@dataclass
class Data:
    """Where sentences come from and how they are cut."""

    folder: str = ""  # task folder: train.*, dev.*, test.*, labels.tsv, transfer.txt
    transfer: str = ""  # unlabelled files, globs, .gz; de:FILE is in German; empty: the folder's
    row_length: int = 64  # pieces in a packed row
    max_length: int = 0  # pieces in a segment with its specials; 0: as many as a row holds
    languages: str = ""  # only these languages everywhere; empty: all
    train_languages: str = ""  # only these in train and dev (zero-shot transfer); empty: all
    temperature: float = 1.0  # T: an epoch draws language l in proportion to its sentences^(1/T)
    limit: int = 0  # labelled training sentences, the first of each language, evenly; 0: all
    transfer_limit: int = 0  # unlabelled sentences, likewise; 0: all
    scheme: str = "iob2"  # how tags are written: iob2, iob1 or bioes
    repair: bool = False  # make illegal tags legal instead of refusing them
    dev_fraction: float = 0.0  # held out: of train without a dev file, of transfer without labels
    generate: int = 0  # sentences to generate instead of reading a folder (the quickstart)


@dataclass
class Stage:
    """One stage of a plan: which loss, on which texts, for how long, in which groups."""

    name: str = ""  # names metrics and table rows
    loss: str = ""  # representation, attention, relations, logits, labels; joined by + for a sum
    data: str = "transfer"  # transfer: unlabelled texts; train: labelled; all: both, no labels
    unfreeze: str = "all"  # all: everything the loss reaches; gradual: from the head downwards
    unfreeze_every: int = 0  # layers thawed together when gradual; 0: all layers in one group
    epochs: float = 1.0  # at most; when gradual, of each sub-stage
    thaw_epochs: float = 0.0  # when gradual, of the sub-stages before the last; 0: as many
    lr: float = 1e-3  # the schedule's peak
    lr_end: float = 0.0  # the schedule's last value
    schedule: str = "cosine"  # cosine, linear or constant
    warmup: float = 0.0  # share of the steps that rise linearly to lr
    weight_decay: float = 0.0  # decoupled, on matrices only
    clip: float = 1.0  # largest global norm of the gradient; 0: unbounded
    patience: int = 0  # evaluations without a better monitor before stopping; 0: never stop
    keep: str = "best"  # best: the stage hands on its best parameters; last: its last ones
    batch_size: int = 0  # sentences a step; 0: the experiment's
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    representation: str = "kl"  # kl, mse or cosine between hidden states
    layers: str = "middle"  # teacher layer, `student:teacher` pairs, last, uniform or middle
    projections: str = "layer"  # from a narrower student's states: one a layer pair, or one shared
    attention: str = "last"  # layer pairs of the attention loss, written as for layers
    attention_loss: str = "mse"  # mse or kl between attention maps
    relations: str = "upper"  # layer pairs likewise; upper: of the last, or the teacher's 21 of 24
    relation_heads: int = 0  # parts that both widths are cut into; 0: the teacher's heads
    logits: str = "mse"  # mse or kl between logits
    temperature: float = 1.0  # of the KL between logits
    representation_weight: float = 1.0  # factors of the losses in a sum
    attention_weight: float = 1.0  # the same of each other loss
    relations_weight: float = 1.0  # likewise
    logits_weight: float = 1.0  # likewise
    labels_weight: float = 1.0  # likewise


@dataclass
class Teacher:
    """The large model: loaded and fine-tuned, or trained from scratch when it has no name."""

    model: str = ""  # HF folder or hub id; empty: random weights of the shape below
    revision: str = "main"  # branch, tag or commit of a hub id
    tokenizer: str = ""  # another folder or hub id for the tokenizer; empty: the model's own
    signals: str = ""  # folder of what a teacher said of the texts (docs/signals.md), for a model
    finetune: bool = True  # train it on the labels first; false: it is used as it is
    vocabulary: str = "all"  # all: its own pieces; seen: those of train and transfer texts
    cache: str = "auto"  # its outputs on disk: auto (where faster), always, never
    cache_type: str = "float16"  # of their numbers: float16, float32, int8 (a scale a vector)
    cache_folder: str = ""  # for them, to be shared by runs; empty: in the workdir
    hidden_size: int = 128  # shape of a teacher from scratch
    layers: int = 4  # likewise
    heads: int = 4  # likewise
    vocabulary_size: int = 4000  # pieces of the tokenizer trained for a teacher from scratch
    plan: tuple[Stage, ...] = field(  # how it is fine-tuned
        default_factory=lambda: (
            Stage(
                name="finetune",
                loss="labels",
                data="train",
                epochs=3.0,
                lr=5e-5,
                schedule="linear",
                warmup=0.1,
                weight_decay=0.01,
                batch_size=32,
                keep="last",
            ),
        )
    )


@dataclass
class Student:
    """The small model."""

    kind: str = "bilstm"  # bilstm, transformer, or checkpoint: a labelled model that goes on
    checkpoint: str = ""  # folder or hub id to start from (an encoder, a student); empty: scratch
    keep_layers: str = ""  # the teacher's that it is made of: last:N, every:N, or a list from 0
    start: str = "finetuned"  # the teacher that lends layers or embeddings: finetuned or pretrained
    embedding_size: int = 0  # width of the word embeddings; 0: transformer's hidden_size
    hidden_size: int = 200  # a BiLSTM's units each way; a transformer's width
    layers: int = 1  # of a transformer
    heads: int = 4  # of a transformer
    intermediate_size: int = 0  # of a transformer; 0: four times hidden_size
    tokenizer: str = ""  # folder or hub id; empty: the checkpoint's, else the teacher's
    tokenizer_pieces: int = 0  # of a tokenizer trained on the transfer texts; 0: none is trained
    vocabulary: str = "all"  # all: the teacher's pieces; seen: those of train and transfer texts
    least_count: int = 1  # seen: pieces that occur less often are not kept
    vocabulary_size: int = 0  # seen: pieces that are kept at most, the most frequent ones; 0: all
    embeddings: str = ""  # svd, pca, vectors, random or checkpoint; empty: checkpoint, else svd
    vectors: str = ""  # fastText, GloVe or MUSE text vectors, .gz too, of width embedding_size
    train_embeddings: bool = True  # false: the word embeddings stay as they start
    dropout: float = 0.2  # behind the embeddings and the BiLSTM; everywhere in a transformer


@dataclass
class Baseline:
    """The same student from the same start on labels alone, its learning rate chosen on dev."""

    name: str = "labels only"  # names the row of the table
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    lrs: str = "5e-4,1e-3,2e-3"  # learning rates, of which dev chooses
    epochs: float = 0.0  # 0: as many steps as the whole plan may take
    patience: int = 5  # evaluations without a better score before stopping; 0: never stop


@dataclass
class Mesh:
    """How parameters lie on the devices."""

    teacher_shards: int = 1  # devices that share one copy of the teacher; 1: each has its own


@dataclass
class Experiment:
    """Everything one run is made of."""

    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    mesh: Mesh = field(default_factory=Mesh)
    plan: tuple[Stage, ...] = ()  # the student's stages, in order
    baselines: tuple[Baseline, ...] = ()  # students without a teacher, to compare with
    batch_size: int = 64  # sentences a step, in stages that do not say their own
    seed: int = 0  # of weights, dropout and the order of texts
    dtype: str = "float32"  # of the arithmetic, float32 or bfloat16; parameters are float32
    eval_every: int = 0  # steps between evaluations on dev; 0: once an epoch
    log_every: int = 50  # steps between lines of metrics
    checkpoint_minutes: float = 10.0  # between checkpoints, at most; 0: at evaluations alone
    distributed: str = ""  # several processes: auto (SLURM, TPU pod ...), or HOST:PORT,INDEX,COUNT
    speed_seconds: float = 10.0  # time spent on measuring the speed of teacher and student; 0: none
    export: str = ""  # the student as an ONNX file: onnx, or int8 for a quantized one beside it
    license: str = ""  # of the models, for their cards, such as mit; empty: as what they come from


CHOICES = {
    "data.scheme": ("iob2", "iob1", "bioes"),
    "stage.data": ("transfer", "train", "all"),
    "stage.unfreeze": ("all", "gradual"),
    "stage.schedule": ("cosine", "linear", "constant"),
    "stage.keep": ("best", "last"),
    "stage.representation": ("kl", "mse", "cosine"),
    "stage.projections": ("layer", "shared"),
    "stage.attention_loss": ("mse", "kl"),
    "stage.logits": ("mse", "kl"),
    "teacher.cache": ("auto", "always", "never"),
    "teacher.cache_type": ("float16", "float32", "int8"),
    "student.kind": ("bilstm", "transformer", "checkpoint"),
    "teacher.vocabulary": ("all", "seen"),
    "student.vocabulary": ("all", "seen"),
    "student.embeddings": ("", "svd", "pca", "vectors", "random", "checkpoint"),
    "student.start": ("finetuned", "pretrained"),
    "dtype": ("float32", "bfloat16"),
    "export": ("", "onnx", "int8"),
}
LICENSE = r"[a-z0-9][a-z0-9.+-]*"  # how hubs write one
LOSSES = ("representation", "attention", "relations", "logits", "labels")


def split_names(text: str) -> tuple[str, ...]:
    """The comma-separated values of a text field: `"en, de"` becomes `("en", "de")`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def validate(experiment: Experiment) -> None:
    """Checks every value that can be checked without data or models.

    Raises:
        InputError: a value of the wrong type, out of its range, not among its choices, or two
            values that contradict each other; the sentence names the field.
    """
    _check_types(experiment, "")
    data, teacher, student = experiment.data, experiment.teacher, experiment.student
    _check_source(data, teacher)
    for name in ("batch_size", "log_every"):
        _at_least(name, getattr(experiment, name), 1)
    for name in ("hidden_size", "layers", "heads"):
        _at_least(f"student.{name}", getattr(student, name), 1)
        _at_least(f"teacher.{name}", getattr(teacher, name), 1)
    _at_least("teacher.vocabulary_size", teacher.vocabulary_size, 1)
    _at_least("mesh.teacher_shards", experiment.mesh.teacher_shards, 1)
    if data.row_length < 8:
        raise InputError(f"data.row_length is {data.row_length}: a row takes at least 8 pieces.")
    if data.max_length and not 4 <= data.max_length <= data.row_length:
        raise InputError(
            f"data.max_length is {data.max_length}: it must lie between 4 and data.row_length, "
            f"which is {data.row_length}."
        )
    if data.temperature < 1:
        raise InputError(
            f"data.temperature is {data.temperature}: it must be 1 (languages as they come) or "
            "more (small ones more often)."
        )
    if not 0 <= data.dev_fraction < 1:
        raise InputError(f"data.dev_fraction is {data.dev_fraction}: it must lie in [0, 1).")
    if not 0 <= student.dropout < 1:
        raise InputError(f"student.dropout is {student.dropout}: it must lie in [0, 1).")
    from_scratch = student.kind == "transformer" and not (student.checkpoint or student.keep_layers)
    if from_scratch and student.hidden_size % student.heads:
        raise InputError(
            f"student.hidden_size {student.hidden_size} does not divide into student.heads "
            f"{student.heads}: choose a multiple."
        )
    if not teacher.model and teacher.hidden_size % teacher.heads:
        raise InputError(
            f"teacher.hidden_size {teacher.hidden_size} does not divide into teacher.heads "
            f"{teacher.heads}: choose a multiple."
        )
    _check_start(student, teacher)
    if student.kind == "bilstm" and student.checkpoint:
        raise InputError(
            "student.checkpoint is set, and student.kind=bilstm makes a student from scratch: set "
            "student.kind=transformer to start from an encoder, student.kind=checkpoint from a "
            "student."
        )
    _check_going_on(student)
    if student.embeddings == "checkpoint" and not student.checkpoint:
        raise InputError("student.embeddings=checkpoint needs a student.checkpoint.")
    _check_meeting(teacher, student)
    if not student.checkpoint and student.kind == "bilstm" and not student.embedding_size:
        raise InputError("student.embedding_size is 0: a BiLSTM needs a width, such as 50.")
    if not experiment.plan:
        raise InputError("plan has no stage: name one, as in --config=configs/ner.py:d4.2.")
    _choice("data.scheme", data.scheme, "data.scheme")
    _choice("teacher.cache", teacher.cache, "teacher.cache")
    _choice("teacher.cache_type", teacher.cache_type, "teacher.cache_type")
    _choice("student.kind", student.kind, "student.kind")
    for name, model in (("teacher", teacher), ("student", student)):
        _choice(f"{name}.vocabulary", model.vocabulary, f"{name}.vocabulary")
    if teacher.vocabulary == "seen" and not teacher.model:
        raise InputError(
            "teacher.vocabulary=seen trims the vocabulary of a teacher.model, which is empty: set "
            "teacher.vocabulary=all; teacher.vocabulary_size limits that of a teacher from scratch."
        )
    _at_least("student.least_count", student.least_count, 1)
    if student.vocabulary == "all" and (student.least_count > 1 or student.vocabulary_size):
        named = "least_count" if student.least_count > 1 else "vocabulary_size"
        raise InputError(
            f"student.{named} is {getattr(student, named)}, but student.vocabulary=all keeps every "
            "piece: set student.vocabulary=seen."
        )
    _choice("student.embeddings", student.embeddings, "student.embeddings")
    _choice("student.start", student.start, "student.start")
    _choice("dtype", experiment.dtype, "dtype")
    _choice("export", experiment.export, "export")
    for path, plan in (("plan", experiment.plan), ("teacher.plan", teacher.plan)):
        names = [stage.name for stage in plan]
        for i, stage in enumerate(plan):
            _check_stage(f"{path}[{i}]", stage)
            if (first := names.index(stage.name)) < i:
                raise InputError(
                    f"{path}[{i}].name is {stage.name!r}, as {path}[{first}].name is: the stages "
                    "of a plan need names of their own."
                )
    if experiment.distributed not in ("", "auto") and not re.fullmatch(
        r"[^,\s]+:\d+,\d+,[1-9]\d*", experiment.distributed
    ):
        raise InputError(
            f"distributed is {experiment.distributed!r}: it is empty, auto, or "
            "HOST:PORT,INDEX,COUNT such as 10.0.0.1:1234,0,2."
        )
    if experiment.license and not re.fullmatch(LICENSE, experiment.license):
        raise InputError(
            f"license is {experiment.license!r}: it must be a name as hubs write them, in small "
            "letters, such as apache-2.0."
        )
    for i, stage in enumerate(teacher.plan):
        if stage.loss != "labels" or stage.data != "train":
            raise InputError(
                f"teacher.plan[{i}] has loss {stage.loss!r} on {stage.data!r}: a teacher learns "
                "labels on train."
            )
    if teacher.finetune and not teacher.plan:
        raise InputError("teacher.plan has no stage: add one, or set teacher.finetune=False.")
    for i, baseline in enumerate(experiment.baselines):
        _check_baseline(f"baselines[{i}]", baseline)


def _check_going_on(student: Student) -> None:
    """What a student that goes on from a folder takes from there."""
    if student.kind != "checkpoint":
        return
    if not student.checkpoint:
        raise InputError(
            "student.kind=checkpoint goes on from a student: set student.checkpoint=FOLDER."
        )
    for name in ("tokenizer", "embeddings"):
        if (value := getattr(student, name)) not in ("", "checkpoint"):
            raise InputError(
                f"student.{name} is {value!r}, but student.kind=checkpoint goes on with those of "
                f"{student.checkpoint}: leave student.{name} empty."
            )


def _check_meeting(teacher: Teacher, student: Student) -> None:
    """Where the teacher's signals come from, and whose pieces the student reads."""
    if student.tokenizer_pieces and (student.tokenizer or student.checkpoint):
        other = "tokenizer" if student.tokenizer else "checkpoint"
        raise InputError(
            f"student.tokenizer_pieces and student.{other} are both set: each brings a tokenizer, "
            "so keep one of them."
        )
    if student.keep_layers and (student.tokenizer or student.tokenizer_pieces or teacher.signals):
        raise InputError(
            "student.keep_layers makes the student of the teacher's layers and pieces: leave "
            "student.tokenizer, student.tokenizer_pieces and teacher.signals empty."
        )
    if not teacher.signals:
        return
    for name in ("model", "tokenizer"):
        if getattr(teacher, name):
            raise InputError(
                f"teacher.signals and teacher.{name} are both set: a file of signals has no "
                f"{name}, so leave one of them empty."
            )
    if not (student.tokenizer or student.tokenizer_pieces or student.checkpoint):
        raise InputError(
            "teacher.signals brings no tokenizer: set student.tokenizer=FOLDER, or "
            "student.tokenizer_pieces=8000 for one trained on the transfer texts."
        )
    if student.embeddings in ("svd", "pca"):
        raise InputError(
            f"student.embeddings={student.embeddings} is of a teacher's embeddings, which "
            "teacher.signals has not: set student.embeddings=random."
        )


def _check_start(student: Student, teacher: Teacher) -> None:
    if student.keep_layers:
        for name, free in (("checkpoint", ""), ("embeddings", ""), ("embedding_size", 0)):
            if (value := getattr(student, name)) != free:
                raise InputError(
                    f"student.{name} is {value!r}, but student.keep_layers makes the student of "
                    f"the teacher's layers and embeddings: set student.{name}={free!r}."
                )
        if student.kind != "transformer":
            raise InputError(
                "student.keep_layers makes a transformer: set student.kind=transformer."
            )
    if student.start == "pretrained" and not teacher.model:
        raise InputError(
            "student.start is 'pretrained', but the teacher begins at random: name one in "
            "teacher.model, or set student.start=finetuned."
        )
    if bool(student.vectors) != (student.embeddings == "vectors"):
        raise InputError(
            "student.embeddings=vectors needs a file in student.vectors."
            if not student.vectors
            else f"student.vectors={student.vectors} is not used: set student.embeddings=vectors."
        )


def _check_source(data: Data, teacher: Teacher) -> None:
    if data.folder and data.generate:
        raise InputError("data.folder and data.generate are both set: keep one of them.")
    if data.folder or data.generate:
        return
    if not data.transfer:
        raise InputError("data.folder names no task folder: set --config.data.folder=FOLDER.")
    if not teacher.model or teacher.finetune:
        raise InputError(
            "data.transfer alone has no labels: set data.folder too, or teacher.model to a "
            "fine-tuned model and teacher.finetune=False."
        )


def _check_stage(path: str, stage: Stage) -> None:
    losses = stage.loss.split("+")
    for loss in losses:
        if loss not in LOSSES:
            raise InputError(
                f"{path}.loss is {stage.loss!r}: it takes {', '.join(LOSSES)}, or several joined "
                "by +."
            )
    if len(set(losses)) < len(losses):
        raise InputError(f"{path}.loss is {stage.loss!r}: each loss may stand in it once.")
    for name in (key.removeprefix("stage.") for key in CHOICES if key.startswith("stage.")):
        _choice(f"{path}.{name}", getattr(stage, name), f"stage.{name}")
    if "labels" in losses and stage.data != "train":
        raise InputError(
            f"{path} learns labels, which data={stage.data} has not: set {path}.data=train."
        )
    for name in ("epochs", "lr", "temperature"):
        if getattr(stage, name) <= 0:
            raise InputError(f"{path}.{name} is {getattr(stage, name)}: it must be above 0.")
    if not 0 <= stage.warmup < 1:
        raise InputError(f"{path}.warmup is {stage.warmup}: a share of the steps, in [0, 1).")
    if not 0 < stage.label_fraction <= 1:
        raise InputError(f"{path}.label_fraction is {stage.label_fraction}: it must lie in (0, 1].")
    for loss in losses:
        if getattr(stage, f"{loss}_weight") <= 0:
            raise InputError(f"{path}.{loss}_weight must be above 0: drop {loss} from {path}.loss.")
    if stage.patience and stage.keep == "last":
        raise InputError(
            f"{path}.patience is {stage.patience}, but with {path}.keep=last there is nothing to "
            "go back to: set keep=best, or patience=0."
        )
    if not stage.name or any(not (c.isalnum() or c in "-_.") for c in stage.name):
        raise InputError(f"{path}.name is {stage.name!r}: letters, digits, '-', '_' and '.' only.")


def _check_baseline(path: str, baseline: Baseline) -> None:
    if not 0 < baseline.label_fraction <= 1:
        raise InputError(f"{path}.label_fraction is {baseline.label_fraction}: it lies in (0, 1].")
    try:
        lrs = [float(lr) for lr in split_names(baseline.lrs)]
    except ValueError:
        lrs = []
    if not lrs or not all(math.isfinite(lr) and lr > 0 for lr in lrs):
        raise InputError(f"{path}.lrs is {baseline.lrs!r}: numbers above 0 separated by commas.")


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


def _choice(name: str, value: str, key: str) -> None:
    if value not in CHOICES[key]:
        choices = ", ".join(choice or "empty" for choice in CHOICES[key])
        raise InputError(f"{name} is {value!r}: it takes {choices}.")
