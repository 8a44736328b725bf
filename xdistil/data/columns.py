"""Which column of a file holds what: by the names in a header, or as the user says.

Training and prediction know the same headers, by the names here.
"""

import contextlib
import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xdistil.config import ROLES
from xdistil.errors import InputError, show

# What a column may be called in a header; the first column with a name of a role has that role.
_TEXTS = (
    "text texts sentence sentences review content comment document utterance query tweet message "
    "body phrase"
)
_WORDS = "words tokens word token"  # of texts that are split into words
_NAMES = {
    role: tuple(names.split())
    for role, names in {
        "text_a": "text_a sentence1 sentence_1 sentence_a premise text1 question1",
        "text_b": "text_b sentence2 sentence_2 sentence_b hypothesis text2 question2",
        "text": _TEXTS,
        "words": f"words tokens {_TEXTS} word token",
        "label": "label labels gold_label class classes category target sentiment intent topic "
        "polarity y",
        "tags": "tags ner_tags ner labels tag label entities",
        "language": "language lang locale",
    }.items()
}
_OTHERS = frozenset(("id", "idx", "index", "guid", "uid", "split", "source", "score", "date", "#"))
_KNOWN = frozenset(name for names in _NAMES.values() for name in names) | _OTHERS
_DELIMITERS = ",;\t|"
_SAMPLE = 50  # lines that show the delimiter
Roles = dict[str, int]  # role -> index of its column


class Table(NamedTuple):
    """How the lines of a file are cut into cells, and which cell holds what."""

    delimiter: str
    quoted: bool  # as in CSV: a cell in quotes may hold delimiters and line ends
    header: bool  # the first line names the columns
    roles: Roles


def is_header(cells: Sequence[str], labelled: bool = True) -> bool:
    """Whether all cells are names that headers have; one alone must be that of a text."""
    if len(cells) == 1:
        return not labelled and _fold(cells[0]) in _NAMES["words"]
    return all(_fold(cell) in _KNOWN for cell in cells)


def holds_words(name: str) -> bool:
    """Whether a column with this name holds words that are separated by spaces, and no raw text."""
    return _fold(name) in _WORDS.split()


def find_role(cells: Sequence[str], role: str) -> list[int]:
    """The columns of a header with a name of one role, the likeliest first."""
    names = [_fold(cell) for cell in cells]
    return [names.index(name) for name in _NAMES[role] if name in names]


def find_roles(cells: Sequence[str], kind: str, labelled: bool = True) -> Roles:
    """The columns of a header by their names; empty where a text or a needed label has none."""
    found: Roles = {}
    names = [_fold(cell) for cell in cells]
    for role in ROLES[kind]:
        for name in _NAMES[role]:
            if name in names and names.index(name) not in found.values():
                found[role] = names.index(name)
                break
    if "text_a" in found and "text_b" in found:
        found.pop("text", None)
    else:
        found = {role: at for role, at in found.items() if role not in ("text_a", "text_b")}
    need: tuple[set[str], ...] = ({"text"}, {"text_a", "text_b"})
    if kind == "tagging":
        need = ({"words"},)
    label = ({"tags"} if kind == "tagging" else {"label"}) if labelled else set()
    return found if any(each | label <= found.keys() for each in need) else {}


def place_columns(
    path: Path,
    cells: Sequence[str],
    wanted: dict[str, str],
    header: bool,
    option: str = "data.columns",
) -> tuple[Roles, bool]:
    """(the index of each wanted column, whether the first line is a header).

    Args:
        cells: of the first line.
        header: whether it is known to be one.
        option: with which the user names the columns.

    Raises:
        InputError: no such column.
    """
    names = [_fold(cell) for cell in cells]
    roles = {}
    for role, name in wanted.items():
        if _fold(name) in names:
            roles[role], header = names.index(_fold(name)), True
        elif name.isdecimal() and 0 < int(name) <= len(cells):
            roles[role] = int(name) - 1
        else:
            raise InputError(
                f"{path}:1: {option}={role}:{name}, but there is no such column: there are "
                f"{len(cells)}, {', '.join(show(cell) for cell in cells[:8])}."
            )
    if "tags" in roles and "words" not in roles:
        roles["words"] = int(roles["tags"] == 0)
    return roles, header


def guess_delimiter(line: str) -> str:
    """The character between the cells of CSV, by one line alone."""
    return next((delimiter for delimiter in _DELIMITERS if delimiter in line), _DELIMITERS[0])


def find_delimiter(path: Path, lines: Sequence[str]) -> str:
    """The character between the cells of a CSV file.

    Raises:
        InputError: none divides all of the first rows into equally many cells.
    """
    for delimiter in _DELIMITERS:
        rows = _sample_rows(path, lines, delimiter)
        if rows and len(rows[0]) > 1 and len(set(map(len, rows[:-1] or rows))) == 1:
            return delimiter
    raise InputError(
        f"{path} is no table: neither comma, semicolon, tab nor | divides its rows into equally "
        "many cells; a cell with a comma must be in quotes."
    )


def _sample_rows(path: Path, lines: Sequence[str], delimiter: str) -> list[list[str]]:
    rows = []
    with contextlib.suppress(InputError):  # the last row may be cut off
        for _, row in cut_rows(path, lines[:_SAMPLE], delimiter, quoted=True):
            rows.append(row)
    return rows


def cut_rows(
    path: Path, lines: Iterable[str], delimiter: str, quoted: bool, empty: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, cells) of each row, read no further than needed.

    Args:
        quoted: as in CSV, so that a cell may hold line ends.
        empty: whether empty rows count, each as one empty cell; else they are left out.

    Raises:
        InputError: a quote that is not closed as CSV asks.
    """
    if not quoted:
        for number, line in enumerate(lines, 1):
            if line or empty:
                yield number, line.split(delimiter)
        return
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, strict=True)
    first = 1
    try:
        for row in reader:
            if empty or row not in ([], [""]):
                yield first, row or [""]
            first = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{first}: this row is not valid CSV ({error}).") from None


def _fold(name: str) -> str:
    return name.strip().casefold()
