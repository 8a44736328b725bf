"""The first parameters of a student from scratch."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from tests.models.samples import BILSTM, make_tiny_tokenizer
from xdistil import config
from xdistil.data.word_vectors import WordVectors
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.types import Params
from xdistil.student.embeddings import EmbeddingInit, embedding_scale, svd_embeddings
from xdistil.student.initialise import FromScratch

WIDTH = BILSTM.embedding_size
NONE = WordVectors(np.zeros(0, np.int32), np.zeros((0, WIDTH), np.float32), 0)
TABLE = 0.05 * np.random.default_rng(3).standard_normal((53, 20)).astype(np.float32)
TEACHER: Params = {"embeddings": {"word_embeddings": {"embedding": TABLE}}}


def make_start(
    kind: str, scale: float, rows: Callable[[np.ndarray], np.ndarray] = lambda table: table
) -> FromScratch:
    init = EmbeddingInit(kind, rows, NONE, scale)
    return FromScratch(BiLSTM(BILSTM, 3), make_tiny_tokenizer(), init)


def start(kind: str, scale: float) -> Params:
    return make_start(kind, scale).params(TEACHER, seed=0)


def embedding(params: Params) -> np.ndarray:
    return params["embeddings"]["word_embeddings"]["embedding"]


@pytest.mark.parametrize("kind", ["svd", "pca", "random"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_word_embeddings_are_multiplied_to_the_scale_and_nothing_else_is(kind, scale):
    params, as_it_comes = start(kind, scale), start(kind, 0.0)
    table = embedding(params)
    assert table.shape == (53, WIDTH)
    assert table.dtype == np.float32
    assert np.sqrt((table.astype(np.float64) ** 2).mean()) == pytest.approx(scale, rel=1e-6)
    factors = table / embedding(as_it_comes)
    np.testing.assert_allclose(factors, factors[0, 0], rtol=1e-5)
    for name in params.keys() - {"embeddings"}:
        jax.tree.map(np.testing.assert_array_equal, params[name], as_it_comes[name])


def test_without_a_scale_they_are_the_svd():
    np.testing.assert_array_equal(embedding(start("svd", 0.0)), svd_embeddings(TABLE, WIDTH))


def test_vectors_have_the_scale_and_random_rows_beside_them_are_small():
    """Without a teacher, subwords without a vector mean nothing."""
    draw = np.random.default_rng(4)
    known = np.arange(20, dtype=np.int32)
    vectors = WordVectors(known, 7 * draw.standard_normal((20, WIDTH)).astype(np.float32), 20)
    init = EmbeddingInit("vectors", lambda table: table, vectors, 0.5)
    table = embedding(FromScratch(BiLSTM(BILSTM, 3), make_tiny_tokenizer(), init).params({}, 0))
    assert np.sqrt((table[known] ** 2).mean()) == pytest.approx(0.5, rel=1e-6)
    np.testing.assert_allclose(table[known] / vectors.values, table[0, 0] / vectors.values[0, 0])
    rest = np.sqrt((table[20:] ** 2).mean())
    assert rest == pytest.approx(0.5 / np.sqrt(WIDTH), rel=0.1)  # the mean of few draws


def test_embeddings_of_nothing_but_zeros_stay(monkeypatch):
    monkeypatch.setitem(TEACHER["embeddings"]["word_embeddings"], "embedding", 0 * TABLE)
    np.testing.assert_array_equal(embedding(start("svd", 1.0)), np.zeros((53, WIDTH)))


@pytest.mark.parametrize(
    ("fields", "kind", "scale"),
    [
        ({}, "svd", 1.0),
        ({}, "vectors", 1.0),
        ({}, "random", 0.2),
        ({"embedding_scale": 0.3}, "random", 0.06),
        ({"embedding_scale": 0.3}, "svd", 0.3),
        ({"embedding_scale": 0.0}, "random", 0.0),
        ({"kind": "transformer"}, "svd", 0.0),
    ],
)
def test_random_rows_have_the_length_of_the_scale_and_transformers_have_none(fields, kind, scale):
    assert embedding_scale(config.Student(**fields), kind, width=25) == pytest.approx(scale)
