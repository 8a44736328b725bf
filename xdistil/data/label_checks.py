"""Labels that cannot be meant: nothing to learn, another column, a header, others in dev."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from xdistil import config
from xdistil.data.examples import Example, Task
from xdistil.errors import InputError, show

_MANY = 10  # texts or labels from which on their numbers say something
_log = logging.getLogger("xdistil")


def count_classes(examples: Sequence[Example], task: Task) -> Counter[str]:
    """Entities by type (tagging), or texts by class or label."""
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
        if task.multilabel:
            _check_several(train, counts["train"], path, is_said)
        else:
            _check_classes(train, counts["train"], path)
        _check_names(train, counts["train"], path, is_said, task, data)
        _check_header(gold, counts["train"], files, is_said)
        if not task.multilabel:
            _warn_of_languages(train)
    for name, found in counts.items():
        if name == "train":
            continue
        if not found:
            what = "entity" if task.kind == "tagging" else "label"
            _log.warning("%s has no %s: scores on %s will be empty", files[name], what, name)
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


def _check_classes(train: Sequence[Example], counts: Counter[str], path: Path) -> None:
    if len(counts) == 1:
        raise InputError(
            f"{path}: all {len(train):,} texts are of one class, {show(next(iter(counts)))}: name "
            "the column with the labels in data.columns, such as data.columns=text:1,label:2."
        )


def _check_several(
    train: Sequence[Example], counts: Counter[str], path: Path, is_said: bool
) -> None:
    if not counts:
        raise InputError(
            f"{path}: no text has a label: name the column with the labels in data.columns, such "
            "as data.columns=text:1,label:2."
        )
    if len(counts) == 1 and not is_said:
        raise InputError(
            f"{path} has one label, {show(next(iter(counts)))}: name the separator of several in "
            "data.separator, or this one in a labels.tsv if there are no others."
        )
    if all(len(example.labels or ()) < 2 for example in train):
        _log.warning(
            "%s: no text has more than one label; if none can have, add a label for texts without "
            "any and set data.task=single",
            path,
        )


def _check_names(
    train: Sequence[Example],
    counts: Counter[str],
    path: Path,
    is_said: bool,
    task: Task,
    data: config.Data,
) -> None:
    remedy = "name them in a labels.tsv" if task.multilabel else "set data.task=single"
    if is_said or (data.task != "auto" and not task.multilabel):
        return
    phrases = sum(len(name.split()) > 2 for name in counts)
    if 2 * phrases > len(counts) > len({each.inputs for each in train}):
        raise InputError(
            f"{path}: the labels are texts, such as {show(next(iter(counts)))}, and the texts are "
            f"few, such as {show(train[0].inputs[0])}: set data.columns=text:2,label:1, or "
            f"{remedy} if they are classes."
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
            f"{remedy} if they are names of classes."
        )
    if len(counts) >= _MANY and 2 * len(counts) >= len(train):
        raise InputError(
            f"{path} has {len(counts):,} different labels for {len(train):,} texts, such as "
            f"{show(next(iter(counts)))}: name the column with the labels in data.columns, such as "
            f"data.columns=text:1,label:2, or {remedy} if they are classes."
        )


def _check_header(
    gold: Mapping[str, list[Example]],
    counts: Counter[str],
    files: Mapping[str, Path],
    is_said: bool,
) -> None:
    """Refuses a first line that only a header explains: its label is nowhere else."""
    first = gold["train"][0]
    if is_said or 2 * len(counts) > len(gold["train"]) or len(first.labels or ()) != 1:
        return
    assert first.labels is not None
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
