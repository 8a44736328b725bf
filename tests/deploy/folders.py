"""Tiny model folders with random weights, for tests."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from xdistil.data.examples import Example, Task
from xdistil.data.text_stream import read_plain
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece
from xdistil.deploy.predictor import Classifier, Tagger
from xdistil.deploy.writers import write_tsv
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.families.deberta import Deberta, DebertaConfig
from xdistil.models.hf.folder import save_model
from xdistil.models.types import Model, Params

TAGGING = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
CLASSES = Task("classification", ("bad", "fine", "good"))
WORDS = [
    *("Anna", "went", "to", "Berlin", "with", "Bob", "Lee", "while"),
    *("Clara", "stayed", "in", "New", "York", "and", "slept"),
]


def train_tokenizer(folder: Path) -> Tokenizer:
    """A WordPiece tokenizer that knows the letters of WORDS."""
    train_wordpiece([Example(tuple(WORDS), None, "en")], 120, folder)
    return load_tokenizer(str(folder))


def make_model(kind: str, task: Task | None, vocabulary_size: int) -> Model:
    """A model of kind bilstm or deberta-v2, or of a kind that bert.Encoder implements."""
    classes = len(task.labels) if task else 0
    if kind == "bilstm":
        return BiLSTM(BiLSTMConfig(vocabulary_size, 5, 6, 7), classes)
    shape: dict[str, Any] = {
        "model_type": kind,
        "vocabulary_size": vocabulary_size,
        "embedding_size": 6 if kind == "electra" else 8,
        "hidden_size": 8,
        "layers": 2,
        "heads": 2,
        "intermediate_size": 16,
        "positions": 48,
    }
    task_kind = task.kind if task else ""
    if kind == "deberta-v2":
        config = DebertaConfig(**shape, relative=True, terms=("c2p", "p2c"), buckets=8)
        return Deberta(config, task_kind, classes)
    return Encoder(EncoderConfig(**shape), task_kind, classes)


def make_folder(
    folder: Path, kind: str, task: Task | None, tokenizer: Tokenizer, extra: dict | None = None
) -> Path:
    """Writes a model with random weights and returns its folder."""
    model = make_model(kind, task, tokenizer.vocabulary_size)
    save_model(folder, model, draw_params(model), task, tokenizer, extra or {})
    return folder


def draw_params(model: Model, seed: int = 1) -> Params:
    """Normal matrices of large variance, plain norms and biases: predictions vary."""
    generator = np.random.default_rng(seed)
    shapes = flatten_dict(jax.eval_shape(model.init_params, jax.random.key(0)))
    drawn = {}
    for path, leaf in shapes.items():
        if len(leaf.shape) > 1:
            drawn[path] = generator.normal(size=leaf.shape).astype(np.float32)
        else:
            drawn[path] = np.full(leaf.shape, float(path[-1] == "scale"), np.float32)
    return unflatten_dict(drawn)


def label_lines(model: Tagger | Classifier, *lines: bytes) -> list[str]:
    """The output line for each line of plain text in a file called `texts`."""
    predictor = model.predictor
    texts = list(read_plain(lines, "texts", predictor.task.kind, predictor.split))
    answers = predictor.predict([text.inputs for text in texts])
    return [
        write_tsv(text, answer.labels, predictor.task.kind, "texts")
        for text, answer in zip(texts, answers, strict=True)
    ]
