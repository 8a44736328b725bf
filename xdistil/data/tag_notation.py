"""How the tags of a file are written, recognised by its tags, and read as tags of `tag_schemes`.

Beside the schemes of `tag_schemes` there are BILOU (L- and U- are E- and S- of BIOES), BMES (M- and
W- are I- and S-), and IO, whose tags are bare types: neighbours of one type are one entity. Any of
them may be written in lower case (`b-per`), with an underscore (`B_PER`) or without types (`B`).
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from xdistil.data.tag_schemes import to_iob2
from xdistil.errors import InputError, show

ONE_TYPE = "ENTITY"  # of tags without types
NOTATIONS = ("iob2", "iob1", "bioes", "bilou", "bmes", "io")
_PREFIXES = {"iob2": "BI", "iob1": "BI", "bioes": "BIES", "bilou": "BILU", "bmes": "BMESW"}
_BASE = {"bilou": "bioes", "bmes": "bioes", "io": "iob1"}
_TO_BASE = {"bilou": {"L": "E", "U": "S"}, "bmes": {"M": "I", "W": "S"}}
_SPELT = re.compile(r"([BIESLUMWbieslumw])([-_])(\S+)")
_SUFFIXED = re.compile(r"\S+[-_][BIESLUbieslu]")
_SEPARATED = re.compile(r"[BIESLUMWbieslumw][^\w\s]\S+").fullmatch
_EVERY = frozenset("BIESLUMW")


@dataclass(frozen=True)
class Notation:
    """A scheme of tags, and how they are spelt."""

    scheme: str  # of NOTATIONS
    lower: bool = False  # prefixes and `o` are in lower case
    separator: str = "-"
    bare: bool = False  # prefixes without types

    @property
    def base(self) -> str:
        """The scheme of `tag_schemes` that the read tags are in."""
        return _BASE.get(self.scheme, self.scheme)

    def read(self, tag: str) -> str:
        """The tag in the base scheme; other text as it is."""
        if tag == "O" or (self.lower and tag == "o"):
            return "O"
        if self.scheme == "io":
            return f"I-{tag}"
        prefix, kind = self._split(tag)
        if prefix not in _PREFIXES[self.scheme] or not prefix:
            return tag
        return f"{_TO_BASE.get(self.scheme, {}).get(prefix, prefix)}-{kind}"

    def _split(self, tag: str) -> tuple[str, str]:
        if self.bare:
            prefix, kind = tag, ONE_TYPE
        else:
            prefix, separator, kind = tag[:1], tag[1:2], tag[2:]
            if separator != self.separator or not kind:
                return "", tag
        if self.lower:
            prefix = prefix.upper() if prefix.islower() else ""
        return prefix, kind

    @cached_property
    def is_plain(self) -> bool:
        """Whether `read` returns every tag as it is."""
        return self.scheme == self.base and self == Notation(self.scheme)

    def describe(self) -> str:
        """The notation in words."""
        names = {
            "iob2": "IOB2",
            "iob1": "IOB1",
            "io": "IO, where neighbours of one type are one entity",
        }
        told = names.get(self.scheme, self.scheme.upper())
        if self.lower:
            told += ", in lower case"
        if self.separator != "-":
            told += f", with {self.separator!r} after the prefix"
        if self.bare:
            told += f", without types (their one type is called {ONE_TYPE})"
        return told


def find_notation(
    tags: Collection[str],
    sequences: Iterable[Sequence[str]],
    scheme: str,
    where: str,
    repair: bool = False,
) -> Notation:
    """The notation of tags.

    Args:
        tags: all that occur.
        sequences: those of sentences; read only to tell IOB1 from IOB2, and as far as needed.
        scheme: the value of data.scheme; `auto`: recognise it.
        where: the file, for errors.
        repair: illegal tags are allowed, so they show nothing.

    Raises:
        InputError: no notation is recognised, or another than that of `scheme`.
    """
    tags = set(tags)
    spelt = {tag: match for tag in tags if (match := _SPELT.fullmatch(tag))}
    if scheme == "io" and not spelt:
        return Notation("io", lower="o" in tags and "O" not in tags)
    marks = tags - {"O", "o"}
    lower = bool(marks) and all(_in_lower(tag, spelt) for tag in marks)
    shapes = {tag.upper() for tag in marks}
    if marks and shapes <= _EVERY and ("B" in shapes or shapes & set("ISU")):
        spelling = Notation("", lower, bare=True)
        return _choose(tags, sequences, shapes, spelling, scheme, where, repair)
    # A few tags of another shape are mistakes, which decoding reports with their lines.
    if not marks or 2 * len(spelt) >= len(marks):
        separators = {match[2] for match in spelt.values()}
        separator = "_" if separators == {"_"} else "-"
        prefixes = {match[1].upper() if lower else match[1] for match in spelt.values()}
        spelling = Notation("", lower, separator)
        return _choose(tags, sequences, prefixes & _EVERY, spelling, scheme, where, repair)
    if spelt:
        raise InputError(
            f"{where}: some tags have a prefix, such as {show(min(spelt))}, and some have none, "
            f"such as {show(min(marks - spelt.keys()))}: write all of them with one."
        )
    if not tags & {"O", "o"}:
        raise InputError(
            f"{where}: every word has a label such as {show(min(marks))}, and no word is O, so "
            "they are no tags of entities: name the column with the tags in data.columns, or set "
            "data.scheme=io if every label is the type of an entity."
        )
    if all(map(_SUFFIXED.fullmatch, marks)):
        raise InputError(
            f"{where}: tags such as {show(min(marks))} have their prefix at the end: write it "
            "first, such as B-PER, or set data.scheme=io if each of them is a type."
        )
    if all(map(_SEPARATED, marks)) and scheme != "io":
        raise InputError(
            f"{where}: tags such as {show(min(marks))} have another separator behind their prefix: "
            "write B-PER or B_PER, or set data.scheme=io if each of them is a type."
        )
    if scheme != "auto":
        raise InputError(
            f"{where}: tag {show(min(marks))} is not a tag of {scheme}: set data.scheme=io."
        )
    return Notation("io", lower="O" not in tags)


def _in_lower(tag: str, spelt: dict[str, re.Match[str]]) -> bool:
    return spelt[tag][1].islower() if tag in spelt else len(tag) == 1 and tag.islower()


def _choose(
    tags: set[str],
    sequences: Iterable[Sequence[str]],
    prefixes: set[str],
    spelling: Notation,
    scheme: str,
    where: str,
    repair: bool,
) -> Notation:
    """The notation of tags with these prefixes."""
    found = _name_scheme(prefixes, where, scheme)
    notation = replace(spelling, scheme=found)
    if scheme not in ("auto", found):
        there = sorted(tag for tag in tags if notation.read(tag) != "O")
        if there:
            raise InputError(
                f"{where}: tag {show(there[-1])} is not a tag of {scheme}: set data.scheme={found}."
            )
        return replace(spelling, scheme=scheme)
    if found == "iob2" and scheme == "auto" and not repair and _is_iob1(tags, sequences, notation):
        return replace(spelling, scheme="iob1")
    return notation


def _name_scheme(prefixes: set[str], where: str, scheme: str) -> str:
    # The scheme of data.scheme if it has the prefixes, else the first that has them.
    given = (scheme,) if scheme in _PREFIXES else ()
    for name in (*given, "iob2", "bioes", "bilou", "bmes"):
        if prefixes <= set(_PREFIXES[name]):
            return name
    raise InputError(
        f"{where}: tags with the prefixes {', '.join(sorted(prefixes))} are of no scheme: IOB has "
        "B and I, BIOES also E and S, BILOU also L and U, BMES has B, M, E and S."
    )


def _is_iob1(tags: set[str], sequences: Iterable[Sequence[str]], notation: Notation) -> bool:
    # All sequences are legal in IOB1, and some are not in IOB2.
    spelt = {tag: notation.read(tag) for tag in tags}
    odd = {tag for tag, other in spelt.items() if other != "O" and other[1:2] != "-"}
    illegal = False
    for sequence in sequences:
        if odd.isdisjoint(sequence):
            read = [spelt[tag] for tag in sequence]
            if to_iob2(read, "iob1")[1] is not None:
                return False
            illegal = illegal or to_iob2(read, "iob2")[1] is not None
    return illegal
