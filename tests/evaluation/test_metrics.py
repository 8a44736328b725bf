"""Scores against hand-computed numbers, seqeval's own averages and scikit-learn."""

import math

import numpy as np
import pytest
from seqeval.metrics.v1 import precision_recall_fscore_support as seqeval_scores
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, f1_score

from xdistil.data.examples import Example, Task
from xdistil.data.tag_schemes import make_legal
from xdistil.evaluation.floor import find_constant
from xdistil.evaluation.metrics import count_matches, score
from xdistil.evaluation.results import name_task

TAGGING = Task("tagging", ("B-LOC", "B-PER", "I-LOC", "I-PER", "O"))
CLASSES = Task("classification", ("bad", "fine", "good"))


def _sentence(tags: str, language: str = "en") -> Example:
    labels = tuple(tags.split())
    return Example(tuple("w" * len(labels)), labels, language)


def _text(label: str, language: str = "en") -> Example:
    return Example(("a text",), (label,), language)


def test_an_entity_counts_only_if_type_first_and_last_word_agree():
    gold = [_sentence("B-PER I-PER O B-LOC B-LOC"), _sentence("B-PER O O")]
    predicted = [("B-PER", "I-PER", "O", "B-PER", "B-LOC"), ("B-PER", "I-PER", "O")]
    scores = score(TAGGING, gold, predicted)
    # Of 4 gold and 4 predicted entities 2 agree: one has the wrong type, one is too long.
    assert scores["per_language"] == {
        "en": {"f1": 0.5, "precision": 0.5, "recall": 0.5, "entities": 4, "sentences": 2}
    }
    assert scores["macro_f1"] == scores["micro_f1"] == 0.5


def test_matches_are_counted_by_sentence():
    gold = [_sentence("B-PER I-PER O B-LOC B-LOC"), _sentence("O O"), _sentence("B-PER")]
    predicted = [("I-PER", "I-PER", "O", "B-PER", "B-LOC"), ("O", "B-LOC"), ("O",)]
    counts = count_matches(TAGGING, gold, predicted)  # an illegal I- was made legal first
    np.testing.assert_array_equal(counts, [[2, 3, 3], [0, 1, 0], [0, 0, 1]])
    texts = [_text("good"), _text("bad")]
    counts = count_matches(CLASSES, texts, [("good",), ("fine",)])
    np.testing.assert_array_equal(counts, [[1, 1, 1], [0, 1, 1]])


def test_macro_is_the_mean_over_languages_and_micro_pools_their_sentences():
    gold = [_sentence("B-PER", "fr"), _sentence("B-PER B-LOC B-LOC", "de")]
    predicted = [("B-PER",), ("O", "B-LOC", "O")]
    scores = score(TAGGING, gold, predicted)
    assert scores["per_language"]["fr"]["f1"] == 1.0
    assert scores["per_language"]["de"]["f1"] == 0.5  # 2 x 1 / (1 + 3)
    assert scores["macro_f1"] == 0.75
    assert math.isclose(scores["micro_f1"], 4 / 6)  # 2 x 2 / (2 + 4)


def test_a_language_without_gold_entities_is_none_and_counts_in_micro_alone():
    gold = [_sentence("B-PER", "fr"), _sentence("O O", "my")]
    scores = score(TAGGING, gold, [("B-PER",), ("B-LOC", "O")])
    assert scores["per_language"]["my"] == {
        "f1": None,
        "precision": 0.0,
        "recall": None,
        "entities": 0,
        "sentences": 1,
    }
    assert scores["macro_f1"] == 1.0
    assert math.isclose(scores["micro_f1"], 2 / 3)


def test_precision_without_predicted_entities_is_none_while_f1_is_zero():
    language = score(TAGGING, [_sentence("B-PER O")], [("O", "O")])["per_language"]["en"]
    assert (language["f1"], language["precision"], language["recall"]) == (0.0, None, 0.0)


def test_no_entity_anywhere_leaves_every_average_none():
    scores = score(TAGGING, [_sentence("O O")], [("O", "O")])
    assert scores["macro_f1"] is None
    assert scores["micro_f1"] is None
    assert score(TAGGING, [], [])["macro_f1"] is None


def test_an_illegal_inside_tag_begins_an_entity():
    gold = [_sentence("O B-PER I-PER B-LOC")]
    assert score(TAGGING, gold, [("O", "I-PER", "I-PER", "I-LOC")])["micro_f1"] == 1.0


