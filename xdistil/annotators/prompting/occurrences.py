"""Where quoted words stand in a text, although they may be written in another way."""

import html
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property

from xdistil.data.segmentation import drop_blanks, find_units

Place = tuple[int, int]  # start and end, the end exclusive

_ALIKE = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼʹ`´′＇", "'"),
        **dict.fromkeys("“”„‟«»″＂", '"'),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    }
)
_AROUND = " \t\r\n\"'“”„‘’‚«»`*_.,;:!?()[]{}<>"  # may stand around quoted words


class Quoted:
    """A text in which words are looked for.

    They are found as they stand there, else with other blanks, quotes, dashes or Unicode
    normalisation, else in upper or lower case, else without punctuation around them.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def find(self, words: str) -> tuple[list[Place], bool]:
        """The places of the words in text order, and whether they stand there as they are quoted.

        Places that begin and end where units do hide those that do not.
        """
        for number, places in enumerate(self._try(words)):
            if places:
                return self._prefer_units(places), number == 0
        return [], False

    def _try(self, words: str) -> Iterator[list[Place]]:
        if not words:
            return
        yield [(at, at + len(words)) for at in _find_all(self.text, words)]
        bare = html.unescape(words).strip(_AROUND)
        for each in dict.fromkeys((words, bare)):
            for written in (self._plain, self._folded):
                yield written.find(each)

    def _prefer_units(self, places: list[Place]) -> list[Place]:
        starts, ends = self._units
        whole = [each for each in places if each[0] in starts and each[1] in ends]
        return whole or places

    @cached_property
    def _units(self) -> tuple[set[int], set[int]]:
        units = find_units(self.text)
        return {start for start, _ in units}, {end for _, end in units}

    @cached_property
    def _plain(self) -> "_Written":
        return _Written(self.text, str)

    @cached_property
    def _folded(self) -> "_Written":
        return _Written(self.text, str.casefold)

    def match_whole(self, words: str) -> bool:
        """Whether the words are the whole text, but for what makes no difference in `find`."""
        return bool(self._plain.characters) and write_plainly(words) == self._plain.characters

    def measure_context(self, place: Place, before: str, after: str) -> int:
        """How many characters before and after a place are the given ones, as far as they agree."""
        left, right = self._plain.cut(place)
        count = _count_common(write_plainly(before)[::-1], left[::-1])
        return count + _count_common(write_plainly(after), right)


class _Written:
    """A text without blanks in a canonical spelling, and where its characters come from."""

    def __init__(self, text: str, change: Callable[[str], str]) -> None:
        parts: list[str] = []
        self.starts: list[int] = []  # of the cluster in the text that a character is the first of
        self.ends: list[int] = []  # of the cluster that a character is the last of; -1: neither
        for start, end in _find_clusters(text):
            written = _write(text[start:end], change)
            if written:
                parts.append(written)
                self.starts += [start] + [-1] * (len(written) - 1)
                self.ends += [-1] * (len(written) - 1) + [end]
        self.characters = "".join(parts)
        self._change = change

    def find(self, words: str) -> list[Place]:
        sought = "".join(_write(words[a:b], self._change) for a, b in _find_clusters(words))
        found = []
        for at in _find_all(self.characters, sought):
            start, end = self.starts[at], self.ends[at + len(sought) - 1]
            if start >= 0 and end >= 0:
                found.append((start, end))
        return found

    def cut(self, place: Place) -> tuple[str, str]:
        """What stands before and after a place."""
        first = bisect_left(self._firsts, place[0])
        after = bisect_left(self._firsts, place[1])
        return self.characters[:first], self.characters[after:]

    @cached_property
    def _firsts(self) -> list[int]:
        """The cluster of each character, by its start."""
        at, firsts = 0, []
        for start in self.starts:
            at = start if start >= 0 else at
            firsts.append(at)
        return firsts


def write_plainly(text: str) -> str:
    """The text without blanks, with plain quotes and dashes, in one Unicode normalisation."""
    return "".join(_write(text[start:end], str) for start, end in _find_clusters(text))


def _write(cluster: str, change: Callable[[str], str]) -> str:
    plain = unicodedata.normalize("NFKD", cluster.translate(_ALIKE))
    changed = change(plain)
    if changed != plain:  # case folding may leave characters that fall apart
        plain = unicodedata.normalize("NFKD", changed)
    return drop_blanks(plain.translate(_ALIKE))


def _find_clusters(text: str) -> Iterator[Place]:
    """(start, end) of each character with the combining marks behind it."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or not unicodedata.combining(text[at]):
            yield start, at
            start = at


def _find_all(text: str, words: str) -> list[int]:
    found = []
    at = text.find(words) if words else -1
    while at >= 0:
        found.append(at)
        at = text.find(words, at + 1)
    return found


def _count_common(one: str, other: str) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
