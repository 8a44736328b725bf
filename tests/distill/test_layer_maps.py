"""Which layers of student and teacher a loss compares."""

import pytest

from xdistil.distill.layer_maps import map_attention, map_hidden, middle_layer
from xdistil.errors import InputError


def test_the_middle_layer_is_seven_of_twelve_and_four_of_six():
    assert {n: middle_layer(n) for n in (1, 2, 6, 12, 24)} == {1: 1, 2: 2, 6: 4, 12: 7, 24: 14}


@pytest.mark.parametrize(
    ("text", "student", "teacher", "pairs"),
    [
        ("middle", 1, 12, ((1, 7),)),
        ("middle", 3, 6, ((3, 4),)),
        ("last", 2, 6, ((0, 4), (1, 5), (2, 6))),
        ("last", 3, 3, ((0, 0), (1, 1), (2, 2), (3, 3))),
        ("uniform", 2, 6, ((0, 0), (1, 3), (2, 6))),
        ("uniform", 4, 6, ((0, 0), (1, 2), (2, 3), (3, 5), (4, 6))),
        ("uniform", 4, 2, ((0, 0), (1, 1), (2, 1), (3, 2), (4, 2))),
        ("5", 2, 6, ((2, 5),)),
        ("0", 2, 6, ((2, 0),)),
        ("0:0, 1:3,2:6", 2, 6, ((0, 0), (1, 3), (2, 6))),
    ],
)
def test_layer_maps_of_hidden_states(text, student, teacher, pairs):
    assert map_hidden(text, student, teacher, "plan[0].hidden_map") == pairs


@pytest.mark.parametrize(
    ("text", "student", "teacher", "pairs"),
    [
        ("middle", 2, 12, ((2, 7),)),
        ("last", 2, 6, ((1, 5), (2, 6))),
        ("uniform", 3, 12, ((1, 4), (2, 8), (3, 12))),
        ("upper", 2, 6, ((2, 6),)),
        ("upper", 3, 12, ((3, 12),)),
        ("upper", 6, 24, ((6, 21),)),
        ("4", 2, 6, ((2, 4),)),
        ("1:3,2:6", 2, 6, ((1, 3), (2, 6))),
    ],
)
def test_layer_maps_of_attention(text, student, teacher, pairs):
    assert map_attention(text, student, teacher, "plan[0].attention_map") == pairs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("last", ["'last'", "7 layers", "teacher 6", "1:2,2:4"]),
        ("1:7", ["student layer 1 with teacher layer 7", "0 to 7 and 0 to 6"]),
        ("8:1", ["student layer 8 with teacher layer 1"]),
        ("first", ["'first'", "middle, last, uniform", "1:2,3:6"]),
        ("upper", ["'upper'"]),
        ("1:2,", ["'1:2,'"]),
        ("-1", ["'-1'"]),
        ("1:2:3", ["'1:2:3'"]),
        ("", ["''"]),
    ],
)
def test_impossible_layer_maps_are_refused_by_their_field(text, words):
    with pytest.raises(InputError) as caught:
        map_hidden(text, 7, 6, "plan[3].hidden_map")
    for word in ("plan[3].hidden_map", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["0:1", "1:0", "0"])
def test_there_is_no_attention_map_zero(text):
    with pytest.raises(InputError, match=r"plan\[1\].attention_map .* 1 to 2 and 1 to 6"):
        map_attention(text, 2, 6, "plan[1].attention_map")
    with pytest.raises(InputError, match=r"plan\[1\].attention_map is 'last'"):
        map_attention("last", 7, 6, "plan[1].attention_map")
