"""Word vectors in text files (fastText's .vec, GloVe, MUSE) -> vectors of a tokenizer's subwords.

A line has a word and its numbers, separated by single spaces; the first line may have the number of
words and of numbers. A word that the tokenizer does not split provides the vector of its subword;
if several words share a subword, it is the first of them (files are sorted by frequency). Other
words are ignored, and other subwords get no vector.
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

_TOGETHER = 4096  # lines read and tokenised at once
_LONGEST = 1 << 20  # most bytes in a line

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class WordVectors:
    """The subwords that are words of a file, with vectors of width E."""

    subwords: np.ndarray  # i32[N] ids, ascending
    values: np.ndarray  # f32[N,E]
    words: int  # number of words in the file


def read_vectors(path: Path, width: int, tokenizer: Tokenizer) -> WordVectors:
    """Reads a file of word vectors, plain or .gz, for the subwords of a tokenizer.

    Bytes of a word that are not UTF-8 are replaced, so such a word matches no subword.

    Args:
        width: numbers in a vector.

    Raises:
        InputError: a missing or truncated file, vectors of another width, a damaged line, or no
            word that is a subword.
    """
    log.info("reading the vectors of %s", path)
    taken: dict[int, np.ndarray] = {}
    words = 0
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            first, announced = _read_header(path, file, width)
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
    if announced is not None and words != announced:
        raise InputError(
            f"{path} has {words} vectors, but its first line says {announced}: download it again, "
            "or correct that line."
        )
    if not taken:
        raise InputError(
            f"None of the {words} words of {path} is a subword of the student's tokenizer: set "
            "student.vectors to vectors of the languages of the texts."
        )
    subwords = np.array(sorted(taken), np.int32)
    return WordVectors(subwords, np.stack([taken[int(subword)] for subword in subwords]), words)


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _read_header(path: Path, file: BinaryIO, width: int) -> tuple[int, int | None]:
    """(lines of the header, words it announces); leaves the file where the vectors begin."""
    first = file.readline(_LONGEST)
    fields = first.removeprefix(_BYTE_ORDER_MARK).split()
    if len(fields) < 2:
        raise InputError(f"{path}:1: this is not a line of word vectors: a word and its numbers.")
    is_header = len(fields) == 2 and all(field.isdigit() for field in fields)
    held = int(fields[1]) if is_header else first.rstrip(b" \r\n").count(b" ")
    if held != width:
        raise InputError(
            f"{path}:1: the vectors are {held} wide and the student's word embeddings {width}: set "
            f"student.embedding_size={held}, or use other vectors."
        )
    if is_header:
        return 1, int(fields[0])
    file.seek(0)
    return 0, None


def _read_lines(
    path: Path, number: int, lines: list[bytes], width: int
) -> tuple[list[str], np.ndarray]:
    """Words and vectors f32[N,width] of lines; `number` is the line number of the first."""
    words, numbers = [], []
    for offset, line in enumerate(lines):
        # Split from the right: some words of GloVe contain spaces.
        word, *rest = line.rstrip(b" \r\n").rsplit(b" ", width)
        if len(rest) < width or (b" " in word and _is_number(word.rpartition(b" ")[2])):
            raise InputError(
                f"{path}:{number + offset}: this line is damaged: it must have a word and {width} "
                "numbers, separated by single spaces."
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
                    "fields after the word are finite numbers."
                )
    return words, values.reshape(len(lines), width)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(text: bytes) -> np.ndarray:
    """The numbers in a text, f32[N]; empty if anything else is among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, np.float32, sep=" ")
        except (ValueError, DeprecationWarning):  # of later and earlier releases of NumPy
            return np.zeros(0, np.float32)


def _find_subwords(tokenizer: Tokenizer, words: list[str]) -> Iterator[tuple[int, int]]:
    """(place, subword) of every word that is one subword, alone or after a space, in order."""
    alone, spaced = (_encode(tokenizer, [before + word for word in words]) for before in ("", " "))
    for place, encoded in enumerate(zip(alone, spaced, strict=True)):
        for subword in dict.fromkeys(ids[0] for ids in encoded if len(ids) == 1):
            if subword != tokenizer.unk:
                yield place, subword


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encodings = tokenizer.backend.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]
