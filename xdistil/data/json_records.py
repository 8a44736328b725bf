"""JSON objects -> records: a row of any format of json_rows.py, read by the fields of our own."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xdistil.data.json_rows import (
    Names,
    choose_label,
    find_language,
    find_texts,
    name_words,
    recognise_row,
)
from xdistil.data.json_spans import SPANS, describe_fault
from xdistil.data.lines import NO_LINES, find_extension, locate
from xdistil.data.records import (
    Record,
    check_language,
    check_word,
    read_text_field,
    read_texts_field,
)
from xdistil.data.segmentation import find_units
from xdistil.errors import InputError, show


def load_json(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object of a line; raises InputError if there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        if _begins_array(number, line):
            raise _tell_array(path) from None
        raise InputError(f"{locate(path, number)}: this line is not valid JSON.") from None
    if _is_pair(row):
        return {**row[1], "text": row[0]}
    if _begins_array(number, line) and find_extension(path) not in NO_LINES:
        raise _tell_array(path)
    if not isinstance(row, dict):
        raise InputError(f"{locate(path, number)}: {json.dumps(row)[:80]} is not a JSON object.")
    return row


def _begins_array(number: int, line: str) -> bool:
    return number == 1 and line.lstrip().startswith("[")


def _tell_array(path: Path) -> InputError:
    return InputError(
        f"{path}:1: this line begins an array, which is not a JSON object: give the file the "
        "extension .json if it is an array of records."
    )


def _is_pair(row: Any) -> bool:
    # A text and what is known about it, as spaCy 2 has them.
    is_pair = isinstance(row, list) and len(row) == 2
    return is_pair and isinstance(row[0], str) and isinstance(row[1], dict)


def read_jsonl(
    path: Path,
    lines: Iterable[str],
    kind: str,
    labelled: bool,
    fields: Sequence[tuple[str, str]],
    names: Names,
) -> Iterator[Record]:
    """The records of JSON lines; raises InputError as `formats.read_records` does.

    Args:
        fields: (our field, theirs) as data.columns says.
        names: of integers in a field.
    """
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            row = load_json(path, number, line)
            row |= take_fields(path, number, row, dict(fields), "data.columns")
            row = convert_row(path, number, row, kind, labelled, names)
            yield read_row(path, number, row, kind, labelled)


def take_fields(
    path: Path, number: int, row: dict[str, Any], fields: dict[str, str], option: str
) -> dict[str, Any]:
    """The values of named fields by what they hold; raises InputError where one is missing.

    Args:
        fields: our field -> theirs, as `option` says.
    """
    if isinstance(row.get("data"), dict):  # Label Studio
        row = {**row["data"], **row}
    for name in fields.values():
        if name not in row:
            raise InputError(
                f"{locate(path, number)}: there is no field {show(name)}, which {option} names: "
                f"the fields are {', '.join(map(show, list(row)[:8]))}."
            )
    return {"tokens" if ours == "words" else ours: row[name] for ours, name in fields.items()}


def convert_row(
    path: Path, number: int, row: dict[str, Any], kind: str, labelled: bool, names: Names
) -> dict[str, Any]:
    """A row of any format of json_rows.py with the fields of our own.

    Raises:
        InputError: a fault in it; a row of no such format comes back as it is.
    """
    if not labelled:
        row = find_inputs(path, number, row, kind)
        if kind == "tagging" and "tokens" not in row:
            text = read_text_field(path, number, row, "text")
            return {**row, "tokens": [text[start:end] for start, end in find_units(text)]}
        return row
    row = name_words(row)
    form = recognise_row(row, kind)
    if form is None:
        fault = describe_fault(row) if kind == "tagging" and "tokens" not in row else ""
        if fault:
            raise InputError(f"{locate(path, number)}: {fault}.")
        if kind == "tagging" and "tokens" not in row and find_texts(row):
            raise InputError(
                f"{locate(path, number)}: a text without spans: there is no list "
                f"{', '.join(SPANS)} with offsets; a text without entities has an empty one."
            )
        return row
    try:
        converted = choose_label(form.convert(row, names), kind)
    except ValueError as error:
        raise InputError(f"{locate(path, number)}: {error}.") from None
    language = row.get("language") or find_language(row)
    return {"language": language, **converted} if language else converted


def find_inputs(path: Path, number: int, row: dict[str, Any], kind: str) -> dict[str, Any]:
    """A row with `tokens`, with `text`, or with `text_a` and `text_b`, whatever it calls them.

    Raises:
        InputError: none of its fields is known to hold a text.
    """
    if isinstance(row.get("data"), dict):  # Label Studio
        row = {**row["data"], **row}
    if "language" not in row and (language := find_language(row)):
        row = {**row, "language": language}
    if kind == "tagging":
        named = name_words(row)
        words = named.get("tokens", row.get("tokenized_text"))
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return {**row, "tokens": words}
    texts = find_texts(row)
    if texts and (kind != "tagging" or len(texts) == 1):
        keys = ("text",) if len(texts) == 1 else ("text_a", "text_b")
        others = {name: value for name, value in row.items() if name != "tokens"}
        return {**others, **{key: row[name] for key, name in zip(keys, texts, strict=True)}}
    known = ("tokens", "text") if kind == "tagging" else ("text", "text_a", "text_b")
    if not any(name in row for name in known):
        needed = "'tokens' or 'text'" if kind == "tagging" else "'text', or 'text_a' and 'text_b'"
        raise InputError(
            f"{locate(path, number)}: there is no field {needed}: the fields are "
            f"{', '.join(map(show, list(row)[:8])) or 'none'}."
        )
    return row


def read_row(path: Path, number: int, row: dict[str, Any], kind: str, labelled: bool) -> Record:
    """The record of one JSON line; raises InputError as `read_records` does."""
    language = read_text_field(path, number, row, "language") if row.get("language") else None
    check_language(path, number, language)
    if kind == "tagging":
        words = read_texts_field(path, number, row, "tokens")
        for word in words:
            check_word(path, number, word)
        tags = read_texts_field(path, number, row, "tags") if labelled else ()
        for tag in tags:
            if not tag or " " in tag:
                raise InputError(f"{locate(path, number)}: {show(tag)} is not a tag.")
        return Record(number, words, " ".join(tags), language)
    is_pair = "text" not in row and ("text_a" in row or "text_b" in row)
    names = ("text_a", "text_b") if is_pair else ("text",)
    texts = tuple(read_text_field(path, number, row, name) for name in names)
    label = ""
    if labelled:
        value = row.get("label")
        if not isinstance(value, str | int):
            found = f"is {json.dumps(value)[:40]}" if "label" in row else "is missing"
            raise InputError(
                f"{locate(path, number)}: field 'label' {found}: it must be a text or a whole "
                f"number; the fields are {', '.join(map(show, list(row)[:8]))}, and "
                "data.columns=text:FIELD,label:FIELD names others."
            )
        is_number = isinstance(value, int)
        label = str(value) if is_number else read_text_field(path, number, row, "label")
        if any(separator in label for separator in "\t\n\r"):
            raise InputError(
                f"{locate(path, number)}: label {show(label)} contains a tab or a line end."
            )
    return Record(number, texts, label, language)
