"""Files -> examples: what labels mean, which languages and how many sentences are used."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.data.formats import (
    EXTENSIONS,
    Record,
    guess_kind,
    read_lines,
    read_records,
    read_texts,
)
from xdistil.data.tags import allowed_tags, answerable_tags, convert_labels, is_tag, to_iob2
from xdistil.errors import InputError, show, show_name

UNKNOWN_LANGUAGE = "und"
_MARK = "\ufeff"
_LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")
_log = logging.getLogger("xdistil")


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence or a pair of texts, with its gold labels where there are any."""

    inputs: tuple[str, ...]  # words of a sentence (tagging), or one or two texts (classification)
    labels: tuple[str, ...] | None  # one IOB2 tag a word, or one class name; None: unlabelled
    language: str  # "und" where no language is known


@dataclass(frozen=True)
class Task:
    """What is predicted."""

    kind: str  # "tagging" or "classification"
    labels: tuple[str, ...]  # in the order of their class indices


def gold_task(task: Task) -> Task:
    """The task that gold labels are read with, to be compared with a model's answers to `task`.

    A head may name fewer tags than its answers turn into (I- without B-), or those of BIOES.
    """
    return replace(task, labels=answerable_tags(task.labels)) if task.kind == "tagging" else task


@dataclass(frozen=True)
class Corpus:
    """All sentences of a run."""

    task: Task
    train: list[Example]  # empty where the run has no labels to learn from
    dev: list[Example]  # that choose; in a run without labels held-out transfer texts
    test: list[Example] | None  # None where the task folder has none
    transfer: list[Example]  # unlabelled
    gold: bool = True  # false: nothing is learnt from labels, the teacher's answers are compared
    gold_dev: list[Example] | None = None  # a dev file that chooses nothing, for its scores alone


def read_corpus(data: config.Data, seed: int, transfer: bool = True) -> Corpus:
    """Reads a task folder as the fields of `data` say; `seed` draws the held-out dev sentences.

    A missing test file is a warning. Without transfer texts the training texts serve, which is
    logged: those of all languages, though only `data.train_languages` keep their labels.

    Args:
        transfer: whether unlabelled texts are wanted at all.

    Raises:
        InputError: no such folder, a missing or damaged file, no dev, labels or tags that are
            unknown or illegal, a language that does not occur.
    """
    folder = Path(data.folder)
    if not data.folder or not folder.is_dir():
        raise InputError(f"data.folder {data.folder!r} is not a folder.")
    task, gold = _read_gold(data, folder)
    train, dev, test = gold["train"], gold.get("dev"), gold.get("test")
    if dev is None:
        train, dev = hold_out(train, data.dev_fraction, seed)
        _log.info("dev: %d sentences held out of train (data.dev_fraction)", len(dev))
        if not dev or not train:
            raise InputError(
                f"data.dev_fraction {data.dev_fraction} leaves {len(train)} train and {len(dev)} "
                f"dev sentences of {folder}: choose another."
            )
    elif data.dev_fraction:
        _log.info("data.dev_fraction is not used: %s has a dev file", folder)
    if test is None:
        _log.warning("%s has no test file: the results will have no test scores", folder)

    everywhere = config.split_names(data.languages)
    in_train = config.split_names(data.train_languages)
    known = {example.language for examples in (train, dev, test or []) for example in examples}
    check_languages("data.languages", everywhere, known)
    check_languages("data.train_languages", in_train, known)
    train_everywhere = keep_languages(train, everywhere)
    train = keep_languages(train_everywhere, in_train)
    dev = keep_languages(keep_languages(dev, everywhere), in_train)
    for name, examples in (("train", train), ("dev", dev)):
        if not examples:
            raise InputError(
                f"No {name} sentence of {folder} is left by data.languages and "
                "data.train_languages: name other languages."
            )
    if test is not None:
        test = keep_languages(test, everywhere) or None
        if test is None:
            _log.warning("no test sentence has a language of data.languages: no test scores")
    train = take_evenly(train, data.limit)
    if not transfer:
        return Corpus(task, train, dev, test, [])
    unlabelled = read_transfer(data, task, len(train[0].inputs))
    if unlabelled is None:
        others = [each for each in train_everywhere if in_train and each.language not in in_train]
        unlabelled = [Example(each.inputs, None, each.language) for each in (*train, *others)]
        _log.info("no transfer texts: the %d training texts serve, without labels", len(unlabelled))
    return Corpus(task, train, dev, test, take_evenly(unlabelled, data.transfer_limit))


