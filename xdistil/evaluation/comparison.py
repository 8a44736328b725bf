"""Two systems on the same texts: differences by language, their intervals and their significance.

Counts of a system are i64[S,N,3]: for each of S seeds and N texts the numbers of right, found and
wanted entities, as `metrics.count_matches` returns them. A score is F1 over all entities of a
language (accuracy in classification), the mean of the seeds; that of all languages is the mean over
languages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xdistil.evaluation.metrics import compute_f1

RESAMPLES = 10_000
LEVEL = 0.95  # of the intervals; 1 - LEVEL is the p below which a difference is called one
_BLOCK = 2**24  # random numbers in memory at once

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Difference:
    """The second system beside the first, on one language or on all; scores are fractions."""

    language: str  # empty: the mean over languages
    texts: int
    first: float
    second: float
    low: float  # of the interval of second - first
    high: float
    p: float  # two-sided
    verdict: Verdict  # on the second


def compare_systems(
    languages: Sequence[str], first: np.ndarray, second: np.ndarray, seed: int = 0
) -> list[Difference]:
    """The difference on all languages, and in each; largest gain first.

    The interval is the percentile bootstrap (Efron & Tibshirani 1993): texts are drawn with
    replacement within each language, and seeds as well where there are several. p is that of the
    paired permutation test: the outputs of the two systems are swapped at random, text by text
    (Yeh 2000, C00-2137). The verdicts on languages keep the probability of any wrong one below
    1 - LEVEL (Holm 1979). Languages without a gold entity are left out.

    Args:
        languages: of the N texts.
        first, second: i64[S,N,3]; seed s of one is paired with seed s of the other.
        seed: of the resampling.

    Raises:
        ValueError: the shapes differ, or nothing can be scored.
    """
    if first.shape != second.shape or first.shape[1:] != (len(languages), 3):
        raise ValueError(f"counts {first.shape} and {second.shape} of {len(languages)} texts")
    generator = np.random.default_rng(seed)
    of = np.asarray(languages)
    seeds = len(first)
    drawn = generator.integers(0, seeds, (RESAMPLES, seeds))
    named, points, resampled, permuted = [], [], [], []
    for language in np.unique(of):
        pair = np.stack([first[:, of == language], second[:, of == language]])  # [2,S,n,3]
        if not pair[..., 2].any():
            continue
        named.append(str(language))
        points.append(compute_f1(pair.sum(2)).mean(1))
        scores = compute_f1(_draw_texts(pair, generator))  # [R,2,S]
        chosen = np.take_along_axis(scores, drawn[:, None], axis=2).mean(2)
        resampled.append(chosen[:, 1] - chosen[:, 0])
        swapped = compute_f1(_swap_texts(pair, generator)).mean(2)
        permuted.append(swapped[:, 1] - swapped[:, 0])
    if not named:
        raise ValueError("no text has a gold entity")
    sizes = [int(np.count_nonzero(of == name)) for name in named]
    each = [_describe(*row) for row in zip(named, sizes, points, resampled, permuted, strict=True)]
    overall = _describe(
        "", sum(sizes), *(np.mean(x, axis=0) for x in (points, resampled, permuted))
    )
    ordered = sorted(_judge(each), key=lambda row: row.first - row.second)
    return [*_judge([overall]), *ordered]


def adjust(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p f64[N] of N tests: rejecting those below a level keeps the probability of
    any wrong rejection below it."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _draw_texts(pair: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sums i64[R,2,S,3] of counts [2,S,n,3] over n texts drawn with replacement."""
    flat = np.moveaxis(pair, 2, 0).reshape(pair.shape[2], -1)
    # Texts with the same counts are equivalent: the number of each kind is drawn.
    kinds, sizes = np.unique(flat, axis=0, return_counts=True)
    shares = sizes / sizes.sum()
    sums = [
        generator.multinomial(sizes.sum(), shares, count) @ kinds for count in _split(len(kinds))
    ]
    return np.concatenate(sums).reshape(-1, 2, pair.shape[1], 3)


def _swap_texts(pair: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sums i64[R,2,S,3] after swapping the systems of each text and seed with probability 1/2."""
    sums = pair.sum(2)
    moved = np.zeros((RESAMPLES, *sums.shape[1:]), np.int64)  # [R,S,3] from the first to the second
    for number in range(pair.shape[1]):
        kinds, sizes = np.unique(pair[0, number] - pair[1, number], axis=0, return_counts=True)
        moved[:, number] = generator.binomial(sizes, 0.5, (RESAMPLES, len(sizes))) @ kinds
    return np.stack([sums[0] - moved, sums[1] + moved], axis=1)


def _split(width: int) -> list[int]:
    """RESAMPLES in blocks whose random numbers, `width` each, fit in memory."""
    block = max(1, _BLOCK // width)
    return [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]


def _describe(
    language: str, texts: int, scores: np.ndarray, resampled: np.ndarray, permuted: np.ndarray
) -> Difference:
    first, second = map(float, scores)
    rest = 50 * (1 - LEVEL)
    low, high = map(float, np.percentile(resampled, [rest, 100 - rest]))
    # The outcome itself is one of the permutations, so that p is never zero.
    as_far = np.count_nonzero(np.abs(permuted) >= abs(second - first) - 1e-12)
    p = (1 + int(as_far)) / (1 + RESAMPLES)
    return Difference(language, texts, first, second, low, high, p, "undecided")


def _judge(rows: Sequence[Difference]) -> list[Difference]:
    """The rows with verdicts, adjusted for their number."""
    judged = []
    for row, p in zip(rows, adjust([row.p for row in rows]), strict=True):
        verdict: Verdict = "undecided"
        if p < 1 - LEVEL:
            verdict = "better" if row.second > row.first else "worse"
        judged.append(replace(row, verdict=verdict))
    return judged
