"""Texts of a file -> pieces that fit into a prompt, and identifiers by which answers find them.

An identifier is `LINE-START-END-RUN-CHECKSUM`: where the text stands in its file, the characters of
the piece, the number of the run, and the checksum of the piece's characters. So answers are read
with the file of texts alone, and answers to other texts are noticed.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xdistil.annotators.answers import digest_text
from xdistil.data.examples import UNKNOWN_LANGUAGE
from xdistil.data.json_rows import find_language
from xdistil.data.language_codes import fold_language
from xdistil.data.lines import locate, read_lines
from xdistil.data.records import check_language
from xdistil.data.segmentation import find_sentence_ends, find_units
from xdistil.data.spans import join_words
from xdistil.data.text_stream import Text, name_format, read_stream
from xdistil.errors import InputError, show

MOST_RUNS = 99
_IDENTIFIER = re.compile(r"(\d{1,12})-(\d{1,12})-(\d{1,12})-(\d{1,2})-([0-9a-f]{8})")


class TypedText(NamedTuple):
    """A text to label."""

    number: int  # its line in the file, from 1
    inputs: tuple[str, ...]  # one text as it is typed, or two (classification)
    language: str  # "und" if unknown

    @property
    def content(self) -> str:
        """What is cut into pieces: the text, or two with a tab between them."""
        return "\t".join(self.inputs)


class Identifier(NamedTuple):
    """Which piece of which text an answer belongs to."""

    number: int  # of the text
    start: int
    end: int
    run: int  # from 1
    checksum: str


class Texts(NamedTuple):
    """The different texts of a file, by number, and what is not among them."""

    by_number: dict[int, TypedText]
    repeated: int  # texts that stand in the file before, but for blanks
    blank: int


def read_typed_texts(path: Path, kind: str) -> Texts:
    """The texts of a file in any format that prediction reads, chosen by its extension.

    Raises:
        InputError: as `read_stream`; a file without any text.
    """
    form = name_format(path.name)
    rows = (f"{line}\n".encode() for line in read_lines(path))
    form = "jsonl" if form in ("json", "parquet") else form  # records are lines already
    found: dict[int, TypedText] = {}
    known: set[str] = set()
    repeated = blank = 0
    for text in read_stream(rows, str(path), form, kind):
        inputs = _find_inputs(text, kind)
        key = digest_text(inputs, kind)
        if not key.strip():
            blank += 1
        elif key in known:
            repeated += 1
        else:
            known.add(key)
            found[text.line] = TypedText(text.line, inputs, _read_language(path, text))
    if not found:
        raise InputError(f"{path} has no text.")
    return Texts(found, repeated, blank)


def _find_inputs(text: Text, kind: str) -> tuple[str, ...]:
    if kind != "tagging":
        return text.inputs
    return (text.raw if text.raw is not None else join_words(text.inputs)[0],)


def _read_language(path: Path, text: Text) -> str:
    fields = dict(text.fields or {})
    language = fields.get("language") or find_language(fields)
    if not language:
        return UNKNOWN_LANGUAGE
    if not isinstance(language, str):
        raise InputError(f"{locate(path, text.line)}: {show(language)} is not a language.")
    language = fold_language(language)
    check_language(path, text.line, language)
    return language


def cut_pieces(text: str, longest: int) -> list[tuple[int, int]]:
    """(start, end) of the pieces of a text, of at most `longest` characters each.

    A text that is longer is cut where a sentence or a line begins, else at a blank, else between
    two units. A single unit is never cut, so that it may be longer.
    """
    if len(text) <= longest:
        return [(0, len(text))]
    units = find_units(text)
    ends = [end for _, end in units]
    borders = _find_borders(text, units)
    pieces, first = [], 0
    while first < len(units):
        reach = max(bisect_right(ends, units[first][0] + longest), first + 1)
        after = reach
        if reach < len(units):
            for candidates in borders:
                at = bisect_right(candidates, reach) - 1
                if at >= 0 and candidates[at] > first:
                    after = candidates[at]
                    break
        pieces.append((units[first][0], ends[after - 1]))
        first = after
    return pieces


def _find_borders(text: str, units: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The units at which a sentence or a line begins, and those after a blank."""
    sentences = set(find_sentence_ends([text[start:end] for start, end in units]))
    blanks = []
    for at in range(1, len(units)):
        between = text[units[at - 1][1] : units[at][0]]
        if between:
            blanks.append(at)
        if "\n" in between:
            sentences.add(at)
    return sorted(sentences), blanks


def list_identifiers(
    text: TypedText, pieces: Sequence[tuple[int, int]], runs: int
) -> Iterator[tuple[str, str]]:
    """(identifier, characters) of each piece in each run."""
    for run in range(1, runs + 1):
        for start, end in pieces:
            piece = text.content[start:end]
            yield f"{text.number}-{start}-{end}-{run}-{_sum(piece)}", piece


def parse_identifier(name: str) -> Identifier | None:
    """The parts of an identifier; None: it is none."""
    found = _IDENTIFIER.fullmatch(name)
    if not found:
        return None
    number, start, end, run = map(int, found.groups()[:4])
    return Identifier(number, start, end, run, found[5])


def belongs_to(identifier: Identifier, text: TypedText) -> bool:
    """Whether the identifier was made for a piece of this text."""
    content = text.content
    inside = identifier.start < identifier.end <= len(content) and identifier.run > 0
    return inside and _sum(content[identifier.start : identifier.end]) == identifier.checksum


def _sum(piece: str) -> str:
    return f"{zlib.crc32(piece.encode()):08x}"
