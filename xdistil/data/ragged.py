"""Ragged arrays: values in one row, and where each part of them begins."""

import numpy as np


def find_offsets(lengths: np.ndarray) -> np.ndarray:
    """i64[N+1] where the parts of these lengths begin, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def join_ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """i64[sum of lengths] first[0], first[0]+1, ... (lengths[0] of them), first[1], ..."""
    offsets = find_offsets(lengths)
    return np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)
