"""Sampling: the rows of an epoch in which some languages or texts are read more than others.

With a temperature T, language l with n_l sentences is drawn in proportion to n_l^(1/T): T = 1
leaves languages as they are, a large T makes them equal (XLM-R, https://arxiv.org/abs/1911.02116,
section 3.1, uses 1/T = 0.3; mBERT 0.7). Rows may also have weights of their own. An epoch keeps its
number of rows. The rows depend only on (seed, epoch), so a run resumes at any step.
"""

import numpy as np


def share_rows(
    rows: np.ndarray, sentences: np.ndarray, temperature: float, fixed: np.ndarray
) -> np.ndarray:
    """Rows i64[L] of each language in an epoch; their sum is the number of rows.

    Args:
        rows: i64[L] rows of each language, at least one.
        sentences: i64[L] sentences in them.
        fixed: bool[L] languages whose rows are read once each, at any temperature.
    """
    free = ~fixed
    quota = np.where(fixed, rows, 0)
    if not free.any():
        return quota
    weight = sentences[free] ** (1 / temperature) * rows[free] / sentences[free]
    quota[free] = _divide(int(rows[free].sum()), weight)
    return quota


def weigh_rows(quota: np.ndarray, factors: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Rows i64[L] of each language in an epoch, drawn so many times as often as `quota` says; their
    sum stays.

    Args:
        factors: f64[L], above 0.
        fixed: bool[L] languages whose rows stay.
    """
    weighed, free = quota.copy(), ~fixed
    if free.any():
        weighed[free] = _divide(int(quota[free].sum()), quota[free] * factors[free])
    return weighed


def _divide(total: int, weight: np.ndarray) -> np.ndarray:
    """Whole numbers i64[L], at least 1, in proportion to weights f64[L]; their sum is the total."""
    exact = total * weight / weight.sum()
    whole = np.maximum(np.floor(exact), 1).astype(np.int64)
    # The largest remainders get the rows that are left; surplus rows are taken from the largest.
    left = int(total - whole.sum())
    order = np.argsort(whole - exact, kind="stable")
    while left > 0:
        take = order[:left]
        whole[take] += 1
        left -= len(take)
    while left < 0:
        whole[int(np.argmax(whole))] -= 1
        left += 1
    return whole


def draw_rows(rows: np.ndarray, quota: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Indices i64[sum of quota] of an epoch's rows, shuffled.

    The rows of a language form a sequence of permutations, from which every epoch takes the next
    ones: no row is repeated before all others of its language are read.

    Args:
        rows: i64[L] rows of each language; they are grouped by language.
        quota: i64[L] as `share_rows` returns it.
    """
    first = np.cumsum(rows) - rows
    drawn = []
    for language, (count, taken) in enumerate(zip(rows.tolist(), quota.tolist(), strict=True)):
        begin = epoch * taken
        for lap in range(begin // count, -(-(begin + taken) // count)):
            # NumPy drops zeros at the end of a seed: without +1 it could equal (seed, epoch) below.
            order = np.random.default_rng([seed, language + 1, lap + 1]).permutation(count)
            part = order[max(begin - lap * count, 0) : begin + taken - lap * count]
            drawn.append(first[language] + part)
    return np.random.default_rng([seed, epoch]).permutation(np.concatenate(drawn))


def draw_weighted(
    rows: np.ndarray, quota: np.ndarray, weights: np.ndarray, seed: int, epoch: int
) -> np.ndarray:
    """Indices i64[sum of quota] of an epoch's rows, shuffled, in proportion to weights.

    The sampling is systematic: a row that is due 1.3 times in the mean is drawn once or twice, and
    every language exactly as often as its quota says.

    Args:
        rows: i64[L] rows of each language; they are grouped by language.
        quota: i64[L] rows of each language in an epoch.
        weights: f64[R] of each row, above 0.
    """
    blocks = np.split(weights, np.cumsum(rows)[:-1])
    due = [
        taken - count + count * np.cumsum(block) / np.cumsum(block)[-1]
        for block, count, taken in zip(blocks, quota, np.cumsum(quota), strict=True)
    ]
    draw = np.random.default_rng([seed, epoch])
    passed = np.floor(np.concatenate([[0.0], *due]) + draw.uniform()).astype(np.int64)
    return draw.permutation(np.repeat(np.arange(len(weights)), np.diff(passed)))
