"""Texts and their predictions -> lines of a file: tab-separated, CSV, CoNLL columns or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from xdistil.data.text_stream import Text
from xdistil.deploy.predictor import Classified, Tagged
from xdistil.errors import InputError

_DIGITS = 6  # decimals of a score
_LABEL = {"tagging": "tags", "classification": "label"}  # the column of CSV
# Fields of the input that hold its texts, or labels of them.
_OWN = frozenset(("text", "text_a", "text_b", "tokens", "words", "tags", "label", "language"))


def write_tsv(text: Text, labels: Sequence[str], kind: str, where: str) -> str:
    """The words or texts, a tab, and the tags or classes; an empty line for a blank text.

    Raises:
        InputError: a text contains a tab or a line end.
    """
    if not text.inputs:
        return ""
    if kind == "tagging":
        return f"{' '.join(text.inputs)}\t{' '.join(labels)}"
    if any(separator in each for each in text.inputs for separator in "\t\n"):
        raise InputError(
            f"{where}:{text.line}: tab-separated output cannot hold a text with a tab or line end: "
            "write JSON lines (.jsonl)."
        )
    return "\t".join([*text.inputs, ",".join(labels)])


def write_conll(text: Text, labels: Sequence[str]) -> str:
    """One line per word with its tag, then an empty line; nothing for a blank text."""
    rows = [f"{word}\t{tag}\n" for word, tag in zip(text.inputs, labels, strict=True)]
    return "".join([*rows, "\n"]) if rows else ""


def write_json(text: Text, prediction: Tagged | Classified | None) -> str:
    """One object: the text or texts, with the label, or the tags and entities, and their scores.

    Further fields of the input's object come back as they were. One with the name of a field of
    the answer is replaced. Without a prediction, as for a blank text in classification, the label
    is null.
    """
    content: dict[str, Any]
    if isinstance(prediction, Tagged):
        content = {
            "text": prediction.text,
            "tokens": [word.text for word in prediction.words],
            "tags": [word.tag for word in prediction.words],
            "offsets": [[word.start, word.end] for word in prediction.words],
            "scores": [round(word.score, _DIGITS) for word in prediction.words],
            "entities": [
                {
                    "type": entity.type,
                    "text": entity.text,
                    "start": entity.start,
                    "end": entity.end,
                    "score": round(entity.score, _DIGITS),
                }
                for entity in prediction.entities
            ],
        }
    else:
        names = ("text",) if len(text.inputs) < 2 else ("text_a", "text_b")
        content = dict(zip(names, text.inputs or ("",), strict=True))
        if prediction and prediction.labels is not None:
            content["labels"] = list(prediction.labels)
        else:
            content["label"] = prediction and prediction.label
        scores = prediction.scores.items() if prediction else ()
        content["scores"] = {name: round(each, _DIGITS) for name, each in scores}
    content = {**(text.fields or {}), **content}
    line = json.dumps(content, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # a field of the input holds half of a surrogate pair
        return json.dumps(content)
    return line


def name_columns(text: Text, kind: str, named: bool) -> list[str]:
    """The columns of CSV by the first text: those of the input, or of the texts; then the label's.

    Args:
        named: whether the fields of the input are columns with names.
    """
    fields = list(text.fields or ()) if named else []
    pair = kind == "classification" and len(text.inputs) == 2
    names = fields or (["text_a", "text_b"] if pair else ["text"])
    return names if _LABEL[kind] in names else [*names, _LABEL[kind]]


def write_csv(text: Text, labels: Sequence[str], kind: str, names: Sequence[str]) -> str:
    """A row of CSV with the columns of `name_columns`; words and tags are joined by spaces."""
    texts = text.inputs
    if kind == "tagging":
        texts = (" ".join(text.inputs) if text.raw is None else text.raw,)
    values = dict(zip(("text",) if len(texts) < 2 else ("text_a", "text_b"), texts, strict=False))
    values |= {name: str(value) for name, value in (text.fields or {}).items() if name in names}
    values[_LABEL[kind]] = (" " if kind == "tagging" else ",").join(labels)
    return write_row([values.get(name, "") for name in names])


def write_row(cells: Sequence[str]) -> str:
    """A row of CSV."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()


def list_lost_fields(text: Text) -> list[str]:
    """The fields of the input that only JSON lines have a place for."""
    here = (text.raw, *text.inputs)
    fields = (text.fields or {}).items()
    return [name for name, value in fields if name not in _OWN and value not in here]
