"""The shape of a teacher from scratch."""

from typing import Any

from xdistil.config import Teacher
from xdistil.data.examples import Task
from xdistil.data.tokenizer import Tokenizer
from xdistil.models.encoder import Transformer
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families import bert, modernbert

DROPOUT = 0.2  # of a ModernBERT, whose own has none: it sees each of a few sentences many times
WINDOW = 16  # subwords that a local layer attends to; sentences are short
ROTARY_BASE = 10_000.0  # of texts of a few hundred subwords


def design_teacher(teacher: Teacher, tokenizer: Tokenizer, task: Task, dtype: str) -> Transformer:
    """The model, without parameters.

    A BERT is that of its paper. A ModernBERT has about as many parameters, as its feed-forward
    parts are gated and half as wide; every other layer is local, the first one too.
    """
    width = teacher.hidden_size
    shape: dict[str, Any] = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "embedding_size": width,
        "hidden_size": width,
        "layers": teacher.layers,
        "heads": teacher.heads,
        "padding_id": tokenizer.pad,
    }
    if teacher.family == "bert":
        config = EncoderConfig(**shape, intermediate_size=4 * width)
        return bert.Encoder(config, task.kind, len(task.labels), dtype)
    modern = modernbert.ModernBertConfig(
        **shape,
        intermediate_size=2 * width,
        dropout=DROPOUT,
        embedding_dropout=DROPOUT,
        attention_dropout=0.0,
        norm_epsilon=1e-5,
        local=tuple(layer % 2 == 0 for layer in range(teacher.layers)),
        window=WINDOW,
        global_base=ROTARY_BASE,
        local_base=ROTARY_BASE,
    )
    return modernbert.ModernBert(modern, task.kind, len(task.labels), dtype)
