"""Smaller embeddings against NumPy's SVD, and models of fewer subwords against the whole ones."""

import dataclasses

import numpy as np
import pytest

from tests.models.samples import (
    BERT,
    BILSTM,
    DEBERTA,
    ELECTRA,
    ROBERTA,
    make_encoder,
    make_params,
    make_segments,
    pack_row,
    run,
)
from xdistil.errors import InputError
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.trim import trim_model
from xdistil.models.types import Model
from xdistil.student.embeddings import pca_embeddings, svd_embeddings


def test_svd_is_numpys_up_to_the_signs() -> None:
    embedding = np.random.default_rng(0).standard_normal((40, 12)).astype(np.float32)
    left, scales, _ = np.linalg.svd(embedding.astype(np.float64), full_matrices=False)
    ours = svd_embeddings(embedding, 5)
    assert ours.shape == (40, 5)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.abs(ours), np.abs(left[:, :5] * scales[:5]), atol=1e-5)


def test_svd_of_full_width_keeps_all_inner_products() -> None:
    embedding = np.random.default_rng(1).standard_normal((9, 6))
    full = svd_embeddings(embedding, 6)
    np.testing.assert_allclose(full @ full.T, embedding @ embedding.T, atol=1e-5)


def test_svd_signs_do_not_hang_on_those_of_the_decomposition() -> None:
    # By hand: E = u s v^T with v = (3, -4)/5; the largest entry of v is made positive.
    u, v = np.array([1.0, 2.0, 2.0]) / 3, np.array([3.0, -4.0]) / 5
    np.testing.assert_allclose(svd_embeddings(7 * np.outer(u, v), 1)[:, 0], -7 * u, atol=1e-6)


def test_svd_wider_than_the_embedding_is_refused() -> None:
    with pytest.raises(InputError, match="width 6 have no SVD of width 7"):
        svd_embeddings(np.ones((9, 6)), 7)


def test_pca_is_numpys_svd_of_what_differs_from_the_mean() -> None:
    embedding = np.random.default_rng(2).standard_normal((40, 12)).astype(np.float32) + 3
    centred = embedding.astype(np.float64) - embedding.astype(np.float64).mean(axis=0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    ours = pca_embeddings(embedding, 5)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.abs(ours), np.abs(left[:, :5] * scales[:5]), atol=1e-5)
    np.testing.assert_allclose(ours.mean(axis=0), 0, atol=1e-6)


def test_pca_spends_no_component_on_what_all_subwords_share() -> None:
    """By hand: four points (10, 10) plus or minus (3, -4)/5; the SVD spends its first on the 10."""
    shard_params = np.array([1.0, -1.0, 2.0, -2.0])
    points = 10 + np.outer(shard_params, [0.6, -0.8])
    np.testing.assert_allclose(pca_embeddings(points, 1)[:, 0], -shard_params, atol=1e-5)
    assert np.ptp(svd_embeddings(points, 1)) < 1


def make_model(config) -> Model:
    if isinstance(config, BiLSTMConfig):
        return BiLSTM(config, 3)
    return make_encoder(config, "tagging", 3)


@pytest.mark.parametrize("config", [BERT, ELECTRA, ROBERTA, DEBERTA, BILSTM])
@pytest.mark.parametrize("stays", [True, False], ids=["padding stays", "padding moves"])
def test_a_model_of_fewer_subwords_answers_the_same(config, stays: bool) -> None:
    model = make_model(dataclasses.replace(config, padding_id=4))
    params = make_params(model)
    batch = pack_row(make_segments(), padding_id=4)
    others = np.setdiff1d(np.append(batch.tokens, 51), [4])
    # RoBERTa's positions are counted from the padding subword.
    kept = np.insert(others, 4 if stays else 1, 4).astype(np.int32)
    small, small_params = trim_model(model, params, kept)
    assert small.config.vocabulary_size == len(kept) < 53
    assert small.config.padding_id == (4 if stays else 1)
    new = np.zeros(53, np.int32)
    new[kept] = np.arange(len(kept))
    expected = run(model, params, batch)
    got = run(small, small_params, batch._replace(tokens=new[batch.tokens]))
    np.testing.assert_array_equal(got.logits, expected.logits)
    for one, other in zip(got.hidden, expected.hidden, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_word_embeddings_are_cut() -> None:
    params = make_params(make_model(BERT))
    table = params["embeddings"]["word_embeddings"]["embedding"]
    _, trimmed = trim_model(make_model(BERT), params, np.array([2, 4, 11], np.int32))
    np.testing.assert_array_equal(
        trimmed["embeddings"]["word_embeddings"]["embedding"], table[[2, 4, 11]]
    )
    assert len(params["embeddings"]["word_embeddings"]["embedding"]) == 53
    assert trimmed["encoder"] is params["encoder"]
    positions = trimmed["embeddings"]["position_embeddings"]
    assert positions is params["embeddings"]["position_embeddings"]


def test_a_model_without_its_padding_subword_is_refused() -> None:
    model = make_model(BERT)
    with pytest.raises(InputError, match=r"padding id 4 is not among the subwords .* pad_token_id"):
        trim_model(model, make_params(model), np.array([1, 2], np.int32))
