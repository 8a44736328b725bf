"""Predictions -> what a page says about them: intervals, confusions, kinds of error, examples."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xdistil.data.spans import find_spans
from xdistil.evaluation.comparison import Difference, compare_systems
from xdistil.evaluation.page.errors import (
    MISSED,
    WRONG_CLASS,
    WRONG_TYPE,
    Disagreement,
    Judged,
    Span,
    count_confusions,
    find_disagreements,
    judge_spans,
    sample_evenly,
)
from xdistil.evaluation.page.files import Predictions

MOST_EXAMPLES = 1000
_MOST_BYTES = 450_000  # of the examples together
_MOST_WORDS, _BEFORE = 80, 20  # of an example, and of these before its first error
_MOST_CHARACTERS = 800  # of a text that is classified


@dataclass(frozen=True)
class Analysis:
    """All that a page takes from predictions."""

    reference: str  # what models are judged by: gold, or the teacher where there is no gold
    models: tuple[str, ...]  # that are judged
    differences: list[Difference]  # as `compare_systems` returns them; empty: nothing to compare
    confusions: dict[str, Counter[tuple[str | None, str | None]]]  # by model
    errors: dict[str, Counter[str]]  # by model: how often each kind occurs
    texts: int
    differing: int  # texts on which the models differ, or with an error of the only model
    examples: list[dict[str, Any]]  # of these; the shape that page.js reads


def analyse(predictions: Predictions, kind: str, other: str) -> Analysis | None:
    """None where there is nothing to judge the student by.

    Args:
        kind: of the task.
        other: the model that the student is compared with.
    """
    names = {name for rows in predictions.labels.values() for labels in rows for name in labels}
    places = {name: place for place, name in enumerate(sorted(names))}
    spans = {
        name: [_to_spans(each, kind, places) for each in labels]
        for name, labels in predictions.labels.items()
    }
    reference = "gold" if "gold" in spans else other
    if reference not in spans:
        return None
    wanted = spans[reference]
    models = tuple(name for name in (other, "student") if name in spans and name != reference)
    judged = {
        name: [_judge(here, there, kind) for here, there in zip(wanted, spans[name], strict=True)]
        for name in models
    }
    languages = [each.language for each in predictions.texts]
    different = find_disagreements(languages, judged)
    return Analysis(
        reference=reference,
        models=models,
        differences=_compare(languages, wanted, list(judged.values())),
        confusions={name: count_confusions(wanted, spans[name]) for name in models},
        errors={
            name: Counter(span[3] for row in judged[name] for span in row if span[3])
            for name in models
        },
        texts=len(wanted),
        differing=len(different),
        examples=_choose_examples(predictions, kind, different, reference, wanted, judged),
    )


def _to_spans(labels: Sequence[str], kind: str, places: Mapping[str, int]) -> list[Span]:
    if kind == "tagging":
        return find_spans(labels)
    if kind == "multilabel":  # each label has a place of its own, so that none is another's error
        return sorted((places[name], places[name] + 1, name) for name in labels)
    return [(0, 1, labels[0])]


def _judge(wanted: Sequence[Span], found: Sequence[Span], kind: str) -> list[Judged]:
    rows = judge_spans(wanted, found)
    if kind == "tagging":
        return rows
    return [
        (start, end, name, WRONG_CLASS if error == WRONG_TYPE else error)
        for start, end, name, error in rows
    ]


def _compare(
    languages: Sequence[str],
    wanted: Sequence[Sequence[Span]],
    judged: Sequence[Sequence[Sequence[Judged]]],
) -> list[Difference]:
    if len(judged) < 2:
        return []
    counts = [
        [
            (
                sum(not span[3] for span in row),
                sum(span[3] != MISSED for span in row),
                len(here),
            )
            for row, here in zip(rows, wanted, strict=True)
        ]
        for rows in judged
    ]
    first, second = (np.array(each, np.int64).reshape(1, -1, 3) for each in counts)
    try:
        return compare_systems(languages, first, second)
    except ValueError:  # no text has an entity
        return []


def _choose_examples(
    predictions: Predictions,
    kind: str,
    different: Sequence[Disagreement],
    reference: str,
    wanted: Sequence[Sequence[Span]],
    judged: dict[str, list[list[Judged]]],
) -> list[dict[str, Any]]:
    examples: list[dict[str, Any]] = []
    size = 0
    for each in sample_evenly(different):
        right: list[Judged] = [(*span, "") for span in wanted[each.index]]
        rows = {reference: right, **{name: judged[name][each.index] for name in judged}}
        example = {
            "language": each.language,
            "errors": sorted(f"{model}: {error}" for model, error in each.errors),
            **_cut(predictions.texts[each.index].inputs, rows, kind),
        }
        size += len(json.dumps(example, ensure_ascii=False).encode())
        if len(examples) == MOST_EXAMPLES or size > _MOST_BYTES:
            break
        examples.append(example)
    return examples


def _cut(inputs: tuple[str, ...], rows: dict[str, list[Judged]], kind: str) -> dict[str, Any]:
    """The texts of an example, of which long ones lose what is far from the first error."""
    if kind != "tagging":
        texts = [
            text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"
            for text in inputs
        ]
        return {
            "texts": texts,
            "classes": {name: [span[2:] for span in row] for name, row in rows.items()},
        }
    if len(inputs) <= _MOST_WORDS:
        return {"words": inputs, "spans": rows}
    first = min(span[0] for row in rows.values() for span in row if span[3])
    begin = max(0, min(first - _BEFORE, len(inputs) - _MOST_WORDS))
    end = begin + _MOST_WORDS
    words = list(inputs[begin:end])
    before = int(begin > 0)
    words = [*["…"] * before, *words, *["…"] * (end < len(inputs))]
    moved = {
        name: [
            (max(start, begin) - begin + before, min(stop, end) - begin + before, *rest)
            for start, stop, *rest in row
            if start < end and stop > begin
        ]
        for name, row in rows.items()
    }
    return {"words": words, "spans": moved}


def find_difference(analysis: Analysis | None, language: str) -> Difference | None:
    """The difference in a language; "" stands for the mean over languages."""
    rows = analysis.differences if analysis else []
    return next((row for row in rows if row.language == language), None)
