"""The paired bootstrap: whether one model is worse than another on the same sentences.

Efron & Tibshirani 1993; for paired outputs of two systems: Koehn 2004 (W04-3250).
"""

import numpy as np

from xdistil.evaluation.metrics import compute_f1

RESAMPLES = 10_000


def paired_bootstrap(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """The one-sided p: the share of resamples in which the first is not better than the second.

    A resample draws as many sentences as there are, with replacement, and both models are scored on
    it. The score is F1 over all drawn entities.

    Args:
        first, second: i64[N,3], for each sentence the numbers of right, found and wanted entities,
            as `metrics.count_matches` returns them.
    """
    both = np.concatenate([first, second], axis=1)
    # Sentences with the same counts are equivalent: the number of each kind is drawn.
    kinds, sizes = np.unique(both, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(sizes.sum(), sizes / sizes.sum(), RESAMPLES) @ kinds
    return float(np.mean(compute_f1(drawn[:, :3]) <= compute_f1(drawn[:, 3:])))
