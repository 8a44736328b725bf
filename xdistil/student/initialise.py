"""The student's first parameters."""

import jax
import numpy as np

from xdistil import config
from xdistil.data.word_vectors import WordVectors
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params
from xdistil.student.embeddings import pca_embeddings, svd_embeddings


def embedding_init(student: config.Student) -> str:
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
        kept: i32[v] the row of it for each student subword; None where they are the same.
        vectors: of the student's subwords, where it starts from text vectors.
    """
    params = jax.device_get(jax.jit(model.init_params)(key))
    if embedding_init(student) == "random":
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

    Subwords without a text vector start as rows of the SVD, or at random where the teacher's
    embeddings are narrower; either in the size of the vectors.
    """
    start = embedding_init(student)
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
    embedding[vectors.subwords] = vectors.values
    return _with_embedding(params, embedding)


def _measure(embedding: np.ndarray) -> float:
    """The root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(embedding))))


def _with_embedding(params: Params, embedding: np.ndarray) -> Params:
    word_embeddings = {"embedding": embedding}
    return {**params, "embeddings": {**params["embeddings"], "word_embeddings": word_embeddings}}
