"""Smaller embeddings and vocabularies, against NumPy's SVD and the full tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models
from transformers import AutoTokenizer

from tests.models.samples import BERT, SPECIAL, make_params, make_wordpiece
from xdistil.data.examples import Example, Task
from xdistil.data.pieces import Pieces, Tokenizer, cut_pieces, make_tokenizer, save_tokenizer
from xdistil.errors import InputError
from xdistil.models.bert import Encoder
from xdistil.models.compress import (
    pca_embeddings,
    seen_vocabulary,
    svd_embeddings,
    trim_embeddings,
    trim_tokenizer,
)

TAGGING = Task("tagging", ("O", "B-PER", "I-PER"))
WORDS = ["ab", "abc", "##bc", "##cd", "##abcd", "dab", "bad", "##da", "cab", "##ba"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Words of four letters; special pieces in the middle, so that every id moves."""
    letters = "abcd"
    return make_wordpiece([*WORDS, *letters, *SPECIAL, *("##" + letter for letter in letters)])


def cut(tokenizer: Tokenizer, *sentences: str) -> Pieces:
    examples = [Example(tuple(s.split(" ")), None, "und") for s in sentences]
    return cut_pieces(examples, TAGGING, tokenizer, 64)


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


def test_pca_spends_no_component_on_what_all_pieces_share() -> None:
    """By hand: four points (10, 10) plus or minus (3, -4)/5; the SVD spends its first on the 10."""
    spread = np.array([1.0, -1.0, 2.0, -2.0])
    points = 10 + np.outer(spread, [0.6, -0.8])
    np.testing.assert_allclose(pca_embeddings(points, 1)[:, 0], -spread, atol=1e-5)
    assert np.ptp(svd_embeddings(points, 1)) < 1


def test_kept_are_occurring_pieces_specials_and_single_characters(tokenizer: Tokenizer) -> None:
    kept = seen_vocabulary(tokenizer, cut(tokenizer, "abc"), cut(tokenizer, "dabcd", "zzz"))
    vocabulary = tokenizer.backend.get_vocab()
    singles = [piece for piece in vocabulary if len(piece.removeprefix("##")) == 1]
    # "abc" is one piece, "dabcd" is "dab" and "##cd", "zzz" is unknown.
    expected = {"abc", "dab", "##cd", *SPECIAL, *singles}
    assert {piece for piece, id in vocabulary.items() if id in kept} == expected
    assert kept.dtype == np.int32
    assert (np.diff(kept) > 0).all()


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(st.text("abcd ABz", min_size=1, max_size=30), min_size=1, max_size=5))
def test_ids_map_one_to_one_on_the_text_that_was_seen(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    pieces = cut(tokenizer, *texts)
    kept = seen_vocabulary(tokenizer, pieces)
    small = trim_tokenizer(tokenizer, kept)
    again = cut(small, *texts)
    assert small.vocabulary_size == len(kept)
    np.testing.assert_array_equal(kept[again.tokens], pieces.tokens)
    np.testing.assert_array_equal(again.start, pieces.start)


def test_unseen_words_fall_back_to_shorter_pieces(tokenizer: Tokenizer) -> None:
    small = trim_tokenizer(tokenizer, seen_vocabulary(tokenizer, cut(tokenizer, "abc")))
    assert tokenizer.backend.encode("cabba").tokens == ["[CLS]", "cab", "##ba", "[SEP]"]
    assert small.backend.encode("cabba").tokens == [
        "[CLS]", "c", "##a", "##b", "##b", "##a", "[SEP]",
    ]  # fmt: skip


def test_special_ids_follow_and_pairs_keep_their_template(tokenizer: Tokenizer) -> None:
    small = trim_tokenizer(tokenizer, seen_vocabulary(tokenizer, cut(tokenizer, "abc")))
    vocabulary = small.backend.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert (small.cls, small.sep) == (vocabulary["[CLS]"], vocabulary["[SEP]"])
    assert (small.pad, small.unk) == (vocabulary["[PAD]"], vocabulary["[UNK]"])
    encoding = small.backend.encode("abc", "a")
    assert encoding.ids == [vocabulary[t] for t in ("[CLS]", "abc", "[SEP]", "a", "[SEP]")]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


def test_autotokenizer_opens_the_trimmed_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    small = trim_tokenizer(tokenizer, seen_vocabulary(tokenizer, cut(tokenizer, "abc dabcd")))
    save_tokenizer(small, tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened("ABC dabcd")["input_ids"] == small.backend.encode("ABC dabcd").ids
    assert (opened.pad_token_id, opened.cls_token_id) == (small.pad, small.cls)
    assert opened.decode([small.cls]) == "[CLS]"


def test_trimming_leaves_the_tokenizer_it_was_given_alone(tokenizer: Tokenizer) -> None:
    before = tokenizer.backend.to_str()
    trim_tokenizer(tokenizer, seen_vocabulary(tokenizer, cut(tokenizer, "abc")))
    assert tokenizer.backend.to_str() == before


def test_other_kinds_of_tokenizer_are_refused() -> None:
    backend = tokenizers.Tokenizer(models.BPE({"a": 0, "[UNK]": 1}, [], unk_token="[UNK]"))
    other = make_tokenizer(backend, {"unk_token": "[UNK]", "pad_token": "[UNK]"})
    with pytest.raises(InputError, match=r"WordPiece.*BPE.*student\.vocabulary=all"):
        seen_vocabulary(other, cut(other, "a"))


def test_trimmed_embeddings_are_the_kept_rows_and_the_rest_is_untouched() -> None:
    params = make_params(Encoder(BERT, "tagging", 3))
    kept = np.array([2, 3, 11], np.int32)
    trimmed = trim_embeddings(params, kept)
    table = params["embeddings"]["word_embeddings"]["embedding"]
    np.testing.assert_array_equal(
        trimmed["embeddings"]["word_embeddings"]["embedding"], table[[2, 3, 11]]
    )
    assert len(table) == 53
    assert trimmed["encoder"] is params["encoder"]
    assert (
        trimmed["embeddings"]["position_embeddings"] is params["embeddings"]["position_embeddings"]
    )
