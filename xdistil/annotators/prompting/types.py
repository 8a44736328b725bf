"""The types of entities, or the classes, that a language model is asked for."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from xdistil.data.examples import Task
from xdistil.data.lines import read_lines
from xdistil.errors import InputError, show

_PREFIX = re.compile(r"[BIESLU][-_](?=.)")


class Type(NamedTuple):
    """A type or class as it is described in the prompt."""

    name: str
    definition: str  # one line; "": the name says enough
    others: tuple[str, ...]  # names that answers may call it


@dataclass(frozen=True)
class Types:
    """All types of a task, in the order of their file."""

    kind: str  # tagging or classification
    types: tuple[Type, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(each.name for each in self.types)

    @property
    def task(self) -> Task:
        """The task with these labels, as answers are read for it."""
        if self.kind != "tagging":
            return Task(self.kind, self.names)
        tags = (f"{prefix}-{name}" for name in self.names for prefix in "BI")
        return Task(self.kind, ("O", *tags))

    def find(self, said: Any) -> str | None:
        """The name of the type that an answer calls so; None: it is none of them.

        Case, blanks, punctuation and a final s make no difference, unless only they tell two types
        apart. In tagging, a prefix such as B- is left out.
        """
        if isinstance(said, list) and len(said) == 1:
            said = said[0]
        if isinstance(said, int) and not isinstance(said, bool):
            said = str(said)
        if not isinstance(said, str):
            return None
        exact, folded = self._known
        stripped = said.strip()
        if name := exact.get(stripped):
            return name
        for each in (stripped, _PREFIX.sub("", stripped, count=1)):
            if self.kind != "tagging" and each != stripped:
                break
            key = _fold(each)
            if name := folded.get(key) or folded.get(key.removesuffix("s")):
                return name
        return None

    @cached_property
    def _known(self) -> tuple[dict[str, str], dict[str, str]]:
        exact = {other: each.name for each in self.types for other in (*each.others, each.name)}
        meant = {(_fold(other), name) for other, name in exact.items()}
        count = Counter(key for key, _ in meant)
        return exact, {key: name for key, name in meant if key and count[key] == 1}


def _fold(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


def read_types(path: Path, kind: str) -> Types:
    """The types of a file with a type a line: its name, a tab and what it is.

    Behind a second tab may be other names for it, separated by commas. In tagging, spaces in a name
    become underscores, as in all files of entities.

    Raises:
        InputError: a line with other columns, a name twice, or a name that is none; no line.
    """
    types: list[Type] = []
    seen: dict[str, int] = {}  # the line of each name
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) > 3:
            raise InputError(
                f"{path}:{number}: {len(cells)} columns where there are at most three: a name, "
                "what it is, and other names for it separated by commas, with tabs between them."
            )
        name, definition, others = [*cells, "", ""][:3]
        if len(cells) == 1 and ": " in name:
            raise InputError(
                f"{path}:{number}: {show(name)} has no tab: write one between the name of a type "
                "and what it is."
            )
        if kind == "tagging":
            name = "_".join(name.split())
            if name == "O" or _PREFIX.match(name):
                raise InputError(
                    f"{path}:{number}: {show(name)} is a tag: name the types of entities alone, "
                    "such as PER."
                )
        if not name:
            raise InputError(f"{path}:{number}: there is no name before the tab.")
        aliases = tuple(other.strip() for other in others.split(",") if other.strip())
        for each in dict.fromkeys((name, *aliases)):
            if each in seen:
                raise InputError(
                    f"{path}:{number}: {show(each)} stands in line {seen[each]} too: a name can "
                    "mean one type."
                )
            seen[each] = number
        types.append(Type(name, definition, aliases))
    if not types:
        raise InputError(f"{path} names no type: write one a line.")
    if kind != "tagging" and len(types) == 1:
        raise InputError(f"{path} names one class, {show(types[0].name)}: there must be two.")
    return Types(kind, tuple(types))
