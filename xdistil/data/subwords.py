"""Examples -> subwords: flat arrays of ids, labels on the first subword of each word or unit.

Words of a sentence are cut into units (segmentation.py), and these are tokenised one by one, as
fast tokenizers do with pre-split text: each distinct word is tokenised once, and sentences are
assembled from the results. Examples are tokenised in blocks, so that millions of them take no more
memory than a block.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, islice, pairwise, zip_longest
from typing import NamedTuple

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.segmentation import SPACES, UNITS, cut_units, find_sentence_ends
from xdistil.data.streamed import count_inputs, cut_blocks, number_languages
from xdistil.data.tokenizer import Template, Tokenizer, read_template, tell_damage
from xdistil.errors import InputError

PREDICTION_SUBWORDS = 4096  # in a batch of predictions, its padding included
_ENCODE_BATCH = 4096  # texts encoded at once: bounds the memory of the tokenizer's encodings
_WORDS_TOGETHER = 64  # words encoded as one text
_BLOCK = 1 << 15  # examples or segments that are worked on at once
_MOST_WORDS = 1 << 19  # distinct words whose subwords are remembered
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Subwords:
    """Flat arrays over all P subwords of all S segments, in the order of the examples."""

    tokens: np.ndarray  # i32[P] vocabulary ids
    token_type: np.ndarray  # i8[P] 0, and 1 in the second text of a pair
    labels: np.ndarray  # i32[P] class index where label_mask is true and gold is known, else 0
    label_mask: np.ndarray  # bool[P] first subword of a unit (tagging) or segment (classification)
    word: np.ndarray  # i32[P] the word's index in its example at its first subword, else -1
    start: np.ndarray  # i64[S+1] segment s is the subwords start[s]:start[s+1]
    example: np.ndarray  # i32[S] index of the example; every example has a segment


@dataclass(frozen=True)
class LanguageCount:
    """Counts of the texts of one language under a tokenizer."""

    sentences: int
    words: int  # the words that have tags; in classification the words of the tokenizer
    subwords: int  # special ones included
    unknown: float  # share of words with the unknown subword


def tokenize(
    examples: Sequence[Example],
    task: Task,
    tokenizer: Tokenizer,
    max_length: int,
    segmentation: str = SPACES,
    overlap: int = 0,
) -> Subwords:
    """Tokenises examples as `cut_and_count` does and logs how many texts are truncated."""
    blocks = tokenize_blocks(examples, task, tokenizer, max_length, segmentation, overlap)
    return join_subwords(blocks)


def tokenize_blocks(
    examples: Sequence[Example],
    task: Task,
    tokenizer: Tokenizer,
    max_length: int,
    segmentation: str = SPACES,
    overlap: int = 0,
) -> Iterator[Subwords]:
    """The same in parts, each with some of the examples; an index in `example` counts all of them.

    There is a part even where there are no examples.
    """
    total = 0
    blocks = _cut_in_blocks(examples, task, tokenizer, max_length, segmentation, overlap)
    for subwords, cut in blocks:
        total += cut
        yield subwords
    if total:
        _log.info(tell_cut(total, len(examples), max_length))


def join_subwords(parts: Iterable[Subwords]) -> Subwords:
    """The parts of `tokenize_blocks` in one."""
    first, *rest = parts
    if not rest:
        return first
    ends = _offsets(np.array([len(part.tokens) for part in (first, *rest)], np.int64))
    starts = [part.start[1:] + end for part, end in zip((first, *rest), ends, strict=False)]
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in (first, *rest)])
        for field in fields(Subwords)
        if field.name != "start"
    }
    return Subwords(**joined, start=np.concatenate([np.zeros(1, np.int64), *starts]))


def first_examples(subwords: Subwords, count: int) -> Subwords:
    """The subwords of the first examples, without a copy."""
    segments = int(np.searchsorted(subwords.example, count))
    end = int(subwords.start[segments])
    return Subwords(
        **{
            name: getattr(subwords, name)[:end]
            for name in ("tokens", "token_type", "labels", "label_mask", "word")
        },
        start=subwords.start[: segments + 1],
        example=subwords.example[:segments],
    )


def tell_cut(cut: int, texts: int, max_length: int) -> str:
    """The log message for `cut` truncated texts out of `texts`."""
    return f"{cut} of {texts} texts are longer than {max_length} subwords and are truncated"


def cut_and_count(
    examples: Sequence[Example],
    task: Task,
    tokenizer: Tokenizer,
    max_length: int,
    segmentation: str = SPACES,
    overlap: int = 0,
) -> tuple[Subwords, int]:
    """(segments of at most `max_length` subwords, special ones included; truncated texts).

    A long sentence is split into windows at word boundaries; a word longer than a window keeps its
    first subwords. Long texts in classification are truncated at their ends, the longer of two
    first.

    Args:
        segmentation: `units` labels every unit of a word; `spaces` tokenises words whole.
        overlap: subwords that two windows of a sentence share, less than half of a window. A word
            has its label in the window where it stands further from an edge; elsewhere it is
            context.

    Raises:
        InputError: no room for text next to the special subwords, or a label that the task does not
            have.
    """
    parts, cut = [], 0
    blocks = _cut_in_blocks(examples, task, tokenizer, max_length, segmentation, overlap)
    for subwords, of_block in blocks:
        parts.append(subwords)
        cut += of_block
    return join_subwords(parts), cut


def _cut_in_blocks(
    examples: Sequence[Example],
    task: Task,
    tokenizer: Tokenizer,
    max_length: int,
    segmentation: str,
    overlap: int,
) -> Iterator[tuple[Subwords, int]]:
    pair = task.kind == "classification" and bool(examples) and len(examples[0].inputs) == 2
    template = read_template(tokenizer, pair)
    room = max_length - template.count
    if room < 1 + pair:
        raise InputError(
            f"data.max_length {max_length} leaves no room for text next to the {template.count} "
            f"special subwords of the tokenizer of {tokenizer.source!r}: make it larger."
        )
    words = _Words(tokenizer, segmentation)
    first = 0
    # Where there are no examples, one block without any.
    for block in cut_blocks(examples, _BLOCK) if examples else iter([[]]):
        with tell_damage(tokenizer.source):
            if task.kind == "tagging":
                subwords, cut = _cut_sentences(block, task, words, template, room, overlap), 0
            else:
                subwords, cut = _cut_texts(block, task, tokenizer, template, room)
        if first:
            subwords = replace(subwords, example=subwords.example + np.int32(first))
        yield subwords, cut
        first += len(block)


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
        blocks = [_count_unknown(tokenizer, block) for block in cut_blocks(examples, _BLOCK)]
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
    for first in range(0, segments, _BLOCK):
        last = min(first + _BLOCK, segments)
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
    for first in range(0, len(distinct), _ENCODE_BATCH):
        texts = distinct[first : first + _ENCODE_BATCH]
        for encoding in tokenizer.backend.encode_batch(texts, add_special_tokens=False):
            own = encoding.word_ids
            pairs = zip(encoding.ids, own, strict=True)
            words.append(len(set(own)))
            unknown.append(len({word for subword, word in pairs if subword == tokenizer.unk}))
    ends = _offsets(np.array([len(words) for words in found], np.int64))
    totals = (_offsets(np.array(values, np.int64)[numbers])[ends] for values in (words, unknown))
    of_words, of_unknown = (np.diff(values) for values in totals)
    return of_words, of_unknown


def subwords_fingerprint(subwords: Subwords) -> str:
    """SHA-256 of the content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, values in vars(subwords).items():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _encode(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    # Ragged ids without special subwords: (i32[N], start i64[texts+1]).
    texts = list(texts)
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    for first in range(0, len(texts), _ENCODE_BATCH):
        encodings = tokenizer.backend.encode_batch_fast(
            texts[first : first + _ENCODE_BATCH], add_special_tokens=False
        )
        ids = [encoding.ids for encoding in encodings]
        lengths += map(len, ids)
        parts.append(np.array(list(chain.from_iterable(ids)), np.int32))
    return np.concatenate([np.zeros(0, np.int32), *parts]), _offsets(np.array(lengths, np.int64))


class _Words:
    """The subwords of distinct words, each tokenised once while they are not too many."""

    def __init__(self, tokenizer: Tokenizer, segmentation: str) -> None:
        self.tokenizer, self.segmentation = tokenizer, segmentation
        if segmentation == UNITS:
            self._units = _Words(tokenizer, SPACES)
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
        chosen = _ranges(known.start[numbers], lengths)
        sizes = np.array([len(units) for units in cut], np.int64)
        start = _offsets(lengths)[_offsets(sizes)]
        return known.ids[chosen], start, known.begins[chosen]


def _encode_words(tokenizer: Tokenizer, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    # Ragged ids of each word alone: (i32[N], start i64[words+1]). Many words go into one encoding,
    # which is split by its word ids, because making an encoding takes longer than tokenising a
    # word. The faster encode_batch_fast returns no word ids.
    ids = [np.zeros(0, np.int32)]
    lengths = np.zeros(len(words), np.int64)
    for begin in range(0, len(words), _ENCODE_BATCH):
        firsts = range(begin, min(begin + _ENCODE_BATCH, len(words)), _WORDS_TOGETHER)
        encodings = tokenizer.backend.encode_batch(
            [words[first : first + _WORDS_TOGETHER] for first in firsts],
            is_pretokenized=True,
            add_special_tokens=False,
        )
        for first, encoding in zip(firsts, encodings, strict=True):
            ids.append(np.array(encoding.ids, np.int32))
            counts = np.bincount(np.array(encoding.word_ids, np.int64))
            lengths[first : first + len(counts)] = counts
    return np.concatenate(ids), _offsets(lengths)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _ranges(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    # first[0], first[0]+1, ... (lengths[0] of them), first[1], ...
    offsets = _offsets(lengths)
    return np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths)


def _assemble(
    template: Template,
    texts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    fallback: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Joins special subwords and texts, each text as (ids, first[S], length[S]), into S segments.
    # Returns tokens i32[P], token_type i8[P], start i64[S+1].
    if not template.count:  # a segment is never empty: it gets the fallback subword
        ids, first, length = texts[0]
        empty = np.sum([text[2] for text in texts], axis=0) == 0
        texts = [
            (np.append(ids, np.int32(fallback)), np.where(empty, len(ids), first), length + empty),
            *texts[1:],
        ]
    start = _offsets(np.sum([text[2] for text in texts], axis=0) + template.count)
    tokens = np.zeros(start[-1], np.int32)
    token_type = np.zeros(start[-1], np.int8)
    at = start[:-1].copy()
    for i, text in zip_longest(range(len(texts) + 1), texts):
        special = template.special[i]
        places = at[:, None] + np.arange(len(special))
        tokens[places] = special
        token_type[places] = template.special_type[i]
        at += len(special)
        if text is not None:
            ids, first, length = text
            places = _ranges(at, length)
            tokens[places] = ids[_ranges(first, length)]
            token_type[places] = template.text_type[i]
            at += length
    return tokens, token_type, start


def _label_indices(examples: Sequence[Example], task: Task) -> list[int]:
    # One class per word, or per example; 0 if it has no label.
    index = {label: i for i, label in enumerate(task.labels)}
    size = len if task.kind == "tagging" else lambda inputs: 1
    indices: list[int] = []
    try:
        for example in examples:
            if example.labels is None:
                indices += [0] * size(example.inputs)
            else:
                indices += [index[label] for label in example.labels]
    except KeyError as error:
        raise InputError(f"Label {error.args[0]!r} is not among the task's labels.") from None
    return indices


def _cut_sentences(
    examples: Sequence[Example],
    task: Task,
    known: _Words,
    template: Template,
    room: int,
    overlap: int,
) -> Subwords:
    words = known.look_up(chain.from_iterable(example.inputs for example in examples))
    ids, ids_start, tokenizer = known.ids, known.start, known.tokenizer
    length = np.minimum(np.diff(ids_start)[words], room)  # subwords of each word
    first_word = _offsets(np.array([len(e.inputs) for e in examples], np.int64))
    subword_start = _offsets(length)

    windows = _cut_windows(examples, first_word, subword_start, room, overlap)
    chosen = _ranges(ids_start[words], length)
    body_length = subword_start[windows.end] - subword_start[windows.first]
    tokens, token_type, start = _assemble(
        template,
        [(ids[chosen], subword_start[windows.first], body_length)],
        tokenizer.unk or tokenizer.pad,
    )

    # The place of the first subword of each word that has one, where the word has its label.
    labelled = np.diff(np.append(windows.labelled, first_word[-1]))
    shift = start[:-1] + len(template.special[0]) - subword_start[windows.first]
    shift = np.repeat(shift, labelled)
    spoken = length > 0
    places = (subword_start[:-1] + shift)[spoken]
    in_example = np.arange(len(words)) - np.repeat(first_word[:-1], np.diff(first_word))
    classes = np.array(_label_indices(examples, task), np.int32)
    labels = np.zeros(len(tokens), np.int32)
    labels[places] = classes[spoken]
    word = np.full(len(tokens), -1, np.int32)
    word[places] = in_example[spoken]
    label_mask = word >= 0
    if known.segmentation == UNITS:
        # The further units of words continue their entities, if the task has a tag for that.
        of_word = np.repeat(np.arange(len(words)), length)
        inner = known.begins[chosen]
        inner[subword_start[:-1][spoken]] = False
        inner = np.flatnonzero(inner)
        of_word, inner = of_word[inner], inner + shift[of_word[inner]]
        continued = _continue_classes(task)[classes[of_word]]
        gold = np.array([example.labels is not None for example in examples], bool)
        gold = np.repeat(gold, np.diff(first_word))
        there = (continued >= 0) | ~gold[of_word]
        labels[inner] = np.where(gold[of_word], np.maximum(continued, 0), 0)
        label_mask[inner] = there
    return Subwords(tokens, token_type, labels, label_mask, word, start, windows.example)


def _continue_classes(task: Task) -> np.ndarray:
    # i32[C] the class of the further units of a word, by the word's class; -1: there is none.
    number = {label: i for i, label in enumerate(task.labels)}
    following = (f"I{label[1:]}" if label[0] == "B" else label for label in task.labels)
    return np.array([number.get(label, -1) for label in following] or [-1], np.int32)


class _Windows(NamedTuple):
    # W segments of sentences, in the order of the sentences; words count over all of them.
    first: np.ndarray  # i64[W] the first word of each
    end: np.ndarray  # i64[W] the word after its last
    labelled: np.ndarray  # i64[W] the first word that has its label here; the next window's ends it
    example: np.ndarray  # i32[W] the sentence


def _cut_windows(
    examples: Sequence[Example],
    first_word: np.ndarray,
    subword_start: np.ndarray,
    room: int,
    overlap: int,
) -> _Windows:
    # Where windows overlap, a text of several sentences that is too long is cut between them first:
    # models read single sentences best.
    total = subword_start[first_word[1:]] - subword_start[first_word[:-1]]
    bounds = np.stack([first_word[:-1], first_word[1:], first_word[:-1]], axis=1)
    parts, owners = [bounds[total <= room]], [np.flatnonzero(total <= room).astype(np.int32)]
    for example in np.flatnonzero(total > room).tolist():
        first = first_word[example]
        stops = find_sentence_ends(examples[example].inputs) if overlap else []
        borders = [first, *(first + stop for stop in stops), first_word[example + 1]]
        windows = []
        for at, last in pairwise(borders):
            windows += _cut_sentence(at, last, subword_start, room, overlap)
        parts.append(np.array(windows, np.int64))
        owners.append(np.full(len(windows), example, np.int32))
    merged, owner = np.concatenate(parts), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    first, end, labelled = merged[order].T
    return _Windows(first, end, labelled, owner[order])


def _cut_sentence(
    at: int, last: int, subword_start: np.ndarray, room: int, overlap: int
) -> list[tuple[int, int, int]]:
    # (first, end, labelled) of the windows of the words at:last. A window takes as many whole words
    # as fit. The next one begins at most `overlap` subwords before its end, and the words that both
    # have are labelled where they are further from an edge.
    labelled = at
    windows = []
    while True:
        reach = np.searchsorted(subword_start, subword_start[at] + room, side="right") - 1
        end = min(reach, last)
        windows.append((at, end, labelled))
        if end == last:
            return windows
        # The next word fits in too.
        reach = max(subword_start[end] - overlap, subword_start[end + 1] - room)
        at = max(np.searchsorted(subword_start[: end + 1], reach), at + 1) if overlap else end
        middle = (subword_start[at] + subword_start[end] - 1) // 2
        labelled = at + np.searchsorted(subword_start[at:end], middle, side="right")


def _cut_texts(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, template: Template, room: int
) -> tuple[Subwords, int]:
    columns = range(len(template.text_type))
    encoded = [_encode(tokenizer, (e.inputs[i] for e in examples)) for i in columns]
    lengths = [np.diff(start) for _, start in encoded]
    kept = _truncate(lengths, room)
    cut = int(np.count_nonzero(np.sum(lengths, axis=0) > np.sum(kept, axis=0)))
    texts = [(ids, start[:-1], length) for (ids, start), length in zip(encoded, kept, strict=True)]
    tokens, token_type, start = _assemble(template, texts, tokenizer.unk or tokenizer.pad)
    labels = np.zeros(len(tokens), np.int32)
    labels[start[:-1]] = _label_indices(examples, task)
    word = np.full(len(tokens), -1, np.int32)
    word[start[:-1]] = 0
    owner = np.arange(len(examples), dtype=np.int32)
    return Subwords(tokens, token_type, labels, word >= 0, word, start, owner), cut


def _truncate(lengths: list[np.ndarray], room: int) -> list[np.ndarray]:
    # Longest first: the shorter of two texts is cut only if it exceeds half of the room. The odd
    # subword goes to the longer one, or to the second if they are equal.
    if len(lengths) == 1:
        return [np.minimum(lengths[0], room)]
    first, second = lengths
    half = room // 2 + (room % 2) * (first > second)
    kept = np.where(first <= room // 2, first, np.maximum(room - second, half))
    kept = np.where(first + second <= room, first, kept)
    return [kept, np.minimum(second, room - kept)]
