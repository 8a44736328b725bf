"""A trained model's signals on disk, written by one pass over the texts.

One file a signal, over all subwords of all segments in the order of the texts, so that students
with other packings share it; or over all words, for a student with other subwords; or, of attention
maps, over all pairs of subwords of a segment. A file is keyed by a fingerprint of the teacher's
parameters, the subwords, the signal and the type of its numbers, and checked against its checksum
when opened.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import filelock
import jax
import numpy as np

from xdistil.data.packing import Array, Batch, Rows
from xdistil.data.subwords import Subwords, subwords_fingerprint
from xdistil.data.word_alignment import WordAlignment
from xdistil.errors import InputError
from xdistil.models.encoder import Transformer
from xdistil.models.forward import iterate_batches
from xdistil.runtime.mesh import fetch_local_rows, global_max, local_rows, shard_batch, wait_for_all
from xdistil.teacher.signals import PlacedModel, Signals, SignalSpec, name_signals, signal_names
from xdistil.teacher.storage import (
    MapSignal,
    Values,
    find_pairs,
    first_pairs,
    read_stored,
    store,
    stored_type,
    stored_width,
)

log = logging.getLogger("xdistil")

SECONDS_BETWEEN_SAVES = 10.0  # of a cache that is being written


@dataclass(frozen=True)
class Places:
    """Which rows of the files hold the values of packed rows, and how large the files are."""

    rows: Rows
    number: np.ndarray  # i32[R,T] of the subword or word at every place; -1: none
    count: int  # of subwords or words
    first: np.ndarray  # i64[P] the first pair of every subword
    pairs: int

    def shape(self, name: str, values: Array, kind: str) -> tuple[int, int]:
        """Rows and numbers of a signal's file, from values of a batch."""
        # Of a map [B,H,T,T] the heads are a row's numbers.
        width = values.shape[1 if _is_map(name) else -1]
        return self.pairs if _is_map(name) else self.count, stored_width(kind, width)

    def take(self, name: str, values: np.ndarray, indices: np.ndarray) -> tuple:
        """(rows of the file i64[N], their vectors f32[N,width]) of a signal in rows i64[B]."""
        if _is_map(name):
            subword, segment = self.rows.subword[indices], self.rows.segment[indices]
            same, pair = find_pairs(self.first, subword, segment, self.rows.position[indices])
            return pair, np.moveaxis(values, 1, -1)[same]
        number = self.number[indices]
        return number[number >= 0], values[number >= 0]


class RoundingError:
    """The relative error of rounding: root of the summed squares, over that of the values."""

    def __init__(self) -> None:
        self._lost, self._whole = 0.0, 0.0

    def add(self, values: np.ndarray, stored: np.ndarray, kind: str) -> None:
        """Some vectors [N,width], and how they are stored."""
        read = read_stored(stored, kind)[np.arange(len(stored))]
        self._lost += float(np.sum(np.square(read - values), dtype=np.float64))
        self._whole += float(np.sum(np.square(values), dtype=np.float64))

    def relative(self) -> float:
        """0 where nothing is lost."""
        return (self._lost / self._whole) ** 0.5 if self._whole else 0.0


def _is_map(name: str) -> bool:
    return name.startswith("attention-")


def open_cache(
    folder: Path,
    model: PlacedModel,
    subwords: Subwords,
    rows: Rows,
    spec: SignalSpec,
    batch_rows: int,
    check: Callable[[], None] = lambda: None,
    words: WordAlignment | None = None,
    kind: str = "float16",
) -> dict[str, Values | MapSignal]:
    """The signals of P subwords, read-only; missing ones are computed.

    Given `words`, the values are those of each word's labelled subword; values of a word without
    one have no meaning. Every process writes the rows that its devices computed. An interrupted
    call resumes. If several runs share the folder, one writes and the others wait.

    Args:
        folder: the same for all processes.
        rows: any packing of the subwords; what is cached does not depend on it.
        check: called before every batch, and while another run writes; what it raises ends it.
        kind: of the stored numbers: float16, float32 or int8.
    """
    texts = subwords_fingerprint(subwords)
    names = signal_names(spec)
    by_word = words is not None
    paths = {
        name: folder / f"{key_signal(model, texts, name, by_word, kind)}.npy" for name in names
    }
    folder.mkdir(parents=True, exist_ok=True)
    first, pairs = first_pairs(subwords) if spec.attention else (np.zeros(0, np.int64), 0)
    with hold_folder(folder, check):
        missing = [name for name in names if not is_sound(paths[name])]
        wait_for_all("signals looked up")  # before one process begins to write what others look for
        if missing:
            if words is None:
                number, count = np.asarray(rows.subword), len(subwords.tokens)
            else:
                number, count = _number_words(rows, words), words.count
            places = Places(rows, number, count, first, pairs)
            left = spec.without([name for name in names if name not in missing])
            _write_signals(paths, left, model, subwords, places, batch_rows, check, kind)
    return open_files(paths, kind, first)


