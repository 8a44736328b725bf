"""Answers -> votes: which annotator gives which label to which unit, and the simple ways to count.

A vote is a distribution over labels. A span with the score s is s votes for its tag and 1-s votes
for O at each of its units; every other unit of an answered text is a vote for O. An abstention is
no vote. In classification the unit is the text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xdistil.annotators.answers import AnsweredText, Span
from xdistil.annotators.settle import MOVED, Verdict, settle_spans
from xdistil.data.examples import Task
from xdistil.data.segmentation import find_units

EXAMPLES = 3  # of each kind of verdict, that are remembered


@dataclass(frozen=True)
class Votes:
    """The votes of K annotators on U units of E texts, as V parts: a vote is one or more of them.

    The weights of an annotator's parts for a unit sum to 1. A part is for a label; with a score
    below 1, or several classes, a vote has several.
    """

    labels: tuple[str, ...]  # L
    annotators: tuple[str, ...]  # K
    offsets: np.ndarray  # i64[E+1]: text e has the units offsets[e] to offsets[e+1]
    languages: tuple[str, ...]  # of each text
    unit: np.ndarray  # i64[V]
    annotator: np.ndarray  # i64[V]
    label: np.ndarray  # i64[V]
    weight: np.ndarray  # f64[V], above 0

    @property
    def outside(self) -> int | None:
        """The index of O; None in classification."""
        return self.labels.index("O") if "O" in self.labels else None

    @property
    def voted(self) -> np.ndarray:
        """bool[U] which units have a vote."""
        found = np.zeros(int(self.offsets[-1]), bool)
        found[self.unit] = True
        return found

    def count(self) -> np.ndarray:
        """f64[U,L] votes of each unit."""
        shape = int(self.offsets[-1]), len(self.labels)
        at = self.unit * shape[1] + self.label
        return np.bincount(at, self.weight, shape[0] * shape[1]).reshape(shape)


@dataclass
class Settlement:
    """What became of spans that did not fit, by annotator."""

    spans: Counter[str] = field(default_factory=Counter)  # all spans
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # of verdicts, by reason
    examples: dict[str, list[tuple[str, Span, str]]] = field(default_factory=dict)  # by reason:
    # (text, span, annotator)

    def add(self, annotator: str, text: str, spans: int, verdicts: Sequence[Verdict]) -> None:
        """Counts the spans of an answer."""
        self.spans[annotator] += spans
        for reason, span in verdicts:
            self.counts.setdefault(annotator, Counter())[reason] += 1
            shown = self.examples.setdefault(reason, [])
            if len(shown) < EXAMPLES:
                shown.append((text, span, annotator))

    @property
    def reasons(self) -> Counter[str]:
        """Verdicts of all annotators by reason."""
        return sum(self.counts.values(), Counter())

    @property
    def rejected(self) -> int:
        """Spans that teach nothing."""
        return sum(count for reason, count in self.reasons.items() if reason != MOVED)


def find_text_units(text: AnsweredText, kind: str) -> list[tuple[int, int]]:
    """(start, end) of what is voted on: the units of a text, or (classification) all of it."""
    return find_units(text.inputs[0]) if kind == "tagging" else [(0, len(text.inputs[0]))]


def collect_votes(texts: Sequence[AnsweredText], task: Task) -> tuple[Votes, Settlement]:
    """The votes on the units of texts, and what became of spans that did not fit."""
    names = tuple(sorted({name for text in texts for name in text.answers}))
    number = {name: index for index, name in enumerate(names)}
    at = {label: index for index, label in enumerate(task.labels)}
    settlement = Settlement()
    offsets, first = [0], 0
    parts: list[np.ndarray] = []  # [n,4] of unit, annotator, label, weight

    for text in texts:
        units = find_text_units(text, task.kind)
        for name, answer in text.answers.items():
            if answer is None:
                continue
            if not isinstance(answer, tuple):
                shares = [(first, number[name], at[label], x) for label, x in answer.items()]
                parts.append(np.array(shares, float))
                continue
            kept, verdicts = settle_spans(answer, units)
            settlement.add(name, text.inputs[0], len(answer), verdicts)
            if not units:
                continue
            tags = np.full(len(units), at["O"])
            extra = []  # what a score below 1 leaves to O
            weights = np.ones(len(units))
            for span in kept:
                inside = slice(span.first, span.after)
                tags[inside] = at.get(f"I-{span.type}", at[f"B-{span.type}"])
                tags[span.first] = at[f"B-{span.type}"]
                weights[inside] = span.score
                if span.score < 1:
                    extra += [
                        (first + unit, number[name], at["O"], 1 - span.score)
                        for unit in range(span.first, span.after)
                    ]
            unit = first + np.arange(len(units))
            rows = np.stack([unit, np.full(len(units), number[name]), tags, weights], axis=1)
            parts.append(rows[weights > 0])
            if extra:
                parts.append(np.array(extra, float))
        first += len(units)
        offsets.append(first)
    found = np.concatenate(parts) if parts else np.zeros((0, 4))
    unit, annotator, label = found[:, :3].T.astype(np.int64)
    votes = Votes(
        labels=task.labels,
        annotators=names,
        offsets=np.array(offsets, np.int64),
        languages=tuple(text.language for text in texts),
        unit=unit,
        annotator=annotator,
        label=label,
        weight=found[:, 3],
    )
    return votes, settlement


def share_votes(votes: Votes) -> np.ndarray:
    """f64[U,L]: the share of the votes that each label has; zeros where there is no vote."""
    counts = votes.count()
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def take_majority(votes: Votes) -> np.ndarray:
    """f64[U,L]: 1 for the label with most votes, shared by labels with equally many."""
    counts = votes.count()
    most = counts.max(axis=1, keepdims=True)
    winners = (counts >= most - 1e-9) & (most > 0)
    return winners / np.maximum(winners.sum(axis=1, keepdims=True), 1)
