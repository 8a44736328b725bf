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
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np

from xdistil.data.examples import Example, Task
from xdistil.data.label_sets import pack_labels
from xdistil.data.ragged import find_offsets, join_ranges
from xdistil.data.segmentation import SPACES, UNITS
from xdistil.data.streamed import cut_blocks
from xdistil.data.tokenizer import Template, Tokenizer, read_template, tell_damage
from xdistil.data.windows import cut_windows
from xdistil.data.word_subwords import WordSubwords, encode_texts
from xdistil.errors import InputError

PREDICTION_SUBWORDS = 4096  # in a batch of predictions, its padding included
BLOCK = 1 << 15  # examples or segments that are worked on at once
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Subwords:
    """Flat arrays over all P subwords of all S segments, in the order of the examples."""

    tokens: np.ndarray  # i32[P] vocabulary ids
    token_type: np.ndarray  # i8[P] 0, and 1 in the second text of a pair
    labels: np.ndarray  # i32[P] class index where label_mask is true and gold is known, else 0;
    # of a multi-label task u8[P,W] packed labels
    label_mask: np.ndarray  # bool[P] first subword of a unit (tagging) or segment (classification)
    word: np.ndarray  # i32[P] the word's index in its example at its first subword, else -1
    start: np.ndarray  # i64[S+1] segment s is the subwords start[s]:start[s+1]
    example: np.ndarray  # i32[S] index of the example; every example has a segment


class Cutting(NamedTuple):
    """How texts are cut into segments."""

    max_length: int  # subwords of a segment, special ones included
    segmentation: str = SPACES  # `units` labels every unit of a word; `spaces` leaves words whole
    # Subwords that two windows of a sentence share, less than half of a window. A word has its
    # label in the window where it stands further from an edge; elsewhere it is context.
    overlap: int = 0


def tokenize(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, cutting: Cutting
) -> Subwords:
    """Tokenises examples as `cut_and_count` does and logs how many texts are truncated."""
    return join_subwords(tokenize_blocks(examples, task, tokenizer, cutting))


def tokenize_blocks(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, cutting: Cutting
) -> Iterator[Subwords]:
    """The same in parts, each with some of the examples; an index in `example` counts all of them.

    There is a part even where there are no examples.
    """
    total = 0
    for subwords, cut in _cut_in_blocks(examples, task, tokenizer, cutting):
        total += cut
        yield subwords
    if total:
        _log.info(tell_cut(total, len(examples), cutting.max_length))


def join_subwords(parts: Iterable[Subwords]) -> Subwords:
    """The parts of `tokenize_blocks` in one."""
    first, *rest = parts
    if not rest:
        return first
    ends = find_offsets(np.array([len(part.tokens) for part in (first, *rest)], np.int64))
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


def take_segments(subwords: Subwords, segments: np.ndarray) -> Subwords:
    """A copy of some segments i64[N], in this order; an index in `example` stays as it is."""
    first = subwords.start[segments]
    lengths = subwords.start[segments + 1] - first
    places = join_ranges(first, lengths)
    return Subwords(
        **{
            name: np.asarray(getattr(subwords, name)[places])
            for name in ("tokens", "token_type", "labels", "label_mask", "word")
        },
        start=find_offsets(lengths),
        example=np.asarray(subwords.example[segments]),
    )


def tell_cut(cut: int, texts: int, max_length: int) -> str:
    """The log message for `cut` truncated texts out of `texts`."""
    return f"{cut} of {texts} texts are longer than {max_length} subwords and are truncated"


def cut_and_count(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, cutting: Cutting
) -> tuple[Subwords, int]:
    """(segments, truncated texts).

    A long sentence is split into windows at word boundaries; a word longer than a window keeps its
    first subwords. Long texts in classification are truncated at their ends, the longer of two
    first.

    Raises:
        InputError: no room for text next to the special subwords, or a label that the task does not
            have.
    """
    parts, cut = [], 0
    for subwords, of_block in _cut_in_blocks(examples, task, tokenizer, cutting):
        parts.append(subwords)
        cut += of_block
    return join_subwords(parts), cut


