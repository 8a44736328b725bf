"""Unlabelled examples that stay in their files, and functions of examples wherever they are.

Millions of transfer texts do not fit into memory as words. What is kept of a text is its language
and its number of words, nine bytes; whoever needs its words reads the file again.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, check_width
from xdistil.data.formats import Layout, read_texts
from xdistil.data.language_codes import fold_language
from xdistil.data.layouts import find_text_layout
from xdistil.data.lines import FileLines
from xdistil.data.records import Record
from xdistil.data.segmentation import count_units, cut_words
from xdistil.errors import InputError


@dataclass(frozen=True)
class TextFile:
    """A file of unlabelled texts, and how it is read."""

    lines: FileLines
    kind: str  # of the task
    raw: bool  # split plain text like `str.split`
    cuts: bool  # words into units
    language: str  # of the texts that do not say their own
    stamp: tuple[int, int]  # size and modification time when it was read first
    layout: Layout


@dataclass(frozen=True, eq=False)
class StreamedExamples(Sequence[Example]):
    """The texts of files, in their order; every iteration reads the files from the start.

    A single index reads up to that text, so loops should iterate.
    """

    files: tuple[TextFile, ...]
    kept: np.ndarray  # bool[texts in the files] which of them belong to it
    languages: tuple[str, ...]  # in no particular order
    language: np.ndarray  # i32[E] index into the languages
    sizes: np.ndarray  # i32[E] words of a sentence, or texts of a classification example

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Example]:
        records = (
            (record.inputs, fold_language(record.language) if record.language else file.language)
            for file in self.files
            for record in _read_again(file)
        )
        places = np.flatnonzero(self.kept)
        last = int(places[-1]) + 1 if len(places) else 0
        wanted = islice(zip(self.kept, records, strict=False), last)
        return (Example(inputs, None, language) for kept, (inputs, language) in wanted if kept)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        at = range(len(self))[index]
        return next(islice(self, at, None))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(Example.__eq__, self, other))

    # Equality compares texts, so there is no hash; the type of `object` has one.
    __hash__ = None  # type: ignore[assignment]

    def take(self, indices: np.ndarray) -> "StreamedExamples":
        """Those with these indices i64[N], ascending."""
        kept = np.zeros(len(self.kept), bool)
        kept[np.flatnonzero(self.kept)[indices]] = True
        return replace(self, kept=kept, language=self.language[indices], sizes=self.sizes[indices])


@dataclass(frozen=True, eq=False)
class JoinedExamples(Sequence[Example]):
    """The examples of two sequences, one behind the other."""

    first: Sequence[Example]
    second: Sequence[Example]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __iter__(self) -> Iterator[Example]:
        yield from self.first
        yield from self.second

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        at = range(len(self))[index]
        before = len(self.first)
        return self.first[at] if at < before else self.second[at - before]


def stream_examples(
    paths: Iterable[tuple[Path, str]], kind: str, raw: bool, width: int, cuts: bool = False
) -> StreamedExamples:
    """Reads files once, checks every text, and keeps none.

    Args:
        paths: the files, each with the language of texts that do not say their own, or "".
        width: texts of a classification example, one or two; 0: as many as the first one.
        cuts: into units; these are the words of the sentences then.

    Raises:
        InputError: as `read_texts`.
    """
    files = []
    number: dict[str, int] = {}
    language, sizes = array("i"), array("i")
    for path, said in paths:
        lines = FileLines(path)
        cuts = cuts and kind == "tagging"
        stamp, layout = lines.stamp(), find_text_layout(path, lines, kind)
        language_said = fold_language(said or UNKNOWN_LANGUAGE)
        files.append(TextFile(lines, kind, raw, cuts, language_said, stamp, layout))
        for record in read_texts(path, lines, kind, raw, layout=layout):
            if kind == "classification":
                width = width or len(record.inputs)
                check_width(path, record, width)
            name = fold_language(record.language) if record.language else files[-1].language
            language.append(number.setdefault(name, len(number)))
            sizes.append(count_units(record.inputs) if cuts else len(record.inputs))
    arrays = (np.array(values, np.int32) for values in (language, sizes))
    return StreamedExamples(tuple(files), np.ones(len(sizes), bool), tuple(number), *arrays)


def _read_again(file: TextFile) -> Iterator[Record]:
    path = file.lines.path
    if file.lines.stamp() != file.stamp:
        raise InputError(f"{path} was changed while it was read: start again.")
    records = read_texts(path, file.lines, file.kind, file.raw, True, file.layout)
    if not file.cuts:
        return records
    return (record._replace(inputs=cut_words(record.inputs)) for record in records)


def number_languages(examples: Sequence[Example]) -> tuple[list[str], np.ndarray]:
    """(languages in the order in which they occur, i64[E] the index of each example's)."""
    if isinstance(examples, StreamedExamples):
        numbers, first, codes = np.unique(examples.language, return_index=True, return_inverse=True)
        names = [examples.languages[number] for number in numbers]
    elif isinstance(examples, JoinedExamples):
        (before, left), (after, right) = map(number_languages, (examples.first, examples.second))
        names = list(dict.fromkeys([*before, *after]))
        places = np.array([names.index(name) for name in after], np.int64)
        return names, np.concatenate([left, places[right]])
    else:
        number: dict[str, int] = {}
        codes = np.array(
            [number.setdefault(each.language, len(number)) for each in examples], np.int64
        )
        return list(number), codes
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [names[i] for i in order], rank[codes]


def count_inputs(examples: Sequence[Example]) -> np.ndarray:
    """i64[E] the words of each sentence, or the texts of each classification example."""
    if isinstance(examples, StreamedExamples):
        return examples.sizes.astype(np.int64)
    if isinstance(examples, JoinedExamples):
        return np.concatenate([count_inputs(examples.first), count_inputs(examples.second)])
    return np.array([len(example.inputs) for example in examples], np.int64)


def take_examples(examples: Sequence[Example], indices: np.ndarray) -> Sequence[Example]:
    """The examples with these indices i64[N], ascending."""
    if isinstance(examples, StreamedExamples):
        return examples.take(indices)
    if isinstance(examples, JoinedExamples):
        before = len(examples.first)
        first = take_examples(examples.first, indices[indices < before])
        second = take_examples(examples.second, indices[indices >= before] - before)
        return JoinedExamples(first, second)
    return [examples[index] for index in indices]


def drop_labels(examples: Sequence[Example]) -> Sequence[Example]:
    """The same texts without labels."""
    if isinstance(examples, StreamedExamples):  # they have none
        return examples
    return [replace(each, labels=None) for each in examples]


def list_in_memory(examples: Sequence[Example]) -> list[Example]:
    """Those that are not read from files when they are needed, in their order."""
    if isinstance(examples, StreamedExamples):
        return []
    if isinstance(examples, JoinedExamples):
        return list_in_memory(examples.first) + list_in_memory(examples.second)
    return list(examples)


def cut_blocks(examples: Sequence[Example], size: int) -> Iterator[list[Example]]:
    """All examples in their order, at most `size` at a time."""
    iterator = iter(examples)
    while block := list(islice(iterator, size)):
        yield block
