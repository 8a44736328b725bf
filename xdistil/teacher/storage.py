"""Signals as numbers on disk: float32, float16 or int8; by subword, or by pair of subwords.

A row of int8 is a vector's numbers, each in steps of the largest of them over 127, followed by
the four bytes of that step as float32. An attention map is kept for the pairs of subwords of one
segment alone, so that a text of n subwords takes n x n rows of as many numbers as there are heads,
however long the rows of a batch are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xdistil.data.packing import Rows, gather_indices
from xdistil.data.subwords import Subwords
from xdistil.data.word_alignment import WordAlignment

MASK = "present"  # the name of the signal that says which subwords have values

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

    values: Values  # f[Q,H]; Q pairs (query, key) of subwords of one segment, key by key
    first: np.ndarray  # i64[P] the pair of each subword with the first subword of its segment

    def gather(self, subword: np.ndarray, segment: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Rows of subwords [B,T] -> f[B,H,T,T], 0 where two subwords are not of one segment.

        Args:
            subword: i64[B,T]; at padding anything.
            segment, position: i32[B,T] as in a batch.
        """
        same, pair = find_pairs(self.first, subword, segment, position)
        found = self.values[pair]
        maps = np.zeros((*same.shape, found.shape[-1]), found.dtype)
        maps[same] = found
        return np.moveaxis(maps, -1, 1)


@dataclass(frozen=True)
class WordSignal:
    """Values of words that are indexed by subwords, as an array [P,width] would be."""

    values: Values  # f[V,width], memory-mapped perhaps
    place: np.ndarray  # i64[P] index into the values; -1: none, which reads as zeros

    def __getitem__(self, subword: np.ndarray) -> np.ndarray:
        """Subwords i64[...] -> f[...,width], a copy."""
        place = self.place[subword]
        found = np.asarray(self.values[np.maximum(place, 0)])
        found[place < 0] = 0
        return found


Signal = Values | WordSignal | MapSignal  # of the subwords of some texts


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


def first_pairs(subwords: Subwords) -> tuple[np.ndarray, int]:
    """(i64[P] the pair of each subword with the first of its segment, number of pairs of all)."""
    lengths = np.diff(subwords.start)
    keys = np.repeat(lengths, lengths)
    ends = np.cumsum(keys)
    return ends - keys, int(ends[-1]) if len(ends) else 0


def find_pairs(
    first: np.ndarray, subword: np.ndarray, segment: np.ndarray, position: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(bool[B,T,T] whether query and key are of one segment, i64[K] the pairs where they are)."""
    same = (segment[:, :, None] == segment[:, None, :]) & (segment[:, :, None] > 0)
    row, query, key = np.nonzero(same)
    return same, first[subword[row, query]] + position[row, key]


def place_signals(
    values: Mapping[str, Values], place: np.ndarray, words: WordAlignment
) -> dict[str, np.ndarray | WordSignal]:
    """Values of words as signals of the subwords that carry these words.

    Args:
        values: f[V,width] by name.
        place: i64[W] where the values of each word stand; -1: it has none.
        words: which of these W words each of the P subwords carries.

    Returns:
        The values by name, and under MASK bool[P]: which subwords have some.
    """
    by_subword = np.where(words.number >= 0, place[words.number], -1)
    signals: dict[str, np.ndarray | WordSignal] = {
        name: WordSignal(each, by_subword) for name, each in values.items()
    }
    return {**signals, MASK: by_subword >= 0}


def gather_signal(values: Signal, rows: Rows, indices: np.ndarray) -> np.ndarray:
    """Values [P, ...] of subwords -> [B,T, ...] of the same type in rows i64[B]; 0 at padding.

    Attention maps come as [B,H,T,T].
    """
    subword, filled = gather_indices(rows, indices)
    if isinstance(values, MapSignal):
        segment = np.where(filled, rows.segment[indices], 0)
        return values.gather(subword, segment, rows.position[indices])
    gathered = np.asarray(values[subword])  # a copy, even of a memory-mapped array
    gathered[~filled] = 0
    return gathered


def gather_signals(
    signals: Mapping[str, Signal], rows: Rows, indices: np.ndarray
) -> dict[str, np.ndarray]:
    """Each signal in rows i64[B], by name, as `gather_signal` returns it."""
    return {name: gather_signal(values, rows, indices) for name, values in signals.items()}
