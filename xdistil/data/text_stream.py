"""Files of any size -> texts to predict labels for, line by line.

The formats are those of `formats.py`, and plain text: one sentence per line, or two texts with a
tab between them. Labels in a file are ignored.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xdistil.data.formats import (
    find_columns,
    load_json,
    read_conll,
    read_row,
    read_text_field,
    read_tsv,
)
from xdistil.errors import InputError

FORMATS = ("text", "tsv", "conll", "jsonl")
_SENTENCES = 1024  # of CoNLL columns read together; the first ones determine the columns


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a file."""

    line: int  # from 1
    inputs: tuple[str, ...]  # words (tagging), or one or two texts (classification); (): blank
    raw: str | None  # the text before it was split into words, if the file has it


def name_format(name: str) -> str:
    """The format by the file extension (without .gz); plain text if it is none of the others."""
    extension = Path(name.removesuffix(".gz")).suffix[1:]
    return extension if extension in FORMATS[1:] else "text"


def read_stream(lines: Iterable[bytes], where: str, form: str, kind: str) -> Iterator[Text]:
    """The texts of a file in one of FORMATS, read no further than needed.

    Args:
        lines: UTF-8, each ending in \\n or \\r\\n (the last may lack it).
        where: name of their source in errors.
        kind: of the task.

    Raises:
        InputError: a line is not UTF-8, or as `read_records`; the message has file and line.
    """
    if form == "text":
        yield from read_plain(lines, where, kind)
        return
    decoded = decode_lines(lines, where)
    path = Path(where)
    if form == "tsv":
        for record in read_tsv(path, decoded, kind):
            yield Text(record.line, record.inputs, None)
    elif form == "jsonl":
        for number, line in enumerate(decoded, 1):
            if line and not line.isspace():
                yield _read_object(path, number, line, kind)
    else:
        if kind != "tagging":
            raise InputError(f"{where} has CoNLL columns, but the labels of the task are not tags.")
        columns = None
        for first, block in _cut_blocks(decoded):
            if columns is None or not columns.width:
                columns = find_columns(block)
            for record in read_conll(path, block, first, columns):
                yield Text(record.line, record.inputs, None)


def read_plain(lines: Iterable[bytes], where: str, kind: str) -> Iterator[Text]:
    """One text per line, split like `str.split`; a blank line is a text without inputs.

    Raises:
        InputError: a line is not UTF-8, or has more than two texts.
    """
    for number, text in enumerate(decode_lines(lines, where), 1):
        if kind == "tagging" or not text.strip():
            yield Text(number, tuple(text.split()), text)
            continue
        texts = tuple(text.split("\t"))
        if len(texts) > 2:
            raise InputError(
                f"{where}:{number}: {len(texts)} texts between tabs: a line must be one text, or "
                "two with a tab between them."
            )
        yield Text(number, texts, text)


def decode_lines(lines: Iterable[bytes], where: str) -> Iterator[str]:
    """The lines as text, without line ends and byte order mark."""
    for number, line in enumerate(lines, 1):
        line = line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{where}:{number}: byte {error.start + 1} of the line, "
                f"0x{line[error.start]:02x}, is not UTF-8: convert the text to UTF-8."
            ) from error


def _cut_blocks(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    # Blocks of whole sentences in CoNLL columns, each with the number of its first line.
    first, sentences = 1, 0
    block: list[str] = []
    for number, line in enumerate(lines, 1):
        block.append(line)
        sentences += not line.strip()
        if sentences == _SENTENCES:
            yield first, block
            first, sentences, block = number + 1, 0, []
    yield first, block


def _read_object(path: Path, number: int, line: str, kind: str) -> Text:
    row = load_json(path, number, line)
    if kind == "tagging" and "tokens" not in row:
        raw = read_text_field(path, number, row, "text")
        return Text(number, tuple(raw.split()), raw)
    return Text(number, read_row(path, number, row, kind, labelled=False).inputs, None)
