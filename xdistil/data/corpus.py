"""A task folder -> the sentences of a run: files, languages, limits, held-out dev."""

import glob
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xdistil import config
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task
from xdistil.data.gold import NOTHING_READ, Reading, find_file, read_gold
from xdistil.data.language_codes import LANGUAGE_CODE, fold_language
from xdistil.data.segmentation import UNITS
from xdistil.data.streamed import (
    JoinedExamples,
    drop_labels,
    number_languages,
    stream_examples,
    take_examples,
)
from xdistil.errors import InputError, show

_log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Corpus:
    """All sentences of a run."""

    task: Task
    train: Sequence[Example]  # empty in a run without labels
    dev: Sequence[Example]  # selects models; in a run without labels held-out transfer texts
    test: Sequence[Example] | None  # None if the task folder has none
    transfer: Sequence[Example]  # unlabelled; those of files are read again where needed
    gold: bool = True  # false: a run without labels, compared with the teacher's predictions
    gold_dev: Sequence[Example] | None = None  # of a dev file without train, for scores only
    reading: Reading = NOTHING_READ  # what was understood of the labelled files
    silver: Sequence[Example] = ()  # texts of annotators, with the labels that their votes decide
    silver_dev: bool = False  # dev is held out of those: its labels are no gold
    made: Sequence[Example] = ()  # further transfer texts, made of training texts

    @property
    def all_transfer(self) -> Sequence[Example]:
        """The transfer texts that were read, and those that were made."""
        return JoinedExamples(self.transfer, self.made) if self.made else self.transfer


def read_corpus(data: config.Data, seed: int, transfer: bool = True) -> Corpus:
    """Reads a task folder with the fields of `data`; `seed` draws held-out dev sentences.

    A missing test file is a warning. Only the training texts of `data.train_languages` keep their
    labels; the others are transfer texts. Without a file of transfer texts all training texts are
    used as such, and this is logged.

    Args:
        transfer: whether to read unlabelled texts.

    Raises:
        InputError: no such folder, a missing or damaged file, no dev, unknown or illegal labels, a
            language that does not occur.
    """
    folder = Path(data.folder)
    if not data.folder or not folder.is_dir():
        raise InputError(f"data.folder {data.folder!r} is not a folder.")
    if find_file(folder, "train") is None:
        raise InputError(
            f"{folder} has no train file: train.tsv, .csv, .conll, .jsonl, .json or .parquet; "
            "only a fine-tuned teacher.model with teacher.finetune=False needs none."
        )
    if find_file(folder, "dev") is None and not data.dev_fraction:
        other = next((file for file in sorted(folder.glob("val*")) if file.is_file()), None)
        add = f"rename {other.name} to dev{other.suffix}" if other else "add dev.tsv"
        raise InputError(
            f"{folder} has no dev file: {add}, or set data.dev_fraction=0.1 to hold out a "
            "tenth of train."
        )
    task, gold, reading = read_gold(data)
    train: Sequence[Example] = gold["train"]
    dev: Sequence[Example] | None = gold.get("dev")
    test: Sequence[Example] | None = gold.get("test")
    if dev is None:
        train, dev = hold_out(train, data.dev_fraction, seed)
        _log.info("dev: %d sentences held out of train (data.dev_fraction)", len(dev))
        if not dev or not train:
            raise InputError(
                f"data.dev_fraction {data.dev_fraction} leaves {len(train)} train and {len(dev)} "
                f"dev sentences of {folder}: choose another fraction."
            )
    elif data.dev_fraction:
        _log.info("data.dev_fraction is not used: %s has a dev file", folder)
    if test is None:
        _log.warning("%s has no test file: there will be no test scores", folder)

    everywhere = split_languages(data.languages)
    in_train = split_languages(data.train_languages)
    known = {example.language for examples in (train, dev, test or []) for example in examples}
    check_languages("data.languages", everywhere, known)
    check_languages("data.train_languages", in_train, known)
    train_everywhere = keep_languages(train, everywhere)
    train = keep_languages(train_everywhere, in_train)
    dev = keep_languages(keep_languages(dev, everywhere), in_train)
    for name, examples in (("train", train), ("dev", dev)):
        if not examples:
            raise InputError(
                f"No {name} sentence of {folder} is in data.languages and data.train_languages: "
                "name other languages."
            )
    if test is not None:
        test = keep_languages(test, everywhere) or None
        if test is None:
            _log.warning("no test sentence has a language of data.languages: no test scores")
    if data.draw == "first":
        train = take_evenly(train, data.limit)
    else:
        train = draw_evenly(train, task, data.limit, seed)
    if not transfer:
        return Corpus(task, train, dev, test, [], reading=reading)
    unlabelled = read_transfer(data, task, len(train[0].inputs))
    others = [each for each in train_everywhere if in_train and each.language not in in_train]
    if unlabelled is None:
        unlabelled = drop_labels([*train, *others])
        _log.info("no transfer texts: using %d training texts without labels", len(unlabelled))
    elif others:
        unlabelled = JoinedExamples(unlabelled, drop_labels(others))
        _log.info(
            "transfer texts: with %d training texts outside data.train_languages, without labels",
            len(others),
        )
    transfer_texts = take_evenly(unlabelled, data.transfer_limit)
    return Corpus(task, train, dev, test, transfer_texts, reading=reading)


