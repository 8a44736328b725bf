"""The log of a run: metrics.jsonl, trackers, train.log, and the progress line.

Every JSON number is finite; an undefined value is null.
"""

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from xdistil.runtime.json_io import finite
from xdistil.runtime.trackers import TensorBoard, Tracker

log = logging.getLogger("xdistil")


class RunLog:
    """metrics.jsonl, TensorBoard files, other trackers and the progress line of one workdir."""

    def __init__(self, workdir: Path, writes: bool = True) -> None:
        """Opens files at their first use; with `writes` False nothing is written.

        Of several processes one writes, and the others make the same calls.
        """
        self._path = workdir / "metrics.jsonl" if writes else Path(os.devnull)
        self._trackers: list[Tracker] = [TensorBoard(workdir / "tensorboard", writes)]
        self._writes = writes
        self._terminal = writes and sys.stderr.isatty()
        self._shown = 0.0

    @cached_property
    def _file(self) -> TextIO:
        return self._path.open("a", encoding="utf-8")

    def add_trackers(self, trackers: Iterable[Tracker]) -> None:
        """Sends numbers to these trackers too, until `close`."""
        self._trackers += trackers

    def position(self) -> int:
        """The size of metrics.jsonl in bytes, which a checkpoint stores."""
        self._file.flush()
        return self._file.tell()

    def holds(self, position: int) -> bool:
        """Whether metrics.jsonl is at least `position` bytes long; True if nothing is written."""
        return not self._writes or position <= self.position()

    def truncate(self, position: int) -> None:
        """Cuts metrics.jsonl at a position; the lines after it will be written again."""
        self._file.flush()
        if position < self._file.tell():
            self._file.truncate(position)
            self._file.seek(position)

    def drop_plan(self, plan: str) -> None:
        """Removes the lines of a plan that restarts, which are the last of metrics.jsonl."""
        position = 0
        self._file.flush()
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["plan"] == plan:
                    break
                position += len(line)
        self.truncate(position)

    def write(self, line: dict[str, Any]) -> None:
        """Writes a line to metrics.jsonl, and sends its numbers to the trackers."""
        self._file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        if numbers := _list_numbers(line):
            for tracker in self._trackers:
                tracker.log(f"{line['plan']}/{line['stage']}", numbers, line["step"])

    def summarise(self, values: Mapping[str, float | None]) -> None:
        """Sends the numbers of a finished run to the trackers."""
        for tracker in self._trackers:
            tracker.summary(_list_numbers(values))

    def progress(self, text: str) -> None:
        """Replaces the progress line on a terminal; elsewhere logs a line twice a minute."""
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}")
            sys.stderr.flush()
        elif now - self._shown >= 30:
            log.info(text)
            self._shown = now

    def end_progress(self) -> None:
        """Clears the progress line."""
        if self._terminal:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()

    def close(self) -> None:
        """Closes the files that were opened, and the trackers."""
        if "_file" in vars(self):
            self._file.close()
        for tracker in self._trackers:
            tracker.finish()


def _list_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers with a fraction among values."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, float) and math.isfinite(value)
    }


class _LogFile(logging.FileHandler):
    """Lines that cannot be written, as on a full disk, are on the console alone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what the last write has left in its buffer
            super().close()


@contextlib.contextmanager
def open_log(workdir: Path, process: int = 0, verbose: bool = False) -> Iterator[None]:
    """Sends the package's messages to the console (stderr) and to train.log.

    Details go to train.log, and to the console if `verbose`. Processes other than the first send
    only warnings, and only to the console.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if process:
        handlers[0].setLevel(logging.WARNING)
        handlers[0].setFormatter(logging.Formatter(f"process {process}: %(message)s"))
    else:
        handlers[0].setLevel(logging.DEBUG if verbose else logging.INFO)
        handlers[0].setFormatter(logging.Formatter("%(message)s"))
        handlers.append(_LogFile(workdir / "train.log", encoding="utf-8"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
        log.setLevel(level)
        log.propagate = propagate
