"""The student: its shape from the config, its first parameters from the fine-tuned teacher."""

from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.pieces import Tokenizer
from xdistil.errors import InputError
from xdistil.models.bert import Encoder, EncoderConfig
from xdistil.models.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.compress import svd_embeddings
from xdistil.models.folders import Model
from xdistil.models.structs import Params


def design_student(
    student: config.Student,
    teacher: EncoderConfig,
    tokenizer: Tokenizer,
    task: Task,
    dtype: str,
) -> Model:
    """A student without checkpoint.

    A transformer is a BERT; with word embeddings narrower than its hidden states an ELECTRA, which
    HF opens as well.

    Args:
        tokenizer: the student's.

    Raises:
        InputError: embeddings wider than the teacher's, of which they are to be the truncated SVD.
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
    if student.embeddings != "random" and size > teacher.embedding_size:
        raise InputError(
            f"student word embeddings of {size} cannot be a truncated SVD of the teacher's, which "
            f"are {teacher.embedding_size} wide: lower student.embedding_size, or set "
            "student.embeddings=random."
        )
    return model


def init_student(
    model: Model,
    student: config.Student,
    teacher_embedding: np.ndarray | None,
    kept: np.ndarray | None,
    key: jax.Array,
) -> Params:
    """First parameters as host arrays: random, but for word embeddings from the teacher's.

    Args:
        teacher_embedding: f32[V,D] of the fine-tuned teacher; None where it is not at hand.
        kept: i32[v] the row of it for each student piece; None where they are the same.
    """
    params = jax.device_get(jax.jit(model.init_params)(key))
    if student.embeddings == "random" or teacher_embedding is None:
        return params
    return _with_svd(params, teacher_embedding, kept)


def start_from_checkpoint(
    params: Params,
    student: config.Student,
    teacher_embedding: np.ndarray | None,
    kept: np.ndarray | None,
    key: jax.Array,
) -> Params:
    """A checkpoint's parameters, its word embeddings replaced where the config says so."""
    if student.embeddings == "svd" and teacher_embedding is not None:
        return _with_svd(params, teacher_embedding, kept)
    if student.embeddings == "random":
        embedding = params["embeddings"]["word_embeddings"]["embedding"]
        normal = jax.random.normal(key, embedding.shape) * float(np.std(embedding))
        return _with_embedding(params, np.asarray(normal))
    return params


def _with_svd(params: Params, teacher_embedding: np.ndarray, kept: np.ndarray | None) -> Params:
    vocabulary_size, size = params["embeddings"]["word_embeddings"]["embedding"].shape
    rows = teacher_embedding if kept is None else teacher_embedding[kept]
    return _with_embedding(params, svd_embeddings(rows[:vocabulary_size], size))


def _with_embedding(params: Params, embedding: np.ndarray) -> Params:
    word_embeddings = {"embedding": embedding}
    return {**params, "embeddings": {**params["embeddings"], "word_embeddings": word_embeddings}}


def with_dropout(model: Model, dropout: float) -> Model:
    """The same model with another dropout rate everywhere."""
    rates: Any = {field.name: dropout for field in fields(model.config) if "dropout" in field.name}
    return model.clone(config=replace(model.config, **rates))


def count_parameters(params: Params) -> dict[str, int]:
    """`total` numbers in the parameters, and those of the word `embeddings` among them."""
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    embeddings = int(np.size(params["embeddings"]["word_embeddings"]["embedding"]))
    return {"total": total, "embeddings": embeddings}
