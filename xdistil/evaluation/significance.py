"""Whether one model is worse than another on the same sentences, by the paired bootstrap.

Efron & Tibshirani 1993; for paired outputs of two systems: Koehn 2004 (W04-3250).
"""

import numpy as np

from xdistil.evaluation.metrics import compute_f1

RESAMPLES = 10_000


def paired_bootstrap(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """The share of resamples in which the first is not better than the second: a one-sided p.

    Sentences are drawn with replacement, as many as there are, and both get the same ones; the
    score is F1 over all entities drawn.

    Args:
        first, second: i64[N,3] of each sentence the entities that were right, found and wanted, as
            `metrics.count_matches` returns them.
    """
    both = np.concatenate([first, second], axis=1)
    # Sentences with the same counts are alike: what is drawn is how many of each kind.
    kinds, sizes = np.unique(both, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(sizes.sum(), sizes / sizes.sum(), RESAMPLES) @ kinds
    return float(np.mean(compute_f1(drawn[:, :3]) <= compute_f1(drawn[:, 3:])))