def list_files(data: config.Data) -> dict[str, Path]:
    """The files that a run reads, by role: train, labels, transfer[0] ...

    Raises:
        InputError: two files of one name, or a pattern of data.transfer that matches no file.
    """
    found: dict[str, Path | None] = {}
    if data.folder:
        folder = Path(data.folder)
        found = {name: find_file(folder, name) for name in ("train", "dev", "test")}
        found["labels"] = folder / "labels.tsv"
    for index, (path, language) in enumerate(_find_transfer(data).items()):
        found[f"transfer[{index}]" + (f" in {language}" if language else "")] = path
    return {name: path for name, path in found.items() if path is not None and path.exists()}


def read_transfer(
    data: config.Data, task: Task, width: int = 0, raw: bool = False
) -> Sequence[Example] | None:
    """The unlabelled texts in `data.languages`; None if there is no file of them.

    The language of a text is that of its JSON field, else that of its file in `data.transfer`.

    Args:
        width: texts of a classification example, one or two; 0: as many as the first one.
        raw: split plain text like `str.split`, as in prediction.

    Raises:
        InputError: as `read_corpus`, about these files.
    """
    paths = _find_transfer(data)
    if not paths:
        return None
    examples: Sequence[Example] = stream_examples(
        paths.items(), task.kind, raw, width, cuts=data.segmentation == UNITS
    )
    if not examples:
        raise InputError(f"{next(iter(paths))} has no sentence.")
    languages = split_languages(data.languages)
    if not languages:
        return examples
    names, codes = number_languages(examples)
    if names != [UNKNOWN_LANGUAGE]:
        if UNKNOWN_LANGUAGE in names and UNKNOWN_LANGUAGE not in languages:
            unknown = np.count_nonzero(codes == names.index(UNKNOWN_LANGUAGE))
            _log.warning(
                "%s transfer texts have no language: data.languages leaves them out", f"{unknown:,}"
            )
        examples = keep_languages(examples, languages)
        if not examples:
            raise InputError("No transfer text has a language of data.languages: name others.")
    else:
        _log.info("transfer texts have no language: data.languages keeps all of them")
    return examples


def _find_transfer(data: config.Data) -> dict[Path, str]:
    # The files of unlabelled texts, each with its language in data.transfer, or "".
    patterns = config.split_names(data.transfer)
    if not patterns:
        found = find_file(Path(data.folder), "transfer") if data.folder else None
        return {} if found is None else {found: ""}
    paths: dict[Path, str] = {}
    for pattern in patterns:
        language, matches = "", _match(pattern)
        before, colon, rest = pattern.partition(":")
        if not matches and colon and LANGUAGE_CODE.fullmatch(before):
            language, matches = fold_language(before), _match(rest)
        if not matches:
            raise InputError(f"data.transfer: no file matches {pattern!r}.")
        for path in matches:
            if paths.setdefault(Path(path), language) != language:
                raise InputError(
                    f"data.transfer names {path} twice, as {show(paths[Path(path)])} and as "
                    f"{show(language)}: name it once."
                )
    return paths


def find_paths(field: str, patterns: str) -> list[Path]:
    """The files that the comma-separated paths and globs of a field name, each once.

    Raises:
        InputError: a pattern that matches no file.
    """
    paths: dict[Path, None] = {}
    for pattern in config.split_names(patterns):
        matches = _match(pattern)
        if not matches:
            raise InputError(f"{field}: no file matches {pattern!r}.")
        paths.update(dict.fromkeys(map(Path, matches)))
    return list(paths)


def _match(pattern: str) -> list[str]:
    return [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))


