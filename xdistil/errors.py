"""The one exception that a user's mistake raises, and how its sentence shows what was given."""

import reprlib
from typing import Any

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


class InputError(ValueError):
    """What the user gave is wrong: one sentence saying what, where, and what would be right.

    The command-line programs print it alone on stderr and exit with code 2; anything else that
    escapes is a defect of this package.
    """


def show(value: Any) -> str:
    """A value as Python writes it, on one line and at most a few hundred characters of it."""
    return _shortener.repr(value)


def show_name(name: str) -> str:
    """A name from a file: as it stands, unless it is long, empty or would break the sentence."""
    return name if name.isprintable() and 0 < len(name) <= 120 else show(name)
