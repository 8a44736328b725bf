"""What all readers give: records, whose words, texts and languages are checked here."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from xdistil.data.lines import locate
from xdistil.errors import InputError, show

_LANGUAGE = re.compile(r"[^\s:]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Record(NamedTuple):
    """One sentence or text of a file, as written."""

    line: int  # in the file, from 1; in CoNLL columns the line of the first word
    inputs: tuple[str, ...]  # words (tagging), or one or two texts (classification)
    label: str  # as written; tags are joined by single spaces; "" if unlabelled
    language: str | None  # the JSON field `language`; in other formats it may prefix the label


def split_inputs(path: Path, number: int, cells: list[str], kind: str) -> tuple[str, ...]:
    """The words of a sentence (tagging), or one or two texts; raises InputError if one is empty."""
    if kind == "tagging":
        if len(cells) > 1:
            raise InputError(
                f"{locate(path, number)}: {len(cells)} columns where an unlabelled sentence has "
                "one: remove the tags."
            )
        words = tuple(cells[0].split(" "))
        if "" in words:
            raise InputError(
                f"{locate(path, number)}: an empty word: separate words by exactly one space."
            )
        return words
    if "" in cells:
        raise InputError(f"{locate(path, number)}: an empty text.")
    return tuple(cells)


def check_word(path: Path, number: int, word: str) -> None:
    """Raises InputError if a word is empty or contains white space."""
    if not word or any(separator in word for separator in " \t\n\r"):
        raise InputError(
            f"{locate(path, number)}: {show(word)} is not a word: it must not be empty or contain "
            "a space or a tab."
        )


def check_language(path: Path, number: int, language: str | None) -> None:
    """Raises InputError if a language contains a space, a colon or what cannot be printed."""
    if language is not None and not (_LANGUAGE.fullmatch(language) and language.isprintable()):
        raise InputError(
            f"{locate(path, number)}: {show(language)} is not a language: it contains a space or a "
            "colon."
        )


def read_text_field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    """The text of a field; raises InputError if it is missing, empty or not a text."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        found = "is missing" if name not in row else f"is {json.dumps(value)[:40]}"
        raise InputError(
            f"{locate(path, number)}: field {show(name)} {found}: it must be a text that is not "
            "empty."
        )
    _check_unicode(path, number, value)
    return value


def read_texts_field(path: Path, number: int, row: dict[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a field that is a list; raises InputError if it is missing, empty or other."""
    values = row.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        found = "is missing" if name not in row else f"is {json.dumps(values)[:40]}"
        raise InputError(
            f"{locate(path, number)}: field {show(name)} {found}: it must be a non-empty list of "
            "texts."
        )
    for value in values:
        _check_unicode(path, number, value)
    return tuple(values)


def _check_unicode(path: Path, number: int, value: str) -> None:
    if _SURROGATE.search(value):
        raise InputError(
            f"{locate(path, number)}: an escaped half of a surrogate pair, which is not a "
            "character."
        )
