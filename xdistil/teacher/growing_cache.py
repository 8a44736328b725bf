"""A cache that grows while a stage trains: its steps write what they compute for it.

A stage that computes the teacher's signals in its steps reads every text with the teacher. What
later stages read from a cache comes out of the same pass, and so it costs no pass of its own. Rows
that the steps did not come to (an early stop, less than an epoch, languages drawn by temperature)
are computed when the first stage reads the cache.

The rows that are written are marked in a file of their own, after their values are on the disk. A
resumed stage takes the same steps again, and finds or writes the same values.
"""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import jax
import numpy as np

from xdistil.data.packing import Array, Batch, Rows, fill_batch
from xdistil.data.subwords import Subwords, subwords_fingerprint
from xdistil.runtime.json_io import write_atomically
from xdistil.runtime.mesh import fetch_local_rows, shard_batch
from xdistil.teacher.cache import (
    SECONDS_BETWEEN_SAVES,
    Places,
    hold_folder,
    is_sound,
    key_signal,
    open_files,
    packing_checksum,
    require_room,
    seal_file,
)
from xdistil.teacher.signals import (
    PlacedModel,
    Signals,
    SignalSpec,
    arrange_signals,
    name_signals,
    signal_names,
)
from xdistil.teacher.storage import MapSignal, Values, first_pairs, store, stored_type

log = logging.getLogger("xdistil")


class GrowingCache:
    """The signals of P subwords in one process; the files are those of `open_cache`."""

    def __init__(
        self,
        folder: Path,
        model: PlacedModel,
        subwords: Subwords,
        rows: Rows,
        spec: SignalSpec,
        batch_rows: int,
        size: int,
        check: Callable[[], None],
        kind: str,
    ) -> None:
        """Looks for the files; nothing is computed.

        Args:
            batch_rows: in a batch of the rows that the steps did not come to.
            size: bytes of the files.
            check, kind: as in `open_cache`.

        Raises:
            InputError: no room on the disk.
        """
        self.spec = spec
        self._folder, self._model, self._subwords, self._rows = folder, model, subwords, rows
        self._batch_rows, self._check, self._kind = batch_rows, check, kind
        texts = subwords_fingerprint(subwords)
        self._paths = {
            name: folder / f"{key_signal(model, texts, name, False, kind)}.npy"
            for name in signal_names(spec)
        }
        folder.mkdir(parents=True, exist_ok=True)
        first, pairs = first_pairs(subwords) if spec.attention else (np.zeros(0, np.int64), 0)
        self._places = Places(rows, np.asarray(rows.subword), len(subwords.tokens), first, pairs)
        self._left = [name for name, path in self._paths.items() if not is_sound(path)]
        self._growing = {name: path.with_suffix(".growing") for name, path in self._paths.items()}
        written = next(iter(self._growing.values()))
        self._marks = written.with_suffix(f".{packing_checksum(rows)}-rows")
        self._arrays: dict[str, np.memmap] = {}
        self._unmarked = np.zeros(len(rows.subword), bool)  # rows stored, but not yet marked
        self._written = self._unmarked.copy()  # bool[R] rows whose values are on the disk
        self._computed: tuple[np.ndarray, dict[str, Array]] | None = None
        if self._left and self._resumes():
            self._written = np.load(self._marks)
        elif self._left:
            require_room(written, size)

    def compute(self, batch: Batch, indices: np.ndarray, spec: SignalSpec) -> Signals:
        """The signals of a batch of the rows i64[B]; `write` stores those of the cache."""
        every = spec.union(self.spec)
        arrays = self._compute(batch, every)
        self._computed = indices, {name: arrays[name] for name in self._left}
        return arrange_signals(spec, arrays)

    def write(self) -> None:
        """Stores what `compute` computed last, where its rows are not yet written."""
        if self._computed is not None and self._left:
            self._store(*self._computed)
        self._computed = None

    def flush(self) -> None:
        """Marks the rows that were stored, when they are on the disk."""
        if not self._unmarked.any():
            return
        for array in self._arrays.values():
            array.flush()
        self._written |= self._unmarked
        self._unmarked[:] = False
        self._mark()

    def finish(self) -> dict[str, Values | MapSignal]:
        """The signals, read-only; rows that no step wrote are computed.

        An interrupted call resumes.
        """
        if self._left:
            with hold_folder(self._folder, self._check):
                self._fill()
                self._open({})
                for name in self._left:
                    self._arrays[name].flush()
                    seal_file(self._growing[name], self._paths[name])
            self._marks.unlink(missing_ok=True)
            self._left, self._arrays = [], {}
        return open_files(self._paths, self._kind, self._places.first)

    def _compute(self, batch: Batch, spec: SignalSpec) -> dict[str, Array]:
        signals = name_signals(self._model.compute(batch, spec))
        return dict(zip(signal_names(spec), signals, strict=True))

    def _fill(self) -> None:
        spec = self.spec.without([name for name in self._paths if name not in self._left])
        saved = time.monotonic()
        for indices, batch in self._list_missing():
            self._check()
            self._store(indices, self._compute(shard_batch(self._model.mesh, batch), spec))
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                self.flush()
                saved = time.monotonic()
        self.flush()

    def _list_missing(self) -> Iterator[tuple[np.ndarray, Batch]]:
        # Batches of the rows that are not written: the same ones again after an interruption.
        missing = np.flatnonzero(~(self._written | self._unmarked))
        if len(missing):
            names = ", ".join(self._left)
            log.info("computing %s of %d of %d rows", names, len(missing), len(self._written))
        for first in range(0, len(missing), self._batch_rows):
            indices = np.full(self._batch_rows, -1)
            here = missing[first : first + self._batch_rows]
            indices[: len(here)] = here
            yield indices, fill_batch(self._subwords, self._rows, indices, self._model.padding_id)

    def _store(self, indices: np.ndarray, values: dict[str, Array]) -> None:
        self._open(values)
        new = indices >= 0
        new[new] = ~(self._written | self._unmarked)[indices[new]]
        rows = indices[new]
        for name in self._left:
            found = fetch_local_rows(cast(jax.Array, values[name]))[new]
            where, vectors = self._places.take(name, found.astype(np.float32, copy=False), rows)
            self._arrays[name][where] = store(vectors, self._kind)
        self._unmarked[rows] = True

    def _resumes(self) -> bool:
        return self._marks.exists() and all(self._growing[name].exists() for name in self._left)

    def _open(self, values: dict[str, Array]) -> None:
        # The files, which are made, as large as these values need them, where there are none.
        if self._arrays:
            return
        if not self._resumes():
            self._marks.unlink(missing_ok=True)
            for name in self._left:
                shape = self._places.shape(name, values[name], self._kind)
                path, numbers = self._growing[name], stored_type(self._kind)
                np.lib.format.open_memmap(path, "w+", numbers, shape)
            self._mark()
        self._arrays = {
            name: np.lib.format.open_memmap(self._growing[name], "r+") for name in self._left
        }

    def _mark(self) -> None:
        with write_atomically(self._marks) as temporary, temporary.open("wb") as file:
            np.save(file, self._written)
