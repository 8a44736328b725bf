"""The student: its shape from the config, its first parameters from the teacher or text vectors."""

from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np

from xdistil import config
from xdistil.data.examples import Task
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.vectors import WordVectors
from xdistil.errors import InputError
from xdistil.models.compress import pca_embeddings, svd_embeddings
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params


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
        InputError: embeddings wider than the teacher's, of which they are to be the SVD or PCA.
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
    check_width(student, size, teacher.embedding_size)
    return model


def check_width(student: config.Student, size: int, teacher: int) -> None:
    """Raises InputError where word embeddings of a width cannot be made from the teacher's."""
    if find_start(student) in ("svd", "pca") and size > teacher:
        raise InputError(
            f"student word embeddings of {size} cannot be a truncated SVD or PCA of the teacher's, "
            f"which are {teacher} wide: lower student.embedding_size, or set "
            "student.embeddings=random."
        )


def find_start(student: config.Student) -> str:
    """What the word embeddings start as: `student.embeddings`, or what it is by default."""
    return student.embeddings or ("checkpoint" if student.checkpoint else "svd")


def init_student(
    model: Model,
    student: config.Student,
    teacher_embedding: np.ndarray | None,
    kept: np.ndarray | None,
    vectors: WordVectors | None,
    key: jax.Array,
) -> Params:
    """First parameters as host arrays: random, but for the word embeddings.

    Args:
        teacher_embedding: f32[V,D] of the teacher that lends them; None where none does.
        kept: i32[v] the row of it for each student piece; None where they are the same.
        vectors: of the student's pieces, where it starts from text vectors.
    """
    params = jax.device_get(jax.jit(model.init_params)(key))
    if find_start(student) == "random":
        return params
    return start_embeddings(params, student, teacher_embedding, kept, vectors, key)


def start_embeddings(
    params: Params,
    student: config.Student,
    teacher_embedding: np.ndarray | None,
    kept: np.ndarray | None,
    vectors: WordVectors | None,
    key: jax.Array,
) -> Params:
    """The parameters with word embeddings as the config says; arguments as for `init_student`.

    Pieces without a text vector start as rows of the SVD, or at random where the teacher's
    embeddings are narrower; either in the size of the vectors.
    """
    start = find_start(student)
    if start == "checkpoint":
        return params
    own = params["embeddings"]["word_embeddings"]["embedding"]
    normal = np.asarray(jax.random.normal(key, own.shape))
    if start == "random":
        return _with_embedding(params, normal * float(np.std(own)))
    rows = np.zeros((len(own), 0), np.float32) if teacher_embedding is None else teacher_embedding
    rows = (rows if kept is None or teacher_embedding is None else rows[kept])[: len(own)]
    if vectors is None:
        reduce = pca_embeddings if start == "pca" else svd_embeddings
        return _with_embedding(params, reduce(rows, own.shape[1]))
    embedding = svd_embeddings(rows, own.shape[1]) if own.shape[1] <= rows.shape[1] else normal
    embedding = embedding * (_measure(vectors.values) / _measure(embedding))
    embedding[vectors.pieces] = vectors.values
    return _with_embedding(params, embedding)


def _measure(embedding: np.ndarray) -> float:
    """The root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(embedding))))


def _with_embedding(params: Params, embedding: np.ndarray) -> Params:
    word_embeddings = {"embedding": embedding}
    return {**params, "embeddings": {**params["embeddings"], "word_embeddings": word_embeddings}}


def with_dropout(model: Model, dropout: float) -> Model:
    """The same model with another dropout rate everywhere."""
    rates: Any = {field.name: dropout for field in fields(model.config) if "dropout" in field.name}
    return model.clone(config=replace(model.config, **rates))
