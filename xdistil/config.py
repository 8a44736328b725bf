"""An experiment as typed dataclasses, and the forms of its text fields. Nothing is computed here.

`get_config(arg)` of a config file returns an `Experiment`. Overrides of the command line change it;
then `validate` of xdistil/validation is called once and nobody changes it any more. Text fields
with several values separate them by commas. An empty text or a zero means "not set".
"""

import copy
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from xdistil.errors import InputError, suggest


class _Fields:
    """Refuses what is no field, which Python would silently accept in an assignment."""

    def __new__(cls, *_: Any, **fields: Any) -> Self:
        for name in fields:
            cls._refuse_unknown(name)
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_unknown(name)
        super().__setattr__(name, value)

    @classmethod
    def _refuse_unknown(cls, name: str) -> None:
        said = f"{cls.__name__}.{name}"
        if new := RENAMED.get(cls, {}).get(name):
            raise InputError(f"{said} is now {cls.__name__}.{new}: use the new name.")
        if name not in cls.__annotations__:
            raise InputError(f"There is no field {said}{suggest(name, cls.__annotations__)}.")


@dataclass
class Data(_Fields):
    """Where sentences come from and how they are packed."""

    folder: str = ""  # task folder: train.*, dev.*, test.*, labels.tsv, transfer.txt
    transfer: str = ""  # unlabelled files, globs, .gz; de:FILE is German; empty: the folder's
    row_length: int = 64  # subwords in a packed row
    max_length: int = 0  # subwords in a segment, special tokens included; 0: as in a row
    languages: str = ""  # only these languages, in every split; empty: all
    train_languages: str = ""  # with labels; others are in transfer and test alone; empty: all
    temperature: float = 1.0  # T: a language is sampled in proportion to its sentences^(1/T)
    limit: int = 0  # labelled training sentences at most, spread evenly over languages; 0: all
    draw: str = "even"  # of limit: even (drawn, over classes too), first (the first of a language)
    transfer_limit: int = 0  # unlabelled sentences at most, the first of each language; 0: all
    swapped: int = 0  # transfer texts made of labelled ones, with other mentions of the same types
    spliced: int = 0  # transfer texts made of the beginning of one sentence and the end of another
    replaced: int = 0  # transfer texts made of training texts, with other words of their language
    task: str = "auto"  # tagging, single (texts), pair (of texts), multilabel, or auto: recognised
    separator: str = ""  # of several labels in a cell: comma, semicolon, bar, space; empty: guess
    columns: str = ""  # of what, by number or name: text:2,label:1 or words:1,tags:4; empty: guess
    scheme: str = "auto"  # of the tags: iob2, iob1, bioes, bilou, bmes, io, or auto: recognised
    segmentation: str = "auto"  # of words: units, spaces (whole words), or auto: units if new
    repair: bool = False  # repair illegal tags instead of refusing them
    dev_fraction: float = 0.0  # held out as dev: of train (no dev file) or of transfer (no labels)
    generate: int = 0  # sentences of a synthetic corpus, instead of a folder (the quickstart)


@dataclass
class Stage(_Fields):
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
    keep: str = "best"  # parameters: best on dev, worst (best in the 10 worst languages), last
    batch_size: int = 0  # sentences per step; 0: the experiment's
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    gap_weight: float = 0.0  # a: a language is drawn 1 + a * gap / mean gap times as often
    sampling: str = "even"  # of texts: even, or doubtful: more where the student is unsure
    mask: float = 0.0  # share of words hidden from the student in training; the teacher reads all
    hidden_loss: str = "kl"  # kl, mse or cosine between hidden states
    hidden_map: str = "middle"  # teacher layer, `student:teacher` pairs, last, uniform or middle
    projections: str = "layer"  # of narrower hidden states: one per layer pair, or one shared
    attention_map: str = "last"  # layer pairs of the attention loss, written as in hidden_map
    attention_loss: str = "mse"  # mse or kl between attention maps
    relation_map: str = "upper"  # layer pairs of the relations loss; upper: 12 of 12, 21 of 24
    relation_heads: int = 0  # heads that vectors are split into; 0: as many as the teacher has
    logits_loss: str = "mse"  # mse or kl between logits, or crf: kl of the tags of sentences
    temperature: float = 1.0  # of the KL divergence between logits, or between tags of sentences
    labels_loss: str = "ce"  # ce of each label, or crf: of the tags of a sentence among legal ones
    class_weights: str = ""  # in the labels loss: balanced, or `CLASS=WEIGHT` pairs; empty: equal
    representation_weight: float = 1.0  # factor of the loss in a sum
    attention_weight: float = 1.0  # likewise
    relations_weight: float = 1.0  # likewise
    logits_weight: float = 1.0  # likewise
    labels_weight: float = 1.0  # likewise


