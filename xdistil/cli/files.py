"""Files and pipes that a command reads line by line, and files that it writes whole."""

import argparse
import contextlib
import gzip
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xdistil.cli.pipes import PipeLines
from xdistil.data.parquet import read_rows
from xdistil.errors import InputError

STANDARD = "standard input"


def refuse_same_file(options: argparse.Namespace) -> None:
    """Refuses an output that is the file that is read, also by links or redirected."""
    inputs = {name: getattr(options, name[2:]) for name in ("--input", "--evaluate")}
    read = {name: os.stat(path) for name, path in inputs.items() if path}
    written = f"--output={options.output}" if options.output else "standard output"
    try:
        if not read:
            read = {STANDARD: os.fstat(sys.stdin.fileno())}
        target = os.stat(options.output) if options.output else os.fstat(sys.stdout.fileno())
    except (OSError, AttributeError):  # it is not there yet, or no file of the system's
        return
    for name, source in read.items():
        if stat.S_ISREG(source.st_mode) and os.path.samestat(source, target):
            raise InputError(
                f"{written} is the file of {name}, which would be lost: name another file."
            )


@contextlib.contextmanager
def read_lines(
    options: argparse.Namespace, form: str
) -> Iterator[tuple[Iterator[bytes], Callable[[], bool]]]:
    """The lines of a file, plain or .gz, or of standard input, with a progress bar; and whether the
    next line is there already, which it always is in a file. Those of Parquet are its rows as JSON.

    The bar is hidden if standard error is not a terminal or if the output goes to it.
    """
    from tqdm import tqdm

    path = options.input
    if form == "parquet":
        yield (f"{row}\n".encode() for row in read_rows(Path(path))), lambda: True
        return
    name = f"--input={path}" if path else STANDARD
    hidden = not sys.stderr.isatty() or (not options.output and sys.stdout.isatty())
    try:
        if path is None:
            lines, ready = _follow_pipe(sys.stdin.buffer)
            with tqdm(lines, disable=hidden, unit=" lines") as bar:
                yield iter(bar), ready
            return
        with open(path, "rb") as file:
            if not os.path.isfile(path) and not path.endswith(".gz"):
                yield _follow_pipe(file)
                return
            size = os.fstat(file.fileno()).st_size
            with tqdm(total=size, disable=hidden, unit="B", unit_scale=True) as bar:
                lines = gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file
                yield _follow(lines, file, bar), lambda: True
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{name} is not a whole gzip file: compress it again.") from None
    except BrokenPipeError:  # that of the output
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error


def _follow_pipe(file: Any) -> tuple[Iterator[bytes], Callable[[], bool]]:
    try:
        descriptor = file.fileno()
        waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
    except (AttributeError, OSError):  # no file of the system's
        waits = False
    if not waits:
        return iter(file), lambda: True
    lines = PipeLines(descriptor)
    return lines, lines.is_ready


def _follow(lines: Iterable[bytes], file: BinaryIO, bar: Any) -> Iterator[bytes]:
    for line in lines:
        yield line
        bar.update(file.tell() - bar.n)


@contextlib.contextmanager
def open_output(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes; a file gets its name when it is complete."""
    if path is None:
        with _report_write_errors("standard output"):
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        return
    final = os.path.realpath(path)
    # A pipe or device is written directly: it cannot be replaced by a file.
    replaces = os.path.isfile(final) or not os.path.exists(final)
    place = f"{final}.{os.getpid()}.partial" if replaces else final
    try:
        with _report_write_errors(f"--output={path}"):
            with open(place, "wb") as file:
                if path.endswith(".gz"):
                    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
                        yield zipped.write
                else:
                    yield file.write
            if replaces:
                os.replace(place, final)
    finally:
        if replaces:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)


@contextlib.contextmanager
def _report_write_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be written ({error.strerror}).") from error
