"""Two systems on the same texts: differences by language, their intervals and their significance.

Counts of a system are i64[S,N,3]: for each of S seeds and N texts the numbers of right, found and
wanted entities, as `metrics.count_matches` returns them. A score is F1 over all entities of a
language (accuracy in classification), the mean of the seeds; that of all languages is the mean over
languages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xdistil.evaluation.metrics import compute_f1

RESAMPLES = 10_000
LEVEL = 0.95  # of the intervals; 1 - LEVEL is the p below which a difference is called one
_BLOCK = 2**20  # random numbers in memory at once
_FEW = 32  # texts for each kind of text, from which on drawing kinds is faster than drawing texts

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
    return compare_pairs(languages, [(first, second)], seed)[0]


def compare_pairs(
    languages: Sequence[str], pairs: Sequence[tuple[np.ndarray, np.ndarray]], seed: int = 0
) -> list[list[Difference]]:
    """What `compare_systems` returns for each of several pairs on the same texts, in less time.

    Raises:
        ValueError: as `compare_systems`.
    """
    for first, second in pairs:
        if first.shape != second.shape or first.shape[1:] != (len(languages), 3):
            raise ValueError(f"counts {first.shape} and {second.shape} of {len(languages)} texts")
    of = np.asarray(languages)
    names = [str(name) for name in np.unique(of)]
    # By pair and language: scores [2], and differences [R] of resampled and permuted texts.
    found: list[dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]] = [{} for _ in pairs]
    for number, name in enumerate(names):
        here = [np.stack([each[:, of == name] for each in pair]) for pair in pairs]  # [2,S,n,3]
        kept = [index for index, pair in enumerate(here) if pair[..., 2].any()]
        drawn = _draw_texts([here[index] for index in kept], [seed, number, 0])
        for index, sums in zip(kept, drawn, strict=True):
            pair = here[index]
            scores = compute_f1(sums)  # [R,2,S]
            seeds = _draw_seeds(scores.shape[2], seed)
            chosen = np.take_along_axis(scores, seeds[:, None], axis=2).mean(2)
            # Each pair has the same random numbers, whatever the others are.
            swapped = compute_f1(_swap_texts(pair, np.random.default_rng([seed, number, 1])))
            found[index][name] = (
                compute_f1(pair.sum(2)).mean(1),
                chosen[:, 1] - chosen[:, 0],
                np.subtract(*np.moveaxis(swapped.mean(2), 1, 0)[::-1]),
            )
    sizes = {name: int(np.count_nonzero(of == name)) for name in names}
    return [_summarise(each, sizes) for each in found]


def adjust(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p f64[N] of N tests: rejecting those below a level keeps the probability of
    any wrong rejection below it."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def judge(rows: Sequence[Difference]) -> list[Difference]:
    """The rows with verdicts, corrected for their number by Holm's method."""
    judged = []
    for row, p in zip(rows, adjust([row.p for row in rows]), strict=True):
        verdict: Verdict = "undecided"
        if p < 1 - LEVEL:
            verdict = "better" if row.second > row.first else "worse"
        judged.append(replace(row, verdict=verdict))
    return judged


def _summarise(
    found: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], sizes: Mapping[str, int]
) -> list[Difference]:
    """The difference on all languages, and in each."""
    if not found:
        raise ValueError("no text has a gold entity")
    each = [_describe(name, sizes[name], *parts) for name, parts in found.items()]
    means = (np.mean(parts, axis=0) for parts in zip(*found.values(), strict=True))
    overall = _describe("", sum(sizes[name] for name in found), *means)
    ordered = sorted(judge(each), key=lambda row: row.first - row.second)
    return [*judge([overall]), *ordered]


def _draw_seeds(seeds: int, seed: int) -> np.ndarray:
    """i64[R,S] of seeds drawn with replacement, the same for all languages."""
    return np.random.default_rng(seed).integers(0, seeds, (RESAMPLES, seeds))


def _draw_texts(pairs: Sequence[np.ndarray], seed: Sequence[int]) -> list[np.ndarray]:
    """Sums i64[R,2,S,3] of counts [2,S,n,3] over n texts drawn with replacement, for each pair."""
    flat = [np.moveaxis(pair, 2, 0).reshape(pair.shape[2], -1) for pair in pairs]
    found: list[np.ndarray] = []
    many: list[int] = []
    for index, counts in enumerate(flat):
        # Texts with the same counts are equivalent: where there are few kinds, the number of each
        # is drawn.
        kinds, sizes = np.unique(counts, axis=0, return_counts=True)
        if _FEW * len(kinds) > len(counts):
            many.append(index)
            found.append(np.empty((RESAMPLES, counts.shape[1]), np.int64))
            continue
        generator = np.random.default_rng(seed)
        blocks = _split(len(kinds))
        shares = sizes / sizes.sum()
        sums = [generator.multinomial(sizes.sum(), shares, count) @ kinds for count in blocks]
        found.append(np.concatenate(sums))
    if many:
        joined = np.concatenate([flat[index] for index in many], axis=1)
        ends = np.cumsum([flat[index].shape[1] for index in many])[:-1]
        parts = np.split(_draw_each(joined, np.random.default_rng(seed)), ends, axis=1)
        for index, part in zip(many, parts, strict=True):
            found[index] = part
    return [sums.reshape(-1, 2, pair.shape[1], 3) for sums, pair in zip(found, pairs, strict=True)]


def _draw_each(counts: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sums i64[R,M] of counts i64[n,M] over n texts drawn with replacement."""
    texts = len(counts)
    # Products of whole numbers are exact as long as the type holds their sums.
    largest = texts * int(counts.max(initial=1))
    values = counts.astype(np.float32 if largest < 2**24 else np.float64)
    sums = []
    for count in _split(texts):
        drawn = generator.integers(0, texts, (count, texts))
        drawn += texts * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * texts).reshape(count, texts)
        sums.append((weights.astype(values.dtype) @ values).astype(np.int64))
    return np.concatenate(sums)


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
