"""A trained model in use: texts in, labels out. The Python API behind predict.py.

Any folder that `load_model` opens will do, as long as it has a head: a student, a teacher, or a
fine-tuned BERT or ELECTRA from elsewhere.
"""

import codecs
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax

from xdistil.config import Data
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.packing import collect_predictions, pack
from xdistil.data.pieces import Tokenizer, cut_and_count, load_tokenizer, tell_cut
from xdistil.data.tags import SCHEMES, is_tag
from xdistil.errors import InputError, show
from xdistil.models.bilstm import BiLSTM
from xdistil.models.fields import check_size
from xdistil.models.folders import Loaded, Model, load_model
from xdistil.models.forward import predict_rows
from xdistil.models.structs import Params

log = logging.getLogger("xdistil")

CHUNK_LINES = 1024  # read, labelled and written together
_BATCH_PIECES = 4096  # at most, in a batch of rows
_SHORTEST = 16  # pieces in a row
_LONGEST = 512  # pieces in a row where the folder does not say
_RECORD = "xdistil"  # the key of config.json under which the input's shape is kept


def record_input(data: Data) -> dict[str, Any]:
    """What config.json keeps so that a folder labels texts as its training labelled them.

    For `save_model`'s `extra`.
    """
    return {
        _RECORD: {
            "words": "str.split",  # how raw text becomes words
            "row_length": data.row_length,
            "max_length": data.max_length or data.row_length,
            "scheme": data.scheme,  # how gold tags are written
            "repair": data.repair,
        }
    }


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
        rows = pack(pieces, _fit_row(len(pieces.tokens), self.row_length), seed=None)
        count = len(rows.piece)
        most = max(1, _BATCH_PIECES // rows.piece.shape[1])
        # Powers of two: few shapes to compile, and a single line need not fill a whole batch.
        batch_rows = min(most, 1 << (count - 1).bit_length())
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
        numbered = enumerate(lines, start=1)
        count = cut = 0
        while chunk := list(islice(numbered, CHUNK_LINES)):
            texts = [_decode(line, number, where) for number, line in chunk]
            filled = [index for index, text in enumerate(texts) if text.strip()]
            inputs = [self._split(texts[index], f"{where}:{chunk[index][0]}") for index in filled]
            labelled, its_cut = self._label(inputs)
            count, cut = count + len(inputs), cut + its_cut
            answers = dict(zip(filled, zip(inputs, labelled, strict=True), strict=True))
            for index, text in enumerate(texts):
                if index not in answers:
                    yield ""
                    continue
                words, labels = answers[index]
                shown = " ".join(words) if self.task.kind == "tagging" else text
                yield f"{shown}\t{' '.join(labels)}"
        self._tell_cut(cut, count)

    def _split(self, text: str, where: str) -> tuple[str, ...]:
        if self.task.kind == "tagging":
            return tuple(text.split())
        texts = tuple(text.split("\t"))
        if len(texts) > 2:
            raise InputError(
                f"{where}: {len(texts)} texts between tabs: a line is one text, or two with one "
                "tab between them."
            )
        return texts


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
    if loaded.task is None:
        raise InputError(
            f"{name} has no head for tagging or classification: name a fine-tuned model, such as "
            "the student or the teacher folder of a run."
        )
    if loaded.task.kind == "tagging" and not all(map(is_tag, loaded.task.labels)):
        odd = next(label for label in loaded.task.labels if not is_tag(label))
        raise InputError(
            f"{name} tags words with classes such as {show(odd)}: only O, B-TYPE and I-TYPE are "
            "tags of entities."
        )
    for note in loaded.notes:
        log.warning("%s: %s", name, note)
    tokenizer = load_tokenizer(name, revision, words=loaded.task.kind == "tagging")
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
        task=loaded.task,
        **_read_record(loaded, f"{name}: config.json"),
    )


def _read_record(loaded: Loaded, where: str) -> dict[str, Any]:
    """The Tagger's fields that `record_input` wrote, or what stands for them in other folders."""
    recorded = loaded.config.get(_RECORD, {})
    if not isinstance(recorded, dict):
        raise InputError(f"{where}: {_RECORD} is {show(recorded)}; it must be an object.")
    longest = None if isinstance(loaded.model, BiLSTM) else loaded.model.config.positions
    row_length = recorded.get("row_length", min(longest or _LONGEST, _LONGEST))
    row_length = check_size(row_length, f"{_RECORD}.row_length", where)
    most = min(row_length, longest or row_length)
    max_length = check_size(recorded.get("max_length", most), f"{_RECORD}.max_length", where)
    if max_length > most:
        raise InputError(
            f"{where}: {_RECORD}.max_length is {max_length}; rows and positions hold {most} pieces."
        )
    scheme, repair = recorded.get("scheme", "iob2"), recorded.get("repair", False)
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise InputError(
            f"{where}: {_RECORD}.scheme is {show(scheme)}; it must be {', '.join(SCHEMES)}."
        )
    if not isinstance(repair, bool):
        raise InputError(f"{where}: {_RECORD}.repair is {show(repair)}; it must be true or false.")
    return {"row_length": row_length, "max_length": max_length, "scheme": scheme, "repair": repair}


def _decode(line: bytes, number: int, where: str) -> str:
    """The text of a line without its end, and of the first without a byte order mark."""
    line = line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")
    if number == 1:
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}:{number}: byte {error.start + 1} of the line, 0x{line[error.start]:02x}, is "
            "not UTF-8: convert the text to UTF-8."
        ) from error
