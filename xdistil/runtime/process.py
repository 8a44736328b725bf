"""How a program starts, with huge pages where Linux has them, and how it ends."""

import os
import sys
from pathlib import Path
from typing import NoReturn

UNWRITTEN = 1  # the exit code where a file cannot be written

_MODE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb"


def request_huge_pages() -> None:
    """Begins the program anew with huge pages for large arrays, where Linux gives them if asked.

    On a CPU the arrays of every training step are new memory, and to be handed it in pages of 4 KiB
    takes about as long as a sixth of the step (README, Speed). glibc (2.35 and later) reads the
    wish when a program starts and not after, so the program is replaced by itself: the process, its
    arguments and its streams stay. Whoever has set the tunable keeps it.
    """
    try:
        on_request = "[madvise]" in _MODE.read_text()
    except OSError:  # not Linux, or a kernel without them
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


def leave(code: int) -> NoReturn:
    """Ends the program with an exit code of a command's `main`."""
    if code == UNWRITTEN:
        # What libraries left half written would complain, object by object, while Python ends.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
