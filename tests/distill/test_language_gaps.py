"""Weights of languages by the gap between student and teacher."""

from dataclasses import replace
from typing import Any

import pytest

from tests.data.test_sampling import make_rows
from tests.distill.small import make_bilstm, make_teacher, make_texts
from xdistil.config import Stage
from xdistil.data.examples import Example
from xdistil.data.packing import PackedTexts
from xdistil.distill.language_gaps import (
    TeacherScores,
    choose_weighing,
    describe_weights,
    draw_by,
    list_known,
)
from xdistil.distill.stages import plan_stages
from xdistil.errors import InputError

DEV = [Example(("a",), None, language) for language in ("fr", "de", "und")]


def make_scores(**languages: float | None) -> Any:
    return {"macro_f1": 0.5, "per_language": {name: {"f1": f1} for name, f1 in languages.items()}}


def make_spoken(*languages: str) -> PackedTexts:
    examples = [Example(("a",), None, language) for language in languages]
    texts: Any = PackedTexts(examples, None, None)
    return texts


def test_a_weight_grows_with_the_gap_beyond_the_mean():
    teacher = TeacherScores(make_scores(de=0.9, fr=0.8, sw=0.7, yo=0.4, la=0.9), "f1")
    student = make_scores(de=0.8, fr=0.8, sw=0.2, yo=0.6, la=0.1)
    # The gaps are 0.1, 0, 0.5 and 0 (the student is ahead), 0.15 in the mean. Latin is not drawn,
    # and of Zulu nothing is known.
    weights = teacher.weigh(student, 3.0, make_spoken("yo", "fr", "zu", "de", "sw", "de", "und"))
    assert weights == pytest.approx({"de": 3.0, "fr": 1.0, "sw": 11.0, "yo": 1.0, "zu": 4.0})
    assert list(weights) == ["de", "fr", "sw", "yo", "zu"]


def test_languages_without_a_gap_weigh_the_same():
    teacher = TeacherScores(make_scores(de=0.5, fr=None, sw=0.3), "f1")
    texts = make_spoken("de", "fr", "sw")
    same = {"de": 1.0, "fr": 1.0, "sw": 1.0}
    assert teacher.weigh(make_scores(de=0.6, fr=0.1, sw=None), 2.0, texts) == same
    assert teacher.weigh(make_scores(), 2.0, texts) == same


def test_rows_of_an_epoch_follow_the_weights_and_unknown_texts_stay():
    subwords, examples, rows = make_rows(1.0)
    texts = PackedTexts(examples, subwords, rows)
    assert rows.quota.tolist() == [6, 2]
    drawn = draw_by(texts, {"de": 1.0, "fr": 5.0}).rows
    assert drawn.quota.tolist() == [3, 5]  # 6 : 10
    assert drawn.subword is rows.subword
    assert draw_by(texts, {"de": 1.0, "fr": 1.0}).rows.quota.tolist() == [6, 2]
    assert draw_by(texts, {"fr": 9.0}).rows.quota.tolist() == [6, 2]  # de: not known


def plan(*stages: Stage, languages: tuple[str, ...] = ("de", "fr")):
    texts = make_texts()
    for name, each in texts.items():
        spoken = [Example(("a",), None, language) for language in languages]
        texts[name] = PackedTexts(spoken, each.subwords, each.rows)
    return plan_stages(stages, "plan", make_bilstm(), make_teacher(), texts)


REPRESENTATION = Stage(name="representation", loss="representation")
LOGITS = Stage(name="logits", loss="logits", unfreeze="gradual", gap_weight=1.0)
LABELS = Stage(name="labels", loss="labels", data="train", gap_weight=2.0)


@pytest.mark.parametrize(
    ("stages", "trained", "expected"),
    [
        ((REPRESENTATION, LOGITS, LABELS), False, [0, 0, 1, 1, 1, 1]),
        ((LOGITS,), True, [1, 1, 1, 1]),
        ((Stage(name="plain", loss="logits"), REPRESENTATION, LABELS), False, [0, 0, 1]),
    ],
)
def test_languages_are_weighed_once_a_head_was_trained(stages, trained, expected):
    chosen = choose_weighing(plan(*stages), trained, DEV)
    assert [stage.weighs_languages for stage in chosen] == list(map(bool, expected))


def test_a_stage_that_cannot_weigh_languages_is_refused():
    with pytest.raises(InputError) as raised:
        choose_weighing(plan(REPRESENTATION, LABELS), False, DEV)
    assert str(raised.value) == (
        "plan[1].gap_weight is 2, but no stage run before it trains the head, so the student has "
        "no scores yet: set it in a later stage, or plan[1].unfreeze=gradual."
    )
    headless = replace(REPRESENTATION, gap_weight=1.0)
    with pytest.raises(InputError, match=r"set it in a later stage\.$"):
        choose_weighing(plan(headless, LABELS), False, DEV)
    with pytest.raises(InputError, match="the texts of train have 1 known language to weigh: set"):
        choose_weighing(plan(LABELS, languages=("de", "und")), True, DEV)
    with pytest.raises(InputError, match="the texts of dev have 0 known languages to weigh: set"):
        choose_weighing(plan(LABELS), True, DEV[2:])


def test_known_languages_are_in_order():
    assert list_known(DEV) == ["de", "fr"]


def test_the_log_has_both_ends_of_many_weights():
    assert describe_weights({"de": 1.0, "fr": 2.5, "af": 1.0}).endswith(
        "on dev: fr 2.50, af 1.00, de 1.00"
    )
    many = describe_weights({f"x{number}": 1.0 + number for number in range(12)})
    assert many.endswith(
        "x11 12.00, x10 11.00, x9 10.00, x8 9.00, x7 8.00, ..., x4 5.00, x3 4.00, x2 3.00, "
        "x1 2.00, x0 1.00"
    )
