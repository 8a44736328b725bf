"""The start of a program, with huge pages where Linux offers them, its output and its exit."""

import os
import sys
from pathlib import Path
from typing import NoReturn

UNWRITTEN = 1  # the exit code for a file that cannot be written

_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb"


def request_huge_pages() -> None:
    """Restarts the program with huge pages for large arrays, if Linux gives them on request.

    On a CPU every training step allocates its arrays, and getting that memory in pages of 4 KiB
    takes about a sixth of the step (README, Speed). glibc (2.35 and later) reads the setting only
    when a program starts, so the program replaces itself; the process id, arguments and streams
    stay the same. A value that the user has set stays.
    """
    try:
        on_request = "[madvise]" in _MODE.read_text()
    except OSError:  # not Linux, or a kernel without huge pages
        return
    tunables = os.environ.get(_TUNABLES, "")
    if not on_request or not sys.executable or _HUGE_PAGES in tunables:
        return
    os.environ[_TUNABLES] = ":".join(filter(None, [tunables, f"{_HUGE_PAGES}=1"]))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def silence_transformers() -> None:
    """Keeps transformers from reporting at its import that PyTorch is missing.

    Only its tokenizers are used here. A verbosity that the user has set stays.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def write_out(text: str) -> None:
    """Prints a text at once; it is lost where the reader has closed the pipe, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Sends the standard output to nowhere, so that what is in its buffer raises no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leave(code: int) -> NoReturn:
    """Exits the program with the exit code of a command's `main`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    if code == UNWRITTEN:
        # At a normal exit libraries would report each of their half-written files.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def count_cores() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