def test_tags_score_as_strict_seqeval_scores_them():
    generator = np.random.default_rng(5)

    def draw(size: int) -> tuple[str, ...]:
        tags = generator.choice(["B-LOC", "I-LOC", "B-PER", "I-PER", "O", "O"], size)
        return make_legal(tuple(tags.tolist()))

    def spoil(tags: tuple[str, ...]) -> tuple[str, ...]:
        drawn = zip(tags, draw(len(tags)), strict=True)
        return make_legal(tuple(b if generator.random() < 0.2 else a for a, b in drawn))

    gold = [_sentence(" ".join(draw(size)), f"l{size % 3}") for size in range(1, 40)]
    predicted = [spoil(example.labels) for example in gold]
    scores = score(TAGGING, gold, predicted)

    def reference(language: str | None) -> tuple[float, float, float, int]:
        chosen = [i for i, g in enumerate(gold) if language in (None, g.language)]
        true = [list(gold[i].labels) for i in chosen]
        answers = [list(predicted[i]) for i in chosen]
        return seqeval_scores(true, answers, average="micro", scheme=IOB2)

    assert scores["micro_f1"] == pytest.approx(reference(None)[2], abs=1e-12)
    assert 0.2 < scores["micro_f1"] < 0.95
    for language, each in scores["per_language"].items():
        got = (each["precision"], each["recall"], each["f1"], each["entities"])
        assert got == pytest.approx(reference(language), abs=1e-12)


def test_accuracy_and_macro_f1_of_classes_by_hand():
    gold = [_text("good"), _text("good"), _text("bad", "sw"), _text("bad", "sw")]
    scores = score(CLASSES, gold, [("good",), ("bad",), ("bad",), ("bad",)])
    assert scores["accuracy"] == 0.75
    # good: 2 x 1 / (2 + 1); bad: 2 x 2 / (2 + 3); fine occurs nowhere and is left out.
    assert math.isclose(scores["macro_f1"], (2 / 3 + 4 / 5) / 2)
    assert scores["per_language"]["sw"] == {"accuracy": 1.0, "macro_f1": 1.0, "sentences": 2}
    # In English the predicted class bad has no gold and scores 0.
    assert math.isclose(scores["per_language"]["en"]["macro_f1"], 1 / 3)


def test_classes_score_as_scikit_learn_scores_them():
    generator = np.random.default_rng(7)
    gold = list(generator.choice(CLASSES.labels, 60, p=[0.2, 0.1, 0.7]))
    predicted = [g if generator.random() < 0.6 else generator.choice(CLASSES.labels) for g in gold]
    scores = score(CLASSES, [_text(g) for g in gold], [(p,) for p in predicted])
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_predictions_that_do_not_fit_the_examples_are_refused():
    with pytest.raises(ValueError, match="0 predictions for 1 examples"):
        score(TAGGING, [_sentence("O O")], [])
    with pytest.raises(ValueError, match="example 0 has 2 labels, its prediction 1"):
        score(TAGGING, [_sentence("O O")], [("O",)])
    with pytest.raises(ValueError, match="example 0 has no labels"):
        score(TAGGING, [Example(("w",), None, "en")], [("O",)])


TOPICS = Task("classification", ("art", "food", "money", "sport"), multilabel=True)


def _topics(names: str, language: str = "en") -> Example:
    return Example(("a text",), tuple(names.split()), language)


def test_several_labels_by_hand():
    gold = [_topics("art food"), _topics(""), _topics("food", "de")]
    predicted = [("art", "sport"), (), ("food",)]
    scores = score(TOPICS, gold, predicted)
    # Of 3 gold and 3 predicted labels 2 are right. F1 of art is 1, of food 2 / 3, of sport 0; money
    # is nowhere.
    assert scores["micro_f1"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    # In English: art 1, food 0, sport 0.
    assert scores["per_language"] == {
        "de": {"micro_f1": 1.0, "macro_f1": 1.0, "sentences": 1},
        "en": {"micro_f1": 0.5, "macro_f1": pytest.approx(1 / 3), "sentences": 2},
    }
    np.testing.assert_array_equal(
        count_matches(TOPICS, gold, predicted), [[1, 2, 2], [0, 0, 0], [1, 1, 1]]
    )
    np.testing.assert_array_equal(count_matches(TOPICS, gold[:1], [("art",)]), [[1, 1, 2]])
    assert name_task(scores) == "multilabel"


def test_texts_without_any_label_have_no_score():
    scores = score(TOPICS, [_topics("")], [()])
    assert (scores["micro_f1"], scores["macro_f1"]) == (None, None)


def test_several_labels_equal_scikit_learn():
    generator = np.random.default_rng(7)
    wanted, found = generator.random((2, 50, 4)) < [0.4, 0.2, 0.0, 0.1]
    names = np.array(TOPICS.labels, object)
    gold = [Example(("a text",), tuple(names[row]), "en") for row in wanted]
    scores = score(TOPICS, gold, [tuple(names[row]) for row in found])
    assert scores["micro_f1"] == pytest.approx(f1_score(wanted, found, average="micro"))
    macro = f1_score(wanted, found, average="macro", zero_division=np.nan)
    assert scores["macro_f1"] == pytest.approx(macro)


def test_the_floor_is_the_best_constant():
    train = [_topics("food"), _topics("food art"), _topics("food art money"), _topics("")]
    # By frequency: food 3, art 2, money 1, of 4 texts. F1 of one label 2 * 3 / (4 + 6), of two
    # 2 * 5 / (8 + 6), of three 2 * 6 / (12 + 6).
    assert find_constant(train) == ("food", "art")
    assert find_constant([_topics("")]) == ()
