"""Text vectors of words (fastText's .vec, GloVe, MUSE) -> vectors of a tokenizer's subwords.

A line holds a word and its numbers, separated by single spaces; the first line may say how many
words and numbers there are. The tokenizer is asked about every word: one that it leaves whole
lends its vector to that subword, the first of several that share a subword (files go by frequency).
Words that it cuts, and subwords that are no word, go without.
"""

import gzip
import logging
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from xdistil.data.tokenizer import Tokenizer
from xdistil.errors import InputError

_TOGETHER = 4096  # lines read and cut at once
_LONGEST = 1 << 20  # bytes in a line, at most

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class WordVectors:
    """The subwords that are words of a file, with their vectors of width E."""

    subwords: np.ndarray  # i32[N] ids, ascending
    values: np.ndarray  # f32[N,E]
    words: int  # that the file holds


def read_vectors(path: Path, width: int, tokenizer: Tokenizer) -> WordVectors:
    """Reads a file of text vectors, plain or .gz, for the subwords of a tokenizer.

    Bytes of a word that are not UTF-8 are replaced, so that such a word matches nothing.

    Args:
        width: numbers that a vector must have.

    Raises:
        InputError: a missing or cut-off file, vectors of another width, a damaged line, or no word
            that is a subword.
    """
    log.info("reading the vectors of %s", path)
    taken: dict[int, np.ndarray] = {}
    words = 0
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            first, promised = _read_header(path, file, width)
            lines = iter(lambda: file.readline(_LONGEST), b"")
            while chunk := list(islice(lines, _TOGETHER)):
                if not words and not first:
                    chunk[0] = chunk[0].removeprefix(_BYTE_ORDER_MARK)
                found, values = _read_lines(path, first + words + 1, chunk, width)
                words += len(chunk)
                for place, subword in _find_subwords(tokenizer, found):
                    taken.setdefault(subword, values[place].copy())
    except FileNotFoundError:
        raise InputError(f"student.vectors={path} does not exist.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path} is not a whole gzip file: compress it again.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if promised is not None and words != promised:
        raise InputError(
            f"{path} holds {words} vectors where its first line promises {promised}: fetch it "
            "again, or correct that line."
        )
    if not taken:
        raise InputError(
            f"None of the {words} words of {path} is a subword of the student's tokenizer: name "
            "vectors of the texts' languages in student.vectors."
        )
    subwords = np.array(sorted(taken), np.int32)
    return WordVectors(subwords, np.stack([taken[int(subword)] for subword in subwords]), words)


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _read_header(path: Path, file: BinaryIO, width: int) -> tuple[int, int | None]:
    """(lines it takes, words it promises); leaves the file where the vectors begin."""
    first = file.readline(_LONGEST)
    fields = first.removeprefix(_BYTE_ORDER_MARK).split()
    if len(fields) < 2:
        raise InputError(f"{path}:1: this is no line of text vectors: a word and its numbers.")
    is_header = len(fields) == 2 and all(field.isdigit() for field in fields)
    held = int(fields[1]) if is_header else first.rstrip(b" \r\n").count(b" ")
    if held != width:
        raise InputError(
            f"{path}:1: the vectors are {held} wide and the student's word embeddings {width}: set "
            f"student.embedding_size={held}, or name other vectors."
        )
    if is_header:
        return 1, int(fields[0])
    file.seek(0)
    return 0, None


def _read_lines(
    path: Path, number: int, lines: list[bytes], width: int
) -> tuple[list[str], np.ndarray]:
    """Words and vectors f32[N,width] of lines, of which the first has that number in the file."""
    words, numbers = [], []
    for offset, line in enumerate(lines):
        # From the right: some of GloVe's words hold spaces.
        word, *rest = line.rstrip(b" \r\n").rsplit(b" ", width)
        if len(rest) < width or (b" " in word and _is_number(word.rpartition(b" ")[2])):
            raise InputError(
                f"{path}:{number + offset}: this line is damaged: a word and {width} numbers, "
                "separated by single spaces, are expected."
            )
        words.append(word.decode("utf-8", "replace"))
        numbers.append(b" ".join(rest))
    values = _parse(b" ".join(numbers))
    if values.size != len(lines) * width or not np.isfinite(values).all():
        for offset, text in enumerate(numbers):
            own = _parse(text)
            if own.size != width or not np.isfinite(own).all():
                raise InputError(
                    f"{path}:{number + offset}: this line is damaged: not all of the {width} "
                    "fields behind the word are finite numbers."
                )
    return words, values.reshape(len(lines), width)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(text: bytes) -> np.ndarray:
    """f32[N] of the numbers in a text; none where something else stands among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, np.float32, sep=" ")
        except (ValueError, DeprecationWarning):  # of later and of earlier releases
            return np.zeros(0, np.float32)


def _find_subwords(tokenizer: Tokenizer, words: list[str]) -> Iterator[tuple[int, int]]:
    """(place, subword) of every word that is one subword, alone or behind a space, in order."""
    alone, behind = (_cut(tokenizer, [before + word for word in words]) for before in ("", " "))
    for place, answers in enumerate(zip(alone, behind, strict=True)):
        for subword in dict.fromkeys(answer[0] for answer in answers if len(answer) == 1):
            if subword != tokenizer.unk:
                yield place, subword


def _cut(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encodings = tokenizer.backend.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]
