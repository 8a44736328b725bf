"""What ends a run before its end, and how a sentence about it shows what was given."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


class InputError(ValueError):
    """What the user gave is wrong: one sentence saying what, where, and what would be right.

    The command-line programs print it alone on stderr and exit with code 2; anything else that
    escapes is a defect of this package.
    """


class RefusedError(Exception):
    """A file was made and failed its check, so that it was not written: what failed, in numbers."""


class DivergenceError(ArithmeticError):
    """A loss or gradient became NaN or infinite: one sentence that names the step and the loss."""


class LostProcessError(Exception):
    """Another process of the run is gone: one sentence."""


class StoppedError(Exception):
    """A signal asked the run to leave; what it had reached is saved. Holds the signal's name."""


def show(value: Any) -> str:
    """A value as Python writes it, on one line and at most a few hundred characters of it."""
    return _shortener.repr(value)


def show_name(name: str) -> str:
    """A name from a file: as it stands, unless it is long, empty or would break the sentence."""
    return name if name.isprintable() and 0 < len(name) <= 120 else show(name)


def suggest(name: str, known: Iterable[str]) -> str:
    """Words in brackets for the end of a sentence: the nearest known name, or else all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (there is {', '.join(names)})" if names else ""
