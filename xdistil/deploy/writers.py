"""Texts and their answers -> lines of a file: tab-separated, CoNLL columns or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from xdistil.data.text_stream import Text
from xdistil.deploy.predictor import Classified, Tagged
from xdistil.errors import InputError

_DIGITS = 6  # of a score behind the point


def write_tsv(text: Text, labels: Sequence[str], kind: str, where: str) -> str:
    """The words or texts, a tab, their labels; an empty line for a blank text.

    Raises:
        InputError: a text that a line cannot hold.
    """
    if not text.inputs:
        return ""
    if kind == "tagging":
        return f"{' '.join(text.inputs)}\t{' '.join(labels)}"
    if any(separator in each for each in text.inputs for separator in "\t\n"):
        raise InputError(
            f"{where}:{text.line}: a text with a tab or a line end fits into no line: write JSON "
            "lines (.jsonl)."
        )
    return "\t".join([*text.inputs, *labels])


def write_conll(text: Text, labels: Sequence[str]) -> str:
    """A line for each word with its tag, and an empty one after them; nothing for a blank text."""
    rows = [f"{word}\t{tag}\n" for word, tag in zip(text.inputs, labels, strict=True)]
    return "".join([*rows, "\n"]) if rows else ""


def write_json(text: Text, answer: Tagged | Classified | None) -> str:
    """One object: the text or texts, and with their scores the label, or tags and entities.

    Without an answer, which a blank text to be classified lacks, the label is null.
    """
    content: dict[str, Any]
    if isinstance(answer, Tagged):
        content = {
            "text": answer.text,
            "tokens": [word.text for word in answer.words],
            "tags": [word.tag for word in answer.words],
            "offsets": [[word.start, word.end] for word in answer.words],
            "scores": [round(word.score, _DIGITS) for word in answer.words],
            "entities": [
                {
                    "type": entity.type,
                    "text": entity.text,
                    "start": entity.start,
                    "end": entity.end,
                    "score": round(entity.score, _DIGITS),
                }
                for entity in answer.entities
            ],
        }
    else:
        names = ("text",) if len(text.inputs) < 2 else ("text_a", "text_b")
        content = dict(zip(names, text.inputs or ("",), strict=True))
        content["label"] = answer and answer.label
        scores = answer.scores.items() if answer else ()
        content["scores"] = {name: round(each, _DIGITS) for name, each in scores}
    return json.dumps(content, ensure_ascii=False)
