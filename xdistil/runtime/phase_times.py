"""How long each part of a run takes, added up over the times that it is stopped and resumed."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from xdistil.runtime.json_io import write_json

FILE = "times.json"


class PhaseTimes:
    """Seconds by phase, kept in a file of the workdir."""

    def __init__(self, workdir: Path, writes: bool = True) -> None:
        """Continues from what the file says; with `writes` False it is left alone."""
        self._path, self._writes = workdir / FILE, writes
        self.seconds: dict[str, float] = {}
        with contextlib.suppress(
            OSError, ValueError, TypeError
        ):  # a damaged one need not stop a run
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            self.seconds = {str(name): float(stored[name]) for name in dict(stored)}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time of the block, also where it is left by an exception."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - begin)

    def add(self, name: str, seconds: float) -> None:
        """Counts seconds of a phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        if self._writes:
            with contextlib.suppress(OSError):  # a full disk is told by the files that matter
                write_json(self._path, self.seconds)
