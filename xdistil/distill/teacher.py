"""A trained model's signals for a stage, from a cache on disk or computed on the fly.

The cache holds one float16 array a signal, over all pieces of all segments in the order of the
texts, so that students with other packings share it; or over all words, for a student with other
pieces. It is keyed by a fingerprint of the teacher's parameters, the pieces and the signal, and
checked against its checksum when opened.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xdistil.data.packing import Rows
from xdistil.data.pieces import Pieces, pieces_fingerprint
from xdistil.data.words import Words
from xdistil.errors import InputError
from xdistil.mesh import agree, fetch_own_rows, own_share, shard_rows, wait_for_all
from xdistil.models.folders import Model
from xdistil.models.forward import Wanted, compute_signals, iterate_batches
from xdistil.models.structs import Batch, Params, Signals

log = logging.getLogger("xdistil")

_SECONDS_BETWEEN_SAVES = 10.0  # of a cache that is being written


@dataclass(frozen=True)
class Reader:
    """A trained model, and how it reads a student's pieces."""

    model: Model
    params: Params  # on the devices
    padding_id: int
    kept: np.ndarray | None  # i32[student vocabulary] teacher id of each student piece; None: equal
    fingerprint: str  # of the parameters
    mesh: Mesh

    def compute(self, batch: Batch, wanted: Wanted) -> Signals:
        """Signals of a batch (global arrays) of student pieces."""
        if self.kept is not None:
            batch = batch._replace(tokens=jnp.asarray(self.kept)[batch.tokens])
        return compute_signals(self.params, batch, model=self.model, wanted=wanted)


