"""How many words and subwords the texts of each language have under a tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.ragged import find_offsets
from xdistil.data.streamed import count_inputs, cut_blocks, number_languages
from xdistil.data.subwords import BLOCK, Subwords
from xdistil.data.tokenizer import Tokenizer
from xdistil.data.word_subwords import ENCODE_BATCH


@dataclass(frozen=True)
class LanguageCount:
    """Counts of the texts of one language under a tokenizer."""

    sentences: int
    words: int  # the words that have tags; in classification the words of the tokenizer
    subwords: int  # special ones included
    unknown: float  # share of words with the unknown subword


def count_subwords(
    examples: Sequence[Example], task: Task, subwords: Subwords, tokenizer: Tokenizer
) -> dict[str, LanguageCount]:
    """Counts by language, in alphabetical order.

    The words of a classification text are those of the tokenizer's pre-tokenizer, so that texts
    without spaces are counted in words too.
    """
    if task.kind == "tagging":
        words, unknown = count_inputs(examples), _count_holding(subwords, tokenizer.unk)
    else:
        blocks = [_count_unknown(tokenizer, block) for block in cut_blocks(examples, BLOCK)]
        words, unknown = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    lengths = np.bincount(subwords.example, np.diff(subwords.start), len(examples))
    names, codes = number_languages(examples)
    texts = np.bincount(codes)
    totals = [np.bincount(codes, values) for values in (words, lengths, unknown)]
    counts = {}
    for i in sorted(range(len(names)), key=names.__getitem__):
        total, subword_count, holding = (int(values[i]) for values in totals)
        counts[names[i]] = LanguageCount(
            int(texts[i]), total, subword_count, holding / max(1, total)
        )
    return counts


def _count_holding(subwords: Subwords, unknown: int | None) -> np.ndarray:
    # Words of each example that hold the unknown subword: i64[examples].
    segments = len(subwords.example)
    counts = np.zeros(int(subwords.example[-1]) + 1 if segments else 0, np.int64)
    for first in range(0, segments, BLOCK):
        last = min(first + BLOCK, segments)
        here = slice(int(subwords.start[first]), int(subwords.start[last]))
        mask = np.asarray(subwords.word[here]) >= 0
        ordinal = np.cumsum(mask)  # the word of each subword, from 1
        holding = np.unique(ordinal[subwords.tokens[here] == unknown])
        lengths = np.diff(subwords.start[first : last + 1])
        owner = np.repeat(subwords.example[first:last], lengths)[mask]
        np.add.at(counts, owner[holding[holding > 0] - 1], 1)
    return counts


def _count_unknown(
    tokenizer: Tokenizer, examples: Sequence[Example]
) -> tuple[np.ndarray, np.ndarray]:
    # Words of each example, and those of them with the unknown subword: i64[examples] each.
    found = [[word for text in example.inputs for word in text.split()] for example in examples]
    number: dict[str, int] = {}
    numbers = [number.setdefault(word, len(number)) for words in found for word in words]
    distinct = list(number)
    words, unknown = [], []
    for first in range(0, len(distinct), ENCODE_BATCH):
        texts = distinct[first : first + ENCODE_BATCH]
        for encoding in tokenizer.backend.encode_batch(texts, add_special_tokens=False):
            own = encoding.word_ids
            pairs = zip(encoding.ids, own, strict=True)
            words.append(len(set(own)))
            unknown.append(len({word for subword, word in pairs if subword == tokenizer.unk}))
    ends = find_offsets(np.array([len(words) for words in found], np.int64))
    totals = [find_offsets(np.array(values, np.int64)[numbers]) for values in (words, unknown)]
    of_words, of_unknown = (np.diff(values[ends]) for values in totals)
    return of_words, of_unknown
