"""The teacher's states of isolated subwords, which a trained projection can read beside its word
embeddings (Bommasani et al. 2020, doi:10.18653/v1/2020.acl-main.431, call them decontextualized).

Its layers make of a subword what the student is to learn: whether it begins a name, and of what.
They say so of subwords, too, that the texts hardly contain.
"""

import logging
from dataclasses import replace
from functools import partial

import numpy as np

from xdistil.data.isolated_subwords import isolate_subwords
from xdistil.data.packing import pack
from xdistil.data.tokenizer import read_template
from xdistil.distill.layer_maps import middle_and_last, name_layers
from xdistil.experiment.build import Run
from xdistil.experiment.subword_means import average_layers, keep_means
from xdistil.experiment.training import lending_teacher
from xdistil.models.subword_means import SubwordMeans
from xdistil.runtime.session import Session
from xdistil.student.initialise import KeptLayers
from xdistil.teacher.interface import Teacher
from xdistil.teacher.model_teacher import ModelTeacher

FILE = "isolated_states.npz"
log = logging.getLogger("xdistil")


def find_isolated_states(run: Run, teacher: Teacher, session: Session) -> np.ndarray | None:
    """f32[v,L*D] the states of each of the student's subwords after the teacher's middle and last
    layer; None where they are not projected.

    Args:
        teacher: after fine-tuning.

    Raises:
        InputError: the file of an earlier call is damaged.
    """
    if not run.experiment.student.project_states:
        return None
    lender = lending_teacher(run, teacher)
    assert isinstance(lender, ModelTeacher)  # `validate` and `build` refuse others
    path = session.workdir / "cache" / FILE
    return keep_means(path, partial(_compute_states, run, lender, session)).values


def _compute_states(run: Run, teacher: ModelTeacher, session: Session) -> SubwordMeans:
    """Those of the student's subwords, in their order."""
    assert not isinstance(run.student, KeptLayers)  # `validate` asks
    teacher = replace(teacher, remap=None, padding_id=teacher.tokenizer.pad)  # reads its own ids
    layers = middle_and_last(teacher.model.depth)
    count = teacher.model.config.vocabulary_size
    log.info(
        "student: computes the teacher's states of %s isolated subwords after %s",
        f"{count:,}",
        name_layers(layers),
    )
    subwords = isolate_subwords(read_template(teacher.tokenizer, pair=False), count)
    rows = pack(subwords, run.experiment.data.row_length, run.experiment.seed)
    # Subwords that are special stand in all texts, and have the mean of their states.
    means = average_layers(teacher, session, subwords, rows, layers)
    size = run.student.model.config.vocabulary_size
    values = run.student.embeddings.rows(means.values)[:size]
    return SubwordMeans(np.arange(size, dtype=np.int32), values)
