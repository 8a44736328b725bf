"""Which of the teacher's signals are cached, against estimates by hand."""

from collections.abc import Mapping

import pytest

from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.teacher.cache import measure_signals
from xdistil.teacher.cache_policy import (
    MOST_BYTES,
    CacheChoice,
    describe_choice,
    describe_limit,
    divide,
)
from xdistil.teacher.signals import SignalSpec

SIGNALS = SignalSpec(logits=True, hidden=(4,))
LOGITS, HIDDEN, MAPS = SignalSpec(logits=True), SignalSpec(hidden=(4,)), SignalSpec(attention=(3,))
# Of 1,000,000 subwords in float16: 7 and 93 numbers each, and maps as each test says.
SIZES = {"logits": 14_000_000, "hidden-4": 186_000_000}
SUBWORDS = 1_000_000


def divide_texts(
    readings: Mapping[SignalSpec, float],
    rate: float = 10_000.0,
    choice: str = "auto",
    by_word: bool = False,
    may_grow: bool = False,
    scale: int = 1,
    **sizes: int,
) -> list[CacheChoice]:
    """A teacher of 10,000 subwords a second reads all of them in 100 s."""
    known = SIZES | {name.replace("_", "-"): size for name, size in sizes.items()}
    known = {name: scale * size for name, size in known.items()}
    count = scale * SUBWORDS
    return divide("transfer", readings, known, count, rate, choice, by_word, may_grow)


def list_parts(choices: list[CacheChoice]) -> list[tuple[SignalSpec, bool]]:
    return [(each.spec, each.cached) for each in choices]


def estimate(readings: float, rate: float, choice: str = "auto", **sizes: int) -> CacheChoice:
    """The choice for stages that all read logits and hidden states."""
    (found,) = divide_texts({SIGNALS: readings}, rate, choice, **sizes)
    return found


def test_seconds_are_those_worked_out_by_hand():
    found = estimate(4.0, 10_000.0)
    assert found.computed_seconds == pytest.approx(400.0)
    # 200 MB are written once and read four times, at 500 MB a second.
    assert found.cached_seconds == pytest.approx(100.0 + 5 * 0.4)
    assert found.bytes == 200_000_000


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
    assert not estimate(4.0, 10_000.0, "never").too_large


def test_a_student_with_other_subwords_has_one_option():
    """However fast the teacher, and however large the cache."""
    readings = {HIDDEN: 1.0, LOGITS: 0.5}
    (found,) = divide_texts(readings, 1e9, "never", True, hidden_4=2 * MOST_BYTES)
    assert (found.spec, found.cached) == (SIGNALS, True)
    assert "the only option" in describe_choice(found)


def test_both_options_are_described_and_the_chosen_one_first():
    told = describe_choice(estimate(4.0, 10_000.0))
    assert told.index("cached: about 2 min") < told.index("computed in the steps: about 7 min")
    assert "191 MiB" in told
    told = describe_choice(estimate(4.0, 10_000.0, "never"))
    assert told.index("computed in the steps") < told.index("cached: about")


def test_no_cache_beyond_the_bound_is_taken_unasked():
    """Though 1,000 readings of a slow teacher would pay for it."""
    most = MOST_BYTES - SIZES["logits"]
    assert estimate(1000.0, 1000.0, hidden_4=most).cached
    larger = estimate(1000.0, 1000.0, hidden_4=most + 1)
    assert not larger.cached
    assert larger.too_large
    assert describe_choice(larger).endswith(describe_limit(larger))
    assert describe_limit(larger) == (
        "16.0 GiB more would exceed the 16 GiB that the cache of a set of texts may take unless "
        "teacher.cache=always"
    )
    assert estimate(1000.0, 1000.0, "always", hidden_4=most + 1).cached


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        # The pass, then hidden states written and read once, 37.2 s, instead of a second pass.
        (10_000.0, [(SIGNALS, True)]),
        (1_400_000.0, [(HIDDEN, False), (LOGITS, True)]),  # the teacher needs 35.7 s for that
        (60_000_000.0, [(SIGNALS, False)]),  # 4.75 passes take 4.0 s, the cache of logits 8.1 s
    ],
)
def test_what_is_read_once_is_computed_where_the_disk_is_slower(rate, expected):
    """Hidden states are read once, logits 4.75 times, as by configs/ner.py:large."""
    assert list_parts(divide_texts({HIDDEN: 1.0, LOGITS: 4.75}, rate, scale=50)) == expected


