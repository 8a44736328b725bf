"""How the student's word embeddings start: from the teacher's, its states, text vectors, random."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from xdistil import config
from xdistil.data.packing import Array
from xdistil.data.word_vectors import WordVectors
from xdistil.errors import InputError
from xdistil.models.subword_means import SubwordMeans
from xdistil.models.types import Params
from xdistil.student.contextual import complete_means

PROJECTED = ("svd", "pca")  # kinds of embeddings that start as a projection of the teacher's
_TEACHER_SIZE = 0.2  # measured: see docs/students.md


def svd_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The truncated SVD of word embeddings: f[V,D] -> f32[V,size], the rows of U_k S_k.

    Of all embeddings of this width, it is the one whose inner products are nearest to those of the
    given rows. A singular vector's sign is arbitrary; here its largest entry is positive. Raises
    InputError when `size` is more than D.
    """
    return _project(np.asarray(embedding, np.float64), size)


def pca_embeddings(embedding: Array, size: int) -> np.ndarray:
    """The first principal components of word embeddings: f[V,D] -> f32[V,size].

    The mean is left out: it would add one and the same vector to every subword, which the biases
    that follow (those of the gates or of the first norm) can learn, and would else take a component
    of its own. Signs and errors are those of `svd_embeddings`.
    """
    wide = np.asarray(embedding, np.float64)
    return _project(wide - wide.mean(axis=0), size)


def _project(wide: np.ndarray, size: int) -> np.ndarray:
    """f64[V,D] on its first right singular vectors: f32[V,size]."""
    if size > wide.shape[1]:
        raise InputError(
            f"Word embeddings of width {wide.shape[1]} have no SVD of width {size}; choose a"
            f" smaller embedding_size."
        )
    # U_k S_k = E V_k, with V the eigenvectors of E^T E: a D by D problem instead of a V by D one.
    _, vectors = np.linalg.eigh(wide.T @ wide)
    vectors = vectors[:, ::-1][:, :size]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(size)]
    return (wide @ (vectors * np.sign(peaks))).astype(np.float32)


@dataclass(frozen=True)
class EmbeddingInit:
    """What a student's word embeddings start from."""

    kind: str  # svd, pca, contextual, vectors, random or checkpoint
    rows: Callable[[np.ndarray], np.ndarray]  # f[V,D] of the teacher's subwords -> a row for each
    # of the student's f[v,D]
    vectors: WordVectors  # of the student's subwords, where the kind is `vectors`; else empty
    scale: float  # of a model from scratch: their root mean square at the start; 0: the source's


def embedding_kind(student: config.Student, from_model: bool) -> str:
    """`student.embeddings`, or its default.

    Args:
        from_model: the teacher is a model, whose word embeddings can be compressed.
    """
    default = "checkpoint" if student.checkpoint else "svd" if from_model else "random"
    return student.embeddings or default


def check_projection(student: config.Student, kind: str) -> None:
    """Raises InputError where a projection is to be trained that the embeddings do not start from.

    Args:
        kind: what they start from.
    """
    if student.train_embedding_projection and kind not in PROJECTED:
        raise InputError(
            "student.train_embedding_projection is True, but the student's word embeddings are no "
            f"projection of a teacher's: they start from student.embeddings={kind}. Set "
            "student.embeddings=svd, or student.train_embedding_projection=False."
        )


def embedding_scale(student: config.Student, kind: str, width: int) -> float:
    """The root mean square of a student's word embeddings at the start; 0: the source's.

    `student.embedding_scale` is that of embeddings that start from a teacher or vectors. Random
    ones are divided by sqrt(width), the size that Flax draws: a subword that occurs a few times
    stays near its first row, which should be small where it means nothing.

    Args:
        kind: what they start from.
        width: of the embeddings.
    """
    if student.kind != "bilstm":
        return 0.0
    return student.embedding_scale / (math.sqrt(width) if kind == "random" else 1.0)


