"""Rows of subwords that occur and of those that do not."""

import numpy as np
import pytest

from tests.models.samples import BILSTM
from tests.student.test_initialise import TABLE, TEACHER, WIDTH, embedding, make_start
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.subword_means import SubwordMeans
from xdistil.student.contextual import complete_means
from xdistil.student.design import check_width
from xdistil.student.embeddings import pca_embeddings


def means(subwords: list[int], values: list[list[float]]) -> SubwordMeans:
    return SubwordMeans(np.array(subwords, np.int32), np.array(values, np.float32))


def test_a_subword_without_a_state_is_predicted_by_hand():
    # Word embeddings 1 and 3 have states (0, 8) and (4, 0); their centres are 2 and (2, 4). The sum
    # of squares is 2 and the penalty its mean, 1: slopes (4, -8) / (2 + 1). 5 lies 3 above.
    table = np.array([[5.0], [1.0], [3.0]])
    rows = complete_means(means([1, 2], [[0, 8], [4, 0]]), table)
    np.testing.assert_array_equal(rows[1:], [[0, 8], [4, 0]])
    np.testing.assert_allclose(rows[0], [2 + 3 * 4 / 3, 4 - 3 * 8 / 3], rtol=1e-6)
    assert rows.dtype == np.float32


def test_a_linear_relation_of_many_subwords_is_found():
    rng = np.random.default_rng(0)
    table, matrix = rng.standard_normal((3000, 4)), rng.standard_normal((4, 6))
    states = table @ matrix + 2
    known = rng.permutation(3000)[:2900]
    rows = complete_means(SubwordMeans(known, states[known].astype(np.float32)), table)
    np.testing.assert_allclose(rows, states, atol=0.05)


@pytest.mark.parametrize("known", [[0], [0, 1]], ids=["one", "two alike"])
def test_word_embeddings_that_predict_nothing_leave_the_mean(known: list[int]):
    rows = complete_means(means(known, [[1, 2]] * len(known)), np.array([[3.0], [3.0], [9.0]]))
    np.testing.assert_array_equal(rows[2], [1, 2])


def test_all_subwords_with_a_state_need_no_word_embedding():
    rows = complete_means(means([1, 0], [[1, 2], [3, 4]]), np.full((2, 1), np.nan))
    np.testing.assert_array_equal(rows, [[3, 4], [1, 2]])


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_student_starts_from_the_pca_of_states(scale: float):
    """As large as the teacher's word embeddings, or in the size that the config asks for."""
    rng = np.random.default_rng(4)
    states = 5 + rng.standard_normal((50, 9)).astype(np.float32)
    found = SubwordMeans(np.arange(3, 53, dtype=np.int32), states)
    table = embedding(make_start("contextual", scale).params(TEACHER, 0, found))
    pca = pca_embeddings(complete_means(found, TABLE), WIDTH)
    size = scale or np.sqrt((TABLE**2).mean())
    np.testing.assert_allclose(table, pca * (size / np.sqrt((pca**2).mean())), rtol=1e-4, atol=1e-6)


def test_the_states_of_kept_subwords_are_taken():
    found = SubwordMeans(np.arange(53, dtype=np.int32), np.eye(53, 9, dtype=np.float32))
    kept = np.arange(53)[::-1][: BILSTM.vocabulary_size]
    start = make_start("contextual", 0.0, lambda table: table[kept])
    table = embedding(start.params(TEACHER, 0, found))
    pca = pca_embeddings(found.values[kept], WIDTH)
    factors = table[np.abs(pca) > 1e-3] / pca[np.abs(pca) > 1e-3]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-4)


def test_states_may_be_wider_than_word_embeddings_and_bound_the_students():
    shape = EncoderConfig(embedding_size=128, hidden_size=384)
    check_width("contextual", 384, shape)
    with pytest.raises(InputError, match=r"385 cannot be a PCA .* hidden states, which are 384"):
        check_width("contextual", 385, shape)
    with pytest.raises(InputError, match=r"129 cannot be a truncated SVD .* which are 128 wide"):
        check_width("pca", 129, shape)
    check_width("random", 999, shape)
