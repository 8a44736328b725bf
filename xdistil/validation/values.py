"""Checks of single values: their type, their range, and their choices."""

import dataclasses
import math
from typing import Any

from xdistil.config import CHOICES
from xdistil.errors import InputError


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
        if dataclasses.is_dataclass(value):
            check_types(value, name + ".")
        elif isinstance(value, tuple | list):
            for i, element in enumerate(value):
                check_types(element, f"{name}[{i}].")
        elif isinstance(value, bool) or item.type is bool:
            if not (isinstance(value, bool) and item.type is bool):
                raise InputError(f"{name} is {value!r}: it must be {_type_name(item.type)}.")
        elif item.type is float and isinstance(value, int | float):
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} is {value}: it must be a finite number, 0 or more.")
        elif not isinstance(value, kind):
            raise InputError(f"{name} is {value!r}: it must be {_type_name(item.type)}.")
        elif item.type is int and value < 0:
            raise InputError(f"{name} is {value}: it must be 0 or more.")


def _type_name(kind: Any) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    return names[kind]


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
