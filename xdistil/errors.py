"""The exceptions that end a run early, and helpers for their messages."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


class InputError(ValueError):
    """A mistake in the user's input: one sentence saying what is wrong, where, and what is right.

    The command-line programs print the sentence on stderr and exit with code 2. Any other exception
    that they do not handle is a bug in this package.
    """


class RefusedError(Exception):
    """A file was not written because it failed its test: the sentence holds the numbers."""


class DivergenceError(ArithmeticError):
    """A loss or gradient became NaN or infinite: one sentence with the step and the loss."""


class LostProcessError(Exception):
    """Another process of the run is gone."""


class StoppedError(BaseException):
    """A signal stopped the run after its state was saved. Holds the name of the signal.

    No `Exception`, as KeyboardInterrupt is none: it may be raised anywhere, also where all errors
    of a library count as a damaged file.
    """


def show(value: Any) -> str:
    """The repr of a value, shortened to one line of at most a few hundred characters."""
    return _shortener.repr(value)


def show_name(name: str) -> str:
    """A name from a file; its repr if it is empty, long or not printable."""
    return name if name.isprintable() and 0 < len(name) <= 120 else show(name)


def suggest(name: str, known: Iterable[str]) -> str:
    """Words in brackets for the end of a sentence: the nearest known name, or else all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (there is {', '.join(names)})" if names else ""


def unknown_variant(recipe: str, variant: str, known: Iterable[str]) -> InputError:
    """The error for a variant that a recipe does not have."""
    return InputError(f"{recipe} has no variant {variant!r}{suggest(variant, known)}.")
