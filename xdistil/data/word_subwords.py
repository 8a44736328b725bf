"""Words and texts -> their subwords, without special ones, each distinct word tokenised once."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np

from xdistil.data.ragged import find_offsets, join_ranges
from xdistil.data.segmentation import SPACES, UNITS, cut_units
from xdistil.data.tokenizer import Tokenizer

ENCODE_BATCH = 4096  # texts encoded at once: bounds the memory of the tokenizer's encodings
_WORDS_TOGETHER = 64  # words encoded as one text
_MOST_WORDS = 1 << 19  # distinct words whose subwords are remembered


class WordSubwords:
    """The subwords of distinct words, each tokenised once while they are not too many."""

    def __init__(self, tokenizer: Tokenizer, segmentation: str) -> None:
        self.tokenizer, self.segmentation = tokenizer, segmentation
        if segmentation == UNITS:
            self._units = WordSubwords(tokenizer, SPACES)
        self._forget()

    def _forget(self) -> None:
        self._number: dict[str, int] = {}
        self.ids, self.start = np.zeros(0, np.int32), np.zeros(1, np.int64)
        self.begins = np.zeros(0, bool)  # the first subword of each unit

    def look_up(self, words: Iterable[str]) -> np.ndarray:
        """i64[N] the number n of each word, whose subwords are ids[start[n]:start[n+1]]."""
        if len(self._number) > _MOST_WORDS:
            self._forget()
        number = self._number
        known = len(number)
        found = np.fromiter((number.setdefault(word, len(number)) for word in words), np.int64)
        if len(number) > known:
            new = list(islice(number, known, None))
            encode = self._encode_units if self.segmentation == UNITS else self._encode
            ids, start, begins = encode(new)
            self.start = np.append(self.start, start[1:] + len(self.ids))
            self.ids, self.begins = np.append(self.ids, ids), np.append(self.begins, begins)
        return found

    def _encode(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids, start = _encode_words(self.tokenizer, words)
        begins = np.zeros(len(ids), bool)
        begins[start[:-1][np.diff(start) > 0]] = True
        return ids, start, begins

    def _encode_units(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # A word without units is left as it is: the tokenizer may know it.
        cut = [cut_units(word) or (word,) for word in words]
        known = self._units
        numbers = known.look_up(chain.from_iterable(cut))
        lengths = np.diff(known.start)[numbers]
        chosen = join_ranges(known.start[numbers], lengths)
        sizes = np.array([len(units) for units in cut], np.int64)
        start = find_offsets(lengths)[find_offsets(sizes)]
        return known.ids[chosen], start, known.begins[chosen]


def encode_texts(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """The ragged ids of texts: (i32[N], start i64[texts+1])."""
    texts = list(texts)
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    for first in range(0, len(texts), ENCODE_BATCH):
        encodings = tokenizer.backend.encode_batch_fast(
            texts[first : first + ENCODE_BATCH], add_special_tokens=False
        )
        found = [encoding.ids for encoding in encodings]
        lengths += map(len, found)
        parts.append(np.array(list(chain.from_iterable(found)), np.int32))
    ids = np.concatenate([np.zeros(0, np.int32), *parts])
    return ids, find_offsets(np.array(lengths, np.int64))


def _encode_words(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    # Ragged ids of each word alone: (i32[N], start i64[words+1]). Many words go into one encoding,
    # which is split by its word ids, because making an encoding takes longer than tokenising a
    # word. The faster encode_batch_fast returns no word ids.
    ids = [np.zeros(0, np.int32)]
    lengths = np.zeros(len(words), np.int64)
    for begin in range(0, len(words), ENCODE_BATCH):
        firsts = range(begin, min(begin + ENCODE_BATCH, len(words)), _WORDS_TOGETHER)
        encodings = tokenizer.backend.encode_batch(
            [words[first : first + _WORDS_TOGETHER] for first in firsts],
            is_pretokenized=True,
            add_special_tokens=False,
        )
        for first, encoding in zip(firsts, encodings, strict=True):
            ids.append(np.array(encoding.ids, np.int32))
            counts = np.bincount(np.array(encoding.word_ids, np.int64))
            lengths[first : first + len(counts)] = counts
    return np.concatenate(ids), find_offsets(lengths)
