"""Values of a config.json from anywhere: of the right type, within bounds, fit to be shown."""

import reprlib
from typing import Any

from xdistil.errors import InputError

LARGEST = 2**24  # the largest size there can be: no vocabulary, width or row comes near it

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 80


def show(value: Any) -> str:
    """A value as Python writes it, on one line and at most a few hundred characters of it."""
    return _shortener.repr(value)


def show_name(name: str) -> str:
    """A name from a file: as it stands, unless it is long, empty or would break the sentence."""
    return name if name.isprintable() and 0 < len(name) <= 120 else show(name)


def check_size(value: Any, key: str, where: str, least: int = 1) -> int:
    """The value, a whole number; InputError unless `least` <= value <= LARGEST."""
    if type(value) is not int or not least <= value <= LARGEST:  # a bool is no number here
        raise InputError(
            f"{where}: {key} is {show(value)}; it must be a whole number from {least} to {LARGEST}."
        )
    return value


def check_rate(value: Any, key: str, where: str) -> float:
    """The value, a rate or an epsilon; InputError unless 0 <= value <= 1."""
    if type(value) not in (int, float) or not 0 <= value <= 1:  # what is not a number is not
        raise InputError(f"{where}: {key} is {show(value)}; it must be a number from 0 to 1.")
    return float(value)
