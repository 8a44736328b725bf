"""An experiment as typed dataclasses, and the check of its values. Nothing is computed here.

`get_config(arg)` of a config file returns an `Experiment`. Overrides of the command line change it;
then `validate` is called once and nobody changes it any more. Text fields with several values
separate them by commas. An empty text or a zero means "not set".
"""

import copy
import dataclasses
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from xdistil.errors import InputError, suggest


class _Renamed:
    """Refuses old names of fields, which Python would silently accept in an assignment."""

    def __new__(cls, *_: Any, **fields: Any) -> Self:
        for name in fields:
            cls._refuse_old(name)
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_old(name)
        super().__setattr__(name, value)

    @classmethod
    def _refuse_old(cls, name: str) -> None:
        if new := RENAMED.get(cls, {}).get(name):
            old = f"{cls.__name__}.{name}"
            raise InputError(f"{old} is now {cls.__name__}.{new}: use the new name.")


@dataclass
class Data:
    """Where sentences come from and how they are packed."""

    folder: str = ""  # task folder: train.*, dev.*, test.*, labels.tsv, transfer.txt
    transfer: str = ""  # unlabelled files, globs, .gz; de:FILE is German; empty: the folder's
    row_length: int = 64  # subwords in a packed row
    max_length: int = 0  # subwords in a segment, special tokens included; 0: as in a row
    languages: str = ""  # only these languages, in every split; empty: all
    train_languages: str = ""  # only these in train and dev (zero-shot transfer); empty: all
    temperature: float = 1.0  # T: a language is sampled in proportion to its sentences^(1/T)
    limit: int = 0  # labelled training sentences at most, spread evenly over languages; 0: all
    draw: str = "even"  # of limit: even (drawn, over classes too), first (the first of a language)
    transfer_limit: int = 0  # unlabelled sentences at most, the first of each language; 0: all
    swapped: int = 0  # transfer texts made of labelled ones, with other mentions of the same types
    spliced: int = 0  # transfer texts made of the beginning of one sentence and the end of another
    task: str = "auto"  # tagging, single (texts), pair (of texts), multilabel, or auto: recognised
    separator: str = ""  # of several labels in a cell: comma, semicolon, bar, space; empty: guess
    columns: str = ""  # of what, by number or name: text:2,label:1 or words:1,tags:4; empty: guess
    scheme: str = "auto"  # of the tags: iob2, iob1, bioes, bilou, bmes, io, or auto: recognised
    segmentation: str = "auto"  # of words: units, spaces (whole words), or auto: units if new
    repair: bool = False  # repair illegal tags instead of refusing them
    dev_fraction: float = 0.0  # held out as dev: of train (no dev file) or of transfer (no labels)
    generate: int = 0  # sentences of a synthetic corpus, instead of a folder (the quickstart)


@dataclass
class Stage(_Renamed):
    """One stage of a plan: its losses, its texts, its schedule, and what it trains."""

    name: str = ""  # in metrics and tables
    loss: str = ""  # representation, attention, relations, logits, labels; a+b is their sum
    data: str = "transfer"  # transfer: unlabelled; train: gold; all: both, no labels; silver: votes
    unfreeze: str = "all"  # all: everything the loss reaches; gradual: from the head downwards
    unfreeze_every: int = 0  # a transformer's layers unfrozen together when gradual; 0: all
    epochs: float = 1.0  # at most; when gradual, of each stage run
    unfreeze_epochs: float = 0.0  # when gradual, of every stage run but the last; 0: as epochs
    lr: float = 1e-3  # peak learning rate
    lr_end: float = 0.0  # last learning rate
    schedule: str = "cosine"  # of the learning rate: cosine, linear or constant
    warmup: float = 0.0  # share of the steps in which the learning rate rises to lr
    weight_decay: float = 0.0  # decoupled (AdamW), on matrices only
    clip: float = 1.0  # largest global norm of the gradient; 0: no clipping
    patience: int = 0  # evaluations without improvement before early stopping; 0: never stop
    keep: str = "best"  # parameters for the next stage: the best on dev, or the last
    batch_size: int = 0  # sentences per step; 0: the experiment's
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    gap_weight: float = 0.0  # a: a language is drawn 1 + a * gap / mean gap times as often
    mask: float = 0.0  # share of words hidden from the student in training; the teacher reads all
    hidden_loss: str = "kl"  # kl, mse or cosine between hidden states
    hidden_map: str = "middle"  # teacher layer, `student:teacher` pairs, last, uniform or middle
    projections: str = "layer"  # of narrower hidden states: one per layer pair, or one shared
    attention_map: str = "last"  # layer pairs of the attention loss, written as in hidden_map
    attention_loss: str = "mse"  # mse or kl between attention maps
    relation_map: str = "upper"  # layer pairs of the relations loss; upper: 12 of 12, 21 of 24
    relation_heads: int = 0  # heads that vectors are split into; 0: as many as the teacher has
    logits_loss: str = "mse"  # mse or kl between logits
    temperature: float = 1.0  # of the KL divergence between logits
    class_weights: str = ""  # in the labels loss: balanced, or `CLASS=WEIGHT` pairs; empty: equal
    representation_weight: float = 1.0  # factor of the loss in a sum
    attention_weight: float = 1.0  # likewise
    relations_weight: float = 1.0  # likewise
    logits_weight: float = 1.0  # likewise
    labels_weight: float = 1.0  # likewise


