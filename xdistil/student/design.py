"""The student's model, from the config and the teacher's shape."""

from dataclasses import fields, replace
from typing import Any

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.tokenizer import Tokenizer
from xdistil.errors import InputError
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.types import Model


def design_student(
    student: config.Student,
    teacher: EncoderConfig,
    tokenizer: Tokenizer,
    task: Task,
    dtype: str,
) -> Model:
    """The model of a student without checkpoint.

    A transformer is a BERT; with word embeddings narrower than its hidden states an ELECTRA, which
    HF opens as well.

    Args:
        tokenizer: the student's.

    """
    if student.kind == "bilstm":
        size = student.embedding_size
        model: Model = BiLSTM(
            BiLSTMConfig(
                vocabulary_size=tokenizer.vocabulary_size,
                embedding_size=size,
                hidden_size=student.hidden_size,
                projection_size=teacher.hidden_size,
                dropout=student.dropout,
                padding_id=tokenizer.pad,
                layers=student.layers,
            ),
            classes=len(task.labels),
            dtype=dtype,
        )
    else:
        size = student.embedding_size or student.hidden_size
        shape = EncoderConfig(
            model_type="bert" if size == student.hidden_size else "electra",
            vocabulary_size=tokenizer.vocabulary_size,
            embedding_size=size,
            hidden_size=student.hidden_size,
            layers=student.layers,
            heads=student.heads,
            intermediate_size=student.intermediate_size or 4 * student.hidden_size,
            positions=teacher.positions,
            token_types=teacher.token_types or 2,  # DeBERTa has none, though its tokenizer does
            activation=teacher.activation,
            dropout=student.dropout,
            attention_dropout=student.dropout,
            padding_id=tokenizer.pad,
        )
        model = Encoder(shape, task.kind, len(task.labels), dtype)
    return model


def check_width(embeddings: str, size: int, teacher: EncoderConfig) -> None:
    """Raises InputError where word embeddings of a width cannot be made from the teacher's.

    Args:
        embeddings: how they start: svd, pca ...
    """
    sources = {
        "svd": ("a truncated SVD or PCA of the teacher's", teacher.embedding_size),
        "contextual": ("a PCA of the teacher's hidden states", teacher.hidden_size),
    }
    source, width = sources.get("svd" if embeddings == "pca" else embeddings, ("", size))
    if size > width:
        raise InputError(
            f"student word embeddings of {size} cannot be {source}, which are {width} wide: lower "
            "student.embedding_size, or set student.embeddings=random."
        )


def with_dropout(model: Model, dropout: float) -> Model:
    """The same model with another dropout rate everywhere."""
    rates: Any = {field.name: dropout for field in fields(model.config) if "dropout" in field.name}
    return model.clone(config=replace(model.config, **rates))
