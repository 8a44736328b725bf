"""Text -> units: the one segmentation of text into words, in training and prediction alike.

White space separates units. Each punctuation mark or symbol is a unit of its own, and so is each
character of scripts that are written without blanks. Invisible characters (zero-width, direction
marks, controls) belong to no unit, except inside a word. A word of a file is cut in the same way,
so that "Berlin." has the units of "Berlin ." whoever wrote it.

A class of characters is that of BERT's pre-tokenizer where it has one: punctuation is what Unicode
calls punctuation, and every ASCII character that is neither a letter, a digit nor a blank.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, pairwise

UNITS = "units"  # the segmentation of this file
SPACES = "spaces"  # white space alone, as `str.split` splits: that of earlier versions

# Blocks of scripts without blanks between words, first and last code point of each: every character
# there is a unit, letters and marks alike, as corpora of these languages write them.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, symbols of Khmer
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0x2FFF),  # radicals
    (0x3001, 0x312F),  # punctuation of CJK, Hiragana, Katakana, Bopomofo
    (0x31A0, 0x9FFF),  # Bopomofo, Katakana, Han
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0xFF65, 0xFF9F),  # Katakana of half width
    (0x16FE0, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # Kana, Nushu
    (0x20000, 0x3FFFF),  # Han
)
_FIRST = [first for first, _ in _UNSPACED]
# Default-ignorable code points and controls; those that `str.split` splits at are blanks.
_IGNORED = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
)
_DROPPED = re.compile(f"[{_IGNORED}]")
_UNSEEN = re.compile(f"[\\s{_IGNORED}]")
# What words must have to be cut, in words joined by spaces: a character that is no letter or digit
# beside another one, a blank, or one of the characters above.
_CUT = re.compile(
    r"[^\w ][^ ]|[^ ][^\w ]|_[^ ]|[^ ]_|[^\S ]|"
    f"[{_IGNORED}{''.join(f'{chr(first)}-{chr(last)}' for first, last in _UNSPACED)}]"
)
_STOPS = frozenset(".!?。！？｡؟۔।॥።։")  # what ends a sentence
_CLOSING = frozenset("\"')]}»”’」』）】》")  # may stand between the stop and the end
_SHORTEST, _SHORTEST_NAME = 3, 5  # letters before a stop that is no abbreviation's; capitalised
_LETTER, _BLANK, _DROP, _ALONE, _MARK = range(5)
_IN_WORDS = (_LETTER, _MARK)
_kinds: dict[str, int] = {}  # of the characters seen so far


def find_units(text: str) -> list[tuple[int, int]]:
    """(start, end) of each unit, in text order; outside are blanks and dropped characters."""
    spans: list[tuple[int, int]] = []
    grows = joins = False  # whether a mark belongs to the last unit, and a letter too
    for at, character in enumerate(text):
        kind = _kinds.get(character)
        if kind is None:
            kind = _kinds[character] = _find_kind(character)
        if kind == _DROP:
            continue
        if kind == _BLANK:
            grows = joins = False
        elif (kind == _LETTER and joins) or (kind == _MARK and grows):
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((at, at + 1))
            grows, joins = True, kind != _ALONE
    return spans


def cut_spans(spans: Iterable[tuple[int, int]], borders: Iterable[int]) -> list[tuple[int, int]]:
    """The spans, in text order, also cut at the given positions."""
    borders = sorted(set(borders))
    cut: list[tuple[int, int]] = []
    for start, end in spans:
        inside = borders[bisect_right(borders, start) : bisect_left(borders, end)]
        cut += pairwise([start, *inside, end])
    return cut


def drop_blanks(text: str) -> str:
    """The text without blanks and invisible characters: equal however it is cut into words."""
    return _UNSEEN.sub("", text)


def cut_units(word: str) -> tuple[str, ...]:
    """The units of a word."""
    if word and " " not in word and not _CUT.search(word):
        return (word,)
    return _cut_and_remember(word)


@lru_cache(1 << 16)
def _cut_and_remember(word: str) -> tuple[str, ...]:
    return tuple(word[start:end] for start, end in find_units(word))


def cut_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The units of words; words without any unit stay as they are where there is no other."""
    if not _CUT.search(" ".join(words)):  # most sentences, without a look at each word
        return words
    return tuple(chain.from_iterable(map(cut_units, words))) or words


