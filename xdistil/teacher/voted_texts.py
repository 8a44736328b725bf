"""Votes of annotators as a teacher: log-probabilities of the labels of each unit of their texts.

It holds what a folder of signals holds, so that `FileTeacher` reads either. A text is found by its
characters without blanks. The value of a word is that of its first unit; a word that begins inside
a unit has none, and so have units on which nobody voted and texts that nobody was asked about.

On dev the loss of a stage is measured against gold, where dev has labels: the values behind those
of the units are one for each label.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xdistil.annotators.agreement import (
    ENOUGH,
    SOFT,
    calibrate_votes,
    choose_votes,
    count_gold,
)
from xdistil.annotators.answers import AnsweredText, digest_text, read_answers
from xdistil.annotators.calibration import Calibration, smooth_logarithm
from xdistil.annotators.settle import MOVED
from xdistil.annotators.targets import combine_votes
from xdistil.annotators.votes import Settlement, collect_votes, find_text_units
from xdistil.data.corpus import find_paths
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Example, Task
from xdistil.data.lines import find_extension
from xdistil.data.packing import PackedTexts, SoftLabels
from xdistil.data.segmentation import drop_blanks
from xdistil.data.spans import split_words
from xdistil.data.word_alignment import align_words, label_words
from xdistil.errors import InputError, show

AUTO = "auto"
DEV = "dev"
_CLOSE = 1e-9  # by which sums of votes may miss a share
_log = logging.getLogger("xdistil")
_FORMATS = ("jsonl", "json", "parquet")
_TOLD = 12  # temperatures in the start lines


@dataclass(frozen=True)
class VotedTexts:
    """Targets of U units of E texts."""

    paths: tuple[Path, ...]
    votes: str  # how they were combined
    annotators: tuple[str, ...]
    number: dict[str, int]  # of each text, by digest
    offsets: np.ndarray  # i64[E+1] text e has the units offsets[e]:offsets[e+1]
    starts: np.ndarray  # i64[U] visible characters of the text before each unit
    voted: np.ndarray  # bool[U + L] which units have a vote
    taught: np.ndarray  # bool[U + L] which of them have enough agreement to teach something
    targets: np.ndarray  # f32[U + L, L] probabilities; behind the units one row for each label
    values: dict[str, np.ndarray]  # logits f32[U + L, L], their smoothed logarithms
    texts: tuple[AnsweredText, ...]
    settlement: Settlement = field(repr=False)
    why: str = ""  # votes are combined so, where nobody said how
    min_agreement: float = 0.0
    calibration: Calibration | None = None  # of the targets
    layers: int = 12  # nothing is read of layers; of these students from scratch have their
    width: int = 768  # positions and the width of their projection

    @property
    def name(self) -> str:
        """What it is called in logs, tables and cards."""
        files = ", ".join(map(str, self.paths[:3])) + (", ..." if len(self.paths) > 3 else "")
        count = len(self.annotators)
        how = f"calibrated {self.votes}" if self.calibration else self.votes
        return f"{how} votes of {count} annotator{'s' * (count != 1)} in {files}"

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
        return np.where((place >= 0) & self.taught[place], place, -1)

    @property
    def whole(self) -> "VotedTexts":
        """The same with all units that have votes, however uncertain."""
        return replace(self, taught=self.voted)

    @property
    def left_out(self) -> tuple[int, int]:
        """(units with votes that teach nothing, texts with such units)."""
        units = len(self.starts)
        absent = (self.voted & ~self.taught)[:units]
        texts = np.repeat(np.arange(len(self.texts)), np.diff(self.offsets))
        return int(absent.sum()), len(np.unique(texts[absent]))

    def make_examples(self, task: Task, segmentation: str) -> list[Example]:
        """The texts that teach something, in the words of a segmentation, labelled by the votes."""
        bare = []
        for text, first, after in zip(self.texts, self.offsets, self.offsets[1:], strict=False):
            if self.taught[first:after].any():
                words = text.inputs
                if task.kind == "tagging":
                    words = split_words(text.inputs[0], segmentation)[0]
                bare.append(Example(words, None, text.language))
        place = self.locate(bare, task, "silver") if bare else np.zeros(0, np.int64)
        labels = label_words(self.targets[place], place >= 0, bare, task, ARGMAX)
        return [replace(each, labels=names) for each, names in zip(bare, labels, strict=True)]

    def label_softly(self, texts: PackedTexts, task: Task) -> SoftLabels:
        """The targets of the subwords that carry the words of packed texts."""
        place = self.locate(texts.examples, task, "silver")
        words = align_words(texts.subwords, texts.examples, task)
        return SoftLabels(self.targets, np.where(words.number >= 0, place[words.number], -1))

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

    def describe(self) -> list[str]:
        """How votes are combined, where that was chosen, calibrated, and what they leave out."""
        lines = []
        if self.why:
            lines.append(f"annotators: their votes are combined as {self.votes}, {self.why}")
        if self.calibration is not None:
            lines.append(_tell_calibration(self.calibration))
        if self.min_agreement:
            units, without = self.left_out
            lines.append(
                f"annotators: teacher.min_agreement={self.min_agreement:g} leaves out {units:,} of "
                f"the {self.voted[: len(self.starts)].sum():,} units with votes, in {without:,} of "
                f"{len(self.texts):,} texts"
            )
        return lines

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


def open_votes(
    paths: Sequence[Path],
    votes: str,
    task: Task,
    gold: Sequence[Example] = (),
    min_agreement: float = 0.0,
    calibrate: bool = False,
) -> VotedTexts:
    """Reads answers and combines them.

    Args:
        votes: majority, share, learned, or auto: the best on gold, or learned where the answers
            hold too little of it.
        gold: labelled texts of dev, for `auto` and to calibrate.
        min_agreement: units whose most probable label is less probable teach nothing.
        calibrate: share and learned votes get a temperature for each label, fitted to gold.

    Raises:
        InputError: as `read_answers`; nothing to calibrate on.
    """
    if task.multilabel:
        raise InputError(
            "teacher.labels has votes for one label of a text, and these texts have any number of "
            "labels: set data.task=single if each has one."
        )
    texts = read_answers(paths, task)
    why = ""
    calibrations = {}
    if calibrate:
        _check_gold(texts, gold, task)
        ways = SOFT if votes == AUTO else (votes,)
        calibrations = calibrate_votes(texts, gold, task, ways)
    if votes == AUTO:
        votes, scores = choose_votes(texts, gold, task, calibrations)
        why = _tell_choice(scores, task)
        if calibrate and votes not in calibrations:
            why += "; votes of the majority are not calibrated"
    calibration = calibrations.get(votes)
    counted, settlement = collect_votes(texts, task)
    targets = combine_votes(counted, votes)
    if calibration is not None:
        targets = calibration.apply(targets)
    starts: list[int] = []
    for text in texts:
        at = seen = 0
        for start, end in find_text_units(text, task.kind):
            seen += len(drop_blanks(text.inputs[0][at:start]))
            starts.append(seen)
            seen, at = seen + len(drop_blanks(text.inputs[0][start:end])), end
    size = len(task.labels)
    every = np.concatenate([targets, np.eye(size)])
    voted = np.concatenate([counted.voted, np.ones(size, bool)])
    logits = smooth_logarithm(every).astype(np.float32)
    return VotedTexts(
        paths=tuple(paths),
        votes=votes,
        annotators=counted.annotators,
        number={digest_text(t.inputs, task.kind): index for index, t in enumerate(texts)},
        offsets=counted.offsets,
        starts=np.array(starts, np.int64),
        voted=voted,
        taught=voted & (every.max(axis=1) >= min_agreement - _CLOSE),
        targets=every.astype(np.float32),
        values={"logits": logits},
        texts=tuple(texts),
        settlement=settlement,
        why=why,
        min_agreement=min_agreement,
        calibration=calibration,
    )


def _check_gold(texts: Sequence[AnsweredText], gold: Sequence[Example], task: Task) -> None:
    """InputError: too little gold to calibrate on."""
    found = count_gold(texts, gold, task)
    if found < ENOUGH:
        what = "entities" if task.kind == "tagging" else "texts"
        raise InputError(
            f"teacher.calibrate fits the votes to the gold labels of dev, and the answers contain "
            f"{found} gold {what} of dev, fewer than {ENOUGH}: add answers for the texts of dev to "
            "teacher.labels, or set teacher.calibrate=False."
        )


def _tell_calibration(calibration: Calibration) -> str:
    each = zip(calibration.labels, calibration.temperatures, strict=True)
    told = ", ".join(f"{label} {temperature:.2f}" for label, temperature in each)
    if len(calibration.labels) > _TOLD:
        low, high = min(calibration.temperatures), max(calibration.temperatures)
        told = f"{low:.2f} to {high:.2f}, as results.json will say"
    return (
        f"annotators: their votes are calibrated on {calibration.units:,} units of dev, whose mean "
        f"negative log-likelihood falls from {calibration.before:.4f} to {calibration.after:.4f} "
        f"(temperatures: {told})"
    )


def _tell_choice(scores: Mapping[str, float], task: Task) -> str:
    if scores:
        told = ", ".join(f"{name} {100 * score:.1f}" for name, score in scores.items())
        return f"which has the best F1 on dev ({told})"
    what = "entities" if task.kind == "tagging" else "texts"
    return f"because the answers contain fewer than {ENOUGH} gold {what} of dev"
