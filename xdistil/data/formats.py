"""File formats: bytes -> records with line numbers. Labels are decoded in examples.py.

There are four formats: tab-separated task files (`words<TAB>tags`, `text<TAB>label`,
`text_a<TAB>text_b<TAB>label`); CSV with a header; CoNLL columns (one word per line, its tag in the
last column, with or without its number in a first column, an empty line after each sentence); and
JSON lines (`tokens, tags, language`; `text` or `text_a, text_b`, `label, language`; and those of
json_rows.py). Lines end in \\n or \\r\\n only: other line separators of Unicode are characters.
"""

import codecs
import gzip
import json
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from xdistil.data.columns import Table, cut_rows
from xdistil.data.json_rows import Names, cut_words, find_texts, recognise_row
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError, show

EXTENSIONS = ("tsv", "csv", "conll", "jsonl", "txt")
_log = logging.getLogger("xdistil")
_LANGUAGE = re.compile(r"[^\s:]+")
_APART = re.compile(r"[0-9]+[-.][0-9]+")  # CoNLL-U: a range of words (1-2) or an empty node (1.1)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Record(NamedTuple):
    """One sentence or text of a file, as written."""

    line: int  # in the file, from 1; in CoNLL columns the line of the first word
    inputs: tuple[str, ...]  # words (tagging), or one or two texts (classification)
    label: str  # as written; tags are joined by single spaces; "" if unlabelled
    language: str | None  # the JSON field `language`; in other formats it may prefix the label


class Columns(NamedTuple):
    """How rows of CoNLL columns are split into cells."""

    tabbed: bool  # split at tabs; else at any white space
    width: int  # cells in a row; 0: there is no row
    word: int  # index of the cell with the word
    tag: int = -1  # index of the cell with the tag
    numbered: bool = False  # the first cell is the number of the word
    header: bool = False  # the first line names the columns


