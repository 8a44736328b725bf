"""Texts and their predictions -> the content of an output, part by part."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xdistil.data.text_stream import Text
from xdistil.deploy.predictor import Classified, Classifier, Prediction, Tagger
from xdistil.deploy.writers import (
    list_lost_fields,
    name_columns,
    write_conll,
    write_csv,
    write_json,
    write_row,
    write_tsv,
)
from xdistil.errors import InputError, show

_CHUNK = 1024  # texts read, labelled and written together
_log = logging.getLogger("xdistil")


def take_ready(texts: Iterable[Text | None], ready: Callable[[], bool]) -> Iterator[list[Text]]:
    """The texts in lists: at most _CHUNK, and no more than there are without waiting for a line."""
    chunk: list[Text] = []
    for text in texts:
        if text is not None:
            chunk.append(text)
        if chunk and (len(chunk) == _CHUNK or not ready()):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class BlankLines:
    """Blank lines of JSON lines, which have no answer; those at the end of a file do not count."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._open: list[int] = []  # lines after the last text
        self._left_out: list[int] = []

    def leave_out(self, texts: Iterable[Text]) -> Iterator[Text | None]:
        for text in texts:
            if text.is_left_out:
                self._open.append(text.line)
                yield None
            else:
                self._left_out += self._open
                self._open = []
                yield text

    def warn(self) -> None:
        if self._left_out:
            _log.warning(
                "%s: blank lines have no answer (%d, the first is line %d)",
                self._where,
                len(self._left_out),
                self._left_out[0],
            )


class Answers:
    """Texts and their predictions -> the content of the output, part by part."""

    def __init__(
        self, model: Tagger | Classifier, written: str, where: str, in_columns: bool
    ) -> None:
        self._model, self._written, self._where = model, written, where
        self._in_columns = in_columns  # what fields the texts have are columns with names
        self._kind = model.predictor.task.kind
        odd = [name for name in model.predictor.task.labels if "," in name]
        if model.predictor.task.multilabel and odd and written in ("tsv", "csv"):
            raise InputError(
                f"{written} output separates classes by commas, and {show(odd[0])} has one: write "
                "JSON lines (--output-format=jsonl)."
            )
        self._first = True
        self._names: list[str] = []  # of the columns of CSV

    def render(self, text: Text, prediction: Prediction) -> str:
        """What is written for one text."""
        first, self._first = self._first, False
        labels = prediction.labels
        if self._written in ("json", "jsonl"):
            line = write_json(text, self._describe(text, prediction))
            if self._written == "jsonl":
                return f"{line}\n"
            return f"[\n{line}" if first else f",\n{line}"
        kept = self._written == "csv" and self._in_columns
        if first and not kept and (lost := list_lost_fields(text)):
            _log.warning(
                "%s output has no place for the fields of the input such as %s: write JSON lines "
                "(--output-format=jsonl) to get them back",
                self._written,
                show(lost[0]),
            )
        if self._written == "csv":
            if first:
                self._names = name_columns(text, self._kind, self._in_columns)
            row = write_csv(text, labels, self._kind, self._names)
            return write_row(self._names) + row if first else row
        if self._written == "conll":
            return write_conll(text, labels)
        return f"{write_tsv(text, labels, self._kind, self._where)}\n"

    def finish(self) -> str:
        """What is written after the last text."""
        if self._written != "json":
            return ""
        return "[]\n" if self._first else "\n]\n"

    def _describe(self, text: Text, prediction: Prediction) -> Any:
        if isinstance(self._model, Tagger):
            return self._model.describe(text.raw, text.inputs, prediction)
        if text.inputs:
            return self._model.describe(prediction)
        return Classified("", 0.0, {}, ()) if self._model.predictor.task.multilabel else None
