"""What was understood of the data of a run, in a few lines that show a misreading at a glance."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import islice

from xdistil.data.corpus import Corpus
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example
from xdistil.data.label_checks import count_classes
from xdistil.errors import show_name

WIDTH = 110  # columns of the overview
_SHOWN = 4  # largest and smallest languages and classes that the overview lists
_READ_BACK = 3  # examples
_SEARCHED = 1000  # examples among which those are chosen


def describe_corpus(corpus: Corpus) -> list[str]:
    """Task, tags, files, classes with their counts, and examples as they were read."""
    reading = corpus.reading.lines or (f"task: {corpus.task.name}, as the teacher's",)
    lines = [*wrap(reading), *wrap(_describe_classes(corpus))]
    examples = list(_choose_examples(corpus))
    return [*lines, *(f"read: {_shorten(_read_back(each, corpus.task.kind))}" for each in examples)]


def wrap(lines: Sequence[str]) -> list[str]:
    """The lines within WIDTH columns."""
    # Hyphens are in paths, which are copied, and in the names of signals.
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def abridge(names: Sequence[str]) -> list[str]:
    """The first and the last of many names, `...` between them."""
    if len(names) <= 2 * _SHOWN + 1:
        return list(names)
    return [*names[:_SHOWN], "...", *names[-_SHOWN:]]


def _describe_classes(corpus: Corpus) -> list[str]:
    """Entities by type, or texts by class or label, in each labelled split."""
    named = {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}
    if not corpus.gold:
        named = {"dev": corpus.gold_dev, "test": corpus.test}
    splits = {name: examples for name, examples in named.items() if examples}
    if not splits:
        return []
    counts = [count_classes(examples, corpus.task) for examples in splits.values()]
    total = sum(counts[1:], counts[0])
    tagging = corpus.task.kind == "tagging"
    names = sorted(total, key=lambda name: (-total[name], name)) if tagging else corpus.task.labels
    cells = {
        name: f"{show_name(name)} {', '.join(f'{count[name]:,}' for count in counts)}"
        for name in names
    }
    listed = "; ".join(cells.get(name, name) for name in abridge(list(names)))
    what = f"texts by {'label' if corpus.task.multilabel else 'class'}"
    what = "entities by type" if tagging else what
    many = f" ({len(names):,} in all)" if len(names) > 2 * _SHOWN + 1 else ""
    told = [f"{what} in {', '.join(splits)}: {listed}{many}"]
    if tagging or corpus.task.multilabel:
        without = ", ".join(
            f"{sum(set(each.labels or ()) <= {'O'} for each in examples):,}"
            for examples in splits.values()
        )
        nothing = "sentences without entities" if tagging else "texts without any label"
        told[0] += f"; {nothing} {without}"
    return told


def _choose_examples(corpus: Corpus) -> Iterator[Example]:
    """The first sentences with entities, or the first text of each of the first classes."""
    examples = corpus.train or corpus.gold_dev or corpus.test or ()
    seen: set[str] = set()
    chosen = []
    for example in islice(examples, _SEARCHED):
        labels = set(example.labels or ()) - {"O"}
        if corpus.task.kind == "tagging" and labels:
            chosen.append(example)
        elif corpus.task.kind != "tagging" and not labels <= seen:
            seen |= labels
            chosen.append(example)
        if len(chosen) == _READ_BACK:
            break
    return iter(chosen or examples[:_READ_BACK])


def _read_back(example: Example, kind: str) -> str:
    """A sentence with its entities in brackets, or texts and their classes, after the language."""
    labels = example.labels or ()
    language = "" if example.language == UNKNOWN_LANGUAGE else f"{example.language}: "
    if kind != "tagging":
        texts = " | ".join(_clean(text) for text in example.inputs)
        label = " -> " + " + ".join(map(show_name, labels)) if labels else ""
        cut = max(20, WIDTH - len(label) - len(language) - 10)
        short = texts if len(texts) <= cut else f"{texts[:cut]}..."
        return f"{language}{short}{label}"
    told: list[str] = []
    tags = labels or ("O",) * len(example.inputs)
    for word, tag, after in zip(example.inputs, tags, (*tags[1:], "O"), strict=True):
        begins = "[" if tag.startswith("B-") else ""
        ends = f" {_clean(tag[2:])}]" if tag != "O" and not after.startswith("I-") else ""
        told.append(f"{begins}{_clean(word)}{ends}")
    return language + " ".join(told)


def _clean(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def _shorten(text: str) -> str:
    room = WIDTH - len("read: ")
    return text if len(text) <= room else f"{text[: room - 3]}..."
