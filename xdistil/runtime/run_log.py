"""The log of a run: metrics.jsonl, TensorBoard files, train.log, and the progress line.

Every JSON number is finite; an undefined value is null.
"""

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import tensorboardX

from xdistil.runtime.json_io import finite

log = logging.getLogger("xdistil")


class RunLog:
    """metrics.jsonl, TensorBoard files and the progress line of one workdir."""

    def __init__(self, workdir: Path, writes: bool = True) -> None:
        """Opens files at their first use; with `writes` False nothing is written.

        Of several processes one writes, and the others make the same calls.
        """
        self._path = workdir / "metrics.jsonl" if writes else Path(os.devnull)
        self._tensorboard, self._writes = workdir / "tensorboard", writes
        self._terminal = writes and sys.stderr.isatty()
        self._shown = 0.0

    @cached_property
    def _file(self) -> TextIO:
        return self._path.open("a", encoding="utf-8")

    @cached_property
    def _board(self) -> tensorboardX.SummaryWriter:
        return tensorboardX.SummaryWriter(str(self._tensorboard), write_to_disk=self._writes)

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
        """Writes a line to metrics.jsonl, and its numbers to TensorBoard."""
        self._file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in line.items():
            if isinstance(value, float) and math.isfinite(value):
                self._board.add_scalar(
                    f"{line['plan']}/{line['stage']}/{name}", value, line["step"]
                )

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
        """Closes the files that were opened."""
        for name in ("_file", "_board"):
            if name in vars(self):
                getattr(self, name).close()


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
        handlers.append(logging.FileHandler(workdir / "train.log", encoding="utf-8"))
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
