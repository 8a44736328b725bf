"""Subwords -> packed rows.

Segments are packed end to end into rows of one length by first-fit: each goes into the first row
with enough room. Subwords and rows of many texts are written to files as they are made, and mapped
into memory from there.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import BinaryIO, NamedTuple

import jax
import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example
from xdistil.data.sampling import share_rows
from xdistil.data.segmentation import SPACES
from xdistil.data.streamed import number_languages
from xdistil.data.subwords import Subwords
from xdistil.errors import InputError

Array = jax.Array | np.ndarray

_FREE = np.iinfo(np.int64).max
_BLOCK = 1 << 14  # segments placed at once
_FILL = {"subword": -1, "segment": 0, "position": 0}  # the arrays of rows, where nothing is


def _none() -> np.ndarray:
    return np.zeros(0, np.int64)


class Batch(NamedTuple):
    """Packed rows: several segments (sentences, pairs, windows) end to end in each row."""

    tokens: Array  # i32[B,T] vocabulary ids; the padding id where segment is 0
    segment: Array  # i32[B,T] 1, 2, ... within a row; 0 is padding
    position: Array  # i32[B,T] 0, 1, ... restarting in every segment
    token_type: Array  # i32[B,T] 0, and 1 in the second text of a pair
    labels: Array  # i32[B,T] class where label_mask is true, elsewhere 0; of a multi-label task
    # u8[B,T,W] a bit for each label, as `pack_labels` makes them
    label_mask: Array  # bool[B,T] first subword of a unit (tagging) or segment (classification)


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
class SoftLabels:
    """Probabilities of the labels of subwords, in the place of one label each."""

    values: np.ndarray  # f32[V,C]
    place: np.ndarray  # i64[P] the row of each subword; -1: it has no label


@dataclass(frozen=True)
class PackedTexts:
    """Examples with their subwords, packed into rows."""

    examples: Sequence[Example]
    subwords: Subwords
    rows: Rows
    segmentation: str = SPACES  # of the words
    soft_labels: SoftLabels | None = None  # what stages learn instead of the labels of subwords


def pack(subwords: Subwords, row_length: int, seed: int | None, folder: Path | None = None) -> Rows:
    """Packs all segments into rows, shuffled with `seed` before (None: in their order).

    Args:
        folder: where the rows are written; None: they are held in memory.

    Raises:
        InputError: a segment longer than a row.
    """
    lengths = _check_lengths(subwords, row_length)
    count = len(lengths)
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    return _lay_out(subwords, row_length, order, *_first_fit(lengths[order], row_length), folder)


def pack_languages(
    subwords: Subwords,
    row_length: int,
    seed: int,
    examples: Sequence[Example],
    temperature: float,
    folder: Path | None = None,
) -> Rows:
    """Packs each language into its own rows, for epochs that draw them by temperature.

    Texts without a language are read once an epoch, as without a temperature.

    Args:
        folder: as in `pack`.

    Raises:
        InputError: as `pack`.
    """
    names, codes = number_languages(examples)
    known, sorted_codes = np.unique(names, return_inverse=True)
    of_example = sorted_codes[codes]
    sentences, of_segment = np.bincount(of_example), of_example[subwords.example]
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
    order = np.concatenate(orders)
    rows = _lay_out(subwords, row_length, order, row, offset, number, total, folder)
    quota = share_rows(counts, sentences, temperature, known == UNKNOWN_LANGUAGE)
    return replace(rows, languages=counts, quota=quota)


def fill_batch(subwords: Subwords, rows: Rows, indices: np.ndarray, padding_id: int) -> Batch:
    """The rows i64[B] as a batch of NumPy arrays [B,T]; index -1 is an empty row."""
    subword, filled = gather_indices(rows, indices)
    kept = np.asarray(indices)[:, None] >= 0

    def gather(values: np.ndarray, padding: int) -> np.ndarray:
        return np.where(filled, values[subword], padding).astype(np.int32, copy=False)

    labels = subwords.labels

    return Batch(
        tokens=gather(subwords.tokens, padding_id),
        segment=np.where(kept, rows.segment[indices], 0).astype(np.int32, copy=False),
        position=np.where(kept, rows.position[indices], 0).astype(np.int32, copy=False),
        token_type=gather(subwords.token_type, 0),
        labels=gather(labels, 0) if labels.ndim == 1 else labels[subword] * filled[..., None],
        label_mask=filled & subwords.label_mask[subword],
    )


def save_packed(
    folder: str | Path,
    parts: Iterable[Subwords],
    pack_rows: Callable[[Subwords, Path], Rows],
) -> None:
    """Writes subwords and rows as .npy files to a temporary folder, which then becomes `folder`.

    Args:
        parts: as from `tokenize_blocks`; one at a time is in memory.
        pack_rows: makes the rows of all of them, as `pack` does with the temporary folder.
    """
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _write_parts(temporary, parts)
    for name, values in vars(pack_rows(_load_subwords(temporary), temporary)).items():
        if not (path := temporary / f"row_{name}.npy").exists():
            np.save(path, values)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def load_packed(folder: str | Path) -> tuple[Subwords, Rows]:
    """Opens the files of `save_packed`, memory-mapped and read-only.

    Raises:
        InputError: a missing or damaged file.
    """
    rows = Rows(*(_load(Path(folder), f"row_{each.name}") for each in fields(Rows)))
    return _load_subwords(Path(folder)), rows


def _load_subwords(folder: Path) -> Subwords:
    return Subwords(**{each.name: _load(folder, each.name) for each in fields(Subwords)})


def _load(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path} is missing or damaged: remove {folder}.") from None


def _write_parts(folder: Path, parts: Iterable[Subwords]) -> None:
    names = [each.name for each in fields(Subwords)]
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in names}
        counts = dict.fromkeys(names, 0)
        types: dict[str, np.dtype] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for part in parts:
            for name, file in files.items():
                values = getattr(part, name)
                if name not in types:
                    types[name], shapes[name] = values.dtype, values.shape[1:]
                    _write_header(file, values.dtype, (0, *values.shape[1:]))
                elif name == "start":  # each part counts from 0
                    values = values[1:] + counts["tokens"] - len(part.tokens)
                file.write(np.ascontiguousarray(values).data)
                counts[name] += len(values)
        for name, file in files.items():
            file.seek(0)
            _write_header(file, types[name], (counts[name], *shapes[name]))


def _write_header(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    # NumPy leaves room in it for any first axis, so it can be written again with another one.
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, described)


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
    folder: Path | None,
) -> Rows:
    # Places segments, in this order, each at a row and an offset in it, as number-th of the row.
    made = {name: _make_filled(folder, name, (rows, row_length)) for name in _FILL}
    subword, segment, position = (values.reshape(-1) for values in made.values())
    for first in range(0, len(order), _BLOCK):
        here = slice(first, first + _BLOCK)
        begin = subwords.start[order[here]]
        lengths = subwords.start[order[here] + 1] - begin
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(row[here] * row_length + offset[here], lengths) + within
        subword[places] = np.repeat(begin, lengths) + within
        segment[places] = np.repeat(number[here], lengths)
        position[places] = within
    return Rows(**made)


def _make_filled(folder: Path | None, name: str, shape: tuple[int, int]) -> np.ndarray:
    # An array of rows without anything in them, in memory or in a file.
    if folder is None:
        return np.full(shape, _FILL[name], np.int32)
    path = folder / f"row_{name}.npy"
    rows, length = shape
    with path.open("wb") as file:
        _write_header(file, np.dtype(np.int32), shape)
        # Written rather than mapped: a full disk is then an error, and not a signal that kills.
        for first in range(0, rows, _BLOCK):
            block = np.full((min(_BLOCK, rows - first), length), _FILL[name], np.int32)
            file.write(block.data)
    return np.load(path, mmap_mode="r+")


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
