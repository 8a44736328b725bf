"""Files -> examples: labels, tag schemes and language prefixes."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdistil.data.formats import Layout, read_records
from xdistil.data.label_lists import find_separator, read_cell, write_list
from xdistil.data.label_names import (
    are_numbers,
    collect_cells,
    collect_labels,
    part_cells,
    recognise_notation,
)
from xdistil.data.language_codes import fold_language
from xdistil.data.layouts import find_layout, guess_kind
from xdistil.data.lines import locate, read_lines
from xdistil.data.records import Record
from xdistil.data.tag_notation import Notation
from xdistil.data.tag_schemes import allowed_tags, convert_labels, is_tag, predictable_tags, to_iob2
from xdistil.errors import InputError, show, show_name
from xdistil.runtime.json_io import write_atomically

UNKNOWN_LANGUAGE = "und"
_MARK = "\ufeff"
_log = logging.getLogger("xdistil")


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence, a text or a pair of texts, with its gold labels if it has any."""

    inputs: tuple[str, ...]  # words of a sentence (tagging), or one or two texts (classification)
    labels: tuple[str, ...] | None  # one IOB2 tag per word, one class name, or any number of them
    # in the order of the task; None: unlabelled
    language: str  # "und" if unknown


@dataclass(frozen=True)
class Task:
    """What is predicted."""

    kind: str  # "tagging" or "classification"
    labels: tuple[str, ...]  # in the order of their class indices
    multilabel: bool = False  # classification: a text has any number of labels, none among them

    @classmethod
    def of(cls, name: str, labels: tuple[str, ...]) -> "Task":
        """The task with these labels that `name` calls so."""
        several = name == "multilabel"
        return cls("classification" if several else name, labels, several)

    @property
    def name(self) -> str:
        """What scores and results call it: tagging, classification or multilabel."""
        return "multilabel" if self.multilabel else self.kind


def gold_task(task: Task) -> Task:
    """The task to read gold labels with that are compared with a model's predictions for `task`.

    A head may have fewer tags than its legal predictions (I- without B-), or those of BIOES.
    """
    return replace(task, labels=predictable_tags(task.labels)) if task.kind == "tagging" else task


def read_file(
    path: str | Path,
    task: Task | None = None,
    scheme: str = "iob2",
    repair: bool = False,
    width: int = 0,
) -> list[Example]:
    """The labelled examples of a file in any format; the labels must be those of `task`, if given.

    Args:
        width: texts of a classification example, one or two; 0: as many as the first one.

    Raises:
        InputError: as `read_corpus`, about this file.
    """
    path = Path(path)
    lines = read_lines(path)
    kind = guess_kind(path, lines) if task is None else task.name
    layout = find_layout(path, lines, kind)
    notation = Notation(scheme)
    if task is None or (kind == "tagging" and scheme != "iob2") or kind == "multilabel":
        cells = collect_cells(path, lines, kind, layout)
        if kind == "tagging":
            notation = recognise_notation(cells, scheme, str(path), repair)
        if kind == "multilabel":
            layout = layout._replace(separator=find_separator(cells))
            cells = part_cells(cells, layout.separator)
        if task is None:
            task = make_task(
                kind, collect_labels(cells, kind, notation), notation, path, is_said=False
            )
    return decode(path, lines, task, notation, repair, width, layout)


