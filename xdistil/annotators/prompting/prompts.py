"""The words of a prompt: what to do, the types, a few examples, and the text."""

import json
import unicodedata
from collections.abc import Sequence

from xdistil.annotators.answers import digest_text
from xdistil.annotators.prompting.types import Types
from xdistil.data.examples import Example
from xdistil.data.segmentation import find_units
from xdistil.data.spans import find_spans, join_words

STYLES = ("json", "marked")

_TASKS = {
    "tagging": "Find all named entities in a text.",
    "classification": "Classify a text.",
}
_FORMS = {
    "json": (
        'Answer with JSON alone, in this form: {"entities": [{"text": "...", "label": "..."}]}. '
        "Copy the words of each entity exactly as they stand in the text. Name the entities in "
        "the order of the text, each as often as it occurs. If there is none, answer "
        '{"entities": []}.'
    ),
    "marked": (
        "Answer with the text alone, unchanged but for a mark around each entity, such as "
        "<{first}>...</{first}>. If there is no entity, answer with the text as it is."
    ),
    "class": 'Answer with JSON alone, in this form: {"label": "..."}.',
}


def write_instructions(types: Types, description: str, style: str, examples: Sequence[str]) -> str:
    """The part of the prompt that all texts share.

    Args:
        description: what the task is about; "": a sentence that says little.
        style: how entities are answered, json or marked.
        examples: as `write_example` gives them.
    """
    is_tagging = types.kind == "tagging"
    form = _FORMS[style if is_tagging else "class"].replace("{first}", types.names[0])
    lines = [description or _TASKS[types.kind], ""]
    lines.append("These are the types:" if is_tagging else "These are the classes:")
    lines += [f"- {each.name}: {each.definition}".rstrip(": ") for each in types.types]
    lines += ["", form]
    if examples:
        lines += ["", "Examples:"]
    return "\n".join(lines) + "".join(f"\n\n{example}" for example in examples)


def write_question(piece: str, inputs: int = 1) -> str:
    """The part of the prompt with the text; two texts have a tab between them."""
    if inputs == 2:
        first, _, second = piece.partition("\t")
        return f"First text:\n{first}\n\nSecond text:\n{second}\n\nAnswer:"
    return f"Text:\n{piece}\n\nAnswer:"


def write_example(example: Example, types: Types, style: str) -> str:
    """A gold example as question and answer.

    Raises:
        ValueError: it has a type or class that is not asked for.
    """
    labels = example.labels or ()
    if types.kind != "tagging":
        (label,) = labels
        _check(label, types)
        answer = json.dumps({"label": label}, ensure_ascii=False)
        return f"{write_question(chr(9).join(example.inputs), len(example.inputs))}\n{answer}"
    text, places = join_typed(example.inputs)
    spans = [
        (places[first][0], places[after - 1][1], type_)
        for first, after, type_ in find_spans(labels)
    ]
    for _, _, type_ in spans:
        _check(type_, types)
    if style == "json":
        entities = [{"text": text[start:end], "label": type_} for start, end, type_ in spans]
        return f"{write_question(text)}\n{json.dumps({'entities': entities}, ensure_ascii=False)}"
    at, parts = 0, []
    for start, end, type_ in spans:
        parts += [text[at:start], f"<{type_}>{text[start:end]}</{type_}>"]
        at = end
    return f"{write_question(text)}\n{''.join(parts)}{text[at:]}"


def join_typed(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Words as somebody would type them, and (start, end) of each.

    There is no blank before closing punctuation, after opening punctuation, and between characters
    of scripts without blanks.
    """
    text, places = "", []
    for word in words:
        if text and _are_apart(text[-1], word[0]):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
    return text, places


def _are_apart(last: str, first: str) -> bool:
    if unicodedata.category(last) in ("Ps", "Pi") or unicodedata.category(first) in ("Pe", "Pf"):
        return False
    if first in ".,;:!?。、，：；！？।…":
        return False
    unspaced = all(len(find_units(f"{each}{each}")) == 2 for each in (last, first))
    return not unspaced or not (last.isalnum() and first.isalnum())


def digest_example(example: Example, kind: str) -> str:
    """What tells whether a text to label is the example."""
    inputs = (join_words(example.inputs)[0],) if kind == "tagging" else example.inputs
    return digest_text(inputs, kind)


def _check(label: str, types: Types) -> None:
    if label not in types.names:
        known = ", ".join(types.names[:12])
        raise ValueError(f"{label!r} is not among the types that are asked for, {known}")
