"""Files of any size -> texts to predict labels for, line by line.

The formats are those of `formats.py`, CSV, and plain text: one sentence per line, or two texts with
a tab between them. Labels in a file are ignored.
"""

import codecs
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xdistil.data.conll import find_columns, read_conll
from xdistil.data.formats import take_languages
from xdistil.data.json_arrays import cut_records
from xdistil.data.json_records import find_inputs, load_json, read_row, take_fields
from xdistil.data.layouts import describe_prefix, find_prefix
from xdistil.data.records import read_text_field
from xdistil.data.segmentation import SPACES
from xdistil.data.spans import split_words
from xdistil.data.text_columns import parse_columns, read_rows
from xdistil.errors import InputError, show

FORMATS = ("text", "tsv", "csv", "conll", "jsonl", "json", "parquet")
_ENDINGS = {
    **{name: name for name in FORMATS[1:]},
    **{"ndjson": "jsonl", "tab": "tsv", "conllu": "conll", "iob": "conll", "bio": "conll"},
}
# Endings of files that do not hold one text per line.
_OTHER_ENDINGS = (
    *("arrow", "feather", "xml", "html", "htm", "yaml", "yml", "toml"),
    *("xlsx", "xls", "ods", "doc", "docx", "odt", "pdf", "db", "sqlite", "pkl", "npy", "npz"),
    *("zip", "tar", "tgz", "bz2", "xz", "zst", "7z"),
)
_TAGGED = re.compile(r"\S+(\t\S+)*\t(O|[BIESLUM]-\S+)")  # a row of CoNLL columns
_log = logging.getLogger("xdistil")
_SENTENCES = 1024  # of CoNLL columns read together; the first ones determine the columns


