"""Annotators and votes against gold, counted by hand; what results and tables say of them."""

import pytest

from tests.evaluation.shapes import check_shape
from xdistil.annotators import agreement
from xdistil.annotators.agreement import (
    Comparison,
    SpanScore,
    choose_votes,
    compare_with_gold,
    summarise_answers,
)
from xdistil.annotators.answers import AnsweredText, Span
from xdistil.data.examples import Example, Task
from xdistil.evaluation.annotators_table import tabulate_annotators
from xdistil.evaluation.results import AnnotatorsResult

TASK = Task("tagging", ("O", "B-P", "I-P", "B-L", "I-L"))
TEXTS = [
    AnsweredText(("Anna Lee, Rome",), "und", "a:1", {
        "a": (Span(0, 8, "P"), Span(10, 14, "L")),
        "b": (Span(0, 4, "P"), Span(8, 10, "L")),
        "c": None,
    }),
    AnsweredText(("So it is",), "und", "a:2", {"a": (), "b": (Span(2, 3, "P"),), "c": ()}),
    AnsweredText(("Not in gold",), "und", "a:3", {"a": (Span(0, 3, "P"),)}),
]  # fmt: skip
GOLD = [
    Example(("So", "it", "is"), ("O", "O", "O"), "en"),
    Example(("Anna", "Lee", ",", "Rome"), ("B-P", "I-P", "O", "B-L"), "de"),
]


def test_scores_of_annotators_by_type_and_language():
    annotators, combined = compare_with_gold(TEXTS, GOLD, TASK)
    counts = {name: (s.whole.right, s.whole.found, s.whole.wanted, s.texts)
              for name, s in annotators.items()}  # fmt: skip
    assert counts == {"a": (2, 2, 2, 2), "b": (0, 2, 2, 2), "c": (0, 0, 0, 1)}
    assert (annotators["a"].whole.f1, annotators["b"].whole.f1, annotators["c"].whole.f1) == (
        1,
        0,
        None,
    )
    assert {name: s.wanted for name, s in annotators["a"].types.items()} == {"P": 1, "L": 1}
    assert {name: s.f1 for name, s in annotators["a"].languages.items()} == {"de": 1, "en": None}
    # a and b agree that a P begins at Anna, and else differ: the first of two labels is taken.
    assert combined["share"].whole.as_json() == {
        "f1": 0, "precision": 0, "recall": 0, "found": 1, "wanted": 2,
    }  # fmt: skip


def test_what_results_and_tables_say():
    found = summarise_answers(TEXTS, GOLD, TASK)
    check_shape(found, AnnotatorsResult)
    assert (found["texts"], found["unmarked"], found["compared"]) == (3, 0, 2)
    assert found["spans"] == {"a": 3, "b": 3, "c": 0}
    assert found["settled"] == [{"annotator": "b", "reason": "blank", "spans": 1}]
    assert found["examples"] == [
        {"reason": "blank", "annotator": "b", "span": " ", "text": "So it is"}
    ]
    scores, settled, examples = tabulate_annotators({"annotators": found})
    assert scores.title.startswith(
        "annotators of 3 texts, 0 of them without any mark; Krippendorff's alpha 0."
    )
    assert scores.title.endswith("; scores on the 2 that are in dev")
    assert scores.rows[0] == ("a", "100.00", "100.00", "100.00", "2")
    assert ("votes: share, P", "0.00", "0.00", "0.00", "1") in scores.rows
    assert settled.rows == [("b", "blank", "1")]
    assert examples.rows == [("blank", "b", "", "So it is")]
    assert tabulate_annotators({}) == []


def test_without_gold_there_are_counts_and_agreement_alone():
    found = summarise_answers(TEXTS, [], TASK)
    assert (found["compared"], found["annotators"], found["combined"]) == (0, {}, {})
    assert tabulate_annotators({"annotators": found})[0].rows == [
        ("a", "-", "-", "-", "3"), ("b", "-", "-", "-", "3"), ("c", "-", "-", "-", "0"),
    ]  # fmt: skip
    assert found["alpha"] == pytest.approx(summarise_answers(TEXTS, GOLD, TASK)["alpha"])


@pytest.mark.parametrize(
    ("right", "wanted", "chosen"),
    [
        ((30, 40, 40), 50, "share"),  # before the majority, where both are equally good
        ((40, 40, 30), 50, "learned"),
        ((30, 30, 40), 50, "majority"),
        ((30, 40, 40), 49, "learned"),  # too few to tell
    ],
)
def test_votes_are_combined_as_is_best_on_enough_gold(monkeypatch, right, wanted, chosen):
    names = ("learned", "share", "majority")
    compared = {
        name: Comparison(SpanScore(count, 50, wanted))
        for name, count in zip(names, right, strict=True)
    }
    monkeypatch.setattr(agreement, "compare_with_gold", lambda *_: ({}, compared))
    scores = {} if wanted < 50 else {name: n / 50 for name, n in zip(names, right, strict=True)}
    assert choose_votes(TEXTS, GOLD, TASK) == (chosen, scores)
    assert choose_votes(TEXTS, [], TASK) == ("learned", {})


def test_annotators_who_know_different_things_are_learned():
    texts, gold = [], []
    for number in range(60):
        name = "Anna" if number % 2 else "Bob"
        found = (Span(0, len(name), "P"),)
        answers = {"a": found if number % 2 else (), "b": () if number % 2 else found, "c": ()}
        texts.append(AnsweredText((f"{name} ran {number}",), "und", f"a:{number}", answers))
        gold.append(Example((name, "ran", str(number)), ("B-P", "O", "O"), "en"))
    name, scores = choose_votes(texts, gold, TASK)
    assert (name, scores["majority"]) == ("learned", 0.0)
    assert scores["learned"] == pytest.approx(1.0)