class Layout(NamedTuple):
    """How a file is read, where its format alone does not say."""

    form: str  # of EXTENSIONS, but txt
    table: Table | None = None  # of task files with a header, of CSV, or by data.columns
    columns: Columns | None = None  # of CoNLL columns
    fields: tuple[tuple[str, str], ...] = ()  # of JSON lines: (our field, theirs)
    prefix: str = ""  # "words", "sentences": each begins with a language and a colon
    names: Names = MappingProxyType({})  # of integers in JSON lines


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, plain or .gz, without line ends and byte order mark.

    Raises:
        InputError: a missing, empty or unreadable file, or bytes that are not UTF-8.
    """
    with _tell_unreadable(path):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise _tell_empty(path)
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise _tell_not_unicode(path, data.count(b"\n", 0, error.start) + 1) from None
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if b"\r" in data else lines


@dataclass(frozen=True)
class FileLines:
    """The lines of `read_lines`, read anew and one by one whenever they are iterated over.

    Iterating raises as `read_lines` does, once it comes to the mistake.
    """

    path: Path

    def __iter__(self) -> Iterator[str]:
        with _tell_unreadable(self.path), self._open() as file:
            blocks = iter(lambda: file.read(1 << 16), b"")
            if not any(block.removeprefix(codecs.BOM_UTF8).strip() for block in blocks):
                raise _tell_empty(self.path)
            file.seek(0)
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                try:
                    text = line.removesuffix(b"\n").decode()
                except UnicodeDecodeError:
                    raise _tell_not_unicode(self.path, number) from None
                yield text.removesuffix("\r")

    def stamp(self) -> tuple[int, int]:
        """Size and modification time in nanoseconds, by which a change of the file is noticed."""
        with _tell_unreadable(self.path):
            status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _open(self) -> gzip.GzipFile | BufferedReader:
        return gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")


@contextmanager
def _tell_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path} is not a whole gzip file: compress it again.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


def _tell_empty(path: Path) -> InputError:
    return InputError(f"{path} is empty.")


def _tell_not_unicode(path: Path, line: int) -> InputError:
    return InputError(f"{path}:{line}: these bytes are not UTF-8: convert the file.")


def find_format(path: Path, lines: list[str]) -> str:
    """The format by the file extension (without .gz): "tsv", "conll" or "jsonl".

    A .txt file has CoNLL columns if it has an empty line or no tab; else it is a task file.

    Raises:
        InputError: another extension.
    """
    extension = Path(path.name.removesuffix(".gz")).suffix[1:]
    if extension not in EXTENSIONS:
        raise InputError(
            f"{path} has no known extension: use .tsv (task files), .csv (with a header), "
            ".conll or .txt (CoNLL columns) or .jsonl, each also with .gz."
        )
    if extension != "txt":
        return extension
    return "conll" if "" in lines or not any("\t" in line for line in lines) else "tsv"


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
        records = _read_jsonl(path, lines, kind, True, layout)
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
                f"{path}:{number}: {len(cells)} columns where {width} are needed for "
                f"{', '.join(table.roles)}."
            )
        value = cells[table.roles[label]].strip() if labelled else ""
        if not value and labelled:
            raise InputError(f"{path}:{number}: an empty label.")
        language = cells[table.roles["language"]].strip() if "language" in table.roles else None
        _check_language(path, number, language or None)
        texts = [cells[table.roles[role]] for role in inputs]
        if kind == "tagging":
            value = " ".join(value.split())
            texts = [" ".join(texts[0].split())]
        split = _split_inputs(path, number, texts, kind)
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
                    f"{path}:{record.line}: {show(word)} does not begin with a language and a "
                    "colon, as the first lines of the file do."
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
    extension = Path(path.name.removesuffix(".gz")).suffix
    layout = layout or Layout(extension[1:])
    if extension == ".conll":
        records = read_conll(path, lines, columns=layout.columns, quiet=quiet)
    elif extension == ".jsonl":
        records = _read_jsonl(path, lines, kind, False, layout)
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
            inputs = _split_inputs(path, number, line.split("\t"), kind) if line else ()
        elif "" in (inputs := line.split(" ")):
            inputs = line.split()  # as prediction reads such a line
        if inputs:
            yield Record(number, tuple(inputs), "", None)
        else:
            empty += 1
    if empty and not quiet:
        _log.info("%s: %d empty lines skipped", path, empty)


def is_tagged(cell: str) -> bool:
    """Whether a label cell holds tags alone; a language may stand before the first."""
    first, *rest = cell.split(" ")
    return (is_tag(first) or is_tag(first.partition(":")[2])) and all(map(is_tag, rest))


def _split_inputs(path: Path, number: int, cells: list[str], kind: str) -> tuple[str, ...]:
    if kind == "tagging":
        if len(cells) > 1:
            raise InputError(
                f"{path}:{number}: {len(cells)} columns where an unlabelled sentence has one: "
                "remove the tags."
            )
        words = tuple(cells[0].split(" "))
        if "" in words:
            raise InputError(
                f"{path}:{number}: an empty word: separate words by exactly one space."
            )
        return words
    if "" in cells:
        raise InputError(f"{path}:{number}: an empty text.")
    return tuple(cells)


def read_tsv(path: Path, lines: Iterable[str], kind: str) -> Iterator[Record]:
    """The sentences of a task file; raises InputError as `read_records` does."""
    shape = "words<TAB>tags" if kind == "tagging" else "text<TAB>label or text<TAB>text<TAB>label"
    for number, line in enumerate(lines, 1):
        *cells, label = line.split("\t")
        if len(cells) > 1 and kind == "tagging":
            raise InputError(
                f"{path}:{number}: {len(cells) + 1} columns where a line must be {shape}: name "
                "others in data.columns, such as words:1,tags:3."
            )
        if not cells:
            found = "no tab" if line else "an empty line"
            raise InputError(f"{path}:{number}: {found}: a line must be {shape}.")
        if not label.strip():
            raise InputError(f"{path}:{number}: an empty label: a line must be {shape}.")
        yield Record(number, _split_inputs(path, number, cells, kind), label, None)


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
) -> Iterator[Record]:
    """The sentences of CoNLL columns.

    Args:
        first: line number of the first of `lines` in the file.
        columns: the columns of the file if `lines` are a part of it; None: `lines` are all of it.
        quiet: log nothing, where the file was read before.

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
        is_row = len(cells) == width and is_tagged(cells[tag])
        if line.startswith("#") and not words and not is_row:
            continue
        if len(cells) != width or width < 2:
            raise InputError(
                f"{path}:{number}: {len(cells)} columns where {max(width, 2)} were expected: "
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
        _check_word(path, number, cells[column])
        if not cells[tag] or " " in cells[tag]:
            raise InputError(f"{path}:{number}: {show(cells[tag])} is not a tag.")
        begin = begin if words else number
        words.append(cells[column])
        tags.append(cells[tag])
    if apart and not quiet:
        _log.info("%s: %d rows of word ranges or empty nodes (1-2, 1.1) skipped", path, apart)


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


def _check_word(path: Path, number: int, word: str) -> None:
    if not word or any(separator in word for separator in " \t\n\r"):
        raise InputError(
            f"{path}:{number}: {show(word)} is not a word: it must not be empty or contain a space "
            "or a tab."
        )


def load_json(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object of a line; raises InputError if there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{path}:{number}: this line is not valid JSON.") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}:{number}: this line is not a JSON object.")
    return row


def _read_jsonl(
    path: Path, lines: Iterable[str], kind: str, labelled: bool, layout: Layout
) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            row = load_json(path, number, line)
            for ours, theirs in layout.fields:
                if theirs not in row:
                    raise InputError(
                        f"{path}:{number}: there is no field {show(theirs)}, which data.columns "
                        "names."
                    )
                row[ours] = row[theirs]
            row = convert_row(path, number, row, kind, labelled, layout.names)
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
            return {**row, "tokens": [text[start:end] for start, end in cut_words(text)]}
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
    _check_language(path, number, language)
    if kind == "tagging":
        words = _read_texts_field(path, number, row, "tokens")
        for word in words:
            _check_word(path, number, word)
        tags = _read_texts_field(path, number, row, "tags") if labelled else ()
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


def _check_language(path: Path, number: int, language: str | None) -> None:
    if language is not None and not (_LANGUAGE.fullmatch(language) and language.isprintable()):
        raise InputError(
            f"{path}:{number}: {show(language)} is not a language: it contains a space or a colon."
        )


def read_text_field(path: Path, number: int, row: dict[str, Any], name: str) -> str:
    """The text of a field; raises InputError if it is missing, empty or not a text."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        found = "is missing" if name not in row else f"is {json.dumps(value)[:40]}"
        raise InputError(
            f"{path}:{number}: field {show(name)} {found}: it must be a text that is not empty."
        )
    _check_unicode(path, number, value)
    return value


def _read_texts_field(path: Path, number: int, row: dict[str, Any], name: str) -> tuple[str, ...]:
    values = row.get(name)
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        found = "is missing" if name not in row else f"is {json.dumps(values)[:40]}"
        raise InputError(
            f"{path}:{number}: field {show(name)} {found}: it must be a non-empty list of texts."
        )
    for value in values:
        _check_unicode(path, number, value)
    return tuple(values)


def _check_unicode(path: Path, number: int, value: str) -> None:
    if _SURROGATE.search(value):
        raise InputError(
            f"{path}:{number}: an escaped half of a surrogate pair, which is not a character."
        )
