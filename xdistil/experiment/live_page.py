"""report.html while a run or a sweep is in progress, and at its end."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from xdistil.evaluation.page.render import FILE, write_page
from xdistil.evaluation.page.sweep import SweepFiles, render_sweep
from xdistil.evaluation.results import Results, read_results
from xdistil.experiment.sweep import read_manifest
from xdistil.runtime.json_io import write_text

log = logging.getLogger("xdistil")

SECONDS = 30.0  # between two versions of the page
_SHARE = 0.01  # of the time, at most, goes into the page of a long run
_READ = ("outline.json", "metrics.jsonl", "times.json")  # what changes the page of a run


@contextlib.contextmanager
def showing(workdir: Path, writes: bool) -> Iterator[None]:
    """Writes the page of a run now and then during the block, from its files, in a thread.

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
        show_run(workdir)
        raise
    finally:
        _end(thread, ended)


def show_run(workdir: Path, results: Results | None = None) -> None:
    """Writes the page of a run. What goes wrong is logged: no run ends for its page.

    Args:
        results: of a run that ends; None: those of the workdir, if it has some.
    """
    _try(partial(write_page, workdir, results))


def show_sweep(workdir: Path) -> None:
    """Writes the page of a sweep, as `show_run` does that of a run."""
    # No thread: a process with threads should not fork, and a sweep starts its runs.
    _try(partial(_write_sweep, workdir))


def _write_sweep(workdir: Path) -> None:
    settings = read_manifest(workdir)
    sweep = SweepFiles(
        name=workdir.resolve().name,
        runs={name: (each, read_results(workdir / name)) for name, each in settings.items()},
        begun=frozenset(name for name in settings if (workdir / name / "config.json").exists()),
        pages={
            name: f"{quote(name)}/{FILE}" for name in settings if (workdir / name / FILE).exists()
        },
    )
    write_text(workdir / FILE, render_sweep(sweep))


def _try(write: Callable[[], None]) -> None:
    try:
        write()
    except Exception as error:
        log.warning("report.html could not be written: %s: %s", type(error).__name__, error)
        log.debug("report.html", exc_info=True)


def _show(workdir: Path, ended: threading.Event) -> None:
    seen: list[int] | None = None
    while True:
        begin = time.monotonic()
        state = [path.stat().st_mtime_ns for path in map(workdir.joinpath, _READ) if path.exists()]
        if state != seen:
            show_run(workdir)
        seen = state
        if ended.wait(max(SECONDS, (time.monotonic() - begin) / _SHARE)):
            return


def _end(thread: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    thread.join()
