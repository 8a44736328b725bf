"""A JSON file that is one array of records -> its records, one by one, each as a JSON line.

Beside arrays there are objects with such an array in one of their fields, and JSON lines in a file
that is called .json.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xdistil.data.json_rows import find_texts, recognise_row
from xdistil.errors import InputError, show

_BLANKS = " \t\r\n"
_WORDS = ("tokens", "words", "tokenized_text")
_decoder = json.JSONDecoder()
_log = logging.getLogger("xdistil")


def cut_records(path: Path, text: str) -> Iterator[str]:
    """The records of a JSON file; those of an array may have line ends between their fields.

    Raises:
        InputError: invalid JSON, with its line, or no records.
    """
    at = _skip(text, 0)
    if text[at : at + 1] == "[":
        yield from _cut_array(path, text, at)
        return
    first, _, rest = text[at:].partition("\n")
    if rest.strip(_BLANKS) and _is_object(first):
        yield from (line for line in text.split("\n") if line.strip(_BLANKS))
        return
    whole, end = _decode(path, text, at)
    _check_end(path, text, end)
    if not isinstance(whole, dict):
        raise InputError(f"{path} is {show(whole)}: it must be an array of records.")
    words = (whole.get(name) for name in _WORDS)
    is_record = recognise_row(whole) or find_texts(whole)
    if is_record or any(isinstance(each, list) and not _are_records(each) for each in words):
        yield text
        return
    fields = [name for name, value in whole.items() if _are_records(value)]
    if len(fields) != 1:
        raise InputError(
            f"{path} is one object with the fields {', '.join(map(show, list(whole)[:8]))}: it "
            "must "
            "be an array of records, [{...}, {...}], as pandas writes with orient='records'."
        )
    _log.info("%s: the records are in the field %s", path, show(fields[0]))
    yield from map(json.dumps, whole[fields[0]])


def _cut_array(path: Path, text: str, at: int) -> Iterator[str]:
    at = _skip(text, at + 1)
    closed = text[at : at + 1] == "]"
    while not closed:
        _, end = _decode(path, text, at)
        yield text[at:end]
        at = _skip(text, end)
        closed = text[at : at + 1] == "]"
        if not closed:
            if text[at : at + 1] != ",":
                raise _tell_invalid(path, text, at, "a comma or ] is missing")
            at = _skip(text, at + 1)
    _check_end(path, text, at + 1)


def _are_records(value: object) -> bool:
    # Objects, or pairs of a text and an object, as spaCy 2 has them.
    return isinstance(value, list) and any(isinstance(each, dict | list) for each in value)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _decode(path: Path, text: str, at: int) -> tuple[Any, int]:
    try:
        return _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _tell_invalid(path, text, error.pos, error.msg) from None
    except (ValueError, RecursionError):
        raise _tell_invalid(path, text, at, "too deep or too long a value") from None


def _check_end(path: Path, text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise _tell_invalid(path, text, at, "the value before is complete")


def _tell_invalid(path: Path, text: str, at: int, why: str) -> InputError:
    return InputError(f"{path}:{text.count(chr(10), 0, at) + 1}: this is not valid JSON ({why}).")


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _BLANKS:
        at += 1
    return at
