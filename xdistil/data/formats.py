"""File formats: lines -> records with line numbers. Labels are decoded in examples.py.

There are four formats: tab-separated task files (`words<TAB>tags`, `text<TAB>label`,
`text_a<TAB>text_b<TAB>label`); CSV with a header; CoNLL columns (conll.py); and JSON lines
(`tokens, tags, language`; `text` or `text_a, text_b`, `label, language`; and those of
json_rows.py), which may also be the records of an array (json_arrays.py) or the rows of a Parquet
file (parquet.py).
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from xdistil.data.columns import Table, cut_rows
from xdistil.data.conll import Columns, read_conll
from xdistil.data.json_records import read_jsonl
from xdistil.data.json_rows import Names
from xdistil.data.lines import find_extension, locate
from xdistil.data.records import Record, check_language, split_inputs
from xdistil.errors import InputError, show

EXTENSIONS = ("tsv", "csv", "conll", "jsonl", "json", "parquet", "txt")
_FORMS = {"json": "jsonl", "parquet": "jsonl"}  # extensions with the lines of another format
_PEEKED = 1000  # lines that show whether a .tsv file has columns
_log = logging.getLogger("xdistil")


class Layout(NamedTuple):
    """How a file is read, where its format alone does not say."""

    form: str  # "tsv", "csv", "conll" or "jsonl"
    table: Table | None = None  # of task files with a header, of CSV, or by data.columns
    columns: Columns | None = None  # of CoNLL columns
    fields: tuple[tuple[str, str], ...] = ()  # of JSON lines: (our field, theirs)
    prefix: str = ""  # "words", "sentences": each begins with a language and a colon
    names: Names = MappingProxyType({})  # of integers in JSON lines
    separator: str = ""  # of several labels in a cell


def find_format(path: Path, lines: list[str]) -> str:
    """The format by the file extension (without .gz): "tsv", "csv", "conll" or "jsonl".

    A .txt file has CoNLL columns if it has an empty line or no tab; else it is a task file. A .tsv
    file has columns if it has an empty line, and one word in the first cell of each row.

    Raises:
        InputError: another extension.
    """
    extension = find_extension(path)
    if extension not in EXTENSIONS:
        raise InputError(
            f"{path} has no known extension: use .tsv (task files), .csv (with a header), "
            ".conll or .txt (CoNLL columns), .jsonl or .json, each also with .gz, or .parquet."
        )
    if extension == "tsv" and _has_columns(lines):
        return "conll"
    if extension != "txt":
        return _FORMS.get(extension, extension)
    return "conll" if "" in lines or not any("\t" in line for line in lines) else "tsv"


def _has_columns(lines: Sequence[str]) -> bool:
    # An empty line after a word and before one, which is illegal in task files.
    first = next((at for at, line in enumerate(lines[:_PEEKED]) if not line.strip()), None)
    if first is None or first < 2 or not any(map(str.strip, lines[first:])):
        return False
    rows = [line for line in lines[:_PEEKED] if line.strip() and not line.startswith("#")]
    return len(rows) > 2 and all(row.find("\t") > 0 > row.find(" ") for row in rows)


def find_text_format(path: Path) -> str:
    """The format of an unlabelled file; other extensions than those known have plain text."""
    extension = find_extension(path)
    return _FORMS.get(extension, extension)


def read_records(
    path: Path, lines: list[str], kind: str, layout: Layout | None = None
) -> Iterator[Record]:
    """The labelled sentences of a file.

    Args:
        layout: as `layouts.find_layout` returns it; None: that of the format.

    Raises:
        InputError: a missing tab, an empty word or text, a wrong number of columns, invalid JSON, a
            missing field or one of another type; the message has file and line.
    """
    layout = layout or Layout(find_format(path, lines))
    if layout.form == "conll":
        if kind != "tagging":
            raise InputError(
                f"{path} has CoNLL columns, but the labels of the task are not tags: a task file "
                "has a tab before the label, and no empty line."
            )
        records = read_conll(path, lines, columns=layout.columns)
    elif layout.form == "jsonl":
        records = read_jsonl(path, lines, kind, True, layout.fields, layout.names)
    elif layout.table is not None:
        records = read_table(path, lines, kind, layout.table)
    else:
        records = read_tsv(path, lines, kind)
    return take_languages(path, records, layout.prefix) if layout.prefix else records


def read_table(
    path: Path, lines: Iterable[str], kind: str, table: Table, labelled: bool = True
) -> Iterator[Record]:
    """The records of rows whose columns have roles; raises InputError as `read_records` does."""
    label = "tags" if kind == "tagging" else "label"
    inputs = [role for role in ("words", "text", "text_a", "text_b") if role in table.roles]
    width = max(table.roles.values()) + 1
    for number, cells in cut_rows(path, lines, table.delimiter, table.quoted):
        if table.header and number == 1:
            continue
        if len(cells) < width:
            raise InputError(
                f"{locate(path, number)}: {len(cells)} columns where {width} are needed for "
                f"{', '.join(table.roles)}."
            )
        value = cells[table.roles[label]].strip() if labelled else ""
        if not value and labelled and kind != "multilabel":
            raise _tell_no_label(path, number, kind, "")
        language = cells[table.roles["language"]].strip() if "language" in table.roles else None
        check_language(path, number, language or None)
        texts = [re.sub(r"\r?\n", " ", cells[table.roles[role]]) for role in inputs]
        if kind == "tagging":
            value = " ".join(value.split())
            texts = [" ".join(texts[0].split())]
        split = split_inputs(path, number, texts, kind)
        yield Record(number, split, value, language or None)


def take_languages(path: Path, records: Iterable[Record], prefix: str) -> Iterator[Record]:
    """The records without the language before each word, or before the first one or each text.

    Raises:
        InputError: a word without a language.
    """
    for record in records:
        count = 1 if prefix == "sentences" else len(record.inputs)
        languages, words = set(), list(record.inputs)
        for place, word in enumerate(words[:count]):
            language, colon, rest = word.partition(":")
            if not colon or not rest:
                raise InputError(
                    f"{locate(path, record.line)}: {show(word)} does not begin with a language and "
                    "a colon, as the first lines of the file do."
                )
            languages.add(language)
            words[place] = rest.removeprefix(" ")
        yield record._replace(inputs=tuple(words), language=record.language or min(languages))


def read_texts(
    path: Path,
    lines: Iterable[str],
    kind: str,
    raw: bool = False,
    quiet: bool = False,
    layout: Layout | None = None,
) -> Iterator[Record]:
    """The texts of an unlabelled file; empty lines are skipped, and their number is logged.

    Task files, .txt or .tsv, have the columns of labelled ones without the label; labels in CoNLL
    columns and JSON lines are ignored. With `raw`, sentences are split like `str.split`; without,
    only those are that have no single space between all words.

    Args:
        lines: of the whole file; those of CoNLL columns are iterated over several times.
        quiet: log nothing, where the file was read before.
        layout: as for `read_records`.

    Raises:
        InputError: as `read_records`.
    """
    layout = layout or Layout(find_text_format(path))
    if layout.form == "conll":
        records = read_conll(path, lines, columns=layout.columns, quiet=quiet, labelled=False)
    elif layout.form == "jsonl":
        records = read_jsonl(path, lines, kind, False, layout.fields, layout.names)
    elif layout.table is not None:
        records = read_table(path, lines, kind, layout.table, labelled=False)
    else:
        if raw and kind == "tagging":
            lines = map(_split_at_spaces, lines)
        records = _read_unlabelled(path, lines, kind, quiet)
    return take_languages(path, records, layout.prefix) if layout.prefix else records


def _split_at_spaces(line: str) -> str:
    # Words as `str.split` finds them; a line with a tab is refused by its reader.
    return line if "\t" in line else " ".join(line.split())


def _read_unlabelled(path: Path, lines: Iterable[str], kind: str, quiet: bool) -> Iterator[Record]:
    empty = 0
    for number, line in enumerate(lines, 1):
        inputs: Sequence[str] = ()
        if kind != "tagging" or "\t" in line:
            inputs = split_inputs(path, number, line.split("\t"), kind) if line else ()
        elif "" in (inputs := line.split(" ")):
            inputs = line.split()  # as prediction reads such a line
        if inputs:
            yield Record(number, tuple(inputs), "", None)
        else:
            empty += 1
    if empty and not quiet:
        _log.info("%s: %d empty lines skipped", path, empty)


def _tell_no_label(path: Path, number: int, kind: str, shape: str) -> InputError:
    meant = "" if kind == "tagging" else "; if a text may have no label, set data.task=multilabel"
    return InputError(f"{locate(path, number)}: an empty label{shape}{meant}.")


def read_tsv(path: Path, lines: Iterable[str], kind: str) -> Iterator[Record]:
    """The sentences of a task file; raises InputError as `read_records` does."""
    shape = "words<TAB>tags" if kind == "tagging" else "text<TAB>label or text<TAB>text<TAB>label"
    for number, line in enumerate(lines, 1):
        *cells, label = line.split("\t")
        if len(cells) > 1 and kind == "tagging":
            raise InputError(
                f"{locate(path, number)}: {len(cells) + 1} columns where a line must be {shape}: "
                "name others in data.columns, such as words:1,tags:3."
            )
        if not cells:
            found = "no tab" if line else "an empty line"
            other = "" if line else "; columns with a word per line belong in a .conll file"
            raise InputError(f"{locate(path, number)}: {found}: a line must be {shape}{other}.")
        if not label.strip() and kind != "multilabel":
            raise _tell_no_label(path, number, kind, f": a line must be {shape}")
        yield Record(number, split_inputs(path, number, cells, kind), label, None)
