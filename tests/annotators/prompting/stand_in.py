"""A stand-in for a language model: it marks known names by a rule, and damages its answers."""

import json
import random
from typing import Any

from xdistil.annotators.answers import Span

NAMES = {"Anna": "PER", "Bob Lee": "PER", "Zoë": "PER", "New York": "LOC", "Rome": "LOC"}


def mark(text: str) -> list[Span]:
    """The names of a text, in text order, by a rule: the whole truth of it."""
    spans = []
    for name, type_ in NAMES.items():
        at = text.find(name)
        while at >= 0:
            spans.append(Span(at, at + len(name), type_))
            at = text.find(name, at + 1)
    return sorted(spans)


def answer(text: str, damage: str, generator: random.Random) -> Any:
    """An answer with the given kind of damage that still means `mark(text)`."""
    spans = mark(text)
    entities: list[dict[str, Any]] = [
        {"text": text[span.start : span.end], "label": span.type} for span in spans
    ]
    if damage == "offsets":
        for entity, span in zip(entities, spans, strict=True):
            entity["start"] = span.start + generator.choice((-2, -1, 0, 1, 2))
            entity["end"] = span.end
    if damage == "spelling":
        for entity in entities:
            entity["text"] = entity["text"].replace(" ", "  ").replace("ë", "e\u0308")
    if damage == "marked":
        for span in reversed(spans):
            words = text[span.start : span.end]
            text = f"{text[: span.start]}<{span.type}>{words}</{span.type}>{text[span.end :]}"
        return f"Here you are:\n{text}" if spans else text
    written = json.dumps({"entities": entities}, ensure_ascii=damage == "spelling")
    if damage == "fence":
        return f"Of course!\n```json\n{written}\n```\nI found {len(spans)} [names]."
    if damage == "commas":
        return written.replace("}]", "},]").replace('"}', '",}')
    if damage == "quotes":
        return written.replace('"', "'")
    if damage == "typographic":
        return written.replace('"', "”")
    if damage == "cut":
        return written[:-1]
    return written


DAMAGES = ("", "offsets", "spelling", "marked", "fence", "commas", "quotes", "typographic", "cut")


def write_text(generator: random.Random) -> str:
    """A text of a few words, with names among them."""
    words = ["met", "saw", "in", "the", "town", "a.", "and", "“so”", *NAMES]
    return " ".join(generator.choice(words) for _ in range(generator.randint(1, 12))) + "."