def write_tsv(
    path: str | Path,
    examples: Sequence[Example],
    labels: Sequence[tuple[str, ...]],
    multilabel: bool = False,
) -> None:
    """Writes examples with these labels as a task file, whole or not at all.

    Tabs and line feeds inside a text become spaces. A known language is written as the prefix of
    the first label, or of the JSON list of several.
    """
    to_spaces = str.maketrans("\t\n", "  ")
    with (
        write_atomically(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        if examples and examples[0].inputs[0].startswith(_MARK):
            file.write(_MARK)  # the reader takes the first one for a byte order mark
        for example, names in zip(examples, labels, strict=True):
            cells = [text.translate(to_spaces) for text in example.inputs]
            prefix = "" if example.language == UNKNOWN_LANGUAGE else f"{example.language}:"
            tagged = len(names) == len(cells) and not multilabel
            inputs = (" " if tagged else "\t").join(cells)
            label = write_list(names) if multilabel else " ".join(names)
            file.write(f"{inputs}\t{prefix}{label}\n")


def make_task(
    kind: str, names: tuple[str, ...], notation: Notation, source: Path, is_said: bool = True
) -> Task:
    """The task with these labels, written in a notation or read already, in this order.

    Args:
        is_said: whether labels.tsv names them, so that the files may number them from 0.

    Raises:
        InputError: a tag of another scheme, or a name that is the number of another class; the
            message names `source`.
    """
    if kind == "tagging":
        names = tuple(name if is_tag(name) else notation.read(name) for name in names)
        if notation.base != "bioes":
            for name in names:
                if name[0] in "ES":
                    raise InputError(
                        f"{source}: tag {show(name)} is not a tag of {notation.scheme}: set "
                        "data.scheme=bioes."
                    )
        return Task(kind, convert_labels(names, notation.base))
    if not is_said and are_numbers(names):  # their own names, in numeric order
        return Task.of(kind, names)
    indices = {str(i): name for i, name in enumerate(names)}
    for name in names:
        if indices.get(name, name) != name:
            raise InputError(
                f"{source}: label {show(name)} is ambiguous, because it is also the number of "
                f"class {show(indices[name])}: use words as labels, or number them from 0."
            )
    return Task.of(kind, names)


def decode(
    path: Path,
    lines: list[str],
    task: Task,
    notation: Notation,
    repair: bool,
    width: int,
    layout: Layout,
) -> list[Example]:
    """The labelled examples of the lines of a file; see `read_file` for the arguments."""
    records = read_records(path, lines, task.name, layout)
    if task.kind == "tagging":
        examples = _decode_tags(path, records, task, notation, repair)
    elif task.multilabel:
        examples = _decode_sets(path, records, task, layout.separator, width)
    else:
        examples = _decode_classes(path, records, task, width)
    if not examples:
        raise InputError(f"{path} has no sentence.")
    return examples


def _split_prefix(cell: str, is_label: Callable[[str], bool]) -> tuple[str, str]:
    # A language prefix is split off only if the rest is a label and the whole cell is not.
    if not is_label(cell):
        language, colon, rest = cell.partition(":")
        if colon and language and is_label(rest):
            return fold_language(language), rest
    return UNKNOWN_LANGUAGE, cell


def _decode_tags(
    path: Path, records: Iterable[Record], task: Task, notation: Notation, repair: bool
) -> list[Example]:
    allowed = allowed_tags(task.labels, notation.base)
    # Equal tag columns and equal words share one object: half the memory, and faster.
    decoded: dict[str, tuple[str, tuple[str, ...], str]] = {}
    words: dict[str, str] = {}
    examples: list[Example] = []
    illegal: list[str] = []
    for record in records:
        if record.label not in decoded:
            decoded[record.label] = _decode_cell(path, record, allowed, notation, task)
        language, tags, fault = decoded[record.label]
        if len(tags) != len(record.inputs):
            raise InputError(
                f"{locate(path, record.line)}: {len(record.inputs)} words but {len(tags)} tags."
            )
        if fault:
            illegal.append(f"{locate(path, record.line)} ({fault})")
        inputs = tuple([words.setdefault(word, word) for word in record.inputs])
        if record.language:
            language = fold_language(record.language)
        examples.append(Example(inputs, tags, language))
    if illegal and not repair:
        raise InputError(
            f"{len(illegal)} sentences have illegal {notation.scheme} tags, first "
            f"{', '.join(illegal[:3])}: correct them, set data.scheme (xdistil "
            "evaluate: --scheme) to their scheme, or set data.repair=True."
        )
    if illegal:
        _log.warning("%s: illegal tags of %d sentences repaired", path, len(illegal))
    return examples


def _decode_cell(
    path: Path, record: Record, allowed: frozenset[str], notation: Notation, task: Task
) -> tuple[str, tuple[str, ...], str]:
    # (language, IOB2 tags, the first illegal transition or "")
    first, *rest = record.label.strip(" ").split(" ")
    plain = notation.is_plain
    is_label = allowed.__contains__ if plain else lambda tag: notation.read(tag) in allowed
    language, first = _split_prefix(first, is_label)
    written = (first, *rest)
    read = written if plain else tuple(map(notation.read, written))
    for tag, known in zip(written, read, strict=True):
        if known not in allowed:
            unknown = _name_unknown("tag", tag, task).removesuffix(".")
            raise InputError(f"{locate(path, record.line)}: {unknown}{_name_scheme(tag, task)}.")
    tags, at = to_iob2(read, notation.base)
    fault = ""
    if at is not None:
        before = written[at - 1] if at else "the start"
        fault = f"{written[at] if at < len(written) else 'the end'} after {before}"
        fault = show_name(fault)
    return language, tags, fault


def _name_scheme(tag: str, task: Task) -> str:
    """What to do where the prefix of a tag is unknown, and its type is not."""
    prefix, _, kind = tag.partition("-")
    if len(prefix) > 1 or kind not in {label[2:] for label in task.labels if label != "O"}:
        return ""
    return ": set data.scheme (xdistil evaluate: --scheme) if the tags have another scheme"


def _decode_classes(path: Path, records: Iterable[Record], task: Task, width: int) -> list[Example]:
    by_name = {name: name for name in task.labels}
    by_number = {str(i): name for i, name in enumerate(task.labels)}
    if are_numbers(task.labels):
        by_number = by_name
    values = by_number | by_name
    labels = {value: (name,) for value, name in values.items()}
    first_line: dict[str, int] = {}  # of a label given as a name, and of one given as a number
    examples: list[Example] = []
    for record in records:
        width = width or len(record.inputs)
        check_width(path, record, width)
        language, value = _split_prefix(record.label.strip(), values.__contains__)
        if value not in values:
            raise InputError(f"{locate(path, record.line)}: {_name_unknown('label', value, task)}")
        if (value in by_name) != (value in by_number):
            first_line.setdefault("name" if value in by_name else "number", record.line)
        if record.language:
            language = fold_language(record.language)
        examples.append(Example(record.inputs, labels[value], language))
    if len(first_line) == 2:
        raise InputError(
            f"{path}: labels are names (line {first_line['name']}) and numbers "
            f"(line {first_line['number']}): use one or the other."
        )
    return examples


def _decode_sets(
    path: Path, records: Iterable[Record], task: Task, separator: str, width: int
) -> list[Example]:
    values = {name: name for name in task.labels}
    if not are_numbers(task.labels):
        values |= {str(i): name for i, name in enumerate(task.labels) if str(i) not in values}
    order = {name: place for place, name in enumerate(task.labels)}
    decoded: dict[str, tuple[str, tuple[str, ...]]] = {}  # equal cells share one object
    examples: list[Example] = []
    for record in records:
        width = width or len(record.inputs)
        check_width(path, record, width)
        if record.label not in decoded:
            language, labels = _read_set(path, record, separator, values, task)
            decoded[record.label] = language, tuple(sorted(labels, key=order.__getitem__))
        language, names = decoded[record.label]
        if record.language:
            language = fold_language(record.language)
        examples.append(Example(record.inputs, names, language))
    return examples


def _read_set(
    path: Path, record: Record, separator: str, values: Mapping[str, str], task: Task
) -> tuple[str, list[str]]:
    """(language, labels) of a cell."""
    said, labels, is_list = read_cell(record.label, separator)
    language, names = fold_language(said) if said else UNKNOWN_LANGUAGE, list(labels)
    if names and not is_list:
        first, colon, rest = names[0].partition(":")
        if colon and not rest and names[0] not in values and len(names) == 1:
            language, names = fold_language(first), []
        else:
            language, names[0] = _split_prefix(names[0], lambda each: each.strip() in values)
    found: list[str] = []
    for name in map(str.strip, names):
        if not name or any(separator in name for separator in "\t\n\r"):
            raise InputError(
                f"{locate(path, record.line)}: label {show(name)} is empty, or contains a tab or a "
                "line end."
            )
        if name not in values:
            raise InputError(f"{locate(path, record.line)}: {_name_unknown('label', name, task)}")
        if values[name] in found:
            raise InputError(f"{locate(path, record.line)}: label {show(name)} is listed twice.")
        found.append(values[name])
    return language, found


def check_width(path: Path, record: Record, width: int) -> None:
    """Raises InputError if a classification record does not have `width` texts, one or two."""
    if len(record.inputs) != width or width > 2:
        raise InputError(
            f"{locate(path, record.line)}: {len(record.inputs)} texts where {min(width, 2)} "
            f"{'was' if width == 1 else 'were'} expected: data.columns=text:1,label:2 says which "
            "columns hold what."
        )


def _name_unknown(what: str, value: str, task: Task) -> str:
    known = ", ".join(map(show, task.labels[:12])) + (", ..." if len(task.labels) > 12 else "")
    return f"{what} {show(value)} is not among the task's labels, which are {known}."
