"""Files -> lines: UTF-8, plain or .gz.

Lines end in \\n or \\r\\n only: other line separators of Unicode are characters. A .json or
.parquet file has a line per record.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from xdistil.data.json_arrays import cut_records
from xdistil.data.parquet import read_rows
from xdistil.errors import InputError

NO_LINES = ("json", "parquet")  # extensions of files whose records are no lines


def find_extension(path: Path) -> str:
    """The extension of a file name, without the dot and a .gz behind it."""
    return Path(path.name.removesuffix(".gz")).suffix[1:]


def locate(path: Path, number: int) -> str:
    """Where a message is about: file and line, or file and record where records are no lines."""
    return f"{path}, record {number}" if find_extension(path) in NO_LINES else f"{path}:{number}"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, plain or .gz, without line ends and byte order mark.

    Raises:
        InputError: a missing, empty or unreadable file, or bytes that are not UTF-8.
    """
    if find_extension(path) in NO_LINES:
        return list(FileLines(path))
    text = _read_text(path)
    _check_ends(path, text)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines


@dataclass(frozen=True)
class FileLines:
    """The lines of `read_lines`, read anew and one by one whenever they are iterated over.

    The text of a .json file is in memory meanwhile.

    Iterating raises as `read_lines` does, once it comes to the mistake.
    """

    path: Path

    def __iter__(self) -> Iterator[str]:
        if find_extension(self.path) in NO_LINES:
            yield from self._read_records()
            return
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
                if number == 1 and not line.endswith(b"\n"):
                    _check_ends(self.path, text)
                yield text.removesuffix("\r")

    def _read_records(self) -> Iterator[str]:
        record = None
        if find_extension(self.path) == "parquet":
            records = read_rows(self.path)
        else:
            records = cut_records(self.path, _read_text(self.path))
        for record in records:
            yield record
        if record is None:
            raise _tell_empty(self.path)

    def stamp(self) -> tuple[int, int]:
        """Size and modification time in nanoseconds, by which a change of the file is noticed."""
        with _tell_unreadable(self.path):
            status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _open(self) -> gzip.GzipFile | BufferedReader:
        return gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb")


def _read_text(path: Path) -> str:
    with _tell_unreadable(path):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        raise _tell_empty(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _tell_not_unicode(path, data.count(b"\n", 0, error.start) + 1) from None


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


def _check_ends(path: Path, text: str) -> None:
    # In a file with one line feed or more, a carriage return is a character.
    if "\n" not in text and text.count("\r") > 1:
        raise InputError(
            f"{path}: its lines end in \\r alone, as in files of old Macs: convert them to \\n."
        )


def _tell_empty(path: Path) -> InputError:
    return InputError(f"{path} is empty.")


def _tell_not_unicode(path: Path, line: int) -> InputError:
    return InputError(f"{path}:{line}: these bytes are not UTF-8: convert the file.")
