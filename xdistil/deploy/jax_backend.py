"""A trained model in JAX with its tokenizer and task, for prediction, export and checks.

It opens any folder that `load_model` opens and that has a head: a student, a teacher, or a model
fine-tuned elsewhere.
"""

import logging
import os
from dataclasses import dataclass

import jax
import numpy as np

from xdistil.data.examples import Task
from xdistil.data.packing import Rows, pack
from xdistil.data.subwords import PREDICTION_SUBWORDS, Subwords
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.deploy.preprocessing import read_preprocessing
from xdistil.errors import InputError
from xdistil.models.forward import compute_logits, iterate_batches
from xdistil.models.hf.folder import check_rows, load_model
from xdistil.models.hf.head import check_head, check_problem
from xdistil.models.types import Model, Params

log = logging.getLogger("xdistil")

_SHORTEST = 16  # subwords in the shortest row
_process = 0  # the process in which a model was opened first, and JAX started; 0: none


@dataclass(frozen=True)
class JaxBackend:
    """A model with its tokenizer and task; `open_model` creates one."""

    model: Model
    params: Params
    tokenizer: Tokenizer
    task: Task
    row_length: int  # subwords in a packed row
    max_length: int  # subwords in a segment; longer sentences become windows, longer texts are cut
    segmentation: str  # of texts and words: units, or spaces
    joined: str  # marks that join the units of a text to words
    overlap: int  # subwords that windows of a sentence share
    scheme: str  # the tag scheme of its training data
    repair: bool  # whether illegal tags in its training data were repaired
    decoding: str  # of its tags: viterbi, or argmax

    def compute_logits(self, subwords: Subwords) -> np.ndarray:
        """f32[P,C] at every subword; in classification only a segment's first subword counts."""
        _check_process()
        rows, batch_rows = self._lay_out(subwords)
        logits = np.zeros((len(subwords.tokens), len(self.task.labels)), np.float32)
        for indices, batch in iterate_batches(subwords, rows, batch_rows, self.tokenizer.pad):
            found = compute_logits(self.params, batch, model=self.model)
            placed = rows.subword[indices]
            there = (placed >= 0) & (indices >= 0)[:, None]
            logits[placed[there]] = np.asarray(found)[there]
        return logits

    def _lay_out(self, subwords: Subwords) -> tuple[Rows, int]:
        """Packed rows, and the number of rows in a batch."""
        rows = pack(subwords, _fit_row(len(subwords.tokens), self.row_length), seed=None)
        most = max(1, PREDICTION_SUBWORDS // rows.subword.shape[1])
        # Powers of two: few shapes are compiled, and a single line does not need a whole batch.
        return rows, min(most, 1 << (len(rows.subword) - 1).bit_length())


def _fit_row(subwords: int, row_length: int) -> int:
    """The row length for a number of subwords: the power of two that holds them, if it is shorter.

    So a single short text is predicted fast, and few shapes are compiled.
    """
    return min(row_length, max(_SHORTEST, 1 << (subwords - 1).bit_length()))


def _check_process() -> None:
    # JAX's threads do not exist in a forked process, which would wait for them for ever.
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise InputError(
            f"JAX was started in process {_process} and does not work in process {os.getpid()}, "
            "which was forked from it: call xdistil.load in each worker and not before the fork, "
            "start the workers with multiprocessing's spawn, or use backend='onnx'."
        )


def open_model(name: str, revision: str = "main") -> JaxBackend:
    """Opens a model folder or hub id with a head for tagging or classification.

    Raises:
        InputError: the model does not exist, is damaged, or has no such head; or this process was
            forked from one that has opened a model.
    """
    _check_process()
    loaded = load_model(name, revision)
    task = check_head(loaded.task, name)
    check_problem(loaded.config, task, name)
    for note in loaded.notes:
        log.warning("%s: %s", name, note)
    tokenizer = load_tokenizer(name, revision, words=task.kind == "tagging")
    check_rows(tokenizer, loaded, "put the model's own tokenizer there")
    return JaxBackend(
        model=loaded.model,
        params=jax.device_put(loaded.params),
        tokenizer=tokenizer,
        task=task,
        **read_preprocessing(loaded.config, loaded.model.max_positions, f"{name}: config.json"),
    )
