"""Files of any size -> texts to be labelled, line by line.

The formats of `formats.py` and plain text: a sentence a line, or two texts with a tab between.
Labels that a file holds are ignored.
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
_SENTENCES = 1024  # of CoNLL columns that are read together; the first of them tell the columns


@dataclass(frozen=True, slots=True)
class Text:
    """One text as it stands in a file."""

    line: int  # from 1
    inputs: tuple[str, ...]  # words (tagging), or one or two texts (classification); (): blank
    raw: str | None  # the text that the words are of, where a file holds it


def name_format(name: str) -> str:
    """The format that the ending of a file's name (less .gz) tells: plain text if nothing else."""
    extension = Path(name.removesuffix(".gz")).suffix[1:]
    return extension if extension in FORMATS[1:] else "text"


def read_stream(lines: Iterable[bytes], where: str, form: str, kind: str) -> Iterator[Text]:
    """The texts of a file in one of FORMATS, read no further than needed.

    Args:
        lines: UTF-8, each ending in \\n or \\r\\n (the last may lack it).
        where: names their source in errors.
        kind: of the task.

    Raises:
        InputError: with file and line: what is not UTF-8, and what `read_records` refuses.
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
            yield _read_object(path, number, line, kind)
    else:
        if kind != "tagging":
            raise InputError(
                f"{where} holds CoNLL columns, but the labels of the task are no tags."
            )
        columns = None
        for first, block in _cut_blocks(decoded):
            if columns is None or not columns.width:
                columns = find_columns(block)
            for record in read_conll(path, block, first, columns):
                yield Text(record.line, record.inputs, None)


def read_plain(lines: Iterable[bytes], where: str, kind: str) -> Iterator[Text]:
    """One text a line: words are what `str.split` finds; blank lines are texts without inputs.

    Raises:
        InputError: a line is not UTF-8, or holds more than two texts.
    """
    for number, text in enumerate(decode_lines(lines, where), 1):
        if kind == "tagging" or not text.strip():
            yield Text(number, tuple(text.split()), text)
            continue
        texts = tuple(text.split("\t"))
        if len(texts) > 2:
            raise InputError(
                f"{where}:{number}: {len(texts)} texts between tabs: a line is one text, or two "
                "with one tab between them."
            )
        yield Text(number, texts, text)


def decode_lines(lines: Iterable[bytes], where: str) -> Iterator[str]:
    """Texts of lines without their ends, and of the first without a byte order mark."""
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
    # Whole sentences of CoNLL columns, and the number of their first line.
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
