"""Files -> examples: labels, tag schemes and language prefixes."""

import logging
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdistil.data.formats import Layout, read_records
from xdistil.data.language_codes import LANGUAGE_CODE, fold_language, is_language
from xdistil.data.layouts import find_layout, guess_kind
from xdistil.data.lines import locate, read_lines
from xdistil.data.records import Record
from xdistil.data.segmentation import drop_invisible
from xdistil.data.tag_notation import Notation, find_notation
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
    labels: tuple[str, ...] | None  # one IOB2 tag per word, or one class name; None: unlabelled
    language: str  # "und" if unknown


@dataclass(frozen=True)
class Task:
    """What is predicted."""

    kind: str  # "tagging" or "classification"
    labels: tuple[str, ...]  # in the order of their class indices


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
    kind = guess_kind(path, lines) if task is None else task.kind
    layout = find_layout(path, lines, kind)
    notation = Notation(scheme)
    if task is None or (kind == "tagging" and scheme != "iob2"):
        cells = collect_cells(path, lines, kind, layout)
        if kind == "tagging":
            notation = recognise_notation(cells, scheme, str(path), repair)
        if task is None:
            task = make_task(
                kind, collect_labels(cells, kind, notation), notation, path, is_said=False
            )
    return decode(path, lines, task, notation, repair, width, layout)


def write_tsv(
    path: str | Path, examples: Sequence[Example], labels: Sequence[tuple[str, ...]]
) -> None:
    """Writes examples with these labels as a task file, whole or not at all.

    Tabs and line feeds inside a text become spaces. A known language is written as the prefix of
    the first label.
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
            inputs = (" " if len(names) == len(cells) else "\t").join(cells)
            file.write(f"{inputs}\t{prefix}{' '.join(names)}\n")


def read_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of a labels.tsv, in order; None if the file does not exist.

    Raises:
        InputError: an empty line, a line with a tab, or a repeated label.
    """
    if not path.exists():
        return None
    names = read_lines(path)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or "\t" in name:
            raise InputError(f"{locate(path, number)}: a line must be one label without tabs.")
        if name in seen:
            raise InputError(f"{locate(path, number)}: label {show(name)} is repeated.")
        seen.add(name)
    return tuple(names)


def collect_cells(path: Path, lines: list[str], kind: str, layout: Layout) -> dict[str, str]:
    """The label cells that occur in a file, each with the file and line where it does first."""
    cells: dict[str, str] = {}
    if layout.form == "tsv" and layout.table is None:  # what is wrong is told by decoding
        for number, line in enumerate(lines, 1):
            label = line.rpartition("\t")[2]
            if label not in cells:
                cells[label] = locate(path, number)
    else:
        for record in read_records(path, lines, kind, layout):
            cells.setdefault(record.label, locate(path, record.line))
    return cells


def recognise_notation(
    cells: Collection[str],
    scheme: str,
    where: str,
    repair: bool,
    languages: Collection[str] = (),
) -> Notation:
    """The notation of the tags in cells; see `find_notation` for the other arguments."""

    def cut() -> Iterator[list[str]]:
        for cell in cells:
            first, *rest = cell.strip(" ").split(" ")
            yield [_cut_language(first, languages), *rest]

    return find_notation(collect_tags(cells, languages), cut(), scheme, where, repair)


def collect_tags(cells: Iterable[str], languages: Collection[str] = ()) -> set[str]:
    """The tags in cells, without the languages before them.

    Args:
        languages: prefixes that are languages whether or not they are codes.
    """
    firsts: set[str] = set()
    tags: set[str] = set()
    for cell in cells:
        first, _, rest = cell.strip(" ").partition(" ")
        firsts.add(first)
        if rest:
            tags.update(rest.split(" "))
    return tags | {_cut_language(first, languages) for first in firsts}


def _cut_language(first: str, languages: Collection[str]) -> str:
    # The first tag of a cell without the language before it.
    language, colon, tag = first.partition(":")
    if colon and tag and not is_tag(first):
        is_code = is_tag(tag) and LANGUAGE_CODE.fullmatch(language)
        if is_code or is_language(language) or fold_language(language) in languages:
            return tag
    return first


