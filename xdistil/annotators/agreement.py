"""How well annotators, and combinations of their votes, agree with gold and with one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xdistil.annotators.answers import AnsweredText, Span, digest_text, move_spans
from xdistil.annotators.calibration import Calibration, calibrate, measure_loss
from xdistil.annotators.settle import settle_spans
from xdistil.annotators.targets import LEARNED, MAJORITY, SHARE, combine_votes, decide_labels
from xdistil.annotators.votes import Votes, collect_votes, find_text_units
from xdistil.data.examples import Example, Task
from xdistil.data.spans import find_spans, join_words

COMBINED = (MAJORITY, SHARE, LEARNED)
SOFT = (SHARE, LEARNED)  # can be calibrated
ENOUGH = 50  # gold spans (classification: texts) by which a way to combine votes is chosen
_SHOWN = 200  # characters of a text in an example
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
    texts: Sequence[AnsweredText],
    gold: Sequence[Example],
    task: Task,
    calibrations: Mapping[str, Calibration] | None = None,
) -> tuple[dict[str, Comparison], dict[str, Comparison]]:
    """Annotators, and combinations of their votes, on the texts that gold has too, by name.

    Args:
        gold: labelled; a text is found by its content, however it is cut into words.
        calibrations: of combinations; each is one more of these, `NAME, calibrated`.
    """
    known = _find_known(gold, task)
    votes, _ = collect_votes(texts, task)
    annotators = {name: Comparison() for name in votes.annotators}
    wanted: dict[int, tuple[Marks, str]] = {}
    for index, text in enumerate(texts):
        found = known.get(digest_text(text.inputs, task.kind))
        if found is None:
            continue
        wanted[index] = _find_gold(text, found, task), found.language
        for name, answer in text.answers.items():
            if answer is not None:
                marks = _find_marks(text, answer, task)
                annotators[name].add(marks, wanted[index][0], found.language)
    combined: dict[str, Comparison] = {}
    calibrated: dict[str, Comparison] = {}
    for how in COMBINED if wanted else ():
        targets = combine_votes(votes, how)
        combined[how] = _compare_targets(targets, votes, wanted, task)
        if calibrations and how in calibrations:
            moved = calibrations[how].apply(targets)
            calibrated[name_calibrated(how)] = _compare_targets(moved, votes, wanted, task)
    return annotators, {**combined, **calibrated}


def name_calibrated(how: str) -> str:
    """What calibrated votes are called beside those that are not."""
    return f"{how}, calibrated"


def calibrate_votes(
    texts: Sequence[AnsweredText],
    gold: Sequence[Example],
    task: Task,
    ways: Sequence[str] = SOFT,
) -> dict[str, Calibration]:
    """The calibration of each of some ways to combine votes, fitted to gold; without units that
    have votes and gold there is none."""
    votes, _ = collect_votes(texts, task)
    right = _find_gold_labels(texts, gold, task, votes)
    found = {how: calibrate(combine_votes(votes, how), right, task.labels) for how in ways}
    return {how: each for how, each in found.items() if each is not None}


def measure_likelihood(
    texts: Sequence[AnsweredText],
    gold: Sequence[Example],
    task: Task,
    calibrations: Mapping[str, Calibration],
) -> dict[str, float]:
    """Mean negative log-likelihood of the gold labels of units with votes and gold, by way to
    combine votes, as it is and calibrated."""
    votes, _ = collect_votes(texts, task)
    right = _find_gold_labels(texts, gold, task, votes)
    found = {}
    for how in COMBINED:
        targets = combine_votes(votes, how)
        found[how] = measure_loss(targets, right)
        if how in calibrations:
            found[name_calibrated(how)] = measure_loss(calibrations[how].apply(targets), right)
    return found


def _find_gold_labels(
    texts: Sequence[AnsweredText], gold: Sequence[Example], task: Task, votes: Votes
) -> np.ndarray:
    """i64[U] the right label of each unit; -1 where there is no gold."""
    known = _find_known(gold, task)
    right = np.full(int(votes.offsets[-1]), -1)
    for text, first, after in zip(texts, votes.offsets, votes.offsets[1:], strict=False):
        found = known.get(digest_text(text.inputs, task.kind))
        if found is not None:
            marks = _find_gold(text, found, task)
            right[first:after] = _number_labels(marks, int(after - first), task)
    return right


def choose_votes(
    texts: Sequence[AnsweredText],
    gold: Sequence[Example],
    task: Task,
    calibrations: Mapping[str, Calibration] | None = None,
) -> tuple[str, dict[str, float]]:
    """(how votes are combined, the F1 of each way on gold): the best on the texts that gold has
    too.

    Without at least `ENOUGH` gold spans in them it is `learned`, and there are no scores. Equally
    good ways are chosen in the order learned, share, majority.

    Args:
        calibrations: with them, calibrated votes are compared, where votes can be.
    """
    known = _find_known(gold, task)
    if not any(digest_text(text.inputs, task.kind) in known for text in texts):
        return LEARNED, {}
    _, combined = compare_with_gold(texts, gold, task, calibrations)
    if combined[LEARNED].whole.wanted < ENOUGH:
        return LEARNED, {}
    scores = {
        name: combined[name_calibrated(name) if name in (calibrations or ()) else name].whole.f1
        or 0.0
        for name in (LEARNED, SHARE, MAJORITY)
    }
    return max(scores, key=scores.__getitem__), scores


def count_gold(texts: Sequence[AnsweredText], gold: Sequence[Example], task: Task) -> int:
    """Gold spans (classification: texts) in the texts that have answers and gold."""
    known = _find_known(gold, task)
    pairs = ((text, known.get(digest_text(text.inputs, task.kind))) for text in texts)
    return sum(len(_find_gold(text, found, task)) for text, found in pairs if found is not None)


def _find_known(gold: Sequence[Example], task: Task) -> dict[str, Example]:
    return {digest_text(each.inputs, task.kind): each for each in gold if each.labels}


def _compare_targets(
    targets: np.ndarray, votes: Votes, wanted: Mapping[int, tuple[Marks, str]], task: Task
) -> Comparison:
    labels = decide_labels(targets, votes)
    comparison = Comparison()
    for index, (marks, language) in wanted.items():
        comparison.add(_read_labels(labels[index], task), marks, language)
    return comparison


def _number_labels(marks: Marks, units: int, task: Task) -> np.ndarray:
    """i64[units] the labels that marks stand for."""
    at = {label: index for index, label in enumerate(task.labels)}
    if task.kind != "tagging":
        return np.array([at[type_] for _, _, type_ in marks])
    found = np.full(units, at["O"])
    for first, after, type_ in marks:
        found[first:after] = at.get(f"I-{type_}", at[f"B-{type_}"])
        found[first] = at[f"B-{type_}"]
    return found


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


def summarise_answers(
    texts: Sequence[AnsweredText],
    gold: Sequence[Example],
    task: Task,
    calibrations: Mapping[str, Calibration] | None = None,
) -> dict[str, Any]:
    """What results.json says of annotators: agreement, rejected spans, and scores against gold.

    Args:
        calibrations: as in `compare_with_gold`.
    """
    votes, settlement = collect_votes(texts, task)
    annotators, combined = compare_with_gold(texts, gold, task, calibrations)
    compared = max((each.texts for each in combined.values()), default=0)
    return {
        "names": list(votes.annotators),
        "texts": len(texts),
        "unmarked": sum(not any(text.answers.values()) for text in texts),
        "alpha": measure_alpha(votes),
        "spans": dict(settlement.spans),
        "settled": [
            {"annotator": name, "reason": reason, "spans": count}
            for name in sorted(settlement.counts)
            for reason, count in settlement.counts[name].most_common()
        ],
        "examples": [
            {
                "reason": reason,
                "annotator": annotator,
                "span": text[span.start : span.end],
                "text": text[:_SHOWN],
            }
            for reason, shown in settlement.examples.items()
            for text, span, annotator in shown
        ],
        "compared": compared,
        "annotators": {name: each.as_json() for name, each in annotators.items() if each.texts},
        "combined": {name: each.as_json() for name, each in combined.items() if each.texts},
    }