def params_fingerprint(params: Params) -> str:
    """SHA-256 of every leaf's bytes in tree order."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def signal_names(wanted: Wanted) -> tuple[str, ...]:
    """Names of the cacheable signals: `logits`, `hidden-N`."""
    return (("logits",) if wanted.logits else ()) + tuple(f"hidden-{i}" for i in wanted.hidden)


def open_cache(
    folder: Path,
    reader: Reader,
    pieces: Pieces,
    rows: Rows,
    wanted: Wanted,
    batch_rows: int,
    check: Callable[[], None] = lambda: None,
    words: Words | None = None,
) -> dict[str, np.ndarray]:
    """The wanted signals as read-only arrays float16[P, width], computing what is not there.

    Given the `words` of the pieces they are float16[W, width], of the piece that carries a word;
    what stands there for a word without one means nothing.

    Every process writes the rows that its devices computed. What an earlier call had computed when
    it was cut off is kept.

    Args:
        folder: the workdir's cache, the same for all processes.
        rows: any packing of the pieces; what is cached does not depend on it.
        check: called before every batch; what it raises ends the writing.
    """
    texts = pieces_fingerprint(pieces)
    names = signal_names(wanted)
    by_word = words is not None
    paths = {name: folder / f"{_key(reader, texts, name, by_word)}.npy" for name in names}
    missing = [name for name in names if not _is_sound(paths[name])]
    wait_for_all("signals looked up")  # before one process begins to write what others look for
    if missing:
        _write_signals(paths, missing, reader, pieces, rows, batch_rows, check, words)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def _key(reader: Reader, texts: str, name: str, by_word: bool) -> str:
    kept = None if reader.kept is None else hashlib.sha256(reader.kept.tobytes()).hexdigest()
    content = [reader.fingerprint, str(reader.model), kept, texts, name]
    content += ["by word"] if by_word else []
    return f"{name}-{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}"


def _is_sound(path: Path) -> bool:
    seal = path.with_suffix(".crc32")
    if not (path.exists() and seal.exists()):
        return False
    if seal.read_text() == _file_checksum(path):
        return True
    log.warning("%s is damaged (its checksum differs): it is computed again", path.name)
    return False


def _file_checksum(path: Path) -> str:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _write_signals(
    paths: dict[str, Path],
    names: list[str],
    reader: Reader,
    pieces: Pieces,
    rows: Rows,
    batch_rows: int,
    check: Callable[[], None],
    words: Words | None,
) -> None:
    wanted = Wanted(
        logits="logits" in names,
        hidden=tuple(int(name.removeprefix("hidden-")) for name in names if name != "logits"),
    )
    order = signal_names(wanted)
    next(iter(paths.values())).parent.mkdir(parents=True, exist_ok=True)
    partial = {name: paths[name].with_suffix(".partial") for name in order}
    progress = _Progress(partial, rows)
    first_row = progress.read()
    arrays: dict[str, np.memmap] = {}
    kept_up = f", going on at row {first_row} of {len(rows.piece)}" if first_row else ""
    log.info("computing %s of %d pieces%s", ", ".join(order), len(pieces.tokens), kept_up)
    values_of = rows.piece if words is None else _number_words(rows, words)
    count = len(pieces.tokens) if words is None else words.count
    saved = time.monotonic()
    for indices, batch in iterate_batches(pieces, rows, batch_rows, reader.padding_id, first_row):
        check()
        signals = reader.compute(shard_rows(reader.mesh, batch), wanted)
        logits = () if signals.logits is None else (signals.logits,)
        values = dict(zip(order, (*logits, *signals.hidden), strict=True))
        if not arrays:
            shapes = {name: (count, each.shape[-1]) for name, each in values.items()}
            arrays = _open_partial(partial, shapes, anew=not first_row)
        own = own_share(indices)
        kept = own >= 0
        where = values_of[own[kept]]
        real = where >= 0
        for name, value in values.items():
            arrays[name][where[real]] = fetch_own_rows(value).astype(np.float16)[kept][real]
        # Process 0's clock, for all must come to the same barrier.
        if agree(int(_is_first() and time.monotonic() - saved > _SECONDS_BETWEEN_SAVES)):
            progress.write(arrays, int(indices.max()) + 1)
            saved = time.monotonic()
    for array in arrays.values():
        array.flush()
    wait_for_all("signals computed")
    if _is_first():
        for name in order:
            paths[name].with_suffix(".crc32").write_text(_file_checksum(partial[name]))
            os.replace(partial[name], paths[name])
        progress.forget()
    wait_for_all("signals written")


def _number_words(rows: Rows, words: Words) -> np.ndarray:
    """i32[R,T] the word at every place of the rows, -1 where there is none."""
    return np.where(rows.piece >= 0, words.number[rows.piece], -1)


def _is_first() -> bool:
    return jax.process_index() == 0


def _open_partial(
    partial: dict[str, Path], shapes: dict[str, tuple[int, int]], anew: bool
) -> dict[str, np.memmap]:
    """The files under way, writable; process 0 makes them where they are begun anew."""
    if anew and _is_first():
        _require_room(next(iter(partial.values())), sum(2 * p * w for p, w in shapes.values()))
        for name, shape in shapes.items():
            np.lib.format.open_memmap(partial[name], "w+", np.float16, shape)
    wait_for_all("files of signals made")
    return {name: np.lib.format.open_memmap(partial[name], "r+") for name in shapes}


class _Progress:
    """How many rows of files under way are written, told by a small file beside them."""

    def __init__(self, partial: dict[str, Path], rows: Rows) -> None:
        self._path = next(iter(partial.values())).with_suffix(".progress")
        # Rows of another packing hold other pieces, and fewer files would leave some unwritten.
        self._what = [sorted(path.name for path in partial.values()), _packing(rows)]
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


def _packing(rows: Rows) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(rows.piece).data):08x}"


def _require_room(path: Path, size: int) -> None:
    """A memory map on a full disk dies by a signal, so the room is asked for beforehand."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise InputError(
            f"{path.parent} has room for {free >> 20} MiB, and this cache takes {size >> 20} MiB: "
            "free some, lower data.transfer_limit, or set teacher.cache=never."
        )
