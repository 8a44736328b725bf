"""Which of the teacher's signals are cached, against estimates by hand."""

import pytest

from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.teacher import cache_policy
from xdistil.teacher.cache import count_bytes
from xdistil.teacher.cache_policy import (
    DISK_RATE,
    MOST_BYTES,
    CacheChoice,
    describe_choice,
    settle,
)
from xdistil.teacher.signals import SignalSpec

SIGNALS = SignalSpec(logits=True, hidden=(4,))
SIZE = 200_000_000  # of 7 + 93 numbers a subword in float16
SUBWORDS = 1_000_000


def estimate(readings: float, rate: float, choice: str = "auto", size: int = SIZE) -> CacheChoice:
    return cache_policy.estimate("transfer", SIGNALS, size, SUBWORDS, readings, rate, choice)


def test_seconds_are_those_worked_out_by_hand():
    found = estimate(4.0, 10_000.0)
    assert found.computed_seconds == pytest.approx(400.0)
    assert found.cached_seconds == pytest.approx(100.0 + 5 * 200_000_000 / DISK_RATE)


@pytest.mark.parametrize(
    ("readings", "rate", "cached"),
    [
        (4.0, 10_000.0, True),  # 102 s against 400
        (1.0, 10_000.0, False),  # one reading is one pass with either option
        (4.0, 10_000_000.0, False),  # a teacher faster than the disk: 0.4 s against 2.1
    ],
)
def test_the_faster_option_is_chosen(readings, rate, cached):
    assert estimate(readings, rate).cached is cached


def test_the_config_has_the_last_word():
    assert estimate(1.0, 10_000.0, "always").cached
    assert not estimate(4.0, 10_000.0, "never").cached


def test_a_student_with_other_subwords_has_one_option():
    """However fast the teacher, and however large the cache."""
    found = cache_policy.estimate("dev", SIGNALS, 2 * MOST_BYTES, SUBWORDS, 1.0, 1e9, "never", True)
    assert found.cached
    assert "the only option" in describe_choice(found)


def test_both_options_are_described_and_the_chosen_one_first():
    told = describe_choice(estimate(4.0, 10_000.0))
    assert told.index("cached: about 2 min") < told.index("computed in the steps: about 7 min")
    assert "191 MiB" in told
    told = describe_choice(estimate(4.0, 10_000.0, "never"))
    assert told.index("computed in the steps") < told.index("cached: about")


def test_no_cache_beyond_the_bound_is_taken_unasked():
    """Though 1,000 readings of a slow teacher would pay for it."""
    assert estimate(1000.0, 1000.0, size=MOST_BYTES).cached
    assert not estimate(1000.0, 1000.0, size=MOST_BYTES + 1).cached
    assert estimate(1000.0, 1000.0, "always", MOST_BYTES + 1).cached


MAPS = SignalSpec(attention=(3,))
WHOLE = SignalSpec(logits=True, hidden=(4,), attention=(3,))


@pytest.mark.parametrize(
    ("map_bytes", "choice", "expected"),
    [
        (1_000_000_000, "auto", [(WHOLE, True)]),  # 100 s + 7 x 1.2 GB: 116.8 s, apart 302 s
        (20_000_000_000, "auto", [(MAPS, False), (SIGNALS, True)]),  # beyond the bound
        (20_000_000_000, "always", [(WHOLE, True)]),
        (1_000_000_000, "never", [(WHOLE, False)]),
    ],
)
def test_maps_too_large_for_a_cache_leave_the_other_signals_in_theirs(map_bytes, choice, expected):
    """Maps read twice, the others four times, by a teacher of 10,000 subwords a second."""
    whole, plain, others = (
        cache_policy.estimate("transfer", spec, size, SUBWORDS, readings, 10_000.0, choice)
        for spec, size, readings in (
            (WHOLE, SIZE + map_bytes, 6.0),
            (SIGNALS, SIZE, 4.0),
            (MAPS, map_bytes, 2.0),
        )
    )
    settled = settle(whole, plain, others, choice)
    assert [(each.spec, each.cached) for each in settled] == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("float16", 2 * (10 * (7 + 24) + 34 * 4)),
        ("float32", 4 * (10 * (7 + 24) + 34 * 4)),
        ("int8", 10 * (11 + 28) + 34 * 8),  # four bytes of scale behind every vector
    ],
)
def test_bytes_are_those_of_the_vectors_of_subwords_and_of_pairs(kind, expected):
    """10 subwords of 7 classes and width 24, 34 pairs of them with 4 heads."""
    shape = EncoderConfig(
        vocabulary_size=9, embedding_size=24, hidden_size=24, layers=4, heads=4, intermediate_size=8
    )
    model = Encoder(shape, "tagging", 7)
    assert count_bytes(WHOLE, kind, model, vectors=10, pairs=34) == expected