def open_files(
    paths: dict[str, Path], kind: str, first: np.ndarray
) -> dict[str, Values | MapSignal]:
    """The signals in complete files, read-only.

    Args:
        first: i64[P] the first pair of every subword, of attention maps.
    """
    opened = {name: read_stored(np.load(path, mmap_mode="r"), kind) for name, path in paths.items()}
    return {
        name: MapSignal(values, first) if _is_map(name) else values
        for name, values in opened.items()
    }


def measure_signals(
    spec: SignalSpec, kind: str, model: Transformer, vectors: int, pairs: int
) -> dict[str, int]:
    """Bytes that `open_cache` takes for each signal of a model.

    Args:
        kind: of the stored numbers.
        vectors: subwords, or words.
        pairs: of subwords of one segment.
    """
    size = np.dtype(stored_type(kind)).itemsize
    sizes = {}
    for name in signal_names(spec):
        width = model.classes if name == "logits" else model.config.hidden_size
        width = model.config.heads if _is_map(name) else width
        sizes[name] = (pairs if _is_map(name) else vectors) * stored_width(kind, width) * size
    return sizes


@contextmanager
def hold_folder(
    folder: Path, check: Callable[[], None], work: str = "writes signals"
) -> Iterator[None]:
    """No other run writes into the folder meanwhile; the lock of a process that is gone is free.

    Args:
        folder: it exists.
        check: called while another run has the folder; what it raises ends the waiting.
        work: what that run does, for the log.
    """
    lock = filelock.FileLock(folder / ".lock")
    waited = False
    while not global_max(int(_is_first() and _takes(lock))):
        if not waited:
            log.info("another run %s into %s: waiting for it", work, folder)
            waited = True
        check()
    try:
        yield
    finally:
        lock.release()


