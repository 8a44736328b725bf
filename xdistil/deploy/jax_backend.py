"""A trained model in JAX, with its tokenizer and its task: what serving, export and checks open.

Any folder that `load_model` opens will do, as long as it has a head: a student, a teacher, or a
fine-tuned BERT or ELECTRA from elsewhere.
"""

import logging
from dataclasses import dataclass

import jax
import numpy as np

from xdistil.data.examples import Task
from xdistil.data.packing import Rows, pack
from xdistil.data.subwords import PREDICTION_SUBWORDS, Subwords
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.deploy.preprocessing import read_preprocessing
from xdistil.models.forward import compute_logits, iterate_batches
from xdistil.models.hf.folder import check_rows, load_model
from xdistil.models.hf.head import check_head
from xdistil.models.types import Model, Params

log = logging.getLogger("xdistil")

_SHORTEST = 16  # subwords in a row


@dataclass(frozen=True)
class JaxBackend:
    """A model with its tokenizer and classes; `open_model` makes one."""

    model: Model
    params: Params
    tokenizer: Tokenizer
    task: Task
    row_length: int  # subwords in a packed row
    max_length: int  # subwords in a segment: longer sentences are windows, longer texts are cut
    scheme: str  # how the gold tags of its training were written
    repair: bool  # whether illegal ones were made legal there

    def compute_logits(self, subwords: Subwords) -> np.ndarray:
        """f32[P,C] at every subword; of classification those at a segment's first subword count."""
        rows, batch_rows = self._lay_out(subwords)
        logits = np.zeros((len(subwords.tokens), len(self.task.labels)), np.float32)
        for indices, batch in iterate_batches(subwords, rows, batch_rows, self.tokenizer.pad):
            found = compute_logits(self.params, batch, model=self.model)
            placed = rows.subword[indices]
            there = (placed >= 0) & (indices >= 0)[:, None]
            logits[placed[there]] = np.asarray(found)[there]
        return logits

    def _lay_out(self, subwords: Subwords) -> tuple[Rows, int]:
        """Packed rows, and how many of them are a batch."""
        rows = pack(subwords, _fit_row(len(subwords.tokens), self.row_length), seed=None)
        most = max(1, PREDICTION_SUBWORDS // rows.subword.shape[1])
        # Powers of two: few shapes to compile, and a single line need not fill a whole batch.
        return rows, min(most, 1 << (len(rows.subword) - 1).bit_length())


def _fit_row(subwords: int, row_length: int) -> int:
    """The row for so many subwords: where they fit into one, a power of two, so that a single short
    text is answered soon and few shapes are ever compiled."""
    return min(row_length, max(_SHORTEST, 1 << (subwords - 1).bit_length()))


def open_model(name: str, revision: str = "main") -> JaxBackend:
    """Opens a model folder, or a hub id, whose head tags words or classifies texts.

    Raises:
        InputError: there is no such model, it is damaged, or it has no such head.
    """
    loaded = load_model(name, revision)
    task = check_head(loaded.task, name)
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
