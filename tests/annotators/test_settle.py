"""Spans of characters that do not fit the units of a text, against answers worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistil.annotators.answers import Span
from xdistil.annotators.settle import MOVED, settle_spans
from xdistil.data.segmentation import find_units

TEXT = "Dr. Anna Lee-Smith  ran"  # units: Dr . Anna Lee - Smith ran
UNITS = find_units(TEXT)


def settle(*spans):
    kept, verdicts = settle_spans([Span(*each) for each in spans], UNITS)
    return [each[:3] for each in kept], [reason for reason, _ in verdicts]


@pytest.mark.parametrize(
    ("spans", "kept", "reasons"),
    [
        ([(4, 18, "P")], [(2, 6, "P")], []),
        ([(3, 20, "P")], [(2, 6, "P")], []),  # blanks at both ends
        ([(18, 20, "P")], [], ["blank"]),
        ([(5, 12, "P")], [(2, 4, "P")], ["moved"]),  # outwards: three quarters of Anna
        ([(7, 12, "P")], [(3, 4, "P")], ["moved"]),  # inwards: a quarter of Anna
        ([(4, 14, "P")], [(2, 5, "P")], ["moved"]),  # inwards: a fifth of Smith
        ([(7, 10, "P")], [], ["part of a word"]),
        ([(4, 8, "P"), (4, 8, "P")], [(2, 3, "P")], ["twice"]),
        ([(4, 8, "P"), (4, 8, "L")], [(2, 3, "P")], ["two types"]),
        ([(4, 8, "P", 0.4), (4, 8, "L", 0.6)], [(2, 3, "L")], ["two types"]),
        ([(9, 12, "L"), (4, 18, "P")], [(2, 6, "P")], ["nested"]),
        ([(9, 12, "L", 0.9), (4, 18, "P", 0.8)], [(3, 4, "L")], ["nested"]),
        ([(4, 12, "P"), (9, 18, "P")], [(3, 6, "P")], ["overlapping"]),
        ([(0, 3, "P"), (4, 8, "P")], [(0, 2, "P"), (2, 3, "P")], []),
    ],
)
def test_each_rule(spans, kept, reasons):
    assert settle(*spans) == (kept, reasons)


@given(
    st.lists(
        st.tuples(st.integers(0, 22), st.integers(1, 23), st.sampled_from("PL")).filter(
            lambda each: each[0] < each[1]
        ),
        max_size=8,
    )
)
def test_every_span_is_kept_or_rejected_and_kept_ones_share_no_unit(spans):
    kept, reasons = settle(*spans)
    assert len(kept) + len([each for each in reasons if each != MOVED]) == len(spans)
    places = [unit for first, after, _ in kept for unit in range(first, after)]
    assert len(places) == len(set(places))
    assert all(0 <= first < after <= len(UNITS) for first, after, _ in kept)