Split = Callable[[str], tuple[tuple[str, ...], object]]  # words, and where they stand
split_at_spaces: Split = partial(split_words, segmentation=SPACES)


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a file."""

    line: int  # from 1
    inputs: tuple[str, ...]  # words (tagging), or one or two texts (classification); (): blank
    raw: str | None  # the text before it was split into words, if the file has it
    fields: Mapping[str, Any] | None = None  # all of its JSON object, or of its named columns

    @property
    def is_left_out(self) -> bool:
        """Whether it stands for a blank line of JSON lines, which has no answer."""
        return not self.inputs and self.raw is None


def name_format(name: str) -> str:
    """The format by the file extension (without .gz); plain text if it is none of the others."""
    return _ENDINGS.get(_find_ending(name), "text")


def check_ending(name: str, option: str) -> None:
    """Raises InputError if a file extension says that a file has a format that is none of FORMATS.

    Args:
        option: how the file and its format are named on the command line, such as "--input".
    """
    ending = _find_ending(name)
    if ending in _OTHER_ENDINGS or (ending == "parquet" and option != "--input"):
        flag = "--format" if option == "--input" else f"{option}-format"
        raise InputError(
            f"{option}={name}: .{ending} files are not supported: use .txt, .tsv, .csv, .conll, "
            f".jsonl or .json, or name the format with {flag}."
        )


def _find_ending(name: str) -> str:
    return Path(name.removesuffix(".gz")).suffix[1:].lower()


def read_stream(
    lines: Iterable[bytes],
    where: str,
    form: str,
    kind: str,
    *,
    labels: Sequence[str] = (),
    columns: str = "",
    ready: Callable[[], bool] = lambda: True,
    split: Split = split_at_spaces,
) -> Iterator[Text]:
    """The texts of a file in one of FORMATS, read no further than needed.

    An array of JSON records is read whole before the first text is returned. A blank line of JSON
    lines gives a text that `is_left_out`; one elsewhere is a blank text.

    Args:
        lines: UTF-8, each ending in \\n or \\r\\n (the last may lack it); of Parquet those of
            `parquet.read_rows`.
        where: name of their source in errors.
        kind: of the task.
        labels: of a task file, as `text_columns.read_rows` takes them.
        columns: which columns or fields hold the text, as `text_columns.parse_columns` takes it.
        ready: whether the next line is there already. What a text needs of later lines is not
            waited for: the columns of a file are recognised from its first lines that are there.
        split: splits raw text into words.

    Raises:
        InputError: a line is not UTF-8, or as `read_records`; the message has file and line.
    """
    if form == "text":
        yield from read_plain(lines, where, kind, split)
        return
    decoded, roles = decode_lines(lines, where), parse_columns(columns)
    path = Path(where)
    if form in ("tsv", "csv"):
        for row in read_rows(path, decoded, form, kind, labels, columns, ready):
            if row.raw:
                yield _split_text(row.line, row.inputs, kind, split, row.fields)
            else:
                yield Text(row.line, row.inputs, None, row.fields)
    elif form == "json":
        for number, record in enumerate(cut_records(path, "\n".join(decoded)), 1):
            yield _read_object(path, number, record, kind, split, roles)
    elif form in ("jsonl", "parquet"):
        for number, line in enumerate(decoded, 1):
            if line.strip():
                yield _read_object(path, number, line, kind, split, roles)
            else:
                yield Text(number, (), None)
    else:
        if kind != "tagging":
            raise InputError(f"{where} has CoNLL columns, but the labels of the task are not tags.")
        yield from _read_columns(path, decoded, ready)


def _read_columns(path: Path, lines: Iterable[str], ready: Callable[[], bool]) -> Iterator[Text]:
    found, prefix = None, ""
    for first, block in _cut_blocks(lines, ready):
        known = found is not None and found.width
        if not known:
            found = find_columns(block)
        sentences = read_conll(path, block, first, found, labelled=False)
        if not known:
            read = list(sentences)
            prefix, sentences = find_prefix(read, "tagging"), iter(read)
            if prefix:
                _log.warning("%s: %s", path, describe_prefix(prefix))
        for sentence in take_languages(path, sentences, prefix) if prefix else sentences:
            yield Text(sentence.line, sentence.inputs, None)


def read_plain(
    lines: Iterable[bytes], where: str, kind: str, split: Split = split_at_spaces
) -> Iterator[Text]:
    """One text per line, split into words; a blank line is a text without inputs.

    Raises:
        InputError: a line is not UTF-8, or has more than two texts, or the first one is a word and
            its tag.
    """
    first = True
    for number, text in enumerate(decode_lines(lines, where), 1):
        if not text.strip():
            yield Text(number, (), text)
            continue
        if first and kind == "tagging" and _TAGGED.fullmatch(text):
            raise InputError(
                f"{where}:{number}: {show(text)} is a word and its tag: set --format=conll."
            )
        first = False
        texts = (text,) if kind == "tagging" else tuple(text.split("\t"))
        if len(texts) > 2:
            raise InputError(
                f"{where}:{number}: {len(texts)} texts between tabs: a line must be one text, or "
                "two with a tab between them."
            )
        yield _split_text(number, texts, kind, split)


def _split_text(
    line: int,
    texts: tuple[str, ...],
    kind: str,
    split: Split,
    fields: Mapping[str, Any] | None = None,
) -> Text:
    # A text, or two, as typed; (): blank.
    raw = "\t".join(texts)
    inputs = split(raw)[0] if kind == "tagging" else texts
    return Text(line, inputs, raw, fields)


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


def _cut_blocks(lines: Iterable[str], ready: Callable[[], bool]) -> Iterator[tuple[int, list[str]]]:
    # Blocks of whole sentences in CoNLL columns, each with the number of its first line.
    first, sentences = 1, 0
    block: list[str] = []
    for number, line in enumerate(lines, 1):
        block.append(line)
        if line.strip():
            continue
        sentences += 1
        # One row alone, at the beginning of a file, does not tell a number from a word.
        if sentences == _SENTENCES or (number > 2 and not ready()):
            yield first, block
            first, sentences, block = number + 1, 0, []
    yield first, block


def _read_object(
    path: Path, number: int, line: str, kind: str, split: Split, roles: dict[str, str]
) -> Text:
    row = load_json(path, number, line)
    if roles:
        found = take_fields(path, number, row, roles, "--columns")
    else:
        found = find_inputs(path, number, row, kind)
    if kind == "tagging" and "tokens" not in found:
        raw = read_text_field(path, number, found, "text")
        return _split_text(number, (raw,), kind, split, row)
    return Text(number, read_row(path, number, found, kind, labelled=False).inputs, None, row)
