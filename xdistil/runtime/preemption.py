"""SIGTERM and SIGINT: the run saves what it has and leaves, wherever it is.

Where something would be lost, work is done inside `deferring`: a signal is then only noted, and the
work asks `check` at every safe point. Elsewhere a signal ends the run at once, as there is nothing
to save. A second SIGINT (Ctrl-C) leaves without saving.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from xdistil.errors import StoppedError
from xdistil.runtime.mesh import agree

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LEFT_AT_ONCE = 130  # the exit code of a shell's command that Ctrl-C ended


class Stop:
    """Whether the run was asked to stop; all processes of a run answer alike."""

    def __init__(self) -> None:
        """Asked by nobody."""
        self._noted = 0  # the signal that came to this process
        self._deferred = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals, in the main thread; puts the handlers before it back at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferring(self) -> Iterator[None]:
        """Inside, a signal does not end the run by itself: `check` and `is_asked` tell of it."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    def is_asked(self) -> bool:
        """Whether any process was asked to stop. All processes must ask at the same point."""
        return self._agree() > 0

    def check(self) -> None:
        """Raises StoppedError if any process was asked to stop."""
        number = self._agree()
        if number:
            raise StoppedError(signal.Signals(number).name)

    def _agree(self) -> int:
        # Nothing is written here: a signal may come while the processes agree.
        return agree(self._noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted and number == signal.SIGINT:
            os._exit(_LEFT_AT_ONCE)
        self._noted = number
        if not self._deferred:
            raise StoppedError(signal.Signals(number).name)
        # Not through logging, whose lock the interrupted code may hold.
        os.write(
            sys.stderr.fileno(),
            f"\n{signal.Signals(number).name}: saving, then leaving\n".encode(),
        )
