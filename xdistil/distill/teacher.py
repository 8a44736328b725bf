"""A trained model's signals for a stage, from a cache on disk or computed on the fly.

The cache holds one float16 array a signal, over all pieces of all segments in the order of the
texts, so that students with other packings share it. It is keyed by a fingerprint of the teacher's
parameters, the pieces and the signal, and checked against its checksum when opened.
"""

import hashlib
import json
import logging
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from xdistil.data.packing import Rows
from xdistil.data.pieces import Pieces, pieces_fingerprint
from xdistil.errors import InputError
from xdistil.mesh import shard_rows
from xdistil.models.folders import Model
from xdistil.models.forward import Wanted, compute_signals, iterate_batches
from xdistil.models.structs import Batch, Params, Signals

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Teacher:
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
    folder: Path, teacher: Teacher, pieces: Pieces, rows: Rows, wanted: Wanted, batch_rows: int
) -> dict[str, np.ndarray]:
    """The wanted signals as read-only arrays float16[P, width], computing what is not there.

    Args:
        folder: the workdir's cache.
        rows: any packing of the pieces; what is cached does not depend on it.
    """
    texts = pieces_fingerprint(pieces)
    names = signal_names(wanted)
    paths = {name: folder / f"{_key(teacher, texts, name)}.npy" for name in names}
    missing = [name for name in names if not _is_sound(paths[name])]
    if missing:
        _write_signals(paths, missing, teacher, pieces, rows, batch_rows)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def _key(teacher: Teacher, texts: str, name: str) -> str:
    kept = None if teacher.kept is None else hashlib.sha256(teacher.kept.tobytes()).hexdigest()
    content = json.dumps([teacher.fingerprint, str(teacher.model), kept, texts, name])
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


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
    teacher: Teacher,
    pieces: Pieces,
    rows: Rows,
    batch_rows: int,
) -> None:
    wanted = Wanted(
        logits="logits" in names,
        hidden=tuple(int(name.removeprefix("hidden-")) for name in names if name != "logits"),
    )
    order = signal_names(wanted)
    next(iter(paths.values())).parent.mkdir(parents=True, exist_ok=True)
    partial = {name: paths[name].with_suffix(".partial") for name in order}
    arrays: dict[str, np.memmap] = {}
    log.info("computing %s of %d pieces", ", ".join(order), len(pieces.tokens))
    for indices, batch in iterate_batches(pieces, rows, batch_rows, teacher.padding_id):
        signals = teacher.compute(shard_rows(teacher.mesh, batch), wanted)
        logits = () if signals.logits is None else (signals.logits,)
        values = (*logits, *signals.hidden)
        kept = indices >= 0
        where = rows.piece[indices[kept]]
        real = where >= 0
        for name, value in zip(order, values, strict=True):
            if name not in arrays:
                _require_room(partial[name], len(pieces.tokens) * value.shape[-1] * 2)
                arrays[name] = np.lib.format.open_memmap(
                    partial[name], "w+", np.float16, (len(pieces.tokens), value.shape[-1])
                )
            arrays[name][where[real]] = np.asarray(value, np.float16)[kept][real]
    for name, array in arrays.items():
        array.flush()
        paths[name].with_suffix(".crc32").write_text(_file_checksum(partial[name]))
        os.replace(partial[name], paths[name])


def _require_room(path: Path, size: int) -> None:
    """A memory map on a full disk dies by a signal, so the room is asked for beforehand."""
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise InputError(
            f"{path.parent} has room for {free >> 20} MiB, and this cache takes {size >> 20} MiB: "
            "free some, lower data.transfer_limit, or set teacher.cache=never."
        )
