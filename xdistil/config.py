"""An experiment as typed dataclasses, and the check of its values; nothing is computed here.

A config file's `get_config(arg)` returns an `Experiment`. It stays mutable while command-line
overrides are applied, then `validate` is called once and nobody changes it any more. Text fields
that take several values separate them by commas; an empty text or a zero means "not set".
"""

import dataclasses
import math
from dataclasses import dataclass, field

from xdistil.errors import InputError


@dataclass
class Data:
    """Where sentences come from and how they are cut."""

    folder: str = ""  # task folder: train.*, dev.*, test.*, labels.tsv, transfer.txt
    transfer: str = ""  # unlabelled files or globs, .gz too; empty: the folder's transfer file
    row_length: int = 64  # pieces in a packed row
    max_length: int = 0  # pieces in a segment with its specials; 0: as many as a row holds
    languages: str = ""  # only these languages everywhere; empty: all
    train_languages: str = ""  # only these in train and dev (zero-shot transfer); empty: all
    limit: int = 0  # labelled training sentences, the first of each language, evenly; 0: all
    transfer_limit: int = 0  # unlabelled sentences, likewise; 0: all
    scheme: str = "iob2"  # how tags are written: iob2, iob1 or bioes
    repair: bool = False  # make illegal tags legal instead of refusing them
    dev_fraction: float = 0.0  # share of train to hold out where no dev file exists
    generate: int = 0  # sentences to generate instead of reading a folder (the quickstart)


@dataclass
class Stage:
    """One stage of a plan: which loss, on which texts, for how long, in which groups."""

    name: str = ""  # names metrics and table rows
    loss: str = ""  # representation, attention, logits, labels; joined by + for a sum
    data: str = "transfer"  # transfer: unlabelled texts; train: labelled ones
    unfreeze: str = "all"  # all: everything the loss reaches; gradual: from the head downwards
    unfreeze_every: int = 0  # layers thawed together when gradual; 0: all layers in one group
    epochs: float = 1.0  # of each sub-stage, at most
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
    layers: str = "middle"  # teacher layer, `student:teacher` pairs, `last` N or `middle`
    attention: str = "last"  # layer pairs of the attention loss, written as for layers
    logits: str = "mse"  # mse or kl between logits
    temperature: float = 1.0  # of the KL between logits
    representation_weight: float = 1.0  # factors of the losses in a sum
    attention_weight: float = 1.0
    logits_weight: float = 1.0
    labels_weight: float = 1.0


@dataclass
class Teacher:
    """The large model: loaded and fine-tuned, or trained from scratch when it has no name."""

    model: str = ""  # HF folder or hub id; empty: random weights of the shape below
    revision: str = "main"  # branch, tag or commit of a hub id
    tokenizer: str = ""  # another folder or hub id for the tokenizer; empty: the model's own
    finetune: bool = True  # train it on the labels first
    hidden_size: int = 128  # shape of a teacher from scratch
    layers: int = 4
    heads: int = 4
    vocabulary_size: int = 4000  # pieces of the tokenizer trained for a teacher from scratch
    plan: tuple[Stage, ...] = field(
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

    kind: str = "bilstm"  # bilstm or transformer
    checkpoint: str = ""  # HF folder or hub id to start a transformer from; empty: from scratch
    embedding_size: int = 0  # width of the word embeddings; 0: transformer's hidden_size
    hidden_size: int = 200  # a BiLSTM's units each way; a transformer's width
    layers: int = 1
    heads: int = 4  # of a transformer
    intermediate_size: int = 0  # of a transformer; 0: four times hidden_size
    vocabulary: str = "all"  # all: the teacher's pieces; seen: those of train and transfer texts
    embeddings: str = "svd"  # svd of the fine-tuned teacher's, random, or checkpoint's
    train_embeddings: bool = True  # false: the word embeddings stay as they start
    dropout: float = 0.2


@dataclass
class Baseline:
    """The same student from the same start on labels alone, its learning rate chosen on dev."""

    name: str = "labels only"
    label_fraction: float = 1.0
    lrs: str = "5e-4,1e-3,2e-3"
    epochs: float = 0.0  # 0: as many steps as the whole plan may take
    patience: int = 5


@dataclass
class Experiment:
    """Everything one run is made of."""

    data: Data = field(default_factory=Data)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    plan: tuple[Stage, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    batch_size: int = 64  # sentences a step, in stages that do not say their own
    seed: int = 0
    dtype: str = "float32"  # of the arithmetic, float32 or bfloat16; parameters are float32
    eval_every: int = 0  # steps between evaluations on dev; 0: once an epoch
    log_every: int = 50  # steps between lines of metrics
    speed_seconds: float = 10.0  # time spent on measuring the speed of teacher and student; 0: none


CHOICES = {
    "data.scheme": ("iob2", "iob1", "bioes"),
    "stage.data": ("transfer", "train"),
    "stage.unfreeze": ("all", "gradual"),
    "stage.schedule": ("cosine", "linear", "constant"),
    "stage.keep": ("best", "last"),
    "stage.representation": ("kl", "mse", "cosine"),
    "stage.logits": ("mse", "kl"),
    "student.kind": ("bilstm", "transformer"),
    "student.vocabulary": ("all", "seen"),
    "student.embeddings": ("svd", "random", "checkpoint"),
    "dtype": ("float32", "bfloat16"),
}
LOSSES = ("representation", "attention", "logits", "labels")
