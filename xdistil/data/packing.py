"""Subwords -> packed rows, and predictions in rows -> labels of words.

Segments are packed end to end into rows of one length by first-fit: each goes into the first row
with enough room.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.sampling import share_rows
from xdistil.data.subwords import Subwords
from xdistil.data.word_alignment import label_subwords
from xdistil.errors import InputError

Array = jax.Array | np.ndarray

_FREE = np.iinfo(np.int64).max


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


class Batch(NamedTuple):
    """Packed rows: several segments (sentences, pairs, windows) end to end in each row."""

    tokens: Array  # i32[B,T] vocabulary ids; the padding id where segment is 0
    segment: Array  # i32[B,T] 1, 2, ... within a row; 0 is padding
    position: Array  # i32[B,T] 0, 1, ... restarting in every segment
    token_type: Array  # i32[B,T] 0, and 1 in the second text of a pair
    labels: Array  # i32[B,T] class where label_mask is true, elsewhere 0
    label_mask: Array  # bool[B,T] first subword of a word (tagging) or segment (classification)


@dataclass(frozen=True)
class Rows:
    """R rows of T places: the subword at each place."""

    subword: np.ndarray  # i32[R,T] index into the arrays of Subwords; -1 is padding
    segment: np.ndarray  # i32[R,T] 1, 2, ... within the row; 0 is padding
    position: np.ndarray  # i32[R,T] 0, 1, ... restarting in every segment; 0 at padding
    # With languages drawn by temperature a row has one language, and rows are grouped by language:
    languages: np.ndarray = field(default_factory=_none)  # i64[L] rows of each; otherwise L is 0
    quota: np.ndarray = field(default_factory=_none)  # i64[L] rows of each in an epoch


@dataclass(frozen=True)
class PackedTexts:
    """Examples with their subwords, packed into rows."""

    examples: list[Example]
    subwords: Subwords
    rows: Rows


def pack(subwords: Subwords, row_length: int, seed: int | None) -> Rows:
    """Packs all segments into rows, shuffled with `seed` before (None: in their order).

    Raises:
        InputError: a segment longer than a row.
    """
    lengths = _check_lengths(subwords, row_length)
    count = len(lengths)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    return _lay_out(subwords, row_length, order, *_first_fit(lengths[order], row_length))


def pack_languages(
    subwords: Subwords, row_length: int, seed: int, examples: Sequence[Example], temperature: float
) -> Rows:
    """Packs each language into its own rows, for epochs that draw them by temperature.

    Texts without a language are read once an epoch, as without a temperature.

    Raises:
        InputError: as `pack`.
    """
    names = np.array([example.language for example in examples])
    known, sentences = np.unique(names, return_counts=True)
    of_segment = np.searchsorted(known, names)[subwords.example]
    lengths = _check_lengths(subwords, row_length)
    shuffled = np.random.default_rng(seed).permutation(len(lengths))
    orders, places = [], []
    total = 0
    counts = np.zeros(len(known), np.int64)
    for language in range(len(known)):
        order = shuffled[of_segment[shuffled] == language]
        row, offset, number, counts[language] = _first_fit(lengths[order], row_length)
        orders.append(order)
        places.append((row + total, offset, number))
        total += int(counts[language])
    row, offset, number = map(np.concatenate, zip(*places, strict=True))
    rows = _lay_out(subwords, row_length, np.concatenate(orders), row, offset, number, total)
    quota = share_rows(counts, sentences, temperature, known == UNKNOWN_LANGUAGE)
    return replace(rows, languages=counts, quota=quota)


def fill_batch(subwords: Subwords, rows: Rows, indices: np.ndarray, padding_id: int) -> Batch:
    """The rows i64[B] as a batch of NumPy arrays [B,T]; index -1 is an empty row."""
    subword, filled = gather_indices(rows, indices)
    kept = np.asarray(indices)[:, None] >= 0

    def gather(values: np.ndarray, padding: int) -> np.ndarray:
        return np.where(filled, values[subword], padding).astype(np.int32, copy=False)

    return Batch(
        tokens=gather(subwords.tokens, padding_id),
        segment=np.where(kept, rows.segment[indices], 0).astype(np.int32, copy=False),
        position=np.where(kept, rows.position[indices], 0).astype(np.int32, copy=False),
        token_type=gather(subwords.token_type, 0),
        labels=gather(subwords.labels, 0),
        label_mask=filled & subwords.label_mask[subword],
    )


def collect_predictions(
    subwords: Subwords, rows: Rows, predicted: np.ndarray, examples: Sequence[Example], task: Task
) -> list[tuple[str, ...]]:
    """Classes i32[R,T] predicted in rows -> the labels of each example.

    Tagging: one legal IOB2 tag per word, O for a word without a subword. Classification: one name.
    """
    filled = rows.subword >= 0
    by_subword = np.zeros(len(subwords.tokens), np.int64)
    by_subword[rows.subword[filled]] = predicted[filled]
    return label_subwords(subwords, by_subword, examples, task)


def save_packed(folder: str | Path, subwords: Subwords, rows: Rows) -> None:
    """Writes subwords and rows as .npy files to a temporary folder, which then becomes `folder`."""
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, values in {**vars(subwords), **_row_arrays(rows)}.items():
        np.save(temporary / f"{name}.npy", values)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def load_packed(folder: str | Path) -> tuple[Subwords, Rows]:
    """Opens the files of `save_packed`, memory-mapped and read-only.

    Raises:
        InputError: a missing or damaged file.
    """

    def load(name: str) -> np.ndarray:
        path = Path(folder) / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            raise InputError(f"{path} is missing or damaged: remove {folder}.") from None

    subwords = Subwords(**{name: load(name) for name in Subwords.__dataclass_fields__})
    return subwords, Rows(*(load(f"row_{name}") for name in Rows.__dataclass_fields__))


def _check_lengths(subwords: Subwords, row_length: int) -> np.ndarray:
    lengths = np.diff(subwords.start)
    if len(lengths) and lengths.max() > row_length:
        raise InputError(
            f"data.row_length {row_length} is less than a segment of {lengths.max()} subwords: "
            "make it at least data.max_length."
        )
    return lengths


def _lay_out(
    subwords: Subwords,
    row_length: int,
    order: np.ndarray,
    row: np.ndarray,
    offset: np.ndarray,
    number: np.ndarray,
    rows: int,
) -> Rows:
    # Places segments, in this order, each at a row and an offset in it, as number-th of the row.
    lengths = np.diff(subwords.start)[order]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    places = np.repeat(row * row_length + offset, lengths) + within
    subword = np.full(rows * row_length, -1, np.int32)
    segment = np.zeros(rows * row_length, np.int32)
    position = np.zeros(rows * row_length, np.int32)
    subword[places] = np.repeat(subwords.start[:-1][order], lengths) + within
    segment[places] = np.repeat(number, lengths)
    position[places] = within
    shape = (rows, row_length)
    return Rows(subword.reshape(shape), segment.reshape(shape), position.reshape(shape))


def _row_arrays(rows: Rows) -> dict[str, np.ndarray]:
    return {f"row_{name}": values for name, values in vars(rows).items()}


def gather_indices(rows: Rows, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For rows i64[B]: (i64[B,T] subword at each place, 0 at padding; bool[B,T] not padding)."""
    subword = np.asarray(rows.subword[indices])
    filled = (subword >= 0) & (np.asarray(indices)[:, None] >= 0)
    return np.where(filled, subword, 0), filled


def _first_fit(
    lengths: np.ndarray, row_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    # (row of each segment, its offset and number in the row, from 1; how many rows).
    # `by_room` has the rows by the room they have left, and `first` the first row of each room:
    # the first row with enough room is one minimum over at most row_length numbers.
    by_room: list[list[int]] = [[] for _ in range(row_length + 1)]
    first = np.full(row_length + 1, _FREE)
    shortest = int(lengths.min()) if len(lengths) else 0
    row, offset, number = (np.zeros(len(lengths), np.int64) for _ in range(3))
    held: list[int] = []  # segments in each row
    for i, length in enumerate(lengths.tolist()):
        room = length + int(first[length:].argmin())
        if first[room] == _FREE:
            room, target = row_length, len(held)
            held.append(0)
        else:
            target = heappop(by_room[room])
            first[room] = by_room[room][0] if by_room[room] else _FREE
        held[target] += 1
        row[i], offset[i], number[i] = target, row_length - room, held[target]
        left = room - length
        if left >= shortest:
            heappush(by_room[left], target)
            first[left] = by_room[left][0]
    return row, offset, number, len(held)