def _cut_in_blocks(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, cutting: Cutting
) -> Iterator[tuple[Subwords, int]]:
    pair = task.kind == "classification" and bool(examples) and len(examples[0].inputs) == 2
    template = read_template(tokenizer, pair)
    room = cutting.max_length - template.count
    if room < 1 + pair:
        raise InputError(
            f"data.max_length {cutting.max_length} leaves no room for text next to the "
            f"{template.count} special subwords of the tokenizer of {tokenizer.source!r}: make it "
            "larger."
        )
    words = WordSubwords(tokenizer, cutting.segmentation)
    first = 0
    # Where there are no examples, one block without any.
    for block in cut_blocks(examples, BLOCK) if examples else iter([[]]):
        with tell_damage(tokenizer.source):
            if task.kind == "tagging":
                subwords = _cut_sentences(block, task, words, template, room, cutting.overlap)
                cut = 0
            else:
                subwords, cut = _cut_texts(block, task, tokenizer, template, room)
        if first:
            subwords = replace(subwords, example=subwords.example + np.int32(first))
        yield subwords, cut
        first += len(block)


def subwords_fingerprint(subwords: Subwords) -> str:
    """SHA-256 of the content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, values in vars(subwords).items():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


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
    start = find_offsets(np.sum([text[2] for text in texts], axis=0) + template.count)
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
            places = join_ranges(at, length)
            tokens[places] = ids[join_ranges(first, length)]
            token_type[places] = template.text_type[i]
            at += length
    return tokens, token_type, start


def _label_indices(examples: Sequence[Example], task: Task) -> np.ndarray:
    # i32[N] one class per word, or per example; 0 if it has no label.
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
        raise _tell_unknown(error) from None
    return np.array(indices, np.int32)


def _label_sets(examples: Sequence[Example], task: Task) -> np.ndarray:
    # u8[N,W] the labels of each example, packed.
    index = {label: i for i, label in enumerate(task.labels)}
    chosen = np.zeros((len(examples), len(task.labels)), bool)
    try:
        for row, example in zip(chosen, examples, strict=True):
            row[[index[label] for label in example.labels or ()]] = True
    except KeyError as error:
        raise _tell_unknown(error) from None
    return pack_labels(chosen)


def _tell_unknown(error: KeyError) -> InputError:
    return InputError(f"Label {error.args[0]!r} is not among the task's labels.")


def _cut_sentences(
    examples: Sequence[Example],
    task: Task,
    known: WordSubwords,
    template: Template,
    room: int,
    overlap: int,
) -> Subwords:
    words = known.look_up(chain.from_iterable(example.inputs for example in examples))
    ids, ids_start, tokenizer = known.ids, known.start, known.tokenizer
    length = np.minimum(np.diff(ids_start)[words], room)  # subwords of each word
    first_word = find_offsets(np.array([len(e.inputs) for e in examples], np.int64))
    subword_start = find_offsets(length)

    windows = cut_windows(examples, first_word, subword_start, room, overlap)
    chosen = join_ranges(ids_start[words], length)
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
    classes = _label_indices(examples, task)
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


def _cut_texts(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, template: Template, room: int
) -> tuple[Subwords, int]:
    columns = range(len(template.text_type))
    encoded = [encode_texts(tokenizer, (e.inputs[i] for e in examples)) for i in columns]
    lengths = [np.diff(start) for _, start in encoded]
    kept = _truncate(lengths, room)
    cut = int(np.count_nonzero(np.sum(lengths, axis=0) > np.sum(kept, axis=0)))
    texts = [(ids, start[:-1], length) for (ids, start), length in zip(encoded, kept, strict=True)]
    tokens, token_type, start = _assemble(template, texts, tokenizer.unk or tokenizer.pad)
    known = _label_sets(examples, task) if task.multilabel else _label_indices(examples, task)
    labels = np.zeros((len(tokens), *known.shape[1:]), known.dtype)
    labels[start[:-1]] = known
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
