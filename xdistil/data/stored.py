"""Signals as numbers on disk: float32, float16 or int8; by piece, or by pair of pieces.

A row of int8 is a vector's numbers, each in steps of the largest of them over 127, and behind them
the four bytes of that step as float32. An attention map is kept for the pairs of pieces of one
segment alone, so that a text of n pieces takes n x n rows of as many numbers as there are heads,
however long the rows of a batch are.
"""

from dataclasses import dataclass

import numpy as np

from xdistil.data.pieces import Pieces
from xdistil.data.words import WordSignal

_STEPS = 127
_STEP_BYTES = 4


@dataclass(frozen=True)
class Int8Values:
    """Rows of int8, read as float32[N,width]."""

    stored: np.ndarray  # i8[N, width + 4], memory-mapped perhaps

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Rows i64[...] -> f32[...,width], a copy."""
        found = np.ascontiguousarray(self.stored[index])
        step = found[..., -_STEP_BYTES:].view(np.float32)
        return found[..., :-_STEP_BYTES] * step


Values = np.ndarray | Int8Values


@dataclass(frozen=True)
class MapSignal:
    """A layer's attention maps of all segments."""

    values: Values  # f[Q,H]; Q pairs (query, key) of pieces of one segment, key by key
    first: np.ndarray  # i64[P] the pair of each piece with the first piece of its segment

    def gather(self, piece: np.ndarray, segment: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Rows of pieces [B,T] -> f[B,H,T,T], 0 where two pieces are not of one segment.

        Args:
            piece: i64[B,T]; at padding anything.
            segment, position: i32[B,T] as in a batch.
        """
        same, pair = find_pairs(self.first, piece, segment, position)
        found = self.values[pair]
        maps = np.zeros((*same.shape, found.shape[-1]), found.dtype)
        maps[same] = found
        return np.moveaxis(maps, -1, 1)


Signal = Values | WordSignal | MapSignal  # of the pieces of some texts


def stored_type(kind: str) -> type:
    """The NumPy type of what is stored as float32, float16 or int8."""
    return {"float32": np.float32, "float16": np.float16, "int8": np.int8}[kind]


def stored_width(kind: str, width: int) -> int:
    """Numbers in a stored row of vectors of a width."""
    return width + _STEP_BYTES if kind == "int8" else width


def store(values: np.ndarray, kind: str) -> np.ndarray:
    """Vectors f32[N,width] as they are stored, [N, stored_width]."""
    if kind != "int8":
        return values.astype(stored_type(kind))
    step = np.abs(values).max(axis=-1, keepdims=True).astype(np.float32) / _STEPS
    steps = np.rint(values / np.where(step > 0, step, 1)).astype(np.int8)
    return np.concatenate([steps, step.view(np.int8)], axis=-1)


def read_stored(stored: np.ndarray, kind: str) -> Values:
    """What is stored, as values to index by row."""
    return Int8Values(stored) if kind == "int8" else stored


def first_pairs(pieces: Pieces) -> tuple[np.ndarray, int]:
    """(i64[P] the pair of each piece with the first of its segment, number of pairs of all)."""
    lengths = np.diff(pieces.start)
    keys = np.repeat(lengths, lengths)
    ends = np.cumsum(keys)
    return ends - keys, int(ends[-1]) if len(ends) else 0


def find_pairs(
    first: np.ndarray, piece: np.ndarray, segment: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(bool[B,T,T] whether query and key are of one segment, i64[K] the pairs where they are)."""
    same = (segment[:, :, None] == segment[:, None, :]) & (segment[:, :, None] > 0)
    row, query, key = np.nonzero(same)
    return same, first[piece[row, query]] + position[row, key]
