"""Whether a JSON value has the shape that a TypedDict describes."""

import types
from typing import (
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)


def check_shape(value: Any, kind: Any, where: str = "results") -> None:
    """Fails where keys are missing, unknown or in another order, or a value has another type."""
    if is_typeddict(kind):
        fields = get_type_hints(kind, include_extras=True)
        assert isinstance(value, dict), f"{where} is no object"
        assert kind.__required_keys__ <= value.keys() <= fields.keys(), f"{where}: {list(value)}"
        assert list(value) == [name for name in fields if name in value], f"{where}: {list(value)}"
        for name, each in value.items():
            field = fields[name]
            inner = get_args(field)[0] if get_origin(field) is NotRequired else field
            check_shape(each, inner, f"{where}.{name}")
    elif get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not types.NoneType]
        if value is not None or len(options) == len(get_args(kind)):
            (option,) = options
            check_shape(value, option, where)
    elif get_origin(kind) in (list, dict):
        *_, inner = get_args(kind)
        assert isinstance(value, get_origin(kind)), f"{where} is {value!r}"
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            check_shape(each, inner, f"{where}[{name!r}]")
    elif get_origin(kind) is Literal:
        assert value in get_args(kind), f"{where} is {value!r}"
    elif kind is not Any:
        allowed = (int, float) if kind is float else kind
        assert isinstance(value, allowed), f"{where} is {value!r}, not {kind}"
