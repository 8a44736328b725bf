"""Kinds of error, confusions and samples, all counted by hand."""

from collections import Counter

import pytest

from xdistil.evaluation.page.errors import (
    Disagreement,
    count_confusions,
    find_disagreements,
    judge_spans,
    sample_evenly,
)

PER, LOC, ORG = "PER", "LOC", "ORG"


@pytest.mark.parametrize(
    ("wanted", "found", "judged"),
    [
        ([(0, 2, PER)], [(0, 2, PER)], [(0, 2, PER, "")]),
        ([(0, 2, PER)], [], [(0, 2, PER, "missed")]),
        ([], [(3, 4, LOC)], [(3, 4, LOC, "invented")]),
        ([(0, 2, PER)], [(0, 2, LOC)], [(0, 2, LOC, "wrong type")]),
        ([(0, 2, PER)], [(0, 3, PER)], [(0, 3, PER, "wrong edge")]),
        ([(0, 2, PER)], [(1, 2, LOC)], [(1, 2, LOC, "wrong edge")]),  # of another type too
        ([(0, 2, PER)], [(2, 3, PER)], [(0, 2, PER, "missed"), (2, 3, PER, "invented")]),
        # One found entity over two, and two within one: an error for each that is found.
        ([(0, 1, PER), (1, 2, PER)], [(0, 2, PER)], [(0, 2, PER, "wrong edge")]),
        (
            [(0, 3, ORG)],
            [(0, 1, ORG), (2, 3, LOC)],
            [(0, 1, ORG, "wrong edge"), (2, 3, LOC, "wrong edge")],
        ),
        (
            [(0, 1, PER), (4, 6, LOC)],
            [(0, 1, PER), (2, 3, ORG), (4, 6, ORG)],
            [(0, 1, PER, ""), (2, 3, ORG, "invented"), (4, 6, ORG, "wrong type")],
        ),
    ],
)
def test_every_entity_has_its_kind_of_error(wanted, found, judged):
    assert judge_spans(wanted, found) == judged


def test_confusions_pair_each_entity_with_the_one_that_shares_most_words():
    wanted = [
        [(0, 2, PER), (3, 4, LOC)],
        [(0, 5, ORG)],  # shares one word with PER, three with LOC
        [],
        [(0, 1, PER), (1, 3, LOC)],  # one found entity over both: LOC shares two words
    ]
    found = [[(0, 2, PER)], [(0, 1, PER), (2, 5, LOC)], [(7, 8, PER)], [(0, 3, ORG)]]
    assert count_confusions(wanted, found) == Counter(
        {
            (PER, PER): 1,
            (LOC, None): 1,
            (ORG, LOC): 1,
            (None, PER): 2,
            (LOC, ORG): 1,
            (PER, None): 1,
        }
    )


def test_texts_differ_where_what_the_models_find_differs():
    right, wrong = (0, 1, PER, ""), (0, 1, LOC, "wrong type")
    missed, invented = (0, 1, PER, "missed"), (4, 5, ORG, "invented")
    judged = {
        "teacher": [[right], [wrong], [wrong], [missed], [missed], []],
        "student": [[right], [right], [wrong], [missed], [missed, invented], []],
    }
    found = find_disagreements(["en", "de", "en", "en", "fr", "fr"], judged)
    # Both wrong alike (2, 3) is no disagreement.
    assert found == [
        Disagreement(1, "de", frozenset({("teacher", "wrong type")})),
        Disagreement(
            4,
            "fr",
            frozenset({("teacher", "missed"), ("student", "missed"), ("student", "invented")}),
        ),
    ]
    alone = find_disagreements(["en"] * 6, {"student": judged["student"]})
    assert [each.index for each in alone] == [2, 3, 4]


def test_a_sample_is_even_over_languages_and_kinds_and_always_the_same():
    common = [Disagreement(n, "en", frozenset({("student", "missed")})) for n in range(1000)]
    rare = [
        Disagreement(1000, "my", frozenset({("student", "missed")})),
        Disagreement(1001, "en", frozenset({("teacher", "wrong edge"), ("student", "missed")})),
    ]
    order = [each.index for each in sample_evenly(common + rare)]
    assert sorted(order) == list(range(1002))
    assert {1000, 1001} <= set(order[:3])
    assert order == [each.index for each in sample_evenly(common + rare)]
    assert order != [each.index for each in sample_evenly(common + rare, seed=1)]
    assert list(sample_evenly([])) == []
