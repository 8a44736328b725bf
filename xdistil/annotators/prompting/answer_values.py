"""JSON values of an answer -> the entities that they name.

Known are lists of objects with words and type, perhaps with offsets and a score; lists of pairs
(words, type) and of triples (start, end, type); objects from types to lists of words, or from words
to types; and each of these in an object, under any name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from xdistil.annotators.prompting.entities import Said
from xdistil.annotators.prompting.types import Types

_WORDS = ("text", "word", "words", "mention", "quote", "surface", "value", "name", "span", "entity")
_TYPES = ("label", "type", "entity_type", "entity_group", "category", "class", "tag", "labels")
_STARTS = ("start", "start_offset", "start_char", "begin", "from")
_ENDS = ("end", "end_offset", "end_char", "stop", "to")
_BOTH = ("offsets", "offset", "position", "positions", "span", "range", "indices")
_SCORES = ("score", "confidence", "probability")
_DEEPEST = 4  # objects around the entities


class Named(NamedTuple):
    """The entities that a value names."""

    entities: list[Said]
    is_ordered: bool  # in text order, each as often as it occurs
    is_single: bool = False  # one object, which may be one of many beside each other


class Choice(NamedTuple):
    """The class of a text."""

    name: str
    score: float | None  # None: the answer has none
    shares: Mapping[str, float] | None = None  # of all classes, where the answer has them


def read_entities(value: Any, types: Types, depth: int = 0) -> Named | None:
    """The entities of a value; None: it is no answer."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, list):
        return _read_list(value, types, depth)
    if not isinstance(value, dict):
        return None
    if (said := _read_object(value, types)) is not None:
        return Named([said], True, is_single=True)
    if value and any(types.find(name) for name in value):
        return _read_by_type(value, types)
    if value and all(isinstance(each, str) for each in value.values()):
        by_words = [Said(words, types.find(name), called=name) for words, name in value.items()]
        if any(said.type for said in by_words):
            return Named([said for said in by_words if said.words], False)
    inner = [read_entities(each, types, depth + 1) for each in value.values()]
    found = [each for each in inner if each is not None]
    if not found:
        return Named([], True) if not value else None
    return max(found, key=lambda each: len(each.entities))


def _read_list(values: list[Any], types: Types, depth: int) -> Named | None:
    if not values:
        return Named([], True)
    if (said := _read_row(values, types)) is not None:
        return Named([said], True, is_single=True)
    entities: list[Said] = []
    is_ordered = True
    for each in values:
        if isinstance(each, list):
            said = _read_row(each, types)
            inner = Named([said], True) if said else None
        else:
            inner = read_entities(each, types, depth + 1)
        if inner is not None:
            entities += inner.entities
            is_ordered = is_ordered and inner.is_ordered
    return Named(entities, is_ordered) if entities else None


def _read_object(value: dict[str, Any], types: Types) -> Said | None:
    """An entity with words or offsets, and a type."""
    fields = {str(name).strip().lower(): each for name, each in value.items()}
    named = [name for name in _TYPES if _is_name(fields.get(name))]
    if not named and _is_name(fields.get("entity")) and any(fields.get(k) for k in _WORDS[:-1]):
        named = ["entity"]
    if not named:
        return None
    called = fields[named[0]]
    words = next(
        (
            fields[name]
            for name in _WORDS
            if name != named[0] and isinstance(fields.get(name), str) and fields[name]
        ),
        "",
    )
    start, end = _take_number(fields, _STARTS), _take_number(fields, _ENDS)
    for name in _BOTH:
        pair = fields.get(name)
        if start is None and isinstance(pair, list) and len(pair) == 2:
            start, end = _read_integer(pair[0]), _read_integer(pair[1])
    if not words and start is None:
        return None
    return Said(words, types.find(called), start, end, _read_score(fields), called=_tell(called))


def _read_row(values: list[Any], types: Types) -> Said | None:
    """An entity as a pair or a triple."""
    if len(values) == 2 and all(isinstance(each, str) for each in values):
        for words, called in (values, values[::-1]):
            if name := types.find(called):
                return Said(words, name, called=called)
    if len(values) == 3 and isinstance(values[2], str):
        start, end = _read_integer(values[0]), _read_integer(values[1])
        if start is not None and end is not None:
            return Said("", types.find(values[2]), start, end, called=values[2])
    return None


def _read_by_type(value: dict[str, Any], types: Types) -> Named:
    entities = []
    for called, each in value.items():
        name = types.find(called)
        for words in each if isinstance(each, list) else [each]:
            if isinstance(words, str) and words.strip():
                entities.append(Said(words, name, called=str(called)))
            elif isinstance(words, dict):
                said = _read_object({**words, "label": called}, types)
                entities += [said] if said else []
    return Named(entities, False)


def read_choice(value: Any, types: Types, depth: int = 0) -> Choice | None:
    """The class that a value chooses, and its score if it has one; None: it chooses none."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, str | int):
        name = types.find(value)
        return Choice(name, None) if name else None
    if isinstance(value, list):
        found = [read_choice(each, types, depth + 1) for each in value]
        choices = [each for each in found if each]
        if len({each.name for each in choices}) == 1 or any(each.score for each in choices):
            return max(choices, key=lambda each: each.score or 0.0)
        return None
    if not isinstance(value, dict):
        return None
    fields = {str(name).strip().lower(): each for name, each in value.items()}
    shares = {types.find(name) or "": _read_share(each) for name, each in value.items()}
    shares.pop("", None)
    known = {name: share for name, share in shares.items() if share is not None}
    if any(known.values()) and len(known) == len(shares):
        best = max(known, key=known.__getitem__)
        return Choice(best, known[best], known)
    for name in (*_TYPES, "answer"):
        if name in fields and (chosen := read_choice(fields[name], types, depth + 1)):
            has_score = any(each in fields for each in _SCORES)
            return Choice(chosen.name, _read_score(fields) if has_score else chosen.score)
    others = [each for each in value.values() if isinstance(each, dict | list) or len(value) == 1]
    return next((each for each in (read_choice(o, types, depth + 1) for o in others) if each), None)


def _is_name(value: Any) -> bool:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return isinstance(value, str) and bool(value.strip())


def _tell(called: Any) -> str:
    return called if isinstance(called, str) else str(called[0])


def _take_number(fields: dict[str, Any], names: Iterable[str]) -> int | None:
    numbers = (_read_integer(fields.get(name)) for name in names)
    return next((number for number in numbers if number is not None), None)


def _read_integer(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _read_score(fields: dict[str, Any]) -> float:
    found = (_read_share(fields.get(name)) for name in _SCORES)
    return next((share for share in found if share is not None), 1.0)


def _read_share(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None
