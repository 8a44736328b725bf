"""Spans of characters in JSON rows, and the tags of words that they stand for."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from xdistil.data.segmentation import cut_spans, find_units, trim_span
from xdistil.errors import show

SPANS = ("spans", "entities", "label", "labels", "ner")  # fields with spans of characters
_STARTS = ("start", "start_offset", "begin")  # of a span, which may be called so
_ENDS = ("end", "end_offset")
_TYPES = ("label", "labels", "type", "entity", "entity_group", "tag")


def tag_words(text: str, spans: Sequence[tuple[int, int, str]]) -> dict[str, Any]:
    """The units of a text, also cut where a span begins or ends, and their IOB2 tags.

    Args:
        spans: (start, end, type) in characters, the end exclusive.

    Raises:
        ValueError: a span that is empty, outside of the text, without a unit, or over another one.
    """
    trimmed = []
    for start, end, kind in spans:
        if end <= start:
            raise ValueError(f"span {start} to {end} is empty: its end must be after its start")
        if start < 0 or end > len(text):
            raise ValueError(
                f"span {start} to {end} does not lie in the text, which has {len(text)} characters"
            )
        if not find_units(text[start:end]):
            raise ValueError(f"span {start} to {end} holds only white space")
        trimmed.append((*trim_span(text, start, end), make_type(kind)))
    trimmed = sorted(set(trimmed))
    for (_, end, _), (start, *_) in pairwise(trimmed):
        if start < end:
            raise ValueError(f"two spans overlap at character {start}: keep one of them")
    borders = [border for start, end, _ in trimmed for border in (start, end)]
    words = cut_spans(find_units(text), borders)
    tags = ["O"] * len(words)
    place = 0
    for start, end, kind in trimmed:
        while words[place][0] < start:
            place += 1
        prefix = "B"
        while place < len(words) and words[place][1] <= end:
            tags[place] = f"{prefix}-{kind}"
            prefix, place = "I", place + 1
    return {"tokens": [text[start:end] for start, end in words], "tags": tags}


def make_type(kind: Any) -> str:
    """The type of an entity, in one word; raises ValueError if it is none."""
    if not isinstance(kind, str) or not kind.strip():
        raise ValueError(
            f"{show(kind)} is not the type of an entity: it must be one text, as in PER"
        )
    if kind.strip() == "O":
        raise ValueError("'O' is not the type of an entity: leave out spans that are none")
    return "_".join(kind.split())


def find_spans(row: dict[str, Any]) -> Any:
    """The spans of a row, whatever their field is called; None if there are none.

    Where several fields may be meant, the first one counts that holds spans.
    """
    lists = [row[name] for name in SPANS if isinstance(row.get(name), list)]
    return next(iter([*_find_filled(row).values(), *lists]), None)


def check_spans(row: dict[str, Any]) -> None:
    """No two fields hold different spans; raises ValueError if they do."""
    read = {name: sorted(map(read_span, spans)) for name, spans in _find_filled(row).items()}
    for (first, spans), (second, others) in pairwise(read.items()):
        if spans != others:
            raise ValueError(
                f"fields {show(first)} and {show(second)} have different spans: remove one"
            )


def _find_filled(row: dict[str, Any]) -> dict[str, list[Any]]:
    """The fields with at least one span, and nothing else in their lists."""
    lists = {name: row[name] for name in SPANS if isinstance(row.get(name), list)}
    return {name: each for name, each in lists.items() if each and all(map(_is_span, each))}


def describe_fault(row: dict[str, Any]) -> str:
    """Why the list of spans of a row, if it has one, cannot be read; empty where it can."""
    spans = find_spans(row)
    wrong = [span for span in spans or () if not _is_span(span)]
    if wrong:
        return f"{show(wrong[0])} is no span: it must be [start, end, type], with whole numbers"
    if spans is not None and not isinstance(row.get("text"), str):
        return "field 'text' is missing, of which the spans are"
    return ""


def _is_span(span: Any) -> bool:
    if isinstance(span, dict):
        return any(name in span for name in _STARTS)
    return isinstance(span, list) and len(span) == 3 and isinstance(span[0], int)


def has_spans(row: dict[str, Any]) -> bool:
    """Whether a row has a text, and spans of its characters."""
    spans = find_spans(row)
    return isinstance(row.get("text"), str) and spans is not None and all(map(_is_span, spans))


def read_span(span: Any) -> tuple[int, int, str]:
    """Start, end and type of a span; raises ValueError if it has none."""
    if isinstance(span, dict):
        start, end, kind = (
            next((span[name] for name in names if name in span), None)
            for names in (_STARTS, _ENDS, _TYPES)
        )
        if isinstance(kind, list) and len(kind) == 1:
            kind = kind[0]
    else:
        start, end, kind = span
    if not (type(start) is int and type(end) is int):
        raise ValueError(f"{show(span)} is no span with a start and an end")
    return start, end, make_type(kind)


def read_spans(text: str, spans: Sequence[Any]) -> list[tuple[int, int, str]]:
    """Start, end and type of the spans of a text.

    Raises:
        ValueError: a span has none of them, or repeats its words in field `text` and these are
            others than those between its start and its end.
    """
    read = [read_span(span) for span in spans]
    for span, (start, end, _) in zip(spans, read, strict=True):
        own = span.get("text") if isinstance(span, dict) else None
        if not isinstance(own, str) or not 0 <= start < end <= len(text):
            continue
        if own.strip() and _condense(own) != _condense(text[start:end]):
            raise ValueError(
                f"span {start} to {end} is {show(text[start:end])} in the text, but says that it "
                f"is {show(own)}: offsets must count characters, where an emoji is one, of the "
                "text that was annotated"
            )
    return read


def _condense(text: str) -> str:
    # Annotation tools write a line end as backslash and n, and change white space.
    return "".join(text.replace("\\n", " ").split()).casefold()


def count_cut_words(row: dict[str, Any]) -> tuple[int, int, str]:
    """(spans, those that begin or end inside a word, one of them) of a row."""
    spans = find_spans(row) or ()
    text, cut, example = row.get("text"), 0, ""
    if not isinstance(text, str) or not all(map(_is_span, spans)):
        return 0, 0, ""
    units = find_units(text)
    for span in spans:
        try:
            start, end, _ = read_span(span)
        except ValueError:  # which the reader tells
            continue
        inside = any(first < border < last for first, last in units for border in (start, end))
        if inside and 0 <= start < end:
            cut, example = cut + 1, text[start:end]
    return len(spans), cut, example