def test_signals_are_not_divided_for_less_than_a_second():
    """As above with 1,000,000 subwords, where both parts save 0.03 s against a whole cache."""
    assert list_parts(divide_texts({HIDDEN: 1.0, LOGITS: 4.75}, 1_400_000.0)) == [(SIGNALS, True)]
    # The teacher reads all in 0.167 s: 0.958 s without a cache, 0.494 s with that of logits.
    found = divide_texts({HIDDEN: 1.0, LOGITS: 4.75}, 6_000_000.0)
    assert list_parts(found) == [(SIGNALS, False)]


def test_seconds_and_readings_of_two_parts_are_their_own():
    computed, cached = divide_texts({HIDDEN: 1.0, LOGITS: 4.75}, hidden_4=20_000_000_000)
    assert list_parts([computed, cached]) == [(HIDDEN, False), (LOGITS, True)]
    assert (computed.readings, cached.readings) == (1.0, 4.75)
    assert (computed.bytes, cached.bytes) == (20_000_000_000, 14_000_000)
    assert computed.computed_seconds == pytest.approx(100.0)
    assert computed.cached_seconds == pytest.approx(80.0)  # on top of the pass for the logits
    assert cached.computed_seconds == pytest.approx(475.0)
    assert cached.cached_seconds == pytest.approx(100 + 5.75 * 0.028)
    assert computed.too_large
    assert not cached.too_large


def test_the_steps_that_compute_first_write_the_cache():
    """Then it costs no pass; a stage that reads it before needs one."""
    first, later = {HIDDEN: 1.0, LOGITS: 4.75}, {LOGITS: 4.75, HIDDEN: 1.0}
    for readings, grows in ((first, True), (later, False)):
        _, cached = divide_texts(readings, may_grow=True, hidden_4=20_000_000_000)
        assert cached.grows is grows
        assert cached.cached_seconds == pytest.approx(100 * (not grows) + 5.75 * 0.028)
        assert ("by the steps that compute the others" in describe_choice(cached)) is grows
    (whole,) = divide_texts(first, may_grow=True)
    assert not whole.grows


def test_a_stage_that_computes_a_signal_takes_the_others_from_the_cache():
    """Logits are read by both stages; the maps of the first do not fit."""
    both = SignalSpec(logits=True, attention=(3,))
    found = divide_texts({both: 2.0, LOGITS: 4.0}, attention_4=20_000_000_000)
    assert list_parts(found) == [(MAPS, False), (LOGITS, True)]
    assert [each.readings for each in found] == [2.0, 4.0]


def test_what_the_cache_holds_is_not_computed():
    """To read both layers takes 0.48 s and the teacher 0.4, but they are there for other stages."""
    both, other = SignalSpec(hidden=(2, 4)), SignalSpec(hidden=(2,))
    readings = {HIDDEN: 10.0, other: 10.0, both: 1.0}
    (found,) = divide_texts(readings, 2_500_000.0, hidden_2=120_000_000, hidden_4=120_000_000)
    assert (found.spec, found.cached, found.readings) == (both, True, 21.0)


@pytest.mark.parametrize(
    ("map_bytes", "choice", "expected"),
    [
        (1_000_000_000, "auto", [(SignalSpec(True, (4,), (3,)), True)]),
        (20_000_000_000, "auto", [(MAPS, False), (SIGNALS, True)]),  # beyond the bound
        (20_000_000_000, "always", [(SignalSpec(True, (4,), (3,)), True)]),
        (1_000_000_000, "never", [(SignalSpec(True, (4,), (3,)), False)]),
    ],
)
def test_maps_too_large_for_a_cache_leave_the_other_signals_in_theirs(map_bytes, choice, expected):
    """Maps read twice, the others four times."""
    found = divide_texts({SIGNALS: 4.0, MAPS: 2.0}, choice=choice, attention_4=map_bytes)
    assert list_parts(found) == expected


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
    whole = SignalSpec(logits=True, hidden=(4,), attention=(3,))
    sizes = measure_signals(whole, kind, model, vectors=10, pairs=34)
    assert list(sizes) == ["logits", "hidden-4", "attention-4"]
    assert sum(sizes.values()) == expected
