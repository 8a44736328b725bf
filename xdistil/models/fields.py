"""Values of a config.json from anywhere: of the right type and within bounds."""

from typing import Any

from xdistil.errors import InputError, show

LARGEST = 2**24  # the largest size there can be: no vocabulary, width or row comes near it


def check_size(value: Any, key: str, where: str, least: int = 1) -> int:
    """The value, a whole number; InputError unless `least` <= value <= LARGEST."""
    if type(value) is not int or not least <= value <= LARGEST:  # a bool is no number here
        raise InputError(
            f"{where}: {key} is {show(value)}; it must be a whole number from {least} to {LARGEST}."
        )
    return value


def check_rate(value: Any, key: str, where: str) -> float:
    """The value, a rate or an epsilon; InputError unless 0 <= value <= 1."""
    if type(value) not in (int, float) or not 0 <= value <= 1:  # NaN is in no range
        raise InputError(f"{where}: {key} is {show(value)}; it must be a number from 0 to 1.")
    return float(value)
