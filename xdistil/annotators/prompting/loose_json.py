"""JSON as language models write it -> values.

Python's own parser reads what is correct. What it does not read is read again with patience:
comments, trailing and missing commas, single or typographic quotes, quotes inside texts that are
not escaped, names without quotes, Python's None, True and tuples, and an end that is missing. A
value that the end cuts off is left out, and so is a name without its value.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_DEEPEST = 40  # lists and objects within one another
_OPENING = {"{": "}", "[": "]", "(": ")"}
_QUOTES = {
    **{'"': '"”“', "'": "'’‘", "“": '”"“', "”": '”"', "„": '“”"', "‘": "’'", "’": "’'", "`": "`"},
    "«": "»",
}
_BARE = re.compile(r"[^\s,:;{}\[\]()\"'“”„«»]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_WORDS = {
    **{"null": None, "none": None, "nan": None, "undefined": None},
    **{"true": True, "false": False},
}
_SPACE = re.compile(r"(\s|//[^\n]*|/\*.*?\*/|\.\.\.|…)*", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CUT = object()  # what stands for a value that the end of the text cuts off


class Found(NamedTuple):
    """A value in a text."""

    value: Any
    is_correct: bool  # Python's own parser reads it
    is_cut: bool  # the end of the text is within it
    is_open: bool  # and within a list, or a value that was begun: more of it is missing


def find_values(text: str) -> Iterator[Found]:
    """The lists and objects of a text that are in no other one, in their order."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        at = min((p for p in (text.find("{", at), text.find("[", at)) if p >= 0), default=-1)
        if at < 0:
            return
        try:
            value, after = decoder.raw_decode(text, at)
            yield Found(value, True, False, False)
        except (ValueError, RecursionError):
            reader = _Reader(text, at)
            try:
                value = reader.read_value(0)
            except ValueError:
                at += 1
                continue
            yield Found(value, False, reader.is_cut, reader.is_open)
            after = reader.at
        at = max(after, at + 1)


class _Reader:
    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at
        self.is_cut = self.is_open = False

    def read_value(self, depth: int) -> Any:
        """A value at the present place; _CUT: the text ends before it is complete.

        Raises:
            ValueError: there is none, or too many are within one another.
        """
        self._skip()
        if self.at >= len(self.text):
            return self._end()
        first = self.text[self.at]
        if first in _OPENING:
            if depth >= _DEEPEST:
                raise ValueError("too deep")
            self.at += 1
            closing = _OPENING[first]
            return self._read_object(depth) if first == "{" else self._read_list(closing, depth)
        if first in _QUOTES:
            return self._read_text()
        found = _BARE.match(self.text, self.at)
        if not found:
            raise ValueError("no value")
        self.at = found.end()
        word = found[0]
        if self.at >= len(self.text):  # more of it may be missing
            return self._end()
        if _NUMBER.fullmatch(word):
            return float(word) if any(mark in word for mark in ".eE") else int(word[:400])
        return _WORDS.get(word.lower(), word)

    def _read_list(self, closing: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while True:
            self._skip(",")
            if self.at >= len(self.text):
                self._end()
                return values
            if self.text[self.at] in "]})":
                self.at += self.text[self.at] == closing
                return values
            value = self.read_value(depth + 1)
            if value is not _CUT:
                values.append(value)

    def _read_object(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while True:
            self._skip(",")
            if self.at >= len(self.text):
                self._end(is_open=not values)
                return values
            if self.text[self.at] in "]})":
                self.at += self.text[self.at] == "}"
                return values
            name = self.read_value(depth + 1)
            self._skip()
            if self.at >= len(self.text):
                self._end()
                return values
            if self.text[self.at] not in ":=" or isinstance(name, list | dict):
                raise ValueError("a name without a value")
            self.at += 1
            self.at += self.text.startswith(">", self.at)
            value = self.read_value(depth + 1)
            if value is not _CUT:
                values[str(name)] = value

    def _read_text(self) -> Any:
        closing = _QUOTES[self.text[self.at]]
        characters: list[str] = []
        at, text = self.at + 1, self.text
        while at < len(text):
            character = text[at]
            if character == "\\" and at + 1 < len(text):
                at, character = self._unescape(at + 1)
                characters.append(character)
                continue
            if character in closing and self._is_end(at + 1):
                self.at = at + 1
                return _join_surrogates("".join(characters))
            characters.append(character)
            at += 1
        self.at = len(text)
        return self._end()

    def _unescape(self, at: int) -> tuple[int, str]:
        code = self.text[at + 1 : at + 5]
        if self.text[at] == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", code):
            return at + 5, chr(int(code, 16))
        return at + 1, _ESCAPES.get(self.text[at], self.text[at])

    def _is_end(self, at: int) -> bool:
        """Whether a quote before this place ends a text, by what comes next."""
        after = self.text[at : at + 200].lstrip()
        if not after or after[0] in "]}):":
            return True
        if after[0] in _QUOTES or after[0] == "\n":
            return "\n" in self.text[at : at + 200].split(after[0], 1)[0]
        if after[0] != ",":
            return False
        rest = after[1:].lstrip()
        return not rest or rest[0] in "{[(]})-" or rest[0] in _QUOTES or _begins_value(rest)

    def _skip(self, also: str = "") -> None:
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if not also or not self.text.startswith(also, self.at):
                return
            self.at += 1

    def _end(self, is_open: bool = True) -> Any:
        self.is_cut = True
        self.is_open = self.is_open or is_open
        self.at = len(self.text)
        return _CUT


def _begins_value(text: str) -> bool:
    """Whether a number, a word of JSON or the name of a field begins here."""
    found = _BARE.match(text)
    if not found:
        return False
    word, rest = found[0], text[found.end() :].lstrip()
    known = word.lower() in _WORDS or _NUMBER.fullmatch(word) is not None
    return rest[:1] == ":" or (known and rest[:1] in (",", "]", "}", ")"))


def _join_surrogates(text: str) -> str:
    """Escaped halves of a character become one; a half alone becomes a replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