def start_embeddings(
    params: Params,
    init: EmbeddingInit,
    teacher: Params,
    key: jax.Array,
    means: SubwordMeans | None = None,
) -> Params:
    """The parameters with word embeddings as `init` says.

    Subwords without a text vector start as rows of the SVD, in the size of the vectors, or at
    random where the teacher's embeddings are narrower, and smaller by sqrt(width), as random
    embeddings are. Mean states, which the norms of the teacher's layers have scaled, become as
    large as its word embeddings.

    Args:
        teacher: parameters of the teacher; empty where it is no model.
        means: the teacher's mean states, where the kind is `contextual`.
    """
    if init.kind == "checkpoint":
        return params
    own = params["embeddings"]["word_embeddings"]["embedding"]
    normal = np.asarray(jax.random.normal(key, own.shape))
    if init.kind == "random":
        return with_embedding(params, normal * float(np.std(own)))
    rows = np.zeros((len(own), 0), np.float32)
    if teacher:
        table = np.asarray(teacher["embeddings"]["word_embeddings"]["embedding"])
        rows = init.rows(table)[: len(own)]
    if init.kind == "contextual":
        assert means is not None  # whoever asks for this kind computes them
        states = init.rows(complete_means(means, table))[: len(own)]
        # All states share a large mean, which would be the first component of an SVD.
        embedding = pca_embeddings(states, own.shape[1])
        return with_embedding(params, embedding * (_measure(rows) / _measure(embedding)))
    if init.kind != "vectors":
        reduce = pca_embeddings if init.kind == "pca" else svd_embeddings
        return with_embedding(params, reduce(rows, own.shape[1]))
    width, size = own.shape[1], _measure(init.vectors.values)
    if width <= rows.shape[1]:
        embedding = svd_embeddings(rows, width)
        embedding = embedding * (size / _measure(embedding))
    else:
        embedding = normal * (size / math.sqrt(width))
    embedding[init.vectors.subwords] = init.vectors.values
    return with_embedding(params, embedding)


def teacher_rows(
    init: EmbeddingInit, teacher: Params, count: int, states: np.ndarray | None
) -> np.ndarray:
    """The teacher's rows of the student's subwords, whose projection is trained: f32[count,D].

    Its word embeddings come first, and then the states without their mean, which would add one and
    the same vector to every subword. The root mean square of either is `_TEACHER_SIZE`.

    Args:
        teacher: parameters of the teacher that lends the embeddings.
        count: of the student's subwords.
        states: f[count,S] of the subwords in isolation; None: only word embeddings are projected.
    """
    table = np.asarray(teacher["embeddings"]["word_embeddings"]["embedding"])
    parts = [init.rows(table)[:count]]
    if states is not None:
        parts.append(states - states.mean(axis=0))
    sized = [part * np.float32(_TEACHER_SIZE / _measure(part)) for part in parts]
    return np.concatenate(sized, axis=1)


def scale_embeddings(params: Params, init: EmbeddingInit) -> Params:
    """The parameters with word embeddings multiplied to a root mean square of `init.scale`.

    The input weights of an LSTM are drawn for inputs of variance 1 (Glorot and Bengio, 2010). Rows
    of a teacher are smaller by ten times and more, as a layer norm follows them there. Of text
    vectors only the subwords that have one count, since the others may be random and small.
    """
    scale, embedding = init.scale, params["embeddings"]["word_embeddings"]["embedding"]
    if not scale:
        return params
    size = _measure(embedding[init.vectors.subwords] if init.kind == "vectors" else embedding)
    return with_embedding(params, embedding * np.float32(scale / size)) if size else params


def _measure(embedding: np.ndarray) -> float:
    """The root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(embedding))))


def with_embedding(params: Params, embedding: Array) -> Params:
    """Parameters, or what stands in their places, with other word embeddings."""
    word_embeddings = {"embedding": embedding}
    return {**params, "embeddings": {**params["embeddings"], "word_embeddings": word_embeddings}}
