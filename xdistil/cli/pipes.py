"""The lines of a pipe or terminal, and whether the next one is there already."""

import os
import select
from collections import deque

_BLOCK = 1 << 16


class PipeLines:
    """An iterator over the lines of a file descriptor, each with its line end.

    It reads what there is and waits for the next line only when it is asked for it.
    """

    def __init__(self, descriptor: int) -> None:
        """Reads from a descriptor of which nothing was read into a buffer before."""
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []  # parts of a line whose end was not read yet
        self._ended = False

    def __iter__(self) -> "PipeLines":
        return self

    def __next__(self) -> bytes:
        while not self._lines and not self._ended:
            self._read()
        if not self._lines:
            raise StopIteration
        return self._lines.popleft()

    def is_ready(self) -> bool:
        """Whether the next line, or the end, is there."""
        while not self._lines and not self._ended:
            if not select.select([self._descriptor], [], [], 0)[0]:
                return False
            self._read()
        return True

    def _read(self) -> None:
        block = os.read(self._descriptor, _BLOCK)
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest = []
            self._lines.extend(line + b"\n" for line in lines)
        if rest:
            self._rest.append(rest)
        if not block:
            self._ended = True
            if self._rest:
                self._lines.append(b"".join(self._rest))
