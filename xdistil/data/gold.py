"""The labelled files of a task folder: what they are, what they hold, and what cannot be meant."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdistil import config
from xdistil.data.examples import (
    Example,
    Task,
    collect_cells,
    collect_labels,
    decode,
    gold_task,
    make_task,
    read_labels,
    recognise_notation,
)
from xdistil.data.formats import EXTENSIONS, Layout
from xdistil.data.language_codes import fold_language, is_language
from xdistil.data.layouts import describe_layout, find_layout, guess_kind
from xdistil.data.lines import read_lines
from xdistil.data.tag_notation import Notation
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError, show

SPLITS = ("train", "dev", "test")
_KINDS = {"tagging": "tagging", "single": "classification", "pair": "classification"}
_LIKE_TAG = re.compile(r"[Oo]|[BIESLUMWbieslumw]([-_]\S+)?")
_MANY = 10  # texts or labels from which on their numbers say something
_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Reading:
    """What was understood of the labelled files."""

    scheme: str = "iob2"  # of the tags, as data.scheme names it
    lines: tuple[str, ...] = ()  # task and why, tags and files, in words


NOTHING_READ = Reading()


def read_gold(
    data: config.Data, predicted: Task | None = None, width: int = 0
) -> tuple[Task, dict[str, list[Example]], Reading]:
    """The labelled files of a task folder by split, the task that their labels belong to, and what
    was understood of them.

    Args:
        predicted: the task of a teacher, whose classes the labels must be among; None: the task is
            read from labels.tsv or the files, of which train must be one.
        width: texts of a classification example, one or two; 0: as many as the first one.

    Raises:
        InputError: a damaged file, unknown or illegal labels, or labels that cannot be meant.
    """
    folder = Path(data.folder)
    names = read_labels(folder / "labels.tsv")
    columns = config.parse_columns(data.columns)
    found = {name: path for name in SPLITS if (path := find_file(folder, name)) is not None}
    lines = {name: read_lines(path) for name, path in found.items()}
    if not found:
        assert predicted is not None
        return gold_task(predicted), {}, NOTHING_READ
    first = next(iter(found))
    kind, why = _find_kind(data, predicted, names, found[first], lines[first], columns)
    layouts = _find_layouts(found, lines, kind, columns)
    told = {
        name: describe_layout(layouts[name], kind, path, lines[name])
        for name, path in found.items()
    }
    languages = {fold_language(name) for name in config.split_names(data.languages)}
    cells: dict[str, str] = {}
    if kind == "tagging" or names is None:  # else labels.tsv says all
        for name, path in found.items():
            cells = collect_cells(path, lines[name], kind, layouts[name]) | cells
    notation = Notation("iob2")
    if kind == "tagging":
        where = ", ".join(map(str, found.values())) if len(found) == 1 else str(folder)
        notation = recognise_notation(cells, data.scheme, where, data.repair, languages)
    if predicted is not None:
        task = _match_task(predicted, kind, names, notation, folder / "labels.tsv")
    else:
        labels = collect_labels(cells, kind, notation, languages) if names is None else names
        task = make_task(kind, labels, notation, folder, is_said=names is not None)
        _check_tags(task, folder)
    width = width or {"single": 1, "pair": 2}.get(data.task, 0)
    gold: dict[str, list[Example]] = {}
    for name, path in found.items():
        gold[name] = decode(
            path, lines.pop(name), task, notation, data.repair, width, layouts[name]
        )
        width = width or len(gold[name][0].inputs)
    if predicted is None:
        check_labels(gold, found, task, is_said=names is not None, data=data)
    if kind == "tagging":
        how = "recognised; set data.scheme to change it"
        how = f"as data.scheme={data.scheme} says" if data.scheme != "auto" else how
        tags = [f"tags: {notation.describe()}, {how}"]
    else:
        tags = []
    reading = (
        f"task: {_name_task(kind, width)}, {why}",
        *tags,
        *_join_files(found, told),
        *_describe_spelling(cells, kind),
    )
    return task, gold, Reading(notation.scheme, reading)


def find_file(folder: Path, name: str) -> Path | None:
    """The file of a task folder with this name, in any format, plain or .gz.

    Raises:
        InputError: there are two such files, or one in parts.
    """
    candidates = (f"{name}.{extension}{gz}" for extension in EXTENSIONS for gz in ("", ".gz"))
    found = [folder / candidate for candidate in candidates if (folder / candidate).exists()]
    found += sorted(folder.glob(f"{name}-?????-of-?????.parquet"))  # as Hugging Face names them
    if len(found) > 1:
        raise InputError(
            f"{folder} has both {found[0].name} and {found[1].name}: keep one of them."
        )
    return found[0] if found else None


def _name_task(kind: str, width: int) -> str:
    if kind == "tagging":
        return "tagging (a tag per word)"
    return f"classification of {'pairs of texts' if width == 2 else 'single texts'}"


def _find_kind(
    data: config.Data,
    predicted: Task | None,
    names: tuple[str, ...] | None,
    path: Path,
    lines: list[str],
    columns: dict[str, str],
) -> tuple[str, str]:
    """The kind of task and why."""
    if data.task != "auto":
        kind = _KINDS[data.task]
        if columns and guess_kind(path, lines, columns) != kind:
            raise InputError(
                f"data.task is {data.task}, but data.columns names other columns: set "
                "data.task=auto."
            )
        if predicted is not None and predicted.kind != kind:
            raise InputError(
                f"data.task is {data.task}, but the teacher's task is {predicted.kind}: set "
                "data.task=auto."
            )
        return kind, f"as data.task={data.task} says"
    if names is not None and predicted is None and not columns and all(map(is_tag, names)):
        return "tagging", "as labels.tsv names tags (set data.task to change it)"
    kind = guess_kind(path, lines, columns) if columns or predicted is None else predicted.kind
    if predicted is not None and predicted.kind != kind:
        raise InputError(
            f"data.columns names the columns of {kind}, but the teacher's task is {predicted.kind}."
        )
    if columns:
        return kind, "by the columns of data.columns"
    if predicted is not None:
        return kind, "as the teacher's"
    if names is not None and (kind != "tagging" or not any(map(_LIKE_TAG.fullmatch, names))):
        return "classification", "as labels.tsv names classes (set data.task to change it)"
    because = {
        "tagging": f"because {path.name} has a tag per word",
        "classification": f"because {path.name} has one label per text",
    }
    return kind, f"{because[kind]} (set data.task to change it)"


def _find_layouts(
    found: Mapping[str, Path], lines: Mapping[str, list[str]], kind: str, columns: dict[str, str]
) -> dict[str, Layout]:
    layouts: dict[str, Layout] = {}
    like: Layout | None = None
    for name, path in found.items():
        layouts[name] = find_layout(path, lines[name], kind, columns, like)
        like = like or layouts[name]
    return layouts


def _join_files(found: Mapping[str, Path], told: Mapping[str, str]) -> list[str]:
    """One line for all files that are read alike."""
    alike: dict[str, list[str]] = {}
    for name, path in found.items():
        alike.setdefault(told[name], []).append(path.name)
    return [f"{', '.join(files)}: {how}" for how, files in alike.items()]


def _describe_spelling(cells: Iterable[str], kind: str) -> list[str]:
    """What of the labels and languages is read otherwise than it is written."""
    notes = []
    padded = sorted(cell for cell in cells if cell != cell.strip()) if kind != "tagging" else []
    if padded:
        notes.append(f"labels: without the white space around {', '.join(map(show, padded[:4]))}")
    before = {cell.partition(":")[0] for cell in cells if ":" in cell}
    folded = sorted(name for name in before if is_language(name) and fold_language(name) != name)
    if folded:
        read = ", ".join(f"{name} is read as {fold_language(name)}" for name in folded[:4])
        notes.append(f"languages: {read}")
    return notes


def _match_task(
    predicted: Task, kind: str, names: tuple[str, ...] | None, notation: Notation, source: Path
) -> Task:
    """The task of gold labels that are compared with the predictions of a teacher."""
    task = gold_task(predicted)
    if names is None:
        return task
    known, task = task.labels, make_task(kind, names, notation, source)
    for name in task.labels:
        if name not in known:
            raise InputError(
                f"{source} names {show(name)}, which the teacher never predicts: its classes are "
                f"{', '.join(map(show, known))}."
            )
    return task


def _check_tags(task: Task, folder: Path) -> None:
    if task.kind == "tagging":
        for name in task.labels:
            if not is_tag(name):
                raise InputError(
                    f"{folder / 'labels.tsv'}: {show(name)} is not a tag, and the task is tagging: "
                    "set data.task=single if it is a class."
                )


def count_classes(examples: Sequence[Example], task: Task) -> Counter[str]:
    """Entities by type (tagging), or texts by class."""
    counts: Counter[str] = Counter()
    # Equal labels of a file share one tuple, whose identity is quicker to count than its content.
    alike = {id(example.labels): example.labels for example in examples}
    for labels, count in Counter(id(example.labels) for example in examples).items():
        for label in alike[labels] or ():
            if task.kind != "tagging":
                counts[label] += count
            elif label.startswith("B-"):
                counts[label[2:]] += count
    return counts


def check_labels(
    gold: Mapping[str, list[Example]],
    files: Mapping[str, Path],
    task: Task,
    is_said: bool,
    data: config.Data,
) -> None:
    """Refuses labels that cannot be meant, and warns of those that hardly are.

    Args:
        is_said: whether labels.tsv names the labels.

    Raises:
        InputError: nothing to learn, or something that looks like another column.
    """
    train, path = gold["train"], files["train"]
    numbers = len(train[0].inputs) == 2 and all(each.inputs[0].isdecimal() for each in train)
    if task.kind != "tagging" and numbers and data.task == "auto" and not data.columns:
        raise InputError(
            f"{path}: the first text of every pair is a number: set data.columns=text:2,label:3 if "
            "it numbers the texts, or data.task=pair if it is a text."
        )
    counts = {name: count_classes(examples, task) for name, examples in gold.items()}
    field = "data.columns=words:1,tags:2 and data.scheme say which column and how"
    if task.kind == "tagging":
        if not counts["train"]:
            raise InputError(
                f"{path} has no entity: every tag is O; name the column with the tags in "
                "data.columns, such as data.columns=tags:3."
            )
    else:
        field = "data.columns=text:1,label:2 says which column holds it"
        _check_classes(train, counts["train"], path, is_said or data.task != "auto")
        _check_header(gold, counts["train"], files, is_said)
        _warn_of_languages(train)
    for name, found in counts.items():
        if name == "train":
            continue
        if not found:
            _log.warning("%s has no entity: scores on %s will be empty", files[name], name)
        lacking = {each: count for each, count in found.items() if each not in counts["train"]}
        if not lacking:
            continue
        if not is_said and task.kind != "tagging" and len(gold[name]) > _MANY:
            _check_other_header(gold[name][0], lacking, files[name])
        shown = ", ".join(f"{show(each)} ({count:,})" for each, count in list(lacking.items())[:8])
        what = "types of entities" if task.kind == "tagging" else "classes"
        if 2 * sum(lacking.values()) > found.total():
            raise InputError(
                f"{files[name]} and {path} have different labels: {shown} of {name} are not in "
                f"train; {field}."
            )
        _log.warning("%s has %s that train lacks, and counts them: %s", files[name], what, shown)


def _check_classes(
    train: Sequence[Example], counts: Counter[str], path: Path, is_said: bool
) -> None:
    if len(counts) == 1:
        raise InputError(
            f"{path}: all {len(train):,} texts are of one class, {show(next(iter(counts)))}: name "
            "the column with the labels in data.columns, such as data.columns=text:1,label:2."
        )
    if is_said:
        return
    phrases = sum(len(name.split()) > 2 for name in counts)
    if 2 * phrases > len(counts) > len({each.inputs for each in train}):
        raise InputError(
            f"{path}: the labels are texts, such as {show(next(iter(counts)))}, and the texts are "
            f"few, such as {show(train[0].inputs[0])}: set data.columns=text:2,label:1, or "
            "data.task=single if they are classes."
        )
    missing = [name for name in counts if name.casefold() in ("nan", "null")]
    if missing:
        _log.warning("%s: the class %s may stand for a missing label", path, show(missing[0]))
    if any(re.fullmatch(r"[-+]?[0-9]*[.,][0-9]+([eE][-+]?[0-9]+)?", name) for name in counts) and (
        all(re.fullmatch(r"[-+]?[0-9.,]+([eE][-+]?[0-9]+)?", name) for name in counts)
    ):
        shown = ", ".join(sorted(counts)[:4])
        raise InputError(
            f"{path}: the labels are numbers with fractions ({shown}), and a class is no number: "
            "set data.task=single if they are names of classes."
        )
    if len(counts) >= _MANY and 2 * len(counts) >= len(train):
        raise InputError(
            f"{path} has {len(counts):,} different labels for {len(train):,} texts, such as "
            f"{show(next(iter(counts)))}: name the column with the labels in data.columns, such as "
            "data.columns=text:1,label:2, or set data.task=single if they are classes."
        )


def _check_header(
    gold: Mapping[str, list[Example]],
    counts: Counter[str],
    files: Mapping[str, Path],
    is_said: bool,
) -> None:
    """Refuses a first line that only a header explains: its label is nowhere else."""
    first = gold["train"][0]
    assert first.labels is not None
    if is_said or 2 * len(counts) > len(gold["train"]):
        return
    others = [examples[0] for name, examples in gold.items() if name != "train"]
    alone = counts[first.labels[0]] == 1 and len(counts) > 2
    alike = bool(others) and all(
        (each.inputs, each.labels) == (first.inputs, first.labels) for each in others
    )
    rare = len(counts) > 2 and all(n > 2 for name, n in counts.items() if name != first.labels[0])
    short = all(" " not in text.strip() for text in first.inputs)
    columns = f"text:{first.inputs[0].strip()},label:{first.labels[0]}"
    if len(columns) > 80 or not columns.isprintable() or len(first.inputs) > 1:
        columns = "text:NAME,label:NAME"
    if alone and (alike or (rare and short)):
        raise InputError(
            f"{files['train']}:1: {show(' '.join(first.inputs))} with the label "
            f"{show(first.labels[0])} looks like a header, because no other text has this label: "
            f"remove the line, or name the columns in data.columns={columns}."
        )


def _check_other_header(first: Example, lacking: Mapping[str, int], path: Path) -> None:
    """Refuses a first line of dev or test with a label that is nowhere else."""
    label = (first.labels or ("",))[0]
    short = all(" " not in text.strip() for text in first.inputs)
    if len(lacking) == 1 and lacking.get(label) == 1 and short:
        raise InputError(
            f"{path}:1: {show(' '.join(first.inputs))} with the label {show(label)} looks like a "
            "header, because no other text has this label: remove the line, or name the label in a "
            "labels.tsv, one per line."
        )


def _warn_of_languages(train: Sequence[Example]) -> None:
    """A prefix that says the class is hardly a language."""
    pairs = {(example.language, (example.labels or ("",))[0]) for example in train}
    languages, classes = {each for each, _ in pairs}, {label for _, label in pairs}
    if len(languages) > 1 and len(pairs) == len(classes):
        shown = ", ".join(f"{language}:{label}" for language, label in sorted(pairs)[:6])
        _log.warning(
            "every class has its own language (%s): if what stands before the colon is a part of "
            "the class, name the whole classes in a labels.tsv, one per line",
            shown,
        )
