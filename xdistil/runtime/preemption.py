"""SIGTERM and SIGINT: the run saves a checkpoint and exits.

Work that would be lost runs inside `deferred`: a signal is only noted there, and the work calls
`raise_if_requested` at every safe point. Elsewhere a signal ends the run at once, because there is
nothing to save. A second SIGINT (Ctrl-C) exits without saving.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from xdistil.errors import StoppedError
from xdistil.runtime.mesh import global_max

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_INTERRUPTED = 130  # the exit code of shells for a command ended by Ctrl-C


class PreemptionGuard:
    """Whether the run is asked to stop; the result is the same on all processes."""

    def __init__(self) -> None:
        """No signal has come yet."""
        self._noted = 0  # the number of the signal that came to this process
        self._deferred = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals in the main thread, and restores the earlier handlers at the end."""
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
    def deferred(self) -> Iterator[None]:
        """Inside, a signal does not end the run; `requested` and `raise_if_requested` report it."""
        before, self._deferred = self._deferred, True
        try:
            yield
        finally:
            self._deferred = before

    def requested(self) -> bool:
        """Whether any process got a signal. All processes must call this at the same point."""
        return self._largest() > 0

    def raise_if_requested(self) -> None:
        """Raises StoppedError if any process got a signal."""
        number = self._largest()
        if number:
            raise StoppedError(signal.Signals(number).name)

    def _largest(self) -> int:
        # `_noted` is not reset here: a signal may come during the exchange.
        return global_max(self._noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted and number == signal.SIGINT:
            os._exit(_INTERRUPTED)
        self._noted = number
        if not self._deferred:
            raise StoppedError(signal.Signals(number).name)
        # Not through logging, whose lock the interrupted code may hold.
        os.write(
            sys.stderr.fileno(),
            f"\n{signal.Signals(number).name}: saving, then exiting\n".encode(),
        )
