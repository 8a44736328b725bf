"""Which way the teacher's signals take, against estimates by hand."""

import pytest

from xdistil.distill.routes import DISK_RATE, describe_route, estimate_route

SIGNALS = {"logits": 7, "hidden-4": 93}  # 200 bytes a piece in float16
PIECES = 1_000_000


def estimate(readings: float, rate: float, choice: str = "auto"):
    return estimate_route("transfer", SIGNALS, PIECES, readings, rate, choice)


def test_seconds_and_bytes_are_those_worked_out_by_hand():
    route = estimate(4.0, 10_000.0)
    assert route.bytes == 200_000_000
    assert route.computed_seconds == pytest.approx(400.0)
    assert route.cached_seconds == pytest.approx(100.0 + 5 * 200_000_000 / DISK_RATE)


@pytest.mark.parametrize(
    ("readings", "rate", "cached"),
    [
        (4.0, 10_000.0, True),  # 102 s against 400
        (1.0, 10_000.0, False),  # one reading is one pass either way
        (4.0, 10_000_000.0, False),  # a teacher faster than the disk: 0.4 s against 2.1
    ],
)
def test_the_faster_way_is_taken(readings, rate, cached):
    assert estimate(readings, rate).cached is cached


def test_the_config_has_the_last_word():
    assert estimate(1.0, 10_000.0, "always").cached
    assert not estimate(4.0, 10_000.0, "never").cached


def test_a_student_with_other_pieces_has_one_way_and_holds_words():
    """However fast the teacher; 400,000 words of 100 numbers in float16."""
    route = estimate_route("dev", SIGNALS, PIECES, 1.0, 10_000_000.0, "auto", 400_000)
    assert route.cached
    assert route.bytes == 80_000_000
    assert "no other way" in describe_route(route)


def test_both_ways_are_told_and_the_one_taken_first():
    told = describe_route(estimate(4.0, 10_000.0))
    assert told.index("cached: about 2 min") < told.index("computed in the steps: about 7 min")
    assert "191 MiB" in told
    told = describe_route(estimate(4.0, 10_000.0, "never"))
    assert told.index("computed in the steps") < told.index("cached: about")