def _takes(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        return False
    return True


def key_signal(model: PlacedModel, texts: str, name: str, by_word: bool, kind: str) -> str:
    """The name of a signal's file, which depends on everything that its values depend on.

    Args:
        texts: their fingerprint.
    """
    kept = None if model.remap is None else hashlib.sha256(model.remap.tobytes()).hexdigest()
    content = [model.fingerprint, str(model.model), kept, texts, name, by_word, kind]
    return f"{name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}"


def is_sound(path: Path) -> bool:
    """Whether a file is complete and as it was sealed; that it is damaged is logged."""
    seal = path.with_suffix(".crc32")
    if not (path.exists() and seal.exists()):
        return False
    if seal.read_text() == _file_checksum(path):
        return True
    log.warning("%s is damaged (its checksum differs): it is computed again", path.name)
    return False


def seal_file(partial: Path, path: Path) -> None:
    """Makes a complete file the one at `path`, with its checksum beside it."""
    path.with_suffix(".crc32").write_text(_file_checksum(partial))
    os.replace(partial, path)


def _file_checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _write_signals(
    paths: dict[str, Path],
    spec: SignalSpec,
    model: PlacedModel,
    subwords: Subwords,
    places: Places,
    batch_rows: int,
    check: Callable[[], None],
    kind: str,
) -> None:
    order = signal_names(spec)
    partial = {name: paths[name].with_suffix(".partial") for name in order}
    rows = places.rows
    progress = _Progress(partial, rows)
    first_row = progress.read()
    arrays: dict[str, np.memmap] = {}
    errors = {name: RoundingError() for name in order}
    resumed = f", resuming at row {first_row} of {len(rows.subword)}" if first_row else ""
    log.info("computing %s of %d subwords%s", ", ".join(order), len(subwords.tokens), resumed)
    saved = time.monotonic()
    batches = iterate_batches(subwords, rows, batch_rows, model.padding_id, first_row)
    for indices, signals in _compute_ahead(model, spec, batches, check):
        values = dict(zip(order, name_signals(signals), strict=True))
        if not arrays:
            shapes = {name: places.shape(name, each, kind) for name, each in values.items()}
            arrays = _open_partial(partial, shapes, stored_type(kind), create=not first_row)
        own = local_rows(indices)
        kept = own >= 0
        for name, value in values.items():
            found = fetch_local_rows(cast(jax.Array, value))[kept].astype(np.float32, copy=False)
            where, vectors = places.take(name, found, own[kept])
            stored = store(vectors, kind)
            errors[name].add(vectors, stored, kind)
            arrays[name][where] = stored
        # Process 0's clock, for all must come to the same barrier.
        if global_max(int(_is_first() and time.monotonic() - saved > SECONDS_BETWEEN_SAVES)):
            progress.write(arrays, int(indices.max()) + 1)
            saved = time.monotonic()
    for array in arrays.values():
        array.flush()
    wait_for_all("signals computed")
    if _is_first():
        for name in order:
            seal_file(partial[name], paths[name])
        progress.forget()
    log_rounding(errors, kind)
    wait_for_all("signals written")


def _compute_ahead(
    model: PlacedModel,
    spec: SignalSpec,
    batches: Iterator[tuple[np.ndarray, Batch]],
    check: Callable[[], None],
) -> Iterator[tuple[np.ndarray, Signals]]:
    """Row indices and signals of every batch; the next is computed while one is written."""
    ahead: list[tuple[np.ndarray, Signals]] = []
    for indices, batch in batches:
        check()
        ahead.append((indices, model.compute(shard_batch(model.mesh, batch), spec)))
        if len(ahead) > 1:
            yield ahead.pop(0)
    yield from ahead


def log_rounding(errors: Mapping[str, RoundingError], kind: str) -> None:
    """Says what was lost of each signal."""
    told = ", ".join(f"{name} {error.relative():.1e}" for name, error in errors.items())
    log.info("rounded to %s: relative error %s", kind, told)


def _number_words(rows: Rows, words: WordAlignment) -> np.ndarray:
    """i32[R,T] the word at every place of the rows, -1 where there is none."""
    return np.where(rows.subword >= 0, words.number[rows.subword], -1)


def _is_first() -> bool:
    return jax.process_index() == 0


def _open_partial(
    partial: dict[str, Path], shapes: dict[str, tuple[int, int]], dtype: type, create: bool
) -> dict[str, np.memmap]:
    """The unfinished files, writable; process 0 creates them where they start from nothing."""
    if create and _is_first():
        numbers = sum(rows * width for rows, width in shapes.values())
        require_room(next(iter(partial.values())), numbers * np.dtype(dtype).itemsize)
        for name, shape in shapes.items():
            np.lib.format.open_memmap(partial[name], "w+", dtype, shape)
    wait_for_all("files of signals made")
    return {name: np.lib.format.open_memmap(partial[name], "r+") for name in shapes}


class _Progress:
    """How many rows of unfinished files are written, kept in a small file next to them."""

    def __init__(self, partial: dict[str, Path], rows: Rows) -> None:
        self._path = next(iter(partial.values())).with_suffix(".progress")
        # Rows of another packing hold other subwords, and fewer files would leave some unwritten.
        self._what = [sorted(path.name for path in partial.values()), packing_checksum(rows)]
        self._files = list(partial.values())

    def read(self) -> int:
        """Rows that need not be computed again."""
        try:
            what, done = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return 0
        return done if what == self._what and all(path.exists() for path in self._files) else 0

    def write(self, arrays: dict[str, np.memmap], done: int) -> None:
        """Says that all rows before `done` are on the disk, when they are."""
        for array in arrays.values():
            array.flush()
        wait_for_all("signals flushed")
        if _is_first():
            temporary = self._path.with_suffix(".progress-new")
            temporary.write_text(json.dumps([self._what, done]))
            os.replace(temporary, self._path)

    def forget(self) -> None:
        """The files are complete."""
        self._path.unlink(missing_ok=True)


def packing_checksum(rows: Rows) -> str:
    """What tells packings of the same subwords apart."""
    return f"{zlib.crc32(np.ascontiguousarray(rows.subword).data):08x}"


def require_room(path: Path, size: int) -> None:
    """A memory map on a full disk is killed by a signal, so the room is checked beforehand."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise InputError(
            f"{path.parent} has room for {free >> 20} MiB, and this cache takes {size >> 20} MiB: "
            "free some, lower data.transfer_limit, or set teacher.cache_type=int8 or "
            "teacher.cache=never."
        )
