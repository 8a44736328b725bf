"""How well annotators, and combinations of their votes, agree with gold and with one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xdistil.annotators.answers import AnsweredText, Span, digest_text, move_spans
from xdistil.annotators.settle import settle_spans
from xdistil.annotators.targets import LEARNED, MAJORITY, SHARE, combine_votes, decide_labels
from xdistil.annotators.votes import Settlement, Votes, collect_votes, find_text_units
from xdistil.data.examples import Example, Task
from xdistil.data.spans import find_spans, join_words

COMBINED = (MAJORITY, SHARE, LEARNED)
Marks = set[tuple[int, int, str]]  # (first unit, unit after the last, type), or (0, 1, class)


@dataclass
class SpanScore:
    """Counts of spans, from which F1 follows."""

    right: int = 0
    found: int = 0
    wanted: int = 0

    def add(self, found: Marks, wanted: Marks) -> None:
        """Counts a text."""
        self.right += len(found & wanted)
        self.found += len(found)
        self.wanted += len(wanted)

    @property
    def f1(self) -> float | None:
        """F1; None where there is nothing to find and nothing found."""
        total = self.found + self.wanted
        return 2 * self.right / total if total else None

    def as_json(self) -> dict[str, Any]:
        """F1, precision, recall and counts."""
        return {
            "f1": self.f1,
            "precision": self.right / self.found if self.found else None,
            "recall": self.right / self.wanted if self.wanted else None,
            "found": self.found,
            "wanted": self.wanted,
        }


@dataclass
class Comparison:
    """Scores of one annotator, or of one combination, against gold."""

    whole: SpanScore = field(default_factory=SpanScore)
    types: dict[str, SpanScore] = field(default_factory=dict)
    languages: dict[str, SpanScore] = field(default_factory=dict)
    texts: int = 0  # that it answered

    def add(self, found: Marks, wanted: Marks, language: str) -> None:
        """Counts a text."""
        self.texts += 1
        self.whole.add(found, wanted)
        self.languages.setdefault(language, SpanScore()).add(found, wanted)
        for type_ in sorted({each[2] for each in found | wanted}):
            score = self.types.setdefault(type_, SpanScore())
            score.add(*({each for each in marks if each[2] == type_} for marks in (found, wanted)))

    def as_json(self) -> dict[str, Any]:
        """All scores."""
        return {
            **self.whole.as_json(),
            "texts": self.texts,
            "types": {name: score.as_json() for name, score in sorted(self.types.items())},
            "languages": {name: score.as_json() for name, score in sorted(self.languages.items())},
        }


def compare_with_gold(
    texts: Sequence[AnsweredText], gold: Sequence[Example], task: Task, all_texts: bool = True
) -> tuple[dict[str, Comparison], dict[str, Comparison]]:
    """Annotators, and combinations of their votes, on the texts that gold has too, by name.

    Args:
        gold: labelled; a text is found by its content, however it is cut into words.
        all_texts: learn confusions from all texts, not only from those that gold has.
    """
    known = {digest_text(each.inputs, task.kind): each for each in gold if each.labels}
    keys = [digest_text(text.inputs, task.kind) for text in texts]
    if not all_texts:
        texts = [text for text, key in zip(texts, keys, strict=True) if key in known]
        keys = [key for key in keys if key in known]
    votes, _ = collect_votes(texts, task)
    annotators = {name: Comparison() for name in votes.annotators}
    wanted: dict[int, tuple[Marks, str]] = {}
    for index, (text, key) in enumerate(zip(texts, keys, strict=True)):
        if key not in known:
            continue
        language = known[key].language
        wanted[index] = _find_gold(text, known[key], task), language
        for name, answer in text.answers.items():
            if answer is not None:
                annotators[name].add(_find_marks(text, answer, task), wanted[index][0], language)
    combined = {}
    for how in COMBINED:
        labels = decide_labels(combine_votes(votes, how), votes)
        combined[how] = Comparison()
        for index, (marks, language) in wanted.items():
            combined[how].add(_read_labels(labels[index], task), marks, language)
    return annotators, combined


def _find_gold(text: AnsweredText, gold: Example, task: Task) -> Marks:
    assert gold.labels is not None
    if task.kind != "tagging":
        return {(0, 1, gold.labels[0])}
    joined, places = join_words(gold.inputs)
    spans = tuple(
        Span(places[first][0], places[after - 1][1], type_)
        for first, after, type_ in find_spans(gold.labels)
    )
    return _find_marks(text, move_spans(spans, joined, text.inputs[0]), task)


def _find_marks(text: AnsweredText, answer: Any, task: Task) -> Marks:
    if isinstance(answer, Mapping):
        return {(0, 1, max(answer, key=answer.__getitem__))}
    kept, _ = settle_spans(answer, find_text_units(text, task.kind))
    return {(first, after, type_) for first, after, type_, _ in kept}


def _read_labels(labels: tuple[str, ...], task: Task) -> Marks:
    return set(find_spans(labels)) if task.kind == "tagging" else {(0, 1, labels[0])}


def measure_alpha(votes: Votes) -> float | None:
    """Krippendorff's alpha for names, on units with two votes or more.

    1 is agreement on every unit, 0 what chance gives. None where there are no such units, or one
    label alone. A vote with a score is compared as the distribution that it is.
    """
    counts = votes.count()
    voters = counts.sum(axis=1)
    paired = voters > 1.5
    if not paired.any():
        return None
    # Pairs of votes of one annotator are no pairs.
    same = np.zeros(len(counts))
    key = votes.unit * len(votes.annotators) + votes.annotator
    voters_of, first, of_part = np.unique(key, return_index=True, return_inverse=True)
    squares = np.bincount(of_part, votes.weight**2, len(voters_of))
    np.add.at(same, votes.unit[first], 1 - squares)
    counts, voters, same = counts[paired], voters[paired], same[paired]
    differing = voters**2 - (counts**2).sum(axis=1) - same
    total = voters.sum()
    observed = float((differing / (voters - 1)).sum() / total)
    labels = counts.sum(axis=0)
    expected = float((total**2 - (labels**2).sum()) / (total * (total - 1)))
    return 1 - observed / expected if expected > 0 else None


def describe_settlement(settlement: Settlement) -> list[dict[str, Any]]:
    """Spans that did not fit, by annotator and reason, for results."""
    return [
        {"annotator": name, "reason": reason, "spans": count}
        for name in sorted(settlement.counts)
        for reason, count in settlement.counts[name].most_common()
    ]
