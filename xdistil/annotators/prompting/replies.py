"""What a language model answered about one piece of a text -> spans or a class."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.answer_values import Choice, Named, read_choice, read_entities
from xdistil.annotators.prompting.entities import Located, locate_entities
from xdistil.annotators.prompting.loose_json import Found, find_values
from xdistil.annotators.prompting.marked import read_marked
from xdistil.annotators.prompting.occurrences import Quoted
from xdistil.annotators.prompting.types import Types
from xdistil.errors import show

# What is repaired of an answer as a whole.
DAMAGED, CUT, AROUND = "damaged JSON", "cut off", "text around it"

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_FENCE = re.compile(r"^\s*```[\w+-]*[ \t]*$", re.MULTILINE)
_DELIMITED = re.compile(
    r"[:=]\s*([^:=\n]+?)\s*[.!]?\s*$|[\"“`*]+([^\"“”`*\n]+)[\"”`*]+", re.MULTILINE
)


Answer = tuple[Span, ...] | Choice


@dataclass
class Reply:
    """What an answer says; `answer` is None if it cannot be read."""

    answer: Answer | None
    repairs: list[str] = field(default_factory=list)  # of the answer as a whole
    notes: list[tuple[str, str]] = field(default_factory=list)  # reason and entity


def read_reply(said: Any, text: str, types: Types) -> Reply:
    """Reads the answer about a text.

    Args:
        said: the answer, a text or a value that was JSON.
    """
    repairs: list[str] = []
    if isinstance(said, str):
        said = _drop_thoughts(said, text).strip()
    if types.kind != "tagging":
        choice = _find_choice(said, types, repairs)
        return Reply(choice, repairs)
    located = _find_spans(said, text, types, repairs)
    if located is None:
        return Reply(None)
    notes = []
    for reason, each in located.notes:
        words = show(each.words) if each.words else f"{each.start} to {each.end}"
        notes.append((reason, f"{words} as {show(each.called)}" if each.called else words))
    return Reply(tuple(located.spans), repairs, notes)


def _drop_thoughts(said: str, text: str) -> str:
    if "</think" in text:
        return said
    said = _THOUGHT.sub("", said)
    return re.sub(r"^.*</think(ing)?>", "", said, flags=re.DOTALL)


def _find_spans(said: Any, text: str, types: Types, repairs: list[str]) -> Located | None:
    if not isinstance(said, str):
        named = read_entities(said, types)
        return locate_entities(text, named.entities, named.is_ordered) if named else None
    values = list(find_values(said))
    named, used = _choose(values, types)
    if named is None or not named.entities:
        inside = [string for each in values for string in _list_texts(each.value)]
        for marked in (said, *inside):
            if (entities := read_marked(marked, text, types)) is not None:
                return locate_entities(text, entities)
        bare = _FENCE.sub("", said)
        if any(Quoted(text).match_whole(each) for each in (bare, *inside)):
            return Located()
    if named is None:
        return None
    if not named.entities and any(each.is_open for each in used):
        return None  # what would come is not known
    _tell_repairs(said, used, repairs)
    return locate_entities(text, named.entities, named.is_ordered)


def _list_texts(value: Any) -> list[str]:
    values = value.values() if isinstance(value, dict) else value
    return [each for each in values if isinstance(each, str)]


def _choose(values: Sequence[Found], types: Types) -> tuple[Named | None, list[Found]]:
    """The last value with entities, or else without; objects with one entity each are a list."""
    groups: list[tuple[Named, list[Found]]] = []
    for found in values:
        named = read_entities(found.value, types)
        if named is None:
            continue
        if named.is_single and groups and groups[-1][0].is_single:
            groups[-1][0].entities.extend(named.entities)
            groups[-1][1].append(found)
        else:
            groups.append((named, [found]))
    filled = [group for group in groups if group[0].entities]
    return (filled or groups)[-1] if groups else (None, [])


def _tell_repairs(said: str, used: Sequence[Found], repairs: list[str]) -> None:
    if any(each.is_cut for each in used):
        repairs.append(CUT)
    elif not all(each.is_correct for each in used):
        repairs.append(DAMAGED)
    elif len(used) == 1:
        try:
            json.loads(said)
        except (ValueError, RecursionError):
            repairs.append(AROUND)


def _find_choice(said: Any, types: Types, repairs: list[str]) -> Choice | None:
    if not isinstance(said, str):
        return read_choice(said, types)
    if name := types.find(said):
        return Choice(name, None)
    for found in reversed(list(find_values(said))):
        if choice := read_choice(found.value, types):
            _tell_repairs(said, [found], repairs)
            return choice
    # A class that stands alone in a line, behind a colon or in quotes, if there is one such class.
    bare = _FENCE.sub("", said)
    candidates = [line.strip(" \t.!*_#-") for line in bare.splitlines()]
    candidates += [match[1] or match[2] for match in _DELIMITED.finditer(bare)]
    named = {name for each in candidates if (name := types.find(each.strip()))}
    if len(named) != 1:
        return None
    repairs.append(AROUND)
    return Choice(named.pop(), None)
