"""Several labels in one cell or field: a list, or names between separators."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from xdistil.config import SEPARATORS
from xdistil.errors import InputError, show, show_name

_GUESSED = ",;|"  # those that are recognised
_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[0-9]+)"""
_LIST = re.compile(rf"\[\s*(?:{_ITEM}(?:\s*,\s*{_ITEM})*\s*,?)?\s*\]", re.DOTALL)
_PREFIXED = re.compile(r"(?:([^\s:\[\]]+):)?\s*(\[.*\])", re.DOTALL)


class LabelCell(NamedTuple):
    """What a cell lists."""

    language: str  # before a list; "": none
    labels: tuple[str, ...]  # as written; before the first of names between separators there may be
    # a language
    is_list: bool


def write_list(labels: Iterable[object]) -> str:
    """Labels as a cell, a JSON list."""
    return json.dumps([str(label) for label in labels], ensure_ascii=False)


def read_cell(cell: str, separator: str = "") -> LabelCell:
    """The labels in a cell, in the order in which they stand there.

    Args:
        separator: between names; empty: a cell that is no list has one label, or none.
    """
    cell = cell.strip()
    match = _PREFIXED.fullmatch(cell)
    if match and _LIST.fullmatch(match[2]):
        values = _read_list(match[2])
        return LabelCell(match[1] or "", tuple(str(value).strip() for value in values), True)
    parts = cell.split(separator) if separator else [cell]
    return LabelCell("", tuple(part.strip() for part in parts if part.strip()), False)


def _read_list(text: str) -> list[object]:
    # JSON, or what Python writes, as in CSV files of pandas.
    try:
        return list(json.loads(text))
    except ValueError:
        return list(ast.literal_eval(text))


def are_lists(cells: Iterable[str]) -> bool:
    """Whether all cells that are not empty are lists, and one of them can be nothing else."""
    found = [read_cell(cell) for cell in cells if cell.strip()]
    return all(each.is_list for each in found) and any(
        len(each.labels) != 1 or not each.labels[0].isdecimal() for each in found
    )


def find_separator(cells: Mapping[str, str]) -> str:
    """The character between the labels in cells, each of which has a place; "": none is needed.

    Raises:
        InputError: several could be it, or only a space could.
    """
    names = [cell for cell in cells if not read_cell(cell).is_list]
    found = {each: cell for each in _GUESSED for cell in names if each in cell}
    if len(found) > 1:
        first, second = list(found)[:2]
        raise InputError(
            f"{cells[found[second]]}: labels may be separated by {show(first)}, as in "
            f"{show(found[first])}, or by {show(second)}, as in {show(found[second])}: name the "
            "one that does in data.separator."
        )
    alone = {cell.strip() for cell in names}
    for cell in names:
        if not found and len(parts := cell.split()) > 1 and alone.issuperset(parts):
            raise InputError(
                f"{cells[cell]}: {show(cell)} may be one label or {len(parts)} labels: set "
                "data.separator=space, or data.task=single if each text has one label."
            )
    return next(iter(found), "")


def describe_separator(cells: Iterable[str], separator: str, said: bool) -> str:
    """How labels stand in the cells, in words."""
    lists = {read_cell(cell).is_list for cell in cells if cell.strip()}
    ways = ["in lists"] if True in lists else []
    if separator:
        name = next((name for name, each in SEPARATORS.items() if each == separator), "")
        how = "as data.separator says" if said else "recognised; set data.separator to change it"
        ways.append(f"separated by {name or show_name(separator)}, {how}")
    elif lists == {False}:
        ways.append("one in a cell, because nothing separates several (data.separator)")
    return f"labels: {' or '.join(ways) or 'none'}"
