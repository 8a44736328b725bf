"""Checks of the values in a config.json, which may come from anywhere: types and bounds."""

from collections.abc import Mapping
from typing import Any

from xdistil.errors import InputError, show

LARGEST = 2**24  # far above any vocabulary, width or row


def check_size(value: Any, key: str, where: str, least: int = 1) -> int:
    """The value, a whole number; InputError unless `least` <= value <= LARGEST."""
    if type(value) is not int or not least <= value <= LARGEST:  # refuses bool too
        raise InputError(
            f"{where}: {key} is {show(value)}; it must be a whole number from {least} to {LARGEST}."
        )
    return value


def check_rate(value: Any, key: str, where: str) -> float:
    """The value, a rate or an epsilon; InputError unless 0 <= value <= 1."""
    if type(value) not in (int, float) or not 0 <= value <= 1:  # NaN is in no range
        raise InputError(f"{where}: {key} is {show(value)}; it must be a number from 0 to 1.")
    return float(value)


def read_field(raw: Mapping[str, Any], key: str, default: Any, where: str) -> Any:
    """The value of a key, or else the default; of the default's type.

    Raises InputError for a value of another type, a whole number that is neither a size nor -1, and
    a float that is not a rate.
    """
    value = default if raw.get(key) is None else raw[key]
    if type(default) is int:
        return check_size(value, key, where, least=-1)
    if type(default) is float:
        return check_rate(value, key, where)
    if type(value) is not type(default):
        kind = "true or false" if type(default) is bool else "a text"
        raise InputError(f"{where}: {key} is {show(value)}; it must be {kind}.")
    return value


def check_fixed(raw: Mapping[str, Any], fixed: Mapping[str, Any], where: str) -> None:
    """Raises InputError where a key has another value than the only one supported."""
    for key, only in fixed.items():
        if raw.get(key) not in (None, only):
            raise InputError(f"{where}: {key} is {show(raw[key])}; only {only!r} is supported.")
