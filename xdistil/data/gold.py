"""The labelled files of a task folder: what they are, what they hold, and what cannot be meant."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xdistil import config
from xdistil.data.examples import (
    Example,
    Task,
    decode,
    gold_task,
    make_task,
)
from xdistil.data.formats import EXTENSIONS, Layout
from xdistil.data.label_checks import check_labels
from xdistil.data.label_lists import describe_separator, find_separator
from xdistil.data.label_names import (
    collect_cells,
    collect_labels,
    part_cells,
    read_labels,
    recognise_notation,
    refuse_lists,
)
from xdistil.data.language_codes import fold_language, is_language
from xdistil.data.layouts import describe_layout, find_layout, guess_kind
from xdistil.data.lines import read_lines
from xdistil.data.tag_notation import Notation
from xdistil.data.tag_schemes import is_tag
from xdistil.errors import InputError, show

SPLITS = ("train", "dev", "test")
_KINDS = {
    "tagging": "tagging",
    "single": "classification",
    "pair": "classification",
    "multilabel": "multilabel",
}
_LIKE_TAG = re.compile(r"[Oo]|[BIESLUMWbieslumw]([-_]\S+)?")
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
            read from labels.tsv or the files, of which there must be one.
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
    if kind != "classification" or names is None:  # else labels.tsv says all
        for name, path in found.items():
            cells = collect_cells(path, lines[name], kind, layouts[name]) | cells
    notation = Notation("iob2")
    if kind == "tagging":
        where = ", ".join(map(str, found.values())) if len(found) == 1 else str(folder)
        notation = recognise_notation(cells, data.scheme, where, data.repair, languages)
    labels_told = []
    if kind == "multilabel":
        separator = config.SEPARATORS.get(data.separator) or find_separator(cells)
        layouts = {name: each._replace(separator=separator) for name, each in layouts.items()}
        labels_told = [describe_separator(cells, separator, bool(data.separator))]
        cells = part_cells(cells, separator, languages)
    if predicted is not None:
        task = _match_task(predicted, kind, names, notation, folder / "labels.tsv")
    else:
        labels = collect_labels(cells, kind, notation, languages) if names is None else names
        if kind == "classification" and names is None and data.task == "auto":
            refuse_lists(labels, cells)
        task = make_task(kind, labels, notation, folder, is_said=names is not None)
        _check_tags(task, folder)
    width = width or {"single": 1, "pair": 2}.get(data.task, 0)
    gold: dict[str, list[Example]] = {}
    for name, path in found.items():
        gold[name] = decode(
            path, lines.pop(name), task, notation, data.repair, width, layouts[name]
        )
        width = width or len(gold[name][0].inputs)
    if predicted is None and "train" in gold:
        check_labels(gold, found, task, is_said=names is not None, data=data)
    if kind == "tagging":
        how = "recognised; set data.scheme to change it"
        how = f"as data.scheme={data.scheme} says" if data.scheme != "auto" else how
        labels_told = [f"tags: {notation.describe()}, {how}"]
    reading = (
        f"task: {_name_task(kind, width)}, {why}",
        *labels_told,
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
    parts = sorted(folder.glob(f"{name}-?????-of-?????.parquet"))  # as Hugging Face names them
    if len(parts) > 1 and not found:
        raise InputError(
            f"{folder} has {name} in {len(parts)} parts, from {parts[0].name} to {parts[-1].name}: "
            "join them by pyarrow.parquet.write_table(pyarrow.parquet.read_table([...]), "
            f"'{name}.parquet') with the paths of all parts, and remove these."
        )
    found += parts
    if len(found) > 1:
        raise InputError(
            f"{folder} has both {found[0].name} and {found[1].name}: keep one of them."
        )
    return found[0] if found else None


def _name_task(kind: str, width: int) -> str:
    if kind == "tagging":
        return "tagging (a tag per word)"
    several = ", any number of labels each" if kind == "multilabel" else ""
    return f"classification of {'pairs of texts' if width == 2 else 'single texts'}{several}"


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
        if columns and _are_tags(columns) != (kind == "tagging"):
            raise InputError(
                f"data.task is {data.task}, but data.columns names other columns: set "
                "data.task=auto."
            )
        if predicted is not None and predicted.name != kind:
            raise InputError(
                f"data.task is {data.task}, but the teacher's task is {predicted.name}: set "
                "data.task=auto."
            )
        return kind, f"as data.task={data.task} says"
    if data.separator and predicted is None:
        return "multilabel", f"as data.separator={data.separator} says"
    if names is not None and predicted is None and not columns and all(map(is_tag, names)):
        return "tagging", "as labels.tsv names tags (set data.task to change it)"
    kind = guess_kind(path, lines, columns) if predicted is None else predicted.name
    if predicted is not None and columns and _are_tags(columns) != (kind == "tagging"):
        named = "tagging" if _are_tags(columns) else "classification"
        raise InputError(
            f"data.columns names the columns of {named}, but the teacher's task is {kind}."
        )
    if columns:
        return kind, "by the columns of data.columns"
    if predicted is not None:
        return kind, "as the teacher's"
    are_tags = kind == "tagging" and any(map(_LIKE_TAG.fullmatch, names or ()))
    if names is not None and kind != "multilabel" and not are_tags:
        return "classification", "as labels.tsv names classes (set data.task to change it)"
    because = {
        "tagging": f"because {path.name} has a tag per word",
        "classification": f"because {path.name} has one label per text",
        "multilabel": f"because {path.name} has lists of labels",
    }
    return kind, f"{because[kind]} (set data.task to change it)"


def _are_tags(columns: dict[str, str]) -> bool:
    return config.kind_of_roles(columns) == "tagging"


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
