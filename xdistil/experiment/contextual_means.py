"""The teacher's mean states, from which the student's word embeddings can start.

They are computed once, before the student's first stage, and kept in the workdir: a resumed run
reads them again.
"""

import logging
import zipfile
from functools import partial
from pathlib import Path

import jax
import numpy as np

from xdistil.data.corpus import draw_indices
from xdistil.data.packing import Batch, PackedTexts, pack
from xdistil.data.subwords import take_segments
from xdistil.distill.layer_maps import middle_layer
from xdistil.errors import InputError
from xdistil.experiment.build import Run
from xdistil.experiment.training import lending_teacher
from xdistil.models.forward import prediction_rows
from xdistil.models.subword_means import SubwordMeans, average_states
from xdistil.runtime.json_io import write_atomically
from xdistil.runtime.mesh import gather_rows, global_max, main_process_first, shard_batch
from xdistil.runtime.session import Session
from xdistil.student.initialise import KeptLayers
from xdistil.teacher.interface import Teacher, Unit
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import SignalSpec

TEXTS = 20_000  # transfer texts that are read, at most: enough for frequent subwords
FILE = "contextual.npz"
log = logging.getLogger("xdistil")


def find_means(run: Run, teacher: Teacher, session: Session) -> SubwordMeans | None:
    """The mean states of the teacher that lends them; None where nothing starts from them.

    Args:
        teacher: after fine-tuning.

    Raises:
        InputError: the file of an earlier call is damaged.
    """
    if isinstance(run.student, KeptLayers) or run.student.embeddings.kind != "contextual":
        return None
    lender = lending_teacher(run, teacher)
    assert isinstance(lender, ModelTeacher)  # `validate` refuses others
    path = session.workdir / "cache" / FILE
    if not global_max(int(path.exists())):
        means = _compute_means(run, lender, session)
        main_process_first(partial(_save, path, means))
    return _load(path)


def find_texts(run: Run) -> PackedTexts:
    """The transfer texts in the subwords that the teacher reads."""
    return (run.teacher_texts if run.teacher.unit is Unit.WORD else run.texts)["transfer"]


def _compute_means(run: Run, teacher: ModelTeacher, session: Session) -> SubwordMeans:
    """Means by the teacher's own ids."""
    texts, seed = find_texts(run), run.experiment.seed
    drawn = np.zeros(len(texts.examples), bool)
    drawn[draw_indices(texts.examples, TEXTS, seed)] = True
    subwords = take_segments(texts.subwords, np.flatnonzero(drawn[texts.subwords.example]))
    rows = pack(subwords, run.experiment.data.row_length, seed)
    layer, placed = middle_layer(teacher.model.depth), teacher.place(session)

    def compute(batch: Batch) -> np.ndarray:
        signals = placed.compute(shard_batch(session.mesh, batch), SignalSpec(hidden=(layer,)))
        (states,) = signals.hidden
        assert isinstance(states, jax.Array)  # for mypy: signals may be host arrays elsewhere
        return gather_rows(states)

    means = average_states(
        compute,
        subwords,
        rows,
        prediction_rows(rows, session.mesh.size),
        teacher.padding_id,
        teacher.model.config.hidden_size,
        session.preemption.raise_if_requested,
    )
    read = teacher.tokenizer if teacher.unit is Unit.WORD else run.student.tokenizer
    log.info(
        "student: word embeddings from the teacher's states after layer %d in %s texts, which hold "
        "%s of %s subwords; the others are predicted from the teacher's word embeddings",
        layer,
        *(f"{n:,}" for n in (drawn.sum(), len(means.subwords), read.vocabulary_size)),
    )
    if teacher.remap is None:
        return means
    return SubwordMeans(teacher.remap[means.subwords], means.values)


def _save(path: Path, means: SubwordMeans, first: bool) -> None:
    if first:
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, subwords=means.subwords, values=means.values)


def _load(path: Path) -> SubwordMeans:
    try:
        with np.load(path) as stored:
            return SubwordMeans(stored["subwords"], stored["values"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is damaged: remove it.") from None
