"""Spans of characters -> spans of units: what is kept of one annotator's spans, and what is not.

Models learn one type a unit, so spans are settled by these rules:

1. Blanks and invisible characters at the ends of a span do not count. A span of nothing else is
   rejected (`blank`).
2. An edge inside a unit moves to an edge of the unit: outwards if the span has half of the unit's
   characters or more, else inwards. The span counts as `moved`. A span that has less than half of
   every unit that it meets is rejected (`part of a word`).
3. Of spans that share a unit, the one with the highest score is kept, then the longest, then the
   first. The others are rejected, as `twice` (the same units and type), `two types` (the same
   units), `nested` (one lies within the other), or `overlapping`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xdistil.annotators.answers import Span

BLANK, PART, TWICE, TYPES = "blank", "part of a word", "twice", "two types"
NESTED, OVERLAPPING, MOVED = "nested", "overlapping", "moved"


class UnitSpan(NamedTuple):
    """Units of a text that an annotator gave a type."""

    first: int
    after: int  # the unit after the last
    type: str
    score: float


class Verdict(NamedTuple):
    """A span that was changed or rejected."""

    reason: str  # one of the above
    span: Span


def settle_spans(
    spans: Iterable[Span], units: Sequence[tuple[int, int]]
) -> tuple[list[UnitSpan], list[Verdict]]:
    """The spans that are kept, in text order, and verdicts on those that are moved or rejected.

    Args:
        units: (start, end) of each unit of the text, in text order.
    """
    verdicts: list[Verdict] = []
    placed: list[tuple[UnitSpan, Span]] = []
    starts, ends = [start for start, _ in units], [end for _, end in units]
    for span in spans:
        first, after = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first >= after:
            verdicts.append(Verdict(BLANK, span))
            continue
        ends_of = units[first], units[after - 1]
        begins, closes = (
            2 * (min(span.end, end) - max(span.start, start)) >= end - start
            for start, end in ends_of
        )
        moved = ends_of[0][0] < span.start or span.end < ends_of[1][1]
        alone = after - first == 1
        first, after = first + (not begins), after - (not closes and not alone)
        if first >= after:
            verdicts.append(Verdict(PART, span))
            continue
        if moved:
            verdicts.append(Verdict(MOVED, span))
        placed.append((UnitSpan(first, after, span.type, span.score), span))
    kept_spans: list[UnitSpan] = []
    placed.sort(key=lambda each: (-each[0].score, each[0].first - each[0].after, each[0].first))
    for unit_span, span in placed:
        rival = next((each for each in kept_spans if _share_units(each, unit_span)), None)
        if rival is None:
            kept_spans.append(unit_span)
        else:
            verdicts.append(Verdict(_compare(rival, unit_span), span))
    return sorted(kept_spans), verdicts


def _share_units(a: UnitSpan, b: UnitSpan) -> bool:
    return a.first < b.after and b.first < a.after


def _compare(kept: UnitSpan, other: UnitSpan) -> str:
    if kept[:2] == other[:2]:
        return TWICE if kept.type == other.type else TYPES
    a, b = sorted((kept, other), key=lambda each: each.after - each.first)
    return NESTED if b.first <= a.first and a.after <= b.after else OVERLAPPING
