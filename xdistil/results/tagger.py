"""A trained model in JAX: what export, prediction and their checks stand on.

Any folder that `load_model` opens will do, as long as it has a head: a student, a teacher, or a
fine-tuned BERT or ELECTRA from elsewhere.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import jax
import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.packing import Rows, collect_predictions, pack
from xdistil.data.pieces import Pieces, Tokenizer, cut_and_count, load_tokenizer, tell_cut
from xdistil.data.streams import read_plain
from xdistil.errors import InputError
from xdistil.models.bilstm import BiLSTM
from xdistil.models.folders import Model, load_model
from xdistil.models.forward import Wanted, compute_signals, iterate_batches, predict_rows
from xdistil.models.labels import check_answers
from xdistil.models.structs import Params
from xdistil.results.lines import write_tsv
from xdistil.results.record import read_input, record_input

__all__ = ["CHUNK_LINES", "Tagger", "open_tagger", "record_input"]

log = logging.getLogger("xdistil")

CHUNK_LINES = 1024  # read, labelled and written together
_BATCH_PIECES = 4096  # at most, in a batch of rows
_SHORTEST = 16  # pieces in a row
_LOGITS = Wanted(logits=True)


@dataclass(frozen=True)
class Tagger:
    """A model with its tokenizer and classes; `open_tagger` makes one."""

    model: Model
    params: Params
    tokenizer: Tokenizer
    task: Task
    row_length: int  # pieces in a packed row
    max_length: int  # pieces in a segment: longer sentences are windows, longer texts are cut
    scheme: str  # how the gold tags of its training were written
    repair: bool  # whether illegal ones were made legal there

    def label(self, inputs: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        """Legal IOB2 tags, one a word, or one class name, for each input.

        An answer depends on its own input alone, whatever else is labelled with it. Texts that lose
        their ends are counted in a warning.

        Args:
            inputs: the words of a sentence (tagging), one or two texts (classification).
        """
        answers, cut = self._label(inputs)
        self._tell_cut(cut, len(inputs))
        return answers

    def _tell_cut(self, cut: int, texts: int) -> None:
        if cut:
            log.warning(tell_cut(cut, texts, self.max_length))

    def _label(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], int]:
        answers: list[tuple[str, ...]] = [()] * len(inputs)
        cut = 0
        pairs = [self.task.kind == "classification" and len(each) == 2 for each in inputs]
        for pair in (False, True):  # of one shape within a call: `cut_pieces` asks for it
            chosen = [index for index, is_pair in enumerate(pairs) if is_pair == pair]
            if chosen:
                labelled, its_cut = self._label_alike([inputs[index] for index in chosen])
                cut += its_cut
                for index, answer in zip(chosen, labelled, strict=True):
                    answers[index] = answer
        return answers, cut

    def _label_alike(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], int]:
        examples = [Example(each, None, UNKNOWN_LANGUAGE) for each in inputs]
        pieces, cut = cut_and_count(examples, self.task, self.tokenizer, self.max_length)
        rows, batch_rows = self._lay_out(pieces)
        predicted = predict_rows(
            self.model, self.params, pieces, rows, batch_rows, self.tokenizer.pad
        )
        return collect_predictions(pieces, rows, predicted, examples, self.task), cut

    def label_lines(self, lines: Iterable[bytes], where: str) -> Iterator[str]:
        """One output line for each input line, without their ends, chunk by chunk.

        Tagging: words, a tab, as many tags, both separated by spaces; words are what `str.split`
        finds. Classification: the text, or two texts with a tab between, a tab and the class. A
        blank line stays blank. Texts that lose their ends are counted in a warning after the last.

        Args:
            lines: UTF-8, each ending in \\n or \\r\\n (the last may lack it).
            where: names their source in errors.

        Raises:
            InputError: a line is not UTF-8, or holds more than two texts.
        """
        texts = read_plain(lines, where, self.task.kind)
        count = cut = 0
        while chunk := list(islice(texts, CHUNK_LINES)):
            inputs = [text.inputs for text in chunk if text.inputs]
            labelled, its_cut = self._label(inputs)
            count, cut = count + len(inputs), cut + its_cut
            answers = iter(labelled)
            for text in chunk:
                yield write_tsv(text, next(answers) if text.inputs else (), self.task.kind, where)
        self._tell_cut(cut, count)

    def compute_logits(self, pieces: Pieces) -> np.ndarray:
        """f32[P,C] at every piece; of classification those at a segment's first piece count."""
        rows, batch_rows = self._lay_out(pieces)
        logits = np.zeros((len(pieces.tokens), len(self.task.labels)), np.float32)
        for indices, batch in iterate_batches(pieces, rows, batch_rows, self.tokenizer.pad):
            signals = compute_signals(self.params, batch, model=self.model, wanted=_LOGITS)
            placed = rows.piece[indices]
            there = (placed >= 0) & (indices >= 0)[:, None]
            logits[placed[there]] = np.asarray(signals.logits)[there]
        return logits

    def _lay_out(self, pieces: Pieces) -> tuple[Rows, int]:
        """Packed rows, and how many of them are a batch."""
        rows = pack(pieces, _fit_row(len(pieces.tokens), self.row_length), seed=None)
        most = max(1, _BATCH_PIECES // rows.piece.shape[1])
        # Powers of two: few shapes to compile, and a single line need not fill a whole batch.
        return rows, min(most, 1 << (len(rows.piece) - 1).bit_length())


def _fit_row(pieces: int, row_length: int) -> int:
    """The row for so many pieces: where they fit into one, a power of two, so that a single short
    text is answered soon and few shapes are ever compiled."""
    return min(row_length, max(_SHORTEST, 1 << (pieces - 1).bit_length()))


def open_tagger(name: str, revision: str = "main") -> Tagger:
    """Opens a model folder, or a hub id, for labelling.

    Raises:
        InputError: there is no such model, it is damaged, or it has no head for tagging or
            classification.
    """
    loaded = load_model(name, revision)
    task = check_answers(loaded.task, name)
    longest = None if isinstance(loaded.model, BiLSTM) else loaded.model.config.positions
    for note in loaded.notes:
        log.warning("%s: %s", name, note)
    tokenizer = load_tokenizer(name, revision, words=task.kind == "tagging")
    rows = loaded.model.config.vocabulary_size
    if tokenizer.vocabulary_size > rows:
        raise InputError(
            f"{name}: the tokenizer has {tokenizer.vocabulary_size} pieces and the model's word "
            f"embeddings only {rows} rows: put the model's own tokenizer there."
        )
    return Tagger(
        model=loaded.model,
        params=jax.device_put(loaded.params),
        tokenizer=tokenizer,
        task=task,
        **read_input(loaded.config, longest, f"{name}: config.json"),
    )
