"""How a program ends."""

import os
import sys
from typing import NoReturn

UNWRITTEN = 1  # the exit code where a file cannot be written


def leave(code: int) -> NoReturn:
    """Ends the program with an exit code of a command's `main`."""
    if code == UNWRITTEN:
        # What libraries left half written would complain, object by object, while Python ends.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