def collect_labels(
    cells: dict[str, str], kind: str, notation: Notation, languages: Collection[str] = ()
) -> tuple[str, ...]:
    """The labels in cells, sorted, for a folder without labels.tsv; tags are read as IOB2.

    Args:
        cells: as `collect_cells` returns them.
        languages: prefixes that are languages whether or not they are codes.

    Raises:
        InputError: a cell that may be a label, or a language and a label; or two labels that differ
            in case alone.
    """
    if kind == "tagging":
        written = collect_tags(cells, languages)
        tags = {"O", *filter(is_tag, map(notation.read, written))}
        read = tuple(sorted(convert_labels(sorted(tags), notation.base)))
        _check_case(read, cells)
        return read
    places: dict[str, str] = {}
    for cell, place in cells.items():
        places.setdefault(cell.strip(), place)
    plain = {cell for cell in places if ":" not in cell}
    prefixed = set(places) - plain
    coded = {cell for cell in prefixed if _is_prefixed(cell, languages)}
    rests = {cell.partition(":")[2] for cell in coded}
    said = {cell for cell in prefixed if cell.partition(":")[2] in plain - {""}}
    if (plain and (not rests <= plain or said - coded)) or (
        not plain and coded < prefixed and coded
    ):
        odd = min(said - coded or {each for each in coded if each.partition(":")[2] not in plain})
        raise InputError(
            f"{places[odd]}: {show(odd)} may be a label, or a language and a label: add a "
            "labels.tsv with one label per line, or name the languages in data.languages."
        )
    names = (plain or rests) | (prefixed - coded)
    _check_case(names, cells)
    return tuple(sorted(names, key=int) if are_numbers(names) else sorted(names))


def are_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers."""
    return all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)


def _is_prefixed(cell: str, languages: Collection[str]) -> bool:
    language, _, rest = cell.partition(":")
    return bool(rest) and (is_language(language) or fold_language(language) in languages)


def _check_case(names: Iterable[str], cells: dict[str, str]) -> None:
    """Refuses names that are equal but for case and the form of accents."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        folded = unicodedata.normalize("NFKC", name[2:] if is_tag(name) else name).casefold()
        folded = drop_invisible(folded)
        bare = name[2:] if is_tag(name) else name
        if seen.setdefault(folded, bare) != bare:
            first, later = sorted((bare, seen[folded]), key=lambda each: _find_place(each, cells))
            where = list(cells.values())[_find_place(later, cells)]
            raise InputError(
                f"{where}: {show(later)} and {show(first)} differ in case, accents or invisible "
                "characters alone: write them alike, or name both in a labels.tsv, one label per "
                "line."
            )


def _find_place(name: str, cells: Iterable[str]) -> int:
    # Index of the first cell with a name.
    return next(index for index, cell in enumerate(cells) if name in cell)


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
        return Task(kind, names)
    indices = {str(i): name for i, name in enumerate(names)}
    for name in names:
        if indices.get(name, name) != name:
            raise InputError(
                f"{source}: label {show(name)} is ambiguous, because it is also the number of "
                f"class {show(indices[name])}: use words as labels, or number them from 0."
            )
    return Task(kind, names)


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
    records = read_records(path, lines, task.kind, layout)
    if task.kind == "tagging":
        examples = _decode_tags(path, records, task, notation, repair)
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
            f"{', '.join(illegal[:3])}: correct them, set data.scheme (predict.py: "
            "--scheme) to their scheme, or set data.repair=True."
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
            raise InputError(f"{locate(path, record.line)}: {_name_unknown('tag', tag, task)}")
    tags, at = to_iob2(read, notation.base)
    fault = ""
    if at is not None:
        before = written[at - 1] if at else "the start"
        fault = f"{written[at] if at < len(written) else 'the end'} after {before}"
        fault = show_name(fault)
    return language, tags, fault


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