def count_units(words: tuple[str, ...]) -> int:
    """How many `cut_words` returns."""
    return len(cut_words(words))


def join_units(text: str, spans: Sequence[tuple[int, int]], marks: str) -> list[tuple[int, int]]:
    """The units of a text as words: letters with one of the marks between them are one word."""
    joined: list[tuple[int, int]] = []
    open_ = False  # whether the last word ends with a mark after letters
    for start, end in spans:
        touches = bool(joined) and joined[-1][1] == start
        letter = _find_kind(text[start]) == _LETTER
        if touches and open_ and letter:
            joined[-1] = (joined[-1][0], end)
            open_ = False
            continue
        if open_:  # the mark was not between letters
            first, last = joined.pop()
            joined += [(first, last - 1), (last - 1, last)]
            open_ = False
        if touches and text[start:end] in marks and _find_kind(text[start - 1]) in _IN_WORDS:
            joined[-1] = (joined[-1][0], end)
            open_ = True
        else:
            joined.append((start, end))
    if open_:
        first, last = joined.pop()
        joined += [(first, last - 1), (last - 1, last)]
    return joined


def find_joined(sentences: Iterable[Sequence[str]]) -> str:
    """The punctuation marks and symbols that stand between letters inside the words of sentences
    more often than elsewhere, sorted: as hyphens do where "Saint-Denis" is one word."""
    inside: Counter[str] = Counter()
    elsewhere: Counter[str] = Counter()
    for words in sentences:
        for word in words:
            if word.isalnum():
                continue
            for at, character in enumerate(word):
                if unicodedata.category(character)[0] in "PS":
                    between = 0 < at < len(word) - 1 and _find_kind(word[at + 1]) == _LETTER
                    between = between and _find_kind(word[at - 1]) in _IN_WORDS
                    (inside if between else elsewhere)[character] += 1
    return "".join(sorted(mark for mark, count in inside.items() if count > elsewhere[mark]))


def drop_invisible(text: str) -> str:
    """The text without the characters that belong to no unit, such as zero-width ones."""
    return _DROPPED.sub("", text)


def trim_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blanks and dropped characters at its ends; as it is if that is all."""
    spans = find_units(text[start:end])
    return (start + spans[0][0], start + spans[-1][1]) if spans else (start, end)


def find_sentence_ends(words: Sequence[str]) -> list[int]:
    """The indices of words, but for the first, at which a sentence begins, as far as stops tell.

    A full stop after a number or a short word may belong to an abbreviation, and ends none.
    """
    ends = []
    for at, word in enumerate(words):
        if word[-1:] not in _STOPS or (word[-1:] == "." and not _is_full(words, at)):
            continue
        after = at + 1
        while after < len(words) and words[after] in _CLOSING:
            after += 1
        if after < len(words):
            ends.append(after)
    return sorted(set(ends))


def _is_full(words: Sequence[str], at: int) -> bool:
    # Whether the stop at the end of a word, or that is a word, is the end of a sentence.
    before = words[at][:-1] or (words[at - 1] if at else "")
    if not before or not before[-1].isalpha() or (at + 1 < len(words) and words[at + 1].islower()):
        return False
    shortest = _SHORTEST_NAME if before[0].isupper() else _SHORTEST
    return before.lower() == before.upper() or len(before) >= shortest


def _find_kind(character: str) -> int:
    if character.isspace():
        return _BLANK
    if _DROPPED.match(character):
        return _DROP
    code = ord(character)
    block = bisect_right(_FIRST, code) - 1
    if block >= 0 and code <= _UNSPACED[block][1]:
        return _ALONE
    category = unicodedata.category(character)[0]
    if category in "PS":
        return _ALONE
    return _MARK if category == "M" else _LETTER
