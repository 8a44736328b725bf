"""report.html while a run or a sweep is in progress, and at its end."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

from xdistil.evaluation.page.render import FILE, write_page
from xdistil.evaluation.page.sweep import SweepFiles, render_sweep
from xdistil.evaluation.results import Results, read_results
from xdistil.experiment.sweep import MANIFEST, read_manifest
from xdistil.runtime.json_io import write_text

log = logging.getLogger("xdistil")

SECONDS = 30.0  # between two versions of the page
_SHARE = 0.01  # of the time, at most, goes into the page of a long run
_READ = ("outline.json", "metrics.jsonl", "times.json")  # what changes the page of a run


@contextlib.contextmanager
def showing_run(workdir: Path, writes: bool) -> Iterator[None]:
    """Writes the page of a run now and then during the block, from the files of the workdir.

    A page of a run that is left by an exception, as when it is stopped, shows how far it came.
    """
    if not writes:
        yield
        return
    write = partial(try_to_write, workdir)
    try:
        with _showing(write, [workdir / name for name in _READ]):
            yield
    except BaseException:
        write()
        raise


@contextlib.contextmanager
def showing_sweep(workdir: Path) -> Iterator[None]:
    """Writes the page of a sweep when one of its runs ends, and at the end of the block."""
    write = partial(_try, partial(_write_sweep, workdir))
    ends = [workdir / name / "results.json" for name in read_manifest(workdir)]
    try:
        with _showing(write, [workdir / MANIFEST, *ends]):
            yield
    finally:
        write()


def try_to_write(workdir: Path, results: Results | None = None) -> None:
    """Writes the page of a run. What goes wrong is logged: no run ends for its page.

    Args:
        results: of a run that ends; None: those of the workdir, if it has some.
    """
    _try(partial(write_page, workdir, results))


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


@contextlib.contextmanager
def _showing(write: Callable[[], None], watched: Sequence[Path]) -> Iterator[None]:
    """Calls `write` in a thread, at once and whenever a watched file has changed."""
    ended = threading.Event()
    thread = threading.Thread(
        target=_show, args=(write, watched, ended), name="report page", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(write: Callable[[], None], watched: Sequence[Path], ended: threading.Event) -> None:
    seen: list[tuple[Path, int]] | None = None
    while True:
        begin = time.monotonic()
        state = [(path, path.stat().st_mtime_ns) for path in watched if path.exists()]
        if state != seen:
            write()
        seen = state
        if ended.wait(max(SECONDS, (time.monotonic() - begin) / _SHARE)):
            return