@dataclass
class Teacher:
    """The large model: loaded and fine-tuned, or trained from scratch if it has no name."""

    model: str = ""  # Hugging Face folder or hub id; empty: a model from scratch, shape below
    revision: str = "main"  # branch, tag or commit of a hub id
    tokenizer: str = ""  # folder or hub id of another tokenizer; empty: the model's
    signals: str = ""  # folder of stored signals (docs/signals.md), instead of a model
    labels: str = ""  # files of annotators' answers (docs/annotators.md), the teacher without model
    votes: str = "auto"  # as targets: majority, share, learned (confusions), or auto: best on dev
    min_agreement: float = 0.0  # of votes on a label, from 0 to 1; units with less are left out
    finetune: bool = True  # fine-tune it on the labels first; false: use it without fine-tuning
    vocabulary: str = "all"  # all: as it is; seen: only subwords of the train and transfer texts
    cache: str = "auto"  # signals on disk: auto (where that is faster), always, never
    cache_type: str = "float16"  # of cached numbers: float16, float32, int8 (a scale per vector)
    cache_folder: str = ""  # of cached signals, for several runs; empty: in the workdir
    shared_folder: str = ""  # of runs: teachers, signals, predictions, packed texts; empty: none
    family: str = "bert"  # of a teacher from scratch: bert or modernbert
    hidden_size: int = 128  # likewise
    layers: int = 4  # likewise
    heads: int = 4  # likewise
    vocabulary_size: int = 4000  # subwords of the tokenizer trained for a teacher from scratch
    plan: tuple[Stage, ...] = field(  # the stages of its fine-tuning
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
class Student(_Renamed):
    """The small model."""

    kind: str = "bilstm"  # bilstm, transformer, or checkpoint: continue fine-tuning a model
    checkpoint: str = ""  # folder or hub id of an encoder or a student; empty: from scratch
    keep_layers: str = ""  # teacher layers to start from: last:N, every:N, or a list from 0
    start: str = "finetuned"  # finetuned or pretrained: the teacher that lends layers or embeddings
    embedding_size: int = 0  # width of the word embeddings; 0: hidden_size of a transformer
    hidden_size: int = 200  # units of a BiLSTM in each direction; width of a transformer
    layers: int = 1  # of a transformer, or BiLSTMs above one another
    heads: int = 4  # of a transformer
    intermediate_size: int = 0  # of a transformer; 0: four times hidden_size
    tokenizer: str = ""  # folder or hub id; empty: the checkpoint's, or else the teacher's
    tokenizer_pieces: int = 0  # size of one trained on the transfer texts; 0: none is trained
    vocabulary: str = "all"  # all: as it is; seen: only subwords of the train and transfer texts
    min_count: int = 1  # seen: subwords that occur less often are dropped
    vocabulary_size: int = 0  # seen: keep only so many subwords, the most frequent; 0: all
    vocabulary_cut: str = "even"  # of vocabulary_size: even (over languages), frequent (in all)
    embeddings: str = ""  # svd, pca, vectors, random or checkpoint; empty: checkpoint, else svd
    vectors: str = ""  # text file of fastText, GloVe or MUSE, also .gz, of width embedding_size
    embedding_scale: float = 1.0  # root mean square of a BiLSTM's at the start; 0: the source's
    train_embeddings: bool = True  # false: the word embeddings are frozen
    dropout: float = 0.2  # after the embeddings and each BiLSTM; everywhere in a transformer


@dataclass
class Baseline:
    """The same student from the same start on labels alone; its learning rate is chosen on dev."""

    name: str = "labels only"  # of its row in tables
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    lrs: str = "5e-4,1e-3,2e-3"  # learning rates to choose from on dev
    epochs: float = 0.0  # at most; 0: as many steps as the whole plan has at most
    patience: int = 5  # evaluations without improvement before early stopping; 0: never stop


@dataclass
class Mesh:
    """How parameters are placed on devices."""

    teacher_shards: int = 1  # devices that share one copy of the teacher; 1: one copy on each


@dataclass
class Experiment:
    """Everything that defines one run."""

    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    mesh: Mesh = field(default_factory=Mesh)
    plan: tuple[Stage, ...] = ()  # the student's stages, in order
    baselines: tuple[Baseline, ...] = ()  # students without a teacher, for comparison
    batch_size: int = 64  # sentences per step, in stages without a batch_size
    seed: int = 0  # of weights, dropout and the order of texts
    dtype: str = "auto"  # of matrix products: float32, bfloat16, or auto: the faster one here
    eval_every: int = 0  # steps between evaluations on dev; 0: one per epoch
    log_every: int = 50  # steps between lines of metrics
    checkpoint_minutes: float = 10.0  # between checkpoints at most; 0: only at evaluations
    distributed: str = ""  # several processes: auto (SLURM, TPU pod ...), or HOST:PORT,INDEX,COUNT
    speed_seconds: float = 10.0  # to measure the speed of teacher and student; 0: do not measure
    export: str = ""  # of the student to ONNX: onnx, or int8 for a quantized file as well
    trackers: str = ""  # of metrics, beside files and TensorBoard: wandb, trackio; empty: none
    project: str = "xdistil"  # of the runs in trackers
    license: str = ""  # of the models, for their cards, such as mit; empty: that of their source


# Old names of fields -> new names. Overrides and the config.json of a workdir may have old names
# until version 0.3; a config file with an old name is refused, and the error names the new one.
RENAMED: dict[type, dict[str, str]] = {
    Stage: {
        "thaw_epochs": "unfreeze_epochs",
        "representation": "hidden_loss",
        "layers": "hidden_map",
        "attention": "attention_map",
        "relations": "relation_map",
        "logits": "logits_loss",
    },
    Student: {"least_count": "min_count"},
}
# Fields that a config.json of an earlier version may lack, and what the run of that version did.
EARLIER: dict[type, dict[str, Any]] = {
    Data: {"segmentation": "spaces"},
    Student: {"embedding_scale": 0.0, "vocabulary_cut": "frequent"},
}
MADE = ("swapped", "spliced")  # fields of Data: how many transfer texts are made
SEPARATORS = {"comma": ",", "semicolon": ";", "bar": "|", "space": " "}  # of labels, by name
CHOICES = {
    "data.segmentation": ("auto", "units", "spaces"),
    "data.task": ("auto", "tagging", "single", "pair", "multilabel"),
    "data.separator": ("", *SEPARATORS),
    "data.draw": ("even", "first"),
    "data.scheme": ("auto", "iob2", "iob1", "bioes", "bilou", "bmes", "io"),
    "stage.data": ("transfer", "train", "all", "silver"),
    "stage.unfreeze": ("all", "gradual"),
    "stage.schedule": ("cosine", "linear", "constant"),
    "stage.keep": ("best", "last"),
    "stage.hidden_loss": ("kl", "mse", "cosine"),
    "stage.projections": ("layer", "shared"),
    "stage.attention_loss": ("mse", "kl"),
    "stage.logits_loss": ("mse", "kl"),
    "teacher.family": ("bert", "modernbert"),
    "teacher.votes": ("auto", "majority", "share", "learned"),
    "teacher.cache": ("auto", "always", "never"),
    "teacher.cache_type": ("float16", "float32", "int8"),
    "student.kind": ("bilstm", "transformer", "checkpoint"),
    "teacher.vocabulary": ("all", "seen"),
    "student.vocabulary": ("all", "seen"),
    "student.vocabulary_cut": ("even", "frequent"),
    "student.embeddings": ("", "svd", "pca", "vectors", "random", "checkpoint"),
    "student.start": ("finetuned", "pretrained"),
    "dtype": ("auto", "float32", "bfloat16"),
    "export": ("", "onnx", "int8"),
}
ROLES = {  # of the columns in data.columns, by kind of task
    "tagging": ("words", "tags", "language"),
    "classification": ("text", "text_a", "text_b", "label", "language"),
    "multilabel": ("text", "text_a", "text_b", "label", "language"),
}
LICENSE = r"[a-z0-9][a-z0-9.+-]*"  # how hubs write one
STORED = ("signals", "labels")  # fields of Teacher that name stored values
SILVER = "silver"  # the texts of a stage whose labels are the votes of annotators
PATHS = (  # fields that name files and folders, as groups and fields of an experiment
    ("data", "folder"),
    ("data", "transfer"),
    *(("teacher", name) for name in ("model", "tokenizer", *STORED)),
    *(("teacher", name) for name in ("cache_folder", "shared_folder")),
    *(("student", name) for name in ("checkpoint", "tokenizer", "vectors")),
)
LOSSES = ("representation", "attention", "relations", "logits", "labels")
BALANCED = "balanced"  # weights of classes by how rare they are


def split_names(text: str) -> tuple[str, ...]:
    """The comma-separated values of a text field: `"en, de"` becomes `("en", "de")`."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def split_paths(text: str) -> tuple[str, ...]:
    """The comma-separated paths of an option, where a path may contain commas itself.

    A run of a sweep is called `plan=d1,seed=0`. So the longest name that exists is one path.
    """
    parts = [part.strip() for part in text.split(",")]
    paths = []
    start = 0
    while start < len(parts):
        ends = range(len(parts), start + 1, -1)
        named = (end for end in ends if os.path.exists(",".join(parts[start:end])))
        end = next(named, start + 1)
        paths.append(",".join(parts[start:end]))
        start = end
    return tuple(filter(None, paths))


def parse_columns(columns: str) -> dict[str, str]:
    """The column of each role, a number or a name, as `data.columns` says.

    Raises:
        InputError: no such role, a role without a column, or roles that do not go together.
    """
    known = list(dict.fromkeys(role for roles in ROLES.values() for role in roles))
    found: dict[str, str] = {}
    for part in split_names(columns):
        role, _, name = (each.strip() for each in part.partition(":"))
        if role not in known:
            raise InputError(
                f"data.columns names {role!r}{suggest(role, known)}: write role:column, such as "
                "text:2,label:1 or words:1,tags:4, where a column is a number from 1 or a name in "
                "the first line."
            )
        if not name or role in found:
            count = "two columns" if name else "no column"
            raise InputError(f"data.columns gives {role} {count}: write {role}:2 or {role}:NAME.")
        found[role] = name
    roles = set(found) - {"language"}
    whole = ({"words", "tags"}, {"tags"}, {"text", "label"}, {"text_a", "text_b", "label"})
    if found and roles not in whole:
        raise InputError(
            f"data.columns names {', '.join(found)}: name words and tags (or tags alone), or text "
            "and label, or text_a, text_b and label, each also with language."
        )
    return found


def kind_of_roles(roles: Iterable[str]) -> str:
    """The value of data.task that the roles of columns belong to; "" if there are none."""
    roles = set(roles)
    if "tags" in roles:
        return "tagging"
    return "pair" if "text_a" in roles else "single" if "text" in roles else ""


def expand_home(experiment: Experiment) -> Experiment:
    """A copy in which a ~ at the beginning of a path is the home folder, and ~name that of name."""
    expanded = copy.deepcopy(experiment)
    for group, name in PATHS:
        part = getattr(expanded, group)
        setattr(part, name, expand_paths(getattr(part, name)))
    return expanded


def expand_paths(text: str) -> str:
    """The same for the text of one field, whose parts may have a language before them (de:~/x)."""
    if "~" not in text:
        return text
    parts = []
    for part in split_names(text):
        language, colon, rest = part.partition(":")
        prefixed = colon and rest.startswith("~")
        parts.append(language + colon + os.path.expanduser(rest) if prefixed else part)
    return ",".join(map(os.path.expanduser, parts))


def read_class_weights(text: str, path: str) -> dict[str, float]:
    """The weights by class of `CLASS=WEIGHT` pairs separated by commas.

    Raises:
        InputError: a part that is no such pair, a weight that is not above 0, or a class twice.
    """
    weights: dict[str, float] = {}
    for part in split_names(text):
        name, _, number = part.rpartition("=")
        name = name.strip()
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight) or weight <= 0 or name in weights:
            raise InputError(
                f"{path} is {text!r}: it must be balanced, or the weights of different classes, "
                "above 0, such as neutral=0.5,negative=2."
            )
        weights[name] = weight
    return weights


def find_stored(teacher: Teacher) -> str:
    """The field of STORED that is the teacher; empty if that is a model, or there is none."""
    if teacher.signals:
        return "signals"
    return "labels" if teacher.labels and not teacher.model else ""


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
    _check_start(student, teacher)
    if student.kind == "bilstm" and student.checkpoint:
        raise InputError(
            "student.checkpoint is set, but student.kind=bilstm starts from scratch: set "
            "student.kind=transformer to start from an encoder, or student.kind=checkpoint to "
            "continue fine-tuning a model."
        )
    _check_checkpoint(student)
    if student.embeddings == "checkpoint" and not student.checkpoint:
        raise InputError("student.embeddings=checkpoint needs a student.checkpoint.")
    _check_tokenizers(teacher, student)
    if not student.checkpoint and student.kind == "bilstm" and not student.embedding_size:
        raise InputError("student.embedding_size is 0: a BiLSTM needs a width, such as 50.")
    if not experiment.plan:
        raise InputError("plan has no stage: add one, or use a config such as configs/ner.py.")
    _choice("data.segmentation", data.segmentation, "data.segmentation")
    _choice("data.task", data.task, "data.task")
    _choice("data.draw", data.draw, "data.draw")
    _choice("data.scheme", data.scheme, "data.scheme")
    columns = kind_of_roles(parse_columns(data.columns))
    _choice("data.separator", data.separator, "data.separator")
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
    _check_made(experiment)
    _choice("teacher.family", teacher.family, "teacher.family")
    _choice("teacher.votes", teacher.votes, "teacher.votes")
    _choice("teacher.cache", teacher.cache, "teacher.cache")
    _choice("teacher.cache_type", teacher.cache_type, "teacher.cache_type")
    _choice("student.kind", student.kind, "student.kind")
    for name, model in (("teacher", teacher), ("student", student)):
        _choice(f"{name}.vocabulary", model.vocabulary, f"{name}.vocabulary")
    if teacher.vocabulary == "seen" and not teacher.model:
        raise InputError(
            "teacher.vocabulary=seen needs a teacher.model, which is empty: set "
            "teacher.vocabulary=all. The vocabulary of a teacher from scratch is limited by "
            "teacher.vocabulary_size."
        )
    _at_least("student.min_count", student.min_count, 1)
    if student.vocabulary == "all" and (student.min_count > 1 or student.vocabulary_size):
        named = "min_count" if student.min_count > 1 else "vocabulary_size"
        raise InputError(
            f"student.{named} is {getattr(student, named)}, but student.vocabulary=all keeps every "
            "subword: set student.vocabulary=seen."
        )
    _choice("student.vocabulary_cut", student.vocabulary_cut, "student.vocabulary_cut")
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
                    f"{path}[{i}].name is {stage.name!r}, like {path}[{first}].name: each stage of "
                    "a plan needs its own name."
                )
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
        if stage.mask:
            raise InputError(
                f"teacher.plan[{i}].mask is {stage.mask}, but words are hidden from the student "
                "alone: set it to 0."
            )
    _check_silver(experiment)
    if teacher.finetune and not teacher.plan:
        raise InputError("teacher.plan has no stage: add one, or set teacher.finetune=False.")
    for i, baseline in enumerate(experiment.baselines):
        _check_baseline(f"baselines[{i}]", baseline)


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
    if teacher.min_agreement > 1:
        raise InputError(
            f"teacher.min_agreement is {teacher.min_agreement}: it must lie from 0 to 1."
        )


def _check_checkpoint(student: Student) -> None:
    """A model whose fine-tuning is continued keeps its tokenizer and embeddings."""
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
    if student.embeddings in ("svd", "pca"):
        raise InputError(
            f"student.embeddings={student.embeddings} needs the embeddings of a teacher, which "
            f"teacher.{stored} does not have: set student.embeddings=random."
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
    for name in (key.removeprefix("stage.") for key in CHOICES if key.startswith("stage.")):
        _choice(f"{path}.{name}", getattr(stage, name), f"stage.{name}")
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


def _choice(name: str, value: str, key: str) -> None:
    if value not in CHOICES[key]:
        choices = ", ".join(choice or "empty" for choice in CHOICES[key])
        raise InputError(f"{name} is {value!r}: it must be one of {choices}.")
