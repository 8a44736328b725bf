"""report.html while a run is in progress, and at its end."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from xdistil.evaluation.page.render import write_page
from xdistil.evaluation.results import Results

log = logging.getLogger("xdistil")

SECONDS = 30.0  # between two versions of the page
_SHARE = 0.01  # of the time, at most, goes into the page of a long run
_READ = ("outline.json", "metrics.jsonl", "times.json")  # what changes it


@contextlib.contextmanager
def showing(workdir: Path, writes: bool) -> Iterator[None]:
    """Writes the page now and then during the block, from the files of the workdir, in a thread.

    A page of a run that is left by an exception, as when it is stopped, shows how far it came.
    """
    if not writes:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(workdir, ended), name="report page", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        _end(thread, ended)
        try_to_write(workdir)
        raise
    finally:
        _end(thread, ended)


def try_to_write(workdir: Path, results: Results | None = None) -> None:
    """Writes the page. What goes wrong is logged: no run ends for its page.

    Args:
        results: of a run that ends; None: those of the workdir, if it has some.
    """
    try:
        write_page(workdir, results)
    except Exception as error:
        log.warning("report.html could not be written: %s: %s", type(error).__name__, error)
        log.debug("report.html", exc_info=True)


def _show(workdir: Path, ended: threading.Event) -> None:
    seen: list[int] | None = None
    while True:
        begin = time.monotonic()
        state = [path.stat().st_mtime_ns for path in map(workdir.joinpath, _READ) if path.exists()]
        if state != seen:
            try_to_write(workdir)
        seen = state
        if ended.wait(max(SECONDS, (time.monotonic() - begin) / _SHARE)):
            return


def _end(thread: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    thread.join()
