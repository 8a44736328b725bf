"""Mean states of subwords by a run's teacher, computed once and kept in the workdir: a resumed run
reads them again."""

import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from xdistil.data.packing import Batch, Rows
from xdistil.data.subwords import Subwords
from xdistil.errors import InputError
from xdistil.models.forward import prediction_rows
from xdistil.models.subword_means import SubwordMeans, average_states
from xdistil.runtime.json_io import write_atomically
from xdistil.runtime.mesh import gather_rows, global_max, main_process_first, shard_batch
from xdistil.runtime.session import Session
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import SignalSpec


def keep_means(path: Path, compute: Callable[[], SubwordMeans]) -> SubwordMeans:
    """The means of a file, which is written where there is none yet.

    Raises:
        InputError: the file of an earlier call is damaged.
    """
    if not global_max(int(path.exists())):
        means = compute()
        main_process_first(partial(_save, path, means))
    return _load(path)


def average_layers(
    teacher: ModelTeacher,
    session: Session,
    subwords: Subwords,
    rows: Rows,
    layers: Sequence[int],
) -> SubwordMeans:
    """The mean states f32[N,L*D] of the subwords of packed texts, those of L layers side by side.

    Args:
        subwords: by the ids that the teacher reads.
        layers: of the teacher, ascending; 0 is the embeddings.
    """
    placed = teacher.place(session)

    def compute(batch: Batch) -> np.ndarray:
        signals = placed.compute(shard_batch(session.mesh, batch), SignalSpec(hidden=tuple(layers)))
        parts = []
        for states in signals.hidden:
            assert isinstance(states, jax.Array)  # for mypy: signals may be host arrays elsewhere
            parts.append(gather_rows(states))
        return np.concatenate(parts, axis=-1)

    return average_states(
        compute,
        subwords,
        rows,
        prediction_rows(rows, session.mesh.size),
        teacher.padding_id,
        len(layers) * teacher.model.config.hidden_size,
        session.preemption.raise_if_requested,
    )


def _save(path: Path, means: SubwordMeans, first: bool) -> None:
    if first:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, subwords=means.subwords, values=means.values)


def _load(path: Path) -> SubwordMeans:
    try:
        with np.load(path) as stored:
            return SubwordMeans(stored["subwords"], stored["values"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged: remove it.") from None
