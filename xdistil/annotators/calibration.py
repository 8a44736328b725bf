"""Targets -> calibrated targets: a temperature for each label, fitted to gold labels.

A calibrated target is the softmax of the logarithms of the probabilities, each divided by the
temperature of its label. The temperatures are those with the least negative log-likelihood of the
gold labels, which is a convex problem in their inverses. These are drawn to 1 by `RIDGE`, so that a
label that gold has rarely stays about as it is, and kept within `BOUNDS`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SMOOTHING = 1e-3  # share of a target that all labels share, so that its logarithm is finite
RIDGE = 1.0  # half of it, times the squared distance of an inverse from 1, is added to the sum
BOUNDS = 0.05, 20.0  # of inverse temperatures
_ROUNDS = 100  # at most
_SETTLED = 1e-9  # least gain of a round, as a share


@dataclass(frozen=True)
class Calibration:
    """Temperatures, and how good they are on the units that they were fitted to."""

    labels: tuple[str, ...]  # L
    temperatures: np.ndarray  # f64[L], above 0
    units: int
    before: float  # mean negative log-likelihood of the gold labels, as it was
    after: float  # and calibrated

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """f64[U,L] calibrated; units without a vote, whose row is zeros, keep it."""
        found = probabilities.copy()
        voted = probabilities.sum(axis=1) > 0
        found[voted] = np.exp(_score(smooth_logarithm(probabilities[voted]) / self.temperatures))
        return found

    def as_json(self) -> dict[str, Any]:
        """What results.json says."""
        each = zip(self.labels, self.temperatures.tolist(), strict=True)
        return {
            "units": self.units,
            "before": self.before,
            "after": self.after,
            "temperatures": dict(each),
        }


def smooth_logarithm(probabilities: np.ndarray) -> np.ndarray:
    """The logarithms of f64[U,L] probabilities that are smoothed."""
    return np.log((1 - SMOOTHING) * probabilities + SMOOTHING / probabilities.shape[1])


def calibrate(
    probabilities: np.ndarray, gold: np.ndarray, labels: tuple[str, ...]
) -> Calibration | None:
    """The temperatures that fit best; None where no unit has both votes and gold.

    Args:
        probabilities: f64[U,L], zeros where there is no vote.
        gold: i64[U] the right label; -1: it is unknown.
    """
    known = (gold >= 0) & (probabilities.sum(axis=1) > 0)
    if not known.any():
        return None
    inverse = _fit(smooth_logarithm(probabilities[known]), gold[known])
    plain = Calibration(labels, 1 / inverse, int(known.sum()), 0.0, 0.0)
    before, after = (
        measure_loss(probabilities, gold),
        measure_loss(plain.apply(probabilities), gold),
    )
    return replace(plain, before=before, after=after)


def measure_loss(probabilities: np.ndarray, gold: np.ndarray) -> float:
    """Mean negative log-likelihood of the gold labels of units that have votes, smoothed.

    Args:
        probabilities, gold: as in `calibrate`.
    """
    known = (gold >= 0) & (probabilities.sum(axis=1) > 0)
    logits = smooth_logarithm(probabilities[known])
    return -float(np.take_along_axis(logits, gold[known][:, None], 1).mean())


def _fit(logits: np.ndarray, right: np.ndarray) -> np.ndarray:
    """f64[L] inverse temperatures, by Newton's method within bounds."""
    rows, size = np.arange(len(right)), logits.shape[1]
    wanted = np.bincount(right, logits[rows, right], size)  # of each label, over its own units
    low, high = BOUNDS

    def measure(inverse: np.ndarray) -> float:
        loss = -_score(inverse * logits)[rows, right].sum()
        return float(loss + RIDGE / 2 * ((inverse - 1) ** 2).sum())

    inverse = np.ones(size)
    loss = measure(inverse)
    for _ in range(_ROUNDS):
        moved = logits * np.exp(_score(inverse * logits))  # expected logits, label by label
        slope = moved.sum(axis=0) - wanted + RIDGE * (inverse - 1)
        curve = np.diag((logits * moved).sum(axis=0)) - moved.T @ moved + RIDGE * np.eye(size)
        fixed = ((inverse <= low) & (slope > 0)) | ((inverse >= high) & (slope < 0))
        free = np.flatnonzero(~fixed)
        step = np.zeros(size)
        step[free] = -np.linalg.solve(curve[np.ix_(free, free)], slope[free])
        for share in 0.5 ** np.arange(40):
            tried = np.clip(inverse + share * step, low, high)
            if (found := measure(tried)) < loss:
                break
        else:
            break
        settled = loss - found <= _SETTLED * loss
        inverse, loss = tried, found
        if settled:
            break
    return inverse


def _score(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of f64[U,L] logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