def read_file(
    path: str | Path,
    task: Task | None = None,
    scheme: str = "iob2",
    repair: bool = False,
    width: int = 0,
) -> list[Example]:
    """The labelled examples of one file in any format; labels must be those of `task`, if given.

    Args:
        width: texts of a classification example, one or two; 0: as many as the first one.

    Raises:
        InputError: as `read_corpus`, about this file.
    """
    path = Path(path)
    lines = read_lines(path)
    if task is None:
        kind = guess_kind(path, lines)
        task = make_task(kind, _collect_labels({path: lines}, kind, scheme), scheme, path)
    return _decode(path, lines, task, scheme, repair, width)


def write_tsv(
    path: str | Path, examples: Sequence[Example], labels: Sequence[tuple[str, ...]]
) -> None:
    """Writes examples with these labels as a task file: a temporary file beside, then renamed.

    Tabs and line ends inside a text become spaces, except a carriage return alone, which is a
    character. A known language is the first label's prefix.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    to_spaces = str.maketrans("\t\n", "  ")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            if examples and examples[0].inputs[0].startswith(_MARK):
                file.write(_MARK)  # the reader takes the first one for a byte order mark
            for example, names in zip(examples, labels, strict=True):
                cells = [text.translate(to_spaces) for text in example.inputs]
                prefix = "" if example.language == UNKNOWN_LANGUAGE else f"{example.language}:"
                inputs = (" " if len(names) == len(cells) else "\t").join(cells)
                file.write(f"{inputs}\t{prefix}{' '.join(names)}\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def list_files(data: config.Data) -> dict[str, Path]:
    """The files that a run reads, by what they are: train, labels, transfer[0] ...

    Raises:
        InputError: two files of one name, or a pattern of data.transfer that matches none.
    """
    found: dict[str, Path | None] = {}
    if data.folder:
        folder = Path(data.folder)
        found = {name: find_file(folder, name) for name in ("train", "dev", "test")}
        found["labels"] = folder / "labels.tsv"
    for index, (path, language) in enumerate(_find_transfer(data).items()):
        found[f"transfer[{index}]" + (f" in {language}" if language else "")] = path
    return {name: path for name, path in found.items() if path is not None and path.exists()}


def take_evenly(examples: list[Example], limit: int) -> list[Example]:
    """At most `limit` examples (0: all), in their order: the first ones of each language.

    Each language gives equally many; what a short one cannot give the others share, and a rest
    goes to the languages that occur first.
    """
    if not limit or limit >= len(examples):
        return examples
    available = Counter(example.language for example in examples)
    quota = dict.fromkeys(available, 0)
    left, unfilled = limit, list(available)
    while left:
        share = max(1, left // len(unfilled))
        for language in unfilled:
            given = min(share, available[language] - quota[language], left)
            quota[language] += given
            left -= given
        unfilled = [language for language in unfilled if quota[language] < available[language]]
    taken = []
    for example in examples:
        if quota[example.language]:
            quota[example.language] -= 1
            taken.append(example)
    return taken


def _read_gold(data: config.Data, folder: Path) -> tuple[Task, dict[str, list[Example]]]:
    # The task and the labelled files that are there, by split.
    found = {name: find_file(folder, name) for name in ("train", "dev", "test")}
    paths = {name: path for name, path in found.items() if path is not None}
    if "train" not in paths:
        raise InputError(
            f"{folder} has no train file: train.tsv, train.conll or train.jsonl; only a fine-tuned "
            "teacher.model with teacher.finetune=False does without."
        )
    if "dev" not in paths and not data.dev_fraction:
        raise InputError(
            f"{folder} has no dev file: add dev.tsv, or set data.dev_fraction=0.1 to hold out a "
            "tenth of train."
        )
    names = read_labels(folder / "labels.tsv")
    lines = {path: read_lines(path) for path in paths.values()}
    if names is None:
        kind = guess_kind(paths["train"], lines[paths["train"]])
        names = _collect_labels(lines, kind, data.scheme)
    else:
        kind = "tagging" if all(map(is_tag, names)) else "classification"
    task = make_task(kind, names, data.scheme, folder)
    gold: dict[str, list[Example]] = {}
    width = 0
    for name, path in paths.items():
        gold[name] = _decode(path, lines.pop(path), task, data.scheme, data.repair, width)
        width = len(gold["train"][0].inputs)
    return task, gold


def find_file(folder: Path, name: str) -> Path | None:
    """A task folder's file of a name, in any format, plain or .gz.

    Raises:
        InputError: there are two.
    """
    candidates = (f"{name}.{extension}{gz}" for extension in EXTENSIONS for gz in ("", ".gz"))
    found = [folder / candidate for candidate in candidates if (folder / candidate).exists()]
    if len(found) > 1:
        raise InputError(
            f"{folder} has both {found[0].name} and {found[1].name}: keep one of them."
        )
    return found[0] if found else None


def read_labels(path: Path) -> tuple[str, ...] | None:
    """The labels of a labels.tsv, in order; None where there is none.

    Raises:
        InputError: an empty line, one with a tab, or a label that stands there twice.
    """
    if not path.exists():
        return None
    names = read_lines(path)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or "\t" in name:
            raise InputError(f"{path}:{number}: a line is one label, without tabs.")
        if name in seen:
            raise InputError(f"{path}:{number}: label {show(name)} stands here a second time.")
        seen.add(name)
    return tuple(names)


def _collect_labels(lines: dict[Path, list[str]], kind: str, scheme: str) -> tuple[str, ...]:
    # Where no labels.tsv says which labels there are: the sorted union of those that occur.
    cells: dict[str, str] = {}  # where each stands first
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
    coded = sum(bool(_LANGUAGE_CODE.fullmatch(cell.partition(":")[0])) for cell in prefixed)
    if not rests <= plain if plain else 0 < coded < len(prefixed):
        odd = min(cell for cell in prefixed if cell.partition(":")[2] not in plain)
        raise InputError(
            f"{cells[odd]}: {show(odd)} may be a label, or a language and a label: add a "
            "labels.tsv with one label a line."
        )
    names = plain or (rests if coded else prefixed)
    is_number = all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names)
    return tuple(sorted(names, key=int) if is_number else sorted(names))


def make_task(kind: str, names: tuple[str, ...], scheme: str, source: Path) -> Task:
    """The task whose labels, written in a scheme, have these names in this order.

    Raises:
        InputError: a tag of another scheme, or a name that is the number of another class; it
            names `source`.
    """
    if kind == "tagging":
        if scheme != "bioes":
            for name in names:
                if name[0] in "ES":
                    raise InputError(
                        f"{source}: tag {show(name)} is none of {scheme}: data.scheme=bioes reads "
                        "it."
                    )
        return Task(kind, convert_labels(names, scheme))
    indices = {str(i): name for i, name in enumerate(names)}
    for name in names:
        if indices.get(name, name) != name:
            raise InputError(
                f"{source}: label {show(name)} is ambiguous, for it is also the number of class "
                f"{show(indices[name])}: name the classes by words, or number them from 0."
            )
    return Task(kind, names)


def _decode(
    path: Path, lines: list[str], task: Task, scheme: str, repair: bool, width: int
) -> list[Example]:
    # Classification: every example has `width` texts; 0: as many as the first one.
    records = read_records(path, lines, task.kind)
    if task.kind == "tagging":
        examples = _decode_tags(path, records, task, scheme, repair)
    else:
        examples = _decode_classes(path, records, task, width)
    if not examples:
        raise InputError(f"{path} holds no sentence.")
    return examples


def _split_prefix(cell: str, is_label: Callable[[str], bool]) -> tuple[str, str]:
    # A language prefix is split off only if what follows is a label and the whole is not.
    if not is_label(cell):
        language, colon, rest = cell.partition(":")
        if colon and language and is_label(rest):
            return language, rest
    return UNKNOWN_LANGUAGE, cell


def _decode_tags(
    path: Path, records: Iterable[Record], task: Task, scheme: str, repair: bool
) -> list[Example]:
    allowed = allowed_tags(task.labels, scheme)
    # Equal tag columns and equal words share their objects: half the memory, and faster.
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
            "correct them, set data.scheme (predict.py: --scheme) to how they are written, or "
            "data.repair=True."
        )
    if illegal:
        _log.warning("%s: tags of %d sentences made legal", path, len(illegal))
    return examples


def _decode_cell(
    path: Path, record: Record, allowed: frozenset[str], scheme: str, task: Task
) -> tuple[str, tuple[str, ...], str]:
    # (language, IOB2 tags, what is illegal about them)
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
    first_line: dict[str, int] = {}  # of a label written by name, and of one by number
    examples: list[Example] = []
    for record in records:
        width = width or len(record.inputs)
        _check_width(path, record, width)
        language, value = _split_prefix(record.label, values.__contains__)
        if value not in values:
            raise InputError(f"{path}:{record.line}: {_name_unknown('label', value, task)}")
        if (value in by_name) != (value in by_number):
            first_line.setdefault("name" if value in by_name else "number", record.line)
        examples.append(Example(record.inputs, (values[value],), record.language or language))
    if len(first_line) == 2:
        raise InputError(
            f"{path}: labels are names (line {first_line['name']}) and numbers "
            f"(line {first_line['number']}): write all in one way."
        )
    return examples


def _check_width(path: Path, record: Record, width: int) -> None:
    if len(record.inputs) != width or width > 2:
        raise InputError(
            f"{path}:{record.line}: {len(record.inputs)} texts where {min(width, 2)} "
            f"{'was' if width == 1 else 'were'} expected."
        )


def _name_unknown(what: str, value: str, task: Task) -> str:
    known = ", ".join(map(show, task.labels[:12])) + (", ..." if len(task.labels) > 12 else "")
    return f"{what} {show(value)} is not among the task's labels, which are {known}."


def hold_out(
    examples: list[Example], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """(the rest, a share of each language), both in their order.

    Copies of one sentence never stand on both sides.
    """
    texts: dict[str, dict[tuple[str, ...], None]] = {}
    for example in examples:
        texts.setdefault(example.language, {})[example.inputs] = None
    generator = np.random.default_rng(seed)
    held: set[tuple[str, tuple[str, ...]]] = set()
    for language in sorted(texts):
        distinct = list(texts[language])
        count = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
        held.update((language, distinct[i]) for i in generator.permutation(len(distinct))[:count])
    train: list[Example] = []
    dev: list[Example] = []
    for example in examples:
        (dev if (example.language, example.inputs) in held else train).append(example)
    return train, dev


def check_languages(field: str, wanted: Iterable[str], known: set[str]) -> None:
    """Raises InputError where a field names a language that is not among the known ones."""
    for language in wanted:
        if language not in known:
            raise InputError(
                f"{field} names {show(language)}, which the task folder does not hold: it has "
                f"{', '.join(sorted(known))}."
            )


def keep_languages(examples: list[Example], wanted: Iterable[str]) -> list[Example]:
    """The examples in the wanted languages; all of them where none is named."""
    if not wanted:
        return examples
    kept = frozenset(wanted)
    return [example for example in examples if example.language in kept]


def _find_transfer(data: config.Data) -> dict[Path, str]:
    # The files of unlabelled texts, each with the language that data.transfer says it has, or "".
    patterns = config.split_names(data.transfer)
    if not patterns:
        found = find_file(Path(data.folder), "transfer") if data.folder else None
        return {} if found is None else {found: ""}
    paths: dict[Path, str] = {}
    for pattern in patterns:
        language, matches = "", _match(pattern)
        before, colon, rest = pattern.partition(":")
        if not matches and colon and _LANGUAGE_CODE.fullmatch(before):
            language, matches = before, _match(rest)
        if not matches:
            raise InputError(f"data.transfer: no file matches {pattern!r}.")
        for path in matches:
            if paths.setdefault(Path(path), language) != language:
                raise InputError(
                    f"data.transfer names {path} twice, as {show(paths[Path(path)])} and as "
                    f"{show(language)}: name it once."
                )
    return paths


def _match(pattern: str) -> list[str]:
    return [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))


def read_transfer(
    data: config.Data, task: Task, width: int = 0, raw: bool = False
) -> list[Example] | None:
    """The unlabelled texts in `data.languages`; None where neither file nor pattern names any.

    A text's language is that of the JSON field, else what `data.transfer` says of the file.

    Args:
        width: texts of a classification example, one or two; 0: as many as the first one.
        raw: words of plain text are what `str.split` finds, as in prediction.

    Raises:
        InputError: as `read_corpus`, about these files.
    """
    paths = _find_transfer(data)
    if not paths:
        return None
    words: dict[str, str] = {}
    examples = []
    for path, said in paths.items():
        lines = read_lines(path)
        for record in read_texts(path, lines, task.kind, raw):
            if task.kind == "classification":
                width = width or len(record.inputs)
                _check_width(path, record, width)
            inputs = tuple([words.setdefault(word, word) for word in record.inputs])
            examples.append(Example(inputs, None, record.language or said or UNKNOWN_LANGUAGE))
    if not examples:
        raise InputError(f"{next(iter(paths))} holds no sentence.")
    languages = config.split_names(data.languages)
    if languages and any(example.language != UNKNOWN_LANGUAGE for example in examples):
        examples = keep_languages(examples, languages)
        if not examples:
            raise InputError("No transfer text has a language of data.languages: name others.")
    elif languages:
        _log.info("transfer texts carry no language: data.languages keeps all of them")
    return examples
