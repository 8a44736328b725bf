"""Sampling of languages: shares by the formula, sizes kept, rows without repetition."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.test_packing import make_subwords
from xdistil.data.batches import make_batches
from xdistil.data.examples import Example
from xdistil.data.packing import load_packed, pack_languages, save_packed
from xdistil.data.sampling import draw_rows, draw_weighted, share_rows, weigh_rows

FREE = np.zeros(2, bool)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    # 100 rows of 900 sentences and 100 of 100: at T=2 weights 30 and 10, at T=1 900 and 100, so
    # that a row of the first counts nine times one of the second.
    [(1.0, [100, 100]), (2.0, [50, 150]), (1e9, [20, 180])],
)
def test_shares_of_sentences_go_by_the_root_of_their_number(temperature, expected):
    rows, sentences = np.array([100, 100]), np.array([900, 100])
    assert share_rows(rows, sentences, temperature, FREE).tolist() == expected


def test_texts_without_a_language_keep_their_rows():
    rows, sentences = np.array([90, 10, 40]), np.array([90, 10, 40])
    quota = share_rows(rows, sentences, 2.0, np.array([False, False, True]))
    assert quota.tolist() == [75, 25, 40]  # 100 rows as 9.49 : 3.16, that is 3 : 1
    assert share_rows(rows, sentences, 2.0, np.ones(3, bool)).tolist() == [90, 10, 40]


@example([(1, 20), *[(1, 1)] * 8], 1e6)  # a share of a twentieth of a row, and none to spare
@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=9),
    st.floats(1.0, 1e6),
)
def test_an_epoch_keeps_its_size_and_no_language_is_left_out(sizes, temperature):
    rows = np.array([count for count, _ in sizes])
    sentences = rows * np.array([each for _, each in sizes])
    quota = share_rows(rows, sentences, temperature, np.zeros(len(rows), bool))
    assert quota.sum() == rows.sum()
    assert quota.min() >= 1


def test_weighed_rows_are_divided_by_their_factors():
    quota, factors = np.array([60, 30, 10, 7]), np.array([1.0, 2.0, 4.0, 9.0])
    fixed = np.array([False, False, False, True])
    assert weigh_rows(quota, factors, fixed).tolist() == [38, 37, 25, 7]  # 60 : 60 : 40 of 100
    assert weigh_rows(quota, np.ones(4), fixed).tolist() == quota.tolist()
    assert weigh_rows(quota, factors, np.ones(4, bool)).tolist() == quota.tolist()
    scarce = weigh_rows(np.array([98, 2]), np.array([1e9, 1.0]), np.zeros(2, bool))
    assert scarce.tolist() == [99, 1]
    assert quota.tolist() == [60, 30, 10, 7]


def test_no_row_is_repeated_before_all_others_of_its_language():
    rows, quota = np.array([7, 3]), np.array([3, 7])
    drawn = [draw_rows(rows, quota, 5, epoch) for epoch in range(7)]
    for epoch, indices in enumerate(drawn):
        assert len(indices) == 10
        assert sum(indices < 7) == 3
        assert sorted(draw_rows(rows, quota, 5, epoch)) == sorted(indices)
        seen = Counter(np.concatenate(drawn[: epoch + 1]).tolist())
        for members in (range(7), range(7, 10)):
            counts = [seen[row] for row in members]
            assert max(counts) - min(counts) <= 1
    assert [sorted(each) for each in drawn] != [sorted(drawn[0])] * 7
    assert drawn[0].tolist() != draw_rows(rows, quota, 6, 0).tolist()


def test_weighted_rows_are_drawn_as_often_as_they_are_due():
    rows, quota = np.array([4, 2]), np.array([3, 3])
    weights = np.array([1.0, 1.0, 2.0, 4.0, 3.0, 1.0])
    due = np.array([0.375, 0.375, 0.75, 1.5, 2.25, 0.75])
    counts = np.zeros(6)
    for epoch in range(4000):
        drawn = draw_weighted(rows, quota, weights, 5, epoch)
        found = np.bincount(drawn, minlength=6)
        assert (found[:4].sum(), found[4:].sum()) == (3, 3)
        assert (np.floor(due) <= found).all()
        assert (found <= np.ceil(due)).all()
        counts += found
    assert counts / 4000 == pytest.approx(due, abs=0.04)  # five standard deviations


def test_weighted_rows_depend_on_seed_and_epoch_alone():
    rows = np.array([50])
    weights = np.random.default_rng(0).uniform(0.5, 3.0, 50)
    first = draw_weighted(rows, rows, weights, 5, 0).tolist()
    assert first == draw_weighted(rows, rows, weights, 5, 0).tolist()
    assert first != sorted(first)
    others = [draw_weighted(rows, rows, weights, *key).tolist() for key in ((5, 1), (6, 0))]
    assert first not in others
    assert sorted(draw_weighted(rows, rows, np.ones(50), 5, 0).tolist()) == list(range(50))


def make_rows(temperature: float):
    """Twelve sentences of two subwords in German, then three in French, two to a row."""
    subwords = make_subwords([2] * 15)
    examples = [Example((str(i),), None, "de" if i < 12 else "fr") for i in range(15)]
    return subwords, examples, pack_languages(subwords, 4, 0, examples, temperature)


def test_a_row_has_one_language_and_every_segment_is_in_a_row():
    subwords, examples, rows = make_rows(3.0)
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    assert rows.languages.tolist() == [6, 2]
    assert sorted(rows.subword[rows.subword >= 0]) == list(range(30))
    for row, language in zip(rows.subword, ["de"] * 6 + ["fr"] * 2, strict=True):
        assert {examples[owner[subword]].language for subword in row[row >= 0]} == {language}


def test_batches_read_the_languages_by_their_quota_from_any_step_on(tmp_path):
    subwords, _, rows = make_rows(1e9)
    save_packed(tmp_path / "packed", [subwords], lambda each, where: rows)
    subwords, rows = load_packed(tmp_path / "packed")
    assert rows.quota.tolist() == [3, 5]  # 6 rows of 12 and 2 of 3: as 6/12 to 2/3
    settings_ = {"seed": 1, "padding_id": 0}
    whole = [
        batch.tokens
        for batch, _ in make_batches(subwords, rows, lambda indices: {}, 2, 3.0, **settings_)
    ]
    assert len(whole) == 12
    for epoch in range(3):
        tokens = np.concatenate(whole[4 * epoch : 4 * epoch + 4])
        assert sum(tokens[:, 0] >= 100 + 24) == 5  # make_subwords numbers its subwords from 100
    rest = make_batches(subwords, rows, lambda indices: {}, 2, 3.0, first_step=5, **settings_)
    for (batch, _), expected in zip(rest, whole[5:], strict=True):
        np.testing.assert_array_equal(batch.tokens, expected)


@pytest.mark.parametrize(("grouped", "due"), [(True, 6 * 9 / 14), (False, 8 * 9 / 18)])
def test_batches_follow_the_weights_from_any_step(grouped, due):
    """Within each language as often as its quota says, where languages have quotas."""
    subwords, _, rows = make_rows(1.0)
    rows = rows if grouped else replace(rows, quota=np.zeros(0, np.int64))
    weights = np.array([9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0])

    def read(first: int) -> list[list[int]]:
        settings_ = {"seed": 0, "padding_id": 0, "first_step": first, "weights": weights}
        batches = make_batches(subwords, rows, lambda at: {"rows": at}, 4, 3.0, **settings_)
        return [columns["rows"].tolist() for _, columns in batches]

    every = read(0)
    assert len(every) == 6
    assert read(3) == every[3:]
    for epoch in range(3):
        counts = np.bincount(every[2 * epoch] + every[2 * epoch + 1], minlength=8)
        assert abs(counts[0] - due) < 1
        assert counts[:6].sum() == 6 or not grouped
