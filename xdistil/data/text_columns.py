"""Rows of tab-separated and CSV files -> the cells that hold the texts to predict labels for.

A row is one of a task file, or a text alone; or the first line names the columns, or the user does.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from xdistil.config import split_names
from xdistil.data.columns import (
    cut_rows,
    find_roles,
    guess_delimiter,
    holds_words,
    is_header,
    place_columns,
)
from xdistil.data.formats import read_tsv
from xdistil.data.label_lists import read_cell
from xdistil.errors import InputError, show, show_name, suggest

_SAMPLE = 64  # rows that show what the columns hold
_TAG = re.compile(r"([OBIESLUM]|[BIESLUM]-.+)", re.IGNORECASE)  # of any scheme; it is not used
_WORDS = ("words", "tokens")
_ROLES = ("text", "text_a", "text_b", *_WORDS)
_UNREAD = ("label", "tags", "language")  # roles of columns that only training reads
_log = logging.getLogger("xdistil")

Cells = tuple[int, list[str]]  # the number of a line, and its cells


class Row(NamedTuple):
    """The inputs in one row."""

    line: int
    inputs: tuple[str, ...]  # (): a blank row
    raw: bool  # texts as they are typed, in which words are not separated yet
    fields: dict[str, str] | None  # all cells, by the names of the columns, where they have names


class _Layout(NamedTuple):
    """Which cells hold the inputs; none: rows of a task file, whose last cell is a label."""

    cells: tuple[int, ...]
    raw: bool = True
    names: tuple[str, ...] = ()  # of the columns, in the first line
    alone: bool = False  # a row has one cell


def read_rows(
    path: Path,
    lines: Iterable[str],
    form: str,
    kind: str,
    labels: Sequence[str] = (),
    columns: str = "",
    ready: Callable[[], bool] = lambda: True,
) -> Iterator[Row]:
    """The inputs of a file in the format "tsv" or "csv", read no further than needed.

    Args:
        kind: of the task.
        labels: the classes that a label column holds; (): any.
        columns: as `parse_columns` takes it; "": recognised from the first rows.
        ready: whether the next line is there already; one that is not is not waited for before the
            first rows are answered.

    Raises:
        InputError: no or other columns than those asked for, an empty word, or a wrong number of
            columns; the message has file and line.
    """
    roles = parse_columns(columns)
    lines = iter(lines)
    kept: deque[str] = deque()  # lines of the sample, for the reader of task files

    def keep() -> Iterator[str]:
        for line in lines:
            kept.append(line)
            yield line

    rows = _cut(path, keep(), form)
    sample: list[Cells] = []
    while len(sample) < _SAMPLE and (not sample or ready()):
        row = next(rows, None)
        if row is None:
            break
        sample.append(row)
    if not sample:
        return
    layout = _find_layout(path, sample, form, kind, labels, roles)
    if not layout.cells:
        for record in read_tsv(path, chain(kept, lines), kind):
            yield Row(record.line, record.inputs, False, None)
        return
    kept = deque(maxlen=0)
    for number, cells in chain(sample[bool(layout.names) :], rows):
        yield _read_row(path, number, cells, layout)


def parse_columns(columns: str) -> dict[str, str]:
    """The column of each role that prediction reads, a number or a name, from "text:2" and alike.

    Raises:
        InputError: no such role, or roles that do not go together.
    """
    found: dict[str, str] = {}
    for part in split_names(columns):
        role, _, name = (each.strip() for each in part.partition(":"))
        if role not in (*_ROLES, *_UNREAD) or not name:
            raise InputError(
                f"--columns names {show(part)}{suggest(role, _ROLES)}: write role:column, such as "
                "text:2 or text_a:1,text_b:2, where a column is a number from 1 or a name in the "
                "first line."
            )
        if role not in _UNREAD:
            found[role] = name
    if columns and len(found) != 1 + ("text_a" in found or "text_b" in found):
        raise InputError(
            f"--columns={columns}: name one column, as in text:2, or two, as in text_a:1,text_b:2."
        )
    return found


def _cut(path: Path, lines: Iterator[str], form: str) -> Iterator[Cells]:
    first = next(lines, None)
    if first is None:
        return iter(())
    quoted = form == "csv"
    delimiter = guess_delimiter(first) if quoted else "\t"
    return cut_rows(path, chain([first], lines), delimiter, quoted, empty=True)


def _find_layout(
    path: Path,
    sample: Sequence[Cells],
    form: str,
    kind: str,
    labels: Sequence[str],
    wanted: dict[str, str],
) -> _Layout:
    header = tuple(cell.strip() for cell in sample[0][1])
    named = is_header(header, labelled=False)
    if wanted:
        roles, told = place_columns(path, header, wanted, named, "--columns")
        if not named and (told or form == "csv"):
            named = True
            _log.warning("%s: the first line names the columns", path)
        cells = tuple(roles[role] for role in _ROLES if role in roles)
        if kind == "tagging" and len(cells) > 1:
            raise InputError("--columns names two texts, but the model tags words of one.")
        return _Layout(cells, not set(roles) & set(_WORDS), header if named else ())
    if named or (form == "csv" and len(header) > 1):
        return _read_header(path, header, kind)
    if all(len(cells) == 1 for _, cells in sample):
        return _Layout((0,), alone=True)
    several = [row for _, row in sample if len(row) > 1]
    if sum(_has_label(row, kind, labels) for row in several) * 2 > len(several):
        return _Layout(())
    holds = "tags of its words" if kind == "tagging" else "a class of the model"
    number, row = next((number, row) for number, row in sample if len(row) > 1)
    raise InputError(
        f"{path}:{number}: this is no task file, for {show(row[-1])} in the last column is not "
        f"{holds}: say which column holds the text, as in --columns=text:{len(row)}."
    )


def _read_header(path: Path, header: tuple[str, ...], kind: str) -> _Layout:
    # The columns of the texts by their names in the first line.
    roles = find_roles(header, kind, labelled=False)
    cells = tuple(roles[role] for role in _ROLES if role in roles)
    if not cells:
        example = header[0] if header[0].isprintable() and 0 < len(header[0]) <= 40 else 1
        raise InputError(
            f"{path}:1: none of the columns {', '.join(map(show_name, header))} is known to hold "
            f"texts: name it, as in --columns=text:{example}."
        )
    names = [header[cell] for cell in cells]
    _log.warning(
        "%s: the first line names the columns; %s is read (--columns names others)",
        path,
        " and ".join(names),
    )
    return _Layout(cells, kind != "tagging" or not holds_words(names[0]), header)


def _has_label(cells: Sequence[str], kind: str, labels: Sequence[str]) -> bool:
    # Whether the last cell is what a task file has there; a language may stand before it.
    *inputs, label = cells
    if kind == "tagging":
        types = {name[2:] for name in labels if len(name) > 2}
        first, *rest = label.split(" ")
        tags = [first.partition(":")[2] or first, *rest]
        fits = len(tags) == len(inputs[0].split(" "))
        return fits and all(_TAG.fullmatch(tag) or tag in types for tag in tags)
    label = label.strip()
    known = (*labels, *map(str, range(len(labels))))
    if (listed := read_cell(label)).is_list:
        return not labels or set(listed.labels) <= set(known)
    return not labels or label in known or label.partition(":")[2] in known


def _read_row(path: Path, number: int, cells: Sequence[str], layout: _Layout) -> Row:
    if len(cells) <= max(layout.cells) and cells != [""]:
        raise InputError(
            f"{path}:{number}: {len(cells)} columns where {max(layout.cells) + 1} were expected."
        )
    if layout.alone and len(cells) > 1:
        raise InputError(
            f"{path}:{number}: {len(cells)} columns where the lines before have one: say which "
            "column holds the text, as in --columns=text:1."
        )
    inputs = tuple(cells[cell] for cell in layout.cells if cell < len(cells))
    fields = None
    if layout.names:
        fields = dict(zip(layout.names, [*cells, *[""] * len(layout.names)], strict=False))
    if not any(text.strip() for text in inputs):
        return Row(number, (), True, fields)
    return Row(number, inputs if layout.raw else tuple(inputs[0].split()), layout.raw, fields)
