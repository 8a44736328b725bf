"""Texts and their predictions -> lines of a file: tab-separated, CoNLL columns or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from xdistil.data.text_stream import Text
from xdistil.deploy.predictor import Classified, Tagged
from xdistil.errors import InputError

_DIGITS = 6  # decimals of a score


def write_tsv(text: Text, labels: Sequence[str], kind: str, where: str) -> str:
    """The words or texts, a tab, and the labels; an empty line for a blank text.

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
    return "\t".join([*text.inputs, *labels])


def write_conll(text: Text, labels: Sequence[str]) -> str:
    """One line per word with its tag, then an empty line; nothing for a blank text."""
    rows = [f"{word}\t{tag}\n" for word, tag in zip(text.inputs, labels, strict=True)]
    return "".join([*rows, "\n"]) if rows else ""


def write_json(text: Text, prediction: Tagged | Classified | None) -> str:
    """One object: the text or texts, with the label, or the tags and entities, and their scores.

    Without a prediction, as for a blank text in classification, the label is null.
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
        content["label"] = prediction and prediction.label
        scores = prediction.scores.items() if prediction else ()
        content["scores"] = {name: round(each, _DIGITS) for name, each in scores}
    return json.dumps(content, ensure_ascii=False)
