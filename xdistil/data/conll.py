"""CoNLL columns: one word per line, its tag in the last column, with or without its number in a
first column, and an empty line after each sentence."""

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from xdistil.data.records import Record, check_word
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError, show

_APART = re.compile(r"[0-9]+[-.][0-9]+")  # CoNLL-U: a range of words (1-2) or an empty node (1.1)
_log = logging.getLogger("xdistil")


class Columns(NamedTuple):
    """How rows of CoNLL columns are split into cells."""

    tabbed: bool  # split at tabs; else at any white space
    width: int  # cells in a row; 0: there is no row
    word: int  # index of the cell with the word
    tag: int = -1  # index of the cell with the tag
    numbered: bool = False  # the first cell is the number of the word
    header: bool = False  # the first line names the columns


def find_columns(lines: Iterable[str]) -> Columns:
    """The columns of a file, from its lines or enough of its first ones."""
    tabbed = any("\t" in line for line in lines if not line.startswith("#"))
    rows = (line for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-")))
    row = next(rows, None)
    cells = [] if row is None else split_columns(row, tabbed)
    numbered = len(cells) > 2 and _is_numbered(lines, tabbed)
    return Columns(tabbed, len(cells), int(numbered), numbered=numbered)


def read_conll(
    path: Path,
    lines: Iterable[str],
    first: int = 1,
    columns: Columns | None = None,
    quiet: bool = False,
    labelled: bool = True,
) -> Iterator[Record]:
    """The sentences of CoNLL columns.

    Args:
        first: line number of the first of `lines` in the file.
        columns: the columns of the file if `lines` are a part of it; None: `lines` are all of it.
        quiet: log nothing, where the file was read before.
        labelled: whether a word has a tag; else it may stand alone in its line.

    Raises:
        InputError: as `read_records`.
    """
    tabbed, width, column, tag, numbered, header = columns or find_columns(lines)
    apart = 0  # rows of word ranges and empty nodes
    begin = 0
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(chain(lines, [""]), first):
        cells = split_columns(line, tabbed)
        if header and number == 1:
            continue
        if not line.strip() or cells[0] == "-DOCSTART-":
            if words:
                yield Record(begin, tuple(words), " ".join(tags), None)
            words, tags = [], []
            continue
        # Comments come before a sentence; a row whose word is "#" has a tag.
        is_row = len(cells) == width and (width == 1 or is_tagged(cells[tag]))
        if line.startswith("#") and not words and not is_row:
            continue
        if len(cells) != width or width < 1 + labelled:
            expected = max(width, 1 + labelled)
            raise InputError(
                f"{path}:{number}: {len(cells)} columns where {expected} were expected: "
                "the word first, its tag last."
            )
        if numbered and _APART.fullmatch(cells[0]):
            apart += 1
            continue
        if numbered and not cells[0].isdecimal():
            raise InputError(
                f"{path}:{number}: {show(cells[0])} is not a word number, which the first column "
                "has in the lines before."
            )
        check_word(path, number, cells[column])
        if labelled and (not cells[tag] or " " in cells[tag]):
            raise InputError(f"{path}:{number}: {show(cells[tag])} is not a tag.")
        begin = begin if words else number
        words.append(cells[column])
        tags.append(cells[tag])
    if apart and not quiet:
        _log.info("%s: %d rows of word ranges or empty nodes (1-2, 1.1) skipped", path, apart)


def is_tagged(cell: str) -> bool:
    """Whether a label cell holds tags alone; a language may stand before the first."""
    first, *rest = cell.split(" ")
    return (is_tag(first) or is_tag(first.partition(":")[2])) and all(map(is_tag, rest))


def _is_numbered(lines: Iterable[str], tabbed: bool) -> bool:
    # Whether the first column numbers the words of every sentence, from 1 or 0, as in CoNLL-U.
    rows, last = 0, -1
    for line in lines:
        number = split_columns(line, tabbed)[0] if line.strip() else "-DOCSTART-"
        if number == "-DOCSTART-":
            last = -1
        elif not line.startswith("#") and not _APART.fullmatch(number):
            if number != str(last + 1) and (last, number) != (-1, "1"):
                return False
            rows, last = rows + 1, int(number)
    return rows > 1


def split_columns(line: str, tabbed: bool) -> list[str]:
    """The cells of a row of CoNLL columns."""
    return line.split("\t") if tabbed else line.split()
