"""Differences of two systems against scipy's tests, by hand, and by their symmetries."""

import numpy as np
import pytest
import scipy.stats

from xdistil.evaluation import comparison
from xdistil.evaluation.comparison import adjust, compare_systems


def make_counts(seed: int, texts: int, seeds: int = 1, skill: float = 0.6) -> np.ndarray:
    """Counts of a system that finds an entity with the probability `skill`."""
    generator = np.random.default_rng(seed)
    wanted = np.random.default_rng(99).integers(0, 4, (1, texts)).repeat(seeds, axis=0)
    right = generator.binomial(wanted, skill)
    found = right + generator.binomial(1, 0.3, wanted.shape)
    return np.stack([right, found, wanted], axis=2)


def pool(counts: np.ndarray) -> float:
    right, found, wanted = counts.sum(0)
    return 2 * right / (found + wanted)


def test_p_is_that_of_the_exact_permutation_test():
    first, second = make_counts(1, 12)[0], make_counts(2, 12, skill=0.9)[0]
    both = np.concatenate([first, second])

    def difference(a, b, axis):
        def score(indices):
            sums = both[indices].sum(-2)
            return 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])

        return score(b.astype(int)) - score(a.astype(int))

    exact = scipy.stats.permutation_test(
        (np.arange(12), np.arange(12, 24)),
        difference,
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    (overall, row) = compare_systems(["en"] * 12, first[None], second[None])
    assert row.second - row.first == pytest.approx(exact.statistic)
    assert 0.01 < exact.pvalue < 0.5
    # Of 10,000 permutations a share is within four standard errors.
    assert abs(row.p - exact.pvalue) < 4 * (exact.pvalue * (1 - exact.pvalue) / 10_000) ** 0.5
    assert (overall.p, overall.low, overall.high) == (row.p, row.low, row.high)


def test_the_interval_is_that_of_the_bootstrap():
    first, second = make_counts(3, 300)[0], make_counts(4, 300, skill=0.7)[0]

    def difference(indices, axis):
        a, b = first[indices].sum(-2), second[indices].sum(-2)
        return 2 * b[..., 0] / (b[..., 1] + b[..., 2]) - 2 * a[..., 0] / (a[..., 1] + a[..., 2])

    theirs = scipy.stats.bootstrap(
        (np.arange(300),), difference, method="percentile", n_resamples=10_000, batch=500, rng=0
    )
    (_, row) = compare_systems(["en"] * 300, first[None], second[None])
    width = row.high - row.low
    assert row.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert row.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert row.low < row.second - row.first < row.high


def test_texts_and_kinds_of_texts_are_drawn_alike(monkeypatch):
    """And a pair has the same numbers among others as alone."""
    monkeypatch.setattr(comparison, "RESAMPLES", 4000)
    languages = ["de"] * 60 + ["en"] * 40
    pairs = [
        (make_counts(3, 100, seeds), make_counts(4, 100, seeds, skill=0.7)) for seeds in (1, 2)
    ]
    found = []
    for few in (0, 10**9):  # kinds, texts
        monkeypatch.setattr(comparison, "_FEW", few)
        rows = comparison.compare_pairs(languages, pairs)
        assert rows == [compare_systems(languages, *pair) for pair in pairs]
        found.append([row for of_pair in rows for row in of_pair])
    for one, other in zip(*found, strict=True):
        assert (one.first, one.second, one.p) == (other.first, other.second, other.p)
        assert one.low == pytest.approx(other.low, abs=0.06 * (one.high - one.low))
        assert one.high == pytest.approx(other.high, abs=0.06 * (one.high - one.low))


def test_scores_are_means_over_seeds_and_then_over_languages():
    first, second = make_counts(5, 40, seeds=3), make_counts(6, 40, seeds=3, skill=0.8)
    languages = ["de"] * 10 + ["en"] * 30
    overall, *rows = compare_systems(languages, first, second)
    for row in rows:
        kept = [name == row.language for name in languages]
        assert row.first == pytest.approx(np.mean([pool(counts[kept]) for counts in first]))
        assert row.second == pytest.approx(np.mean([pool(counts[kept]) for counts in second]))
        assert row.texts == sum(kept)
    assert {row.language for row in rows} == {"de", "en"}
    assert overall.first == pytest.approx(np.mean([row.first for row in rows]))
    assert overall.second == pytest.approx(np.mean([row.second for row in rows]))
    assert rows[0].second - rows[0].first >= rows[1].second - rows[1].first


def test_swapping_the_systems_turns_the_signs():
    first, second = make_counts(7, 200), make_counts(8, 200, skill=0.9)
    there, back = (
        compare_systems(["en"] * 200, *pair)[0] for pair in ((first, second), (second, first))
    )
    assert there.verdict == "better"
    assert back.verdict == "worse"
    assert (back.first, back.second) == (there.second, there.first)
    assert back.low == pytest.approx(-there.high, abs=0.02)
    assert back.p == there.p


def test_equal_systems_do_not_differ():
    counts = make_counts(9, 50)
    overall, row = compare_systems(["en"] * 50, counts, counts)
    assert (row.p, row.low, row.high, row.verdict) == (1.0, 0.0, 0.0, "undecided")
    assert overall.verdict == "undecided"


def test_a_language_without_entities_is_left_out():
    first, second = make_counts(1, 20), make_counts(2, 20)
    for counts in (first, second):
        counts[:, 10:, 2] = counts[:, 10:, 0] = 0
    overall, *rows = compare_systems(["de"] * 10 + ["en"] * 10, first, second)
    assert [row.language for row in rows] == ["de"]
    assert overall.first == rows[0].first
    with pytest.raises(ValueError, match="no text has a gold entity"):
        compare_systems(["en"] * 10, first[:, 10:], second[:, 10:])


def test_seeds_that_disagree_widen_the_interval():
    one = make_counts(10, 150)
    better, worse = make_counts(11, 150, skill=0.9), make_counts(12, 150, skill=0.4)
    mixed = np.concatenate([better, worse])
    _, row = compare_systems(["en"] * 150, np.concatenate([one, one]), mixed)
    _, up = compare_systems(["en"] * 150, one, better)
    _, down = compare_systems(["en"] * 150, one, worse)
    # Drawn twice, the one seed or the other is the whole sample.
    assert row.high > (up.second - up.first) - 0.02
    assert row.low < (down.second - down.first) + 0.02


def test_holms_correction_by_hand():
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, and never below the one before.
    assert adjust([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust([0.6, 0.9]) == pytest.approx([1.0, 1.0])


def test_false_alarms_are_as_rare_as_the_level(monkeypatch):
    """Two systems of equal skill: few of 40 pairs are called different."""
    monkeypatch.setattr(comparison, "RESAMPLES", 500)
    alarms = 0
    for seed in range(40):
        pair = make_counts(2 * seed + 100, 60), make_counts(2 * seed + 101, 60)
        alarms += compare_systems(["en"] * 60, *pair, seed=seed)[0].verdict != "undecided"
    assert alarms <= 7  # of 40 at 0.05 there are more in 0.1% of cases
