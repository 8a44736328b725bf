"""Votes of annotators as a teacher: log-probabilities of the labels of each unit of their texts.

It holds what a folder of signals holds, so that `FileTeacher` reads either. A text is found by its
characters without blanks. The value of a word is that of its first unit; a word that begins inside
a unit has none, and so have units on which nobody voted and texts that nobody was asked about.

On dev the loss of a stage is measured against gold, where dev has labels: the values behind those
of the units are one for each label.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from xdistil.annotators.answers import AnsweredText, digest_text, read_answers
from xdistil.annotators.settle import MOVED
from xdistil.annotators.targets import combine_votes
from xdistil.annotators.votes import Settlement, collect_votes, find_text_units
from xdistil.data.corpus import find_paths
from xdistil.data.examples import Example, Task
from xdistil.data.lines import find_extension
from xdistil.data.segmentation import drop_blanks
from xdistil.errors import InputError, show

SMOOTHING = 1e-3  # share of a target that all labels share, so that its logarithm is finite
DEV = "dev"
_log = logging.getLogger("xdistil")
_FORMATS = ("jsonl", "json", "parquet")


@dataclass(frozen=True)
class VotedTexts:
    """Targets of U units of E texts."""

    paths: tuple[Path, ...]
    votes: str  # how they were combined
    annotators: tuple[str, ...]
    number: dict[str, int]  # of each text, by digest
    offsets: np.ndarray  # i64[E+1] text e has the units offsets[e]:offsets[e+1]
    starts: np.ndarray  # i64[U] visible characters of the text before each unit
    present: np.ndarray  # bool[U] which units have a vote
    values: dict[str, np.ndarray]  # logits f32[U + L, L]; behind the units one row for each label
    texts: tuple[AnsweredText, ...]
    settlement: Settlement = field(repr=False)
    layers: int = 12  # nothing is read of layers; of these students from scratch have their
    width: int = 768  # positions and the width of their projection

    @property
    def name(self) -> str:
        """What it is called in logs, tables and cards."""
        files = ", ".join(map(str, self.paths[:3])) + (", ..." if len(self.paths) > 3 else "")
        count = len(self.annotators)
        return f"{self.votes} votes of {count} annotator{'s' * (count != 1)} in {files}"

    @property
    def summary(self) -> str:
        """What it holds."""
        return f"logits of {len(self.texts):,} texts ({len(self.starts):,} units)"

    @cached_property
    def source(self) -> str:
        """What errors call it."""
        return f"teacher.labels={self.paths[0]}" + (" and others" if self.paths[1:] else "")

    @property
    def files(self) -> dict[str, Path]:
        """What is read, by role."""
        return {f"teacher.labels[{index}]": path for index, path in enumerate(self.paths)}

    def find_texts(self, examples: Sequence[Example], task: Task) -> np.ndarray:
        """i64[examples] which text of the files each of them is; -1: none."""
        keys = (digest_text(each.inputs, task.kind) for each in examples)
        return np.array([self.number.get(key, -1) for key in keys], np.int64)

    def locate(self, examples: Sequence[Example], task: Task, what: str) -> np.ndarray:
        """i64[W] where the values of each of the examples' words (texts) stand; -1: it has none.

        Raises:
            InputError: none of the texts is in the files.
        """
        found = self.find_texts(examples, task)
        known = what == DEV and all(example.labels is not None for example in examples)
        if known:
            number = {label: len(self.starts) + at for at, label in enumerate(task.labels)}
            return np.array([number[name] for each in examples for name in each.labels or ()])
        if len(found) and not (found >= 0).any():
            raise InputError(
                f"none of the {len(found):,} texts of {what} has an answer in {self.source}, the "
                f"first of them {show(' '.join(examples[0].inputs))}: name files of the same texts "
                "in teacher.labels, or these files in data.transfer as well."
            )
        places = [
            self._place_words(int(text), each.inputs, task)
            for text, each in zip(found, examples, strict=True)
        ]
        place = np.concatenate(places) if places else np.zeros(0, np.int64)
        return np.where((place >= 0) & self.present[place], place, -1)

    def _place_words(self, text: int, words: Sequence[str], task: Task) -> np.ndarray:
        count = len(words) if task.kind == "tagging" else 1
        if text < 0:
            return np.full(count, -1)
        first = self.offsets[text]
        if task.kind != "tagging":
            return np.array([first])
        starts = self.starts[first : self.offsets[text + 1]]
        if not len(starts):
            return np.full(count, -1)
        lengths = np.array([len(drop_blanks(word)) for word in words])
        begins = np.cumsum(lengths) - lengths
        at = np.minimum(np.searchsorted(starts, begins), len(starts) - 1)
        return np.where((starts[at] == begins) & (lengths > 0), first + at, -1)

    def tell(self, texts: Sequence[Example], task: Task) -> None:
        """Logs what was read, and how many of the texts to learn from have answers."""
        _log.info("teacher.labels: %s of %s", self.summary, ", ".join(self.annotators))
        if reasons := self.settlement.reasons:
            told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
            _log.info(
                "teacher.labels: of %s spans %s are moved to the edges of units and %s rejected "
                "(%s)",
                f"{sum(self.settlement.spans.values()):,}",
                f"{reasons[MOVED]:,}",
                f"{self.settlement.rejected:,}",
                told,
            )
            for reason, examples in self.settlement.examples.items():
                text, span, annotator = examples[0]
                _log.info(
                    "  %s: %s of %s, at %d in %s",
                    reason,
                    show(text[span.start : span.end]),
                    annotator,
                    span.start,
                    show(text),
                )
        keys = {digest_text(each.inputs, task.kind) for each in texts}
        answered = len(keys & self.number.keys())
        nobody = sum(not any(text.answers[name] for name in text.answers) for text in self.texts)
        _log.info(
            "teacher.labels: %s of the %s different texts to learn from have answers; in %s texts "
            "nobody marked anything",
            f"{answered:,}",
            f"{len(keys):,}",
            f"{nobody:,}",
        )


def find_answers(patterns: str) -> list[Path]:
    """The files that teacher.labels names.

    Raises:
        InputError: a pattern that matches no file, or a file that is no JSON by its name.
    """
    paths = find_paths("teacher.labels", patterns)
    for path in paths:
        if find_extension(path) not in _FORMATS:
            raise InputError(
                f"teacher.labels names {path}, whose name must end in .jsonl or .json, also with "
                ".gz, or in .parquet."
            )
    return paths


def open_votes(paths: Sequence[Path], votes: str, task: Task) -> VotedTexts:
    """Reads answers and combines them.

    Args:
        votes: majority, share or learned.

    Raises:
        InputError: as `read_answers`.
    """
    if task.multilabel:
        raise InputError(
            "teacher.labels has votes for one label of a text, and these texts have any number of "
            "labels: set data.task=single if each has one."
        )
    texts = read_answers(paths, task)
    counted, settlement = collect_votes(texts, task)
    targets = combine_votes(counted, votes)
    starts: list[int] = []
    for text in texts:
        at = seen = 0
        for start, end in find_text_units(text, task.kind):
            seen += len(drop_blanks(text.inputs[0][at:start]))
            starts.append(seen)
            seen, at = seen + len(drop_blanks(text.inputs[0][start:end])), end
    size = len(task.labels)
    every = np.concatenate([targets, np.eye(size)])
    logits = np.log((1 - SMOOTHING) * every + SMOOTHING / size).astype(np.float32)
    return VotedTexts(
        paths=tuple(paths),
        votes=votes,
        annotators=counted.annotators,
        number={digest_text(t.inputs, task.kind): index for index, t in enumerate(texts)},
        offsets=counted.offsets,
        starts=np.array(starts, np.int64),
        present=np.concatenate([counted.voted, np.ones(size, bool)]),
        values={"logits": logits},
        texts=tuple(texts),
        settlement=settlement,
    )
