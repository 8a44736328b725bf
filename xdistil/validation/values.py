"""Checks of single values: their type, their range, and their choices."""

import dataclasses
import inspect
import math
from typing import Any, get_args, get_origin

from xdistil.config import CHOICES
from xdistil.errors import InputError, show

_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def check_types(part: Any, path: str) -> None:
    """Every value of a group, and of groups in it, has its field's type and is not negative.

    Args:
        part: a dataclass of the config.
        path: its place in the config, with a dot behind it; empty for the experiment.

    Raises:
        InputError: the first value that has not.
    """
    for item in dataclasses.fields(part):
        value, name = getattr(part, item.name), path + item.name
        kind: Any = item.type
        if dataclasses.is_dataclass(kind):
            _check_group(value, kind, name)
        elif get_origin(kind) is tuple:
            group = get_args(kind)[0]
            if not isinstance(value, tuple):
                raise InputError(
                    f"{name} is {_describe(value)}: it must be a tuple of {group.__name__}."
                )
            for i, element in enumerate(value):
                _check_group(element, group, f"{name}[{i}]")
        else:
            _check_value(value, kind, name)


def _check_group(value: Any, kind: Any, name: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{name} is {_describe(value)}: it must be a {kind.__name__}.")
    check_types(value, name + ".")


def _check_value(value: Any, kind: Any, name: str) -> None:
    if isinstance(value, bool) or kind is bool:
        if not (isinstance(value, bool) and kind is bool):
            raise InputError(f"{name} is {_describe(value)}: it must be {_KINDS[kind]}.")
    elif kind is float and isinstance(value, int | float):
        if not math.isfinite(value) or value < 0:
            raise InputError(f"{name} is {value}: it must be a finite number, 0 or more.")
    elif not isinstance(value, kind):
        raise InputError(f"{name} is {_describe(value)}: it must be {_KINDS[kind]}.")
    elif kind is int and value < 0:
        raise InputError(f"{name} is {value}: it must be 0 or more.")


def _describe(value: Any) -> str:
    """A value in an error; a function is perhaps one that was not called."""
    if inspect.isfunction(value):
        return f"the function {value.__name__}, which is not called"
    return show(value)


def check_least(name: str, value: int, least: int) -> None:
    """A number is at least as large as that, or raises InputError."""
    if value < least:
        raise InputError(f"{name} is {value}: it must be {least} or more.")


def check_choices(group: str, part: Any, path: str = "") -> None:
    """Every field of a group that has choices has one of them, or raises InputError.

    Args:
        group: as the keys of CHOICES have it.
        path: where errors say that the group is; empty: by its name.
    """
    for key in CHOICES:
        owner, _, name = key.rpartition(".")
        if owner == group:
            check_choice(f"{path or group}.{name}", getattr(part, name), key)


def check_choice(name: str, value: str, key: str) -> None:
    """A value is one of CHOICES[key], or raises InputError."""
    if value not in CHOICES[key]:
        choices = ", ".join(choice or "empty" for choice in CHOICES[key])
        raise InputError(f"{name} is {value!r}: it must be one of {choices}.")
