"""JSON objects -> records: a row of any format of json_rows.py, read by the fields of our own."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xdistil.data.json_rows import Names, find_texts, recognise_row
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
        raise InputError(f"{path}:{number}: this line is not valid JSON.") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}:{number}: this line is not a JSON object.")
    return row


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
            for ours, theirs in fields:
                if theirs not in row:
                    raise InputError(
                        f"{path}:{number}: there is no field {show(theirs)}, which data.columns "
                        "names."
                    )
                row[ours] = row[theirs]
            row = convert_row(path, number, row, kind, labelled, names)
            yield read_row(path, number, row, kind, labelled)


def convert_row(
    path: Path, number: int, row: dict[str, Any], kind: str, labelled: bool, names: Names
) -> dict[str, Any]:
    """A row of any format of json_rows.py with the fields of our own.

    Raises:
        InputError: a fault in it; a row of no such format comes back as it is.
    """
    if kind == "tagging" and not labelled:
        if "tokens" not in row and isinstance(row.get("tokenized_text"), list):
            return {**row, "tokens": row["tokenized_text"]}
        if "tokens" not in row and isinstance(text := row.get("text"), str):
            return {**row, "tokens": [text[start:end] for start, end in find_units(text)]}
        return row
    if not labelled:
        texts = find_texts(row)
        keys = ("text",) if len(texts) == 1 else ("text_a", "text_b")
        return {**row, **{key: row[name] for key, name in zip(keys, texts, strict=False)}}
    form = recognise_row(row, kind)
    if form is None:
        return row
    try:
        converted = form.convert(row, names)
    except ValueError as error:
        raise InputError(f"{path}:{number}: {error}.") from None
    return {"language": row["language"], **converted} if "language" in row else converted


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
                raise InputError(f"{path}:{number}: {show(tag)} is not a tag.")
        return Record(number, words, " ".join(tags), language)
    names = ("text",) if "text" in row else ("text_a", "text_b")
    texts = tuple(read_text_field(path, number, row, name) for name in names)
    label = ""
    if labelled:
        value = row.get("label")
        is_number = isinstance(value, int) and not isinstance(value, bool)
        label = str(value) if is_number else read_text_field(path, number, row, "label")
        if any(separator in label for separator in "\t\n\r"):
            raise InputError(f"{path}:{number}: label {show(label)} contains a tab or a line end.")
    return Record(number, texts, label, language)
