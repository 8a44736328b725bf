"""Files -> examples: labels, tag schemes and language prefixes."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xdistil.data.formats import Record, guess_kind, read_lines, read_records
from xdistil.data.tag_schemes import allowed_tags, convert_labels, is_tag, predictable_tags, to_iob2
from xdistil.errors import InputError, show, show_name
from xdistil.runtime.json_io import write_atomically

UNKNOWN_LANGUAGE = "und"
LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")
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
    if task is None:
        kind = guess_kind(path, lines)
        task = make_task(kind, collect_labels({path: lines}, kind, scheme), scheme, path)
    return decode(path, lines, task, scheme, repair, width)


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
            raise InputError(f"{path}:{number}: a line must be one label without tabs.")
        if name in seen:
            raise InputError(f"{path}:{number}: label {show(name)} is repeated.")
        seen.add(name)
    return tuple(names)


def collect_labels(lines: dict[Path, list[str]], kind: str, scheme: str) -> tuple[str, ...]:
    """The sorted union of the labels that occur, for a folder without labels.tsv."""
    cells: dict[str, str] = {}  # label column -> its first file and line
    for path, its_lines in lines.items():
        for record in read_records(path, its_lines, kind):
            cells.setdefault(record.label, f"{path}:{record.line}")
    if kind == "tagging":
        tags = {"O"}
        for cell in cells:
            first, *rest = cell.split(" ")
            tags.update(
                filter(is_tag, [first if is_tag(first) else first.partition(":")[2], *rest])
            )
        return tuple(sorted(convert_labels(sorted(tags), scheme)))
    plain = {cell for cell in cells if ":" not in cell}
    prefixed = set(cells) - plain
    rests = {cell.partition(":")[2] for cell in prefixed}
    coded = sum(bool(LANGUAGE_CODE.fullmatch(cell.partition(":")[0])) for cell in prefixed)
    if not rests <= plain if plain else 0 < coded < len(prefixed):
        odd = min(cell for cell in prefixed if cell.partition(":")[2] not in plain)
        raise InputError(
            f"{cells[odd]}: {show(odd)} may be a label, or a language and a label: add a "
            "labels.tsv with one label per line."
        )
    names = plain or (rests if coded else prefixed)
    is_number = all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)
    return tuple(sorted(names, key=int) if is_number else sorted(names))


def make_task(kind: str, names: tuple[str, ...], scheme: str, source: Path) -> Task:
    """The task with these labels, written in a scheme, in this order.

    Raises:
        InputError: a tag of another scheme, or a name that is the number of another class; the
            message names `source`.
    """
    if kind == "tagging":
        if scheme != "bioes":
            for name in names:
                if name[0] in "ES":
                    raise InputError(
                        f"{source}: tag {show(name)} is not a tag of {scheme}: set "
                        "data.scheme=bioes."
                    )
        return Task(kind, convert_labels(names, scheme))
    indices = {str(i): name for i, name in enumerate(names)}
    for name in names:
        if indices.get(name, name) != name:
            raise InputError(
                f"{source}: label {show(name)} is ambiguous, because it is also the number of "
                f"class {show(indices[name])}: use words as labels, or number them from 0."
            )
    return Task(kind, names)


def decode(
    path: Path, lines: list[str], task: Task, scheme: str, repair: bool, width: int
) -> list[Example]:
    """The labelled examples of the lines of a file; see `read_file` for the arguments."""
    records = read_records(path, lines, task.kind)
    if task.kind == "tagging":
        examples = _decode_tags(path, records, task, scheme, repair)
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
            return language, rest
    return UNKNOWN_LANGUAGE, cell


def _decode_tags(
    path: Path, records: Iterable[Record], task: Task, scheme: str, repair: bool
) -> list[Example]:
    allowed = allowed_tags(task.labels, scheme)
    # Equal tag columns and equal words share one object: half the memory, and faster.
    decoded: dict[str, tuple[str, tuple[str, ...], str]] = {}
    words: dict[str, str] = {}
    examples: list[Example] = []
    illegal: list[str] = []
    for record in records:
        if record.label not in decoded:
            decoded[record.label] = _decode_cell(path, record, allowed, scheme, task)
        language, tags, fault = decoded[record.label]
        if len(tags) != len(record.inputs):
            raise InputError(
                f"{path}:{record.line}: {len(record.inputs)} words but {len(tags)} tags."
            )
        if fault:
            illegal.append(f"{path}:{record.line} ({fault})")
        inputs = tuple([words.setdefault(word, word) for word in record.inputs])
        examples.append(Example(inputs, tags, record.language or language))
    if illegal and not repair:
        raise InputError(
            f"{len(illegal)} sentences have illegal {scheme} tags, first {', '.join(illegal[:3])}: "
            "correct them, set data.scheme (predict.py: --scheme) to their scheme, or set "
            "data.repair=True."
        )
    if illegal:
        _log.warning("%s: illegal tags of %d sentences repaired", path, len(illegal))
    return examples


def _decode_cell(
    path: Path, record: Record, allowed: frozenset[str], scheme: str, task: Task
) -> tuple[str, tuple[str, ...], str]:
    # (language, IOB2 tags, the first illegal transition or "")
    first, *rest = record.label.split(" ")
    language, first = _split_prefix(first, allowed.__contains__)
    written = (first, *rest)
    for tag in written:
        if tag not in allowed:
            raise InputError(f"{path}:{record.line}: {_name_unknown('tag', tag, task)}")
    tags, at = to_iob2(written, scheme)
    fault = ""
    if at is not None:
        before = written[at - 1] if at else "the start"
        fault = f"{written[at] if at < len(written) else 'the end'} after {before}"
        fault = show_name(fault)
    return language, tags, fault


def _decode_classes(path: Path, records: Iterable[Record], task: Task, width: int) -> list[Example]:
    by_name = {name: name for name in task.labels}
    by_number = {str(i): name for i, name in enumerate(task.labels)}
    values = by_number | by_name
    first_line: dict[str, int] = {}  # of a label given as a name, and of one given as a number
    examples: list[Example] = []
    for record in records:
        width = width or len(record.inputs)
        check_width(path, record, width)
        language, value = _split_prefix(record.label, values.__contains__)
        if value not in values:
            raise InputError(f"{path}:{record.line}: {_name_unknown('label', value, task)}")
        if (value in by_name) != (value in by_number):
            first_line.setdefault("name" if value in by_name else "number", record.line)
        examples.append(Example(record.inputs, (values[value],), record.language or language))
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
            f"{path}:{record.line}: {len(record.inputs)} texts where {min(width, 2)} "
            f"{'was' if width == 1 else 'were'} expected."
        )


def _name_unknown(what: str, value: str, task: Task) -> str:
    known = ", ".join(map(show, task.labels[:12])) + (", ..." if len(task.labels) > 12 else "")
    return f"{what} {show(value)} is not among the task's labels, which are {known}."