def hold_out(
    examples: Sequence[Example], fraction: float, seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """(the rest, a share of each language), both in their order.

    All copies of a sentence are in the same part.
    """
    digests = np.fromiter((_digest(each.inputs) for each in examples), np.uint64, len(examples))
    names, codes = number_languages(examples)
    generator = np.random.default_rng(seed)
    held = np.zeros(len(examples), bool)
    for language in sorted(range(len(names)), key=names.__getitem__):
        here = np.flatnonzero(codes == language)
        _, first, text = np.unique(digests[here], return_index=True, return_inverse=True)
        count = min(max(1, round(fraction * len(first))), len(first) - 1)
        # The texts that are drawn are numbered in the order in which they occur.
        drawn = np.argsort(first)[generator.permutation(len(first))[:count]]
        held[here] = np.isin(text, drawn)
    rest, dev = (take_examples(examples, np.flatnonzero(each)) for each in (~held, held))
    return rest, dev


def _digest(inputs: tuple[str, ...]) -> int:
    # Equal for copies of a text; that others are taken for copies is unlikely and does no harm.
    return int.from_bytes(hashlib.blake2b(repr(inputs).encode(), digest_size=8).digest())


def take_evenly(examples: Sequence[Example], limit: int) -> Sequence[Example]:
    """At most `limit` examples (0: all), in their order: the first ones of each language.

    Each language contributes equally many. If one has too few, the others share the difference; a
    remainder goes to the languages that occur first.
    """
    if not limit or limit >= len(examples):
        return examples
    _, codes = number_languages(examples)
    quota = _share_evenly(np.bincount(codes).tolist(), limit)
    first = [np.flatnonzero(codes == language)[:count] for language, count in enumerate(quota)]
    return take_examples(examples, np.sort(np.concatenate(first)))


def draw_indices(examples: Sequence[Example], limit: int, seed: int) -> np.ndarray:
    """i64[at most limit] indices of examples, ascending; each language is drawn equally often, as
    far as it has texts."""
    if limit >= len(examples):
        return np.arange(len(examples))
    _, codes = number_languages(examples)
    order = np.random.default_rng(seed).permutation(len(examples))
    quota = _share_evenly(np.bincount(codes).tolist(), limit)
    drawn = [order[codes[order] == language][:count] for language, count in enumerate(quota)]
    return np.sort(np.concatenate(drawn))


def draw_evenly(
    examples: Sequence[Example], task: Task, limit: int, seed: int
) -> Sequence[Example]:
    """At most `limit` labelled examples (0: all), drawn, in their order.

    Each language contributes equally many, as far as it has them, and within a language each class.
    A text with several labels counts for the one that fewest texts have.
    A sentence with tags has no class: every type of entity of a language is in at least one of its
    sentences, if the limit allows that.
    """
    if not limit or limit >= len(examples):
        return examples
    _, codes = number_languages(examples)
    order = np.random.default_rng(seed).permutation(len(examples))
    drawn: list[int] = []
    for language, count in enumerate(_share_evenly(np.bincount(codes).tolist(), limit)):
        groups: dict[str, list[int]] = {}  # by class; of tags: first with a new type, or another
        types: set[str] = set()
        here = order[codes[order] == language].tolist()
        several = here if task.multilabel else []
        counts = Counter(label for index in several for label in examples[index].labels or ())
        for index in here:
            labels = examples[index].labels or ("",)
            group = labels[0]
            if task.multilabel:
                group = min(labels, key=lambda label: (counts[label], label))
            if task.kind == "tagging":
                new = {label[2:] for label in labels if label != "O"} - types
                types |= new
                group = "" if new else "O"
            groups.setdefault(group, []).append(index)
        if task.kind == "tagging":
            drawn += [*groups.get("", []), *groups.get("O", [])][:count]
        else:
            quota = _share_evenly([len(groups[name]) for name in sorted(groups)], count)
            for name, share in zip(sorted(groups), quota, strict=True):
                drawn += groups[name][:share]
    return take_examples(examples, np.sort(np.array(drawn, np.int64)))


def _share_evenly(available: Sequence[int], limit: int) -> list[int]:
    """How many of each group, at most `limit` in all.

    If a group has too few, the others share the difference; a remainder goes to the first groups.
    """
    quota = [0] * len(available)
    left, unfilled = min(limit, sum(available)), list(range(len(available)))
    while left:
        share = max(1, left // len(unfilled))
        for group in unfilled:
            given = min(share, available[group] - quota[group], left)
            quota[group] += given
            left -= given
        unfilled = [group for group in unfilled if quota[group] < available[group]]
    return quota


def split_languages(names: str) -> tuple[str, ...]:
    """The languages of a field, each in its one spelling."""
    return tuple(map(fold_language, config.split_names(names)))


def check_languages(field: str, wanted: Iterable[str], known: set[str]) -> None:
    """Raises InputError if a field names a language that is not among the known ones."""
    for language in wanted:
        if language not in known:
            raise InputError(
                f"{field} names {show(language)}, which is not in the task folder: it has "
                f"{', '.join(sorted(known))}."
            )


def keep_languages(examples: Sequence[Example], wanted: Iterable[str]) -> Sequence[Example]:
    """The examples in the wanted languages; all of them if none is named."""
    if not wanted:
        return examples
    names, codes = number_languages(examples)
    return take_examples(examples, np.flatnonzero(np.isin(names, list(wanted))[codes]))
