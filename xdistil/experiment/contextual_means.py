"""The teacher's mean states in texts, from which the student's word embeddings can start."""

import logging
from functools import partial

import numpy as np

from xdistil.data.corpus import draw_indices
from xdistil.data.packing import PackedTexts, pack
from xdistil.data.subwords import take_segments
from xdistil.distill.layer_maps import middle_layer
from xdistil.experiment.build import Run
from xdistil.experiment.subword_means import average_layers, keep_means
from xdistil.experiment.training import lending_teacher
from xdistil.models.subword_means import SubwordMeans
from xdistil.runtime.session import Session
from xdistil.student.initialise import KeptLayers
from xdistil.teacher.interface import Teacher, Unit
from xdistil.teacher.model_teacher import ModelTeacher

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
    return keep_means(
        session.workdir / "cache" / FILE, partial(_compute_means, run, lender, session)
    )


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
    layer = middle_layer(teacher.model.depth)
    means = average_layers(teacher, session, subwords, rows, (layer,))
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
