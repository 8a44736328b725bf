"""The loss that the quality gate allows, with numbers computed by hand."""

from collections.abc import Sequence

import pytest

from xdistil.data.examples import Example, Task
from xdistil.deploy.quality_gate import OTHERS, check_dev, judge
from xdistil.errors import RefusedError

TASK = Task("tagging", ("O", "B-PER", "I-PER"))
CLASSES = Task("classification", ("bad", "good"))


def _people(language: str, count: int, word: str = "Anna") -> list[Example]:
    """Sentences of one word, each of them an entity."""
    return [Example((word,), ("B-PER",), language) for _ in range(count)]


def _miss(gold: Sequence[Example], *missed: int) -> list[tuple[str, ...]]:
    return [("O",) if index in missed else ("B-PER",) for index in range(len(gold))]


def test_a_file_without_loss_passes():
    gold = _people("en", 120)
    verdict = judge(TASK, gold, _miss(gold), _miss(gold))
    assert verdict.passed
    assert verdict.groups["en"].p == 1.0


def test_a_loss_above_half_a_point_is_refused_though_it_may_be_chance():
    gold = _people("en", 100)
    verdict = judge(TASK, gold, _miss(gold), _miss(gold, 3, 70))
    assert verdict.small == pytest.approx(2 * 98 / 198)
    assert verdict.worse == []  # (98/100)^100 = 0.13
    assert not verdict.passed


def test_a_language_that_is_significantly_worse_is_refused_though_the_macro_hardly_moves():
    gold = _people("en", 1500) + _people("de", 1500)
    verdict = judge(TASK, gold, _miss(gold), _miss(gold, *range(1500, 1508)))
    assert verdict.whole - verdict.small == pytest.approx(0.0013, abs=1e-4)
    assert verdict.worse == ["de"]  # (1 - 8/1500)^1500 = 3e-4
    assert not verdict.passed
    few = judge(TASK, gold, _miss(gold), _miss(gold, 1500, 1501))  # e^-2 = 0.14
    assert few.worse == []
    assert few.passed


def test_each_language_has_its_share_of_the_level():
    # The probability e^-3 = 0.05 is not significant where five languages are tested.
    alone = _people("en", 1000)
    verdict = judge(TASK, alone, _miss(alone), _miss(alone, 0, 1, 2, 3))
    assert verdict.worse == ["en"]  # e^-4 = 0.018
    gold = [example for name in ("de", "en", "fr", "nl") for example in _people(name, 1000)]
    assert judge(TASK, gold, _miss(gold), _miss(gold, 0, 1, 2, 3)).worse == []


def test_languages_with_few_entities_are_pooled():
    gold = _people("en", 100) + _people("de", 60) + _people("fr", 50)
    verdict = judge(TASK, gold, _miss(gold), _miss(gold, *range(100, 110)))
    assert {name: group.wanted for name, group in verdict.groups.items()} == {
        "en": 100,
        OTHERS: 110,
    }
    assert verdict.groups[OTHERS].small == pytest.approx(2 * 100 / 210)
    assert verdict.worse == [OTHERS]


def test_scores_are_given_by_script():
    gold = _people("en", 4) + _people("de", 4) + _people("el", 5, "Άννα") + _people("zh", 1, "安娜")
    verdict = judge(TASK, gold, _miss(gold), _miss(gold, 0, 8))
    assert verdict.scripts == {
        "CJK": (1.0, 1.0, 1),
        "GREEK": (1.0, pytest.approx(8 / 9), 5),
        "LATIN": (1.0, pytest.approx(14 / 15), 8),
    }


def test_classes_are_judged_by_accuracy():
    gold = [Example((f"text {i}",), ("good",), "en") for i in range(200)]
    small = [("bad",)] * 3 + [("good",)] * 197
    verdict = judge(CLASSES, gold, [("good",)] * 200, small)
    assert verdict.small == pytest.approx(197 / 200)
    assert verdict.groups["en"].wanted == 200
    assert not verdict.passed


def test_a_dev_set_of_fewer_than_100_entities_or_texts_decides_nothing(caplog):
    two = [Example(("Anna", "Bob"), ("B-PER", "B-PER"), "en")] * 49
    none = [Example(("went",), ("O",), "en")] * 500
    with pytest.raises(RefusedError, match="dev has 98 gold entities, too few to tell whether"):
        check_dev(TASK, two + none)
    check_dev(TASK, two[:1] + two + none)
    texts = [Example(("a text",), ("good",), "en")] * 99
    with pytest.raises(RefusedError, match="dev has 99 gold texts"):
        check_dev(CLASSES, texts)
    check_dev(CLASSES, [*texts, texts[0]])
    assert not caplog.messages
    check_dev(CLASSES, texts, allow_small=True)
    assert "dev has 99 gold texts, too few" in caplog.text


def test_several_labels_are_judged_by_micro_f1_and_counted_by_label():
    task = Task("classification", ("art", "food", "sport"), multilabel=True)
    gold = [Example(("a text",), ("art", "food"), "en")] * 50
    whole = [each.labels or () for each in gold]
    check_dev(task, gold)
    with pytest.raises(RefusedError, match="dev has 98 gold labels of texts, too few"):
        check_dev(task, gold[1:])
    verdict = judge(task, gold, whole, [("art",), *whole[1:]])
    assert verdict.small == pytest.approx(2 * 99 / 199)
    assert verdict.groups["en"].wanted == 100
    assert judge(task, gold, whole, [("food", "art"), *whole[1:]]).small == 1.0