@dataclass
class Teacher(_Fields):
    """The large model: loaded and fine-tuned, or trained from scratch if it has no name."""

    model: str = ""  # Hugging Face folder or hub id; empty: a model from scratch, shape below
    revision: str = "main"  # branch, tag or commit of a hub id
    tokenizer: str = ""  # folder or hub id of another tokenizer; empty: the model's
    signals: str = ""  # folder of stored signals (docs/signals.md), instead of a model
    labels: str = ""  # files of annotators' answers (docs/annotators.md), the teacher without model
    votes: str = "auto"  # as targets: majority, share, learned (confusions), or auto: best on dev
    min_agreement: float = 0.0  # of votes on a label, from 0 to 1; units with less are left out
    calibrate: bool = False  # votes on gold dev: a temperature a label, for share and learned
    finetune: bool = True  # fine-tune it on the labels first; false: use it without fine-tuning
    vocabulary: str = "all"  # all: as it is; seen: only subwords of the train and transfer texts
    subwords: str = "student"  # read where the student lacks some: student (those it has), own
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
class Student(_Fields):
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
    embeddings: str = ""  # svd, pca, contextual, vectors, random; empty: checkpoint, else svd
    vectors: str = ""  # text file of fastText, GloVe or MUSE, also .gz, of width embedding_size
    embedding_scale: float = 1.0  # size of a BiLSTM's at the start (students.md); 0: the source's
    train_embeddings: bool = True  # false: the word embeddings are frozen
    train_embedding_projection: bool = False  # also train how the teacher's are projected
    project_states: bool = False  # project the teacher's states of isolated subwords too
    dropout: float = 0.2  # after the embeddings and each BiLSTM; everywhere in a transformer


@dataclass
class Baseline(_Fields):
    """The same student from the same start on labels alone; its learning rate is chosen on dev."""

    name: str = "labels only"  # of its row in tables
    label_fraction: float = 1.0  # share of the labelled sentences, the first of each language
    lrs: str = "5e-4,1e-3,2e-3"  # learning rates to choose from on dev
    epochs: float = 0.0  # at most; 0: as many steps as the whole plan has at most
    patience: int = 5  # evaluations without improvement before early stopping; 0: never stop


@dataclass
class Mesh(_Fields):
    """How parameters are placed on devices."""

    teacher_shards: int = 1  # devices that share one copy of the teacher; 1: one copy on each


@dataclass
class Experiment(_Fields):
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
MADE_OF_TAGGED = ("swapped", "spliced")  # fields of Data: how many texts are made, in tagging alone
MADE = (*MADE_OF_TAGGED, "replaced")  # and in any task
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
    "stage.keep": ("best", "worst", "last"),
    "stage.sampling": ("even", "doubtful"),
    "stage.hidden_loss": ("kl", "mse", "cosine"),
    "stage.projections": ("layer", "shared"),
    "stage.attention_loss": ("mse", "kl"),
    "stage.logits_loss": ("mse", "kl", "crf"),
    "stage.labels_loss": ("ce", "crf"),
    "teacher.family": ("bert", "modernbert"),
    "teacher.votes": ("auto", "majority", "share", "learned"),
    "teacher.cache": ("auto", "always", "never"),
    "teacher.cache_type": ("float16", "float32", "int8"),
    "student.kind": ("bilstm", "transformer", "checkpoint"),
    "teacher.vocabulary": ("all", "seen"),
    "teacher.subwords": ("student", "own"),
    "student.vocabulary": ("all", "seen"),
    "student.vocabulary_cut": ("even", "frequent"),
    "student.embeddings": ("", "svd", "pca", "contextual", "vectors", "random", "checkpoint"),
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
