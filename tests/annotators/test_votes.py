"""Votes and targets, against numbers worked out by hand and sums over all sequences of tags."""

import itertools

import numpy as np
import pytest

from xdistil.annotators.agreement import measure_alpha
from xdistil.annotators.answers import AnsweredText, Span
from xdistil.annotators.dawid_skene import Chain, learn_votes, smooth
from xdistil.annotators.targets import combine_votes, decide_labels
from xdistil.annotators.votes import Votes, collect_votes, share_votes, take_majority
from xdistil.data.examples import Task

TAGS = Task("tagging", ("O", "B-P", "I-P"))
CLASSES = Task("classification", ("bad", "good"))


def answer(inputs, language="und", **answers):
    return AnsweredText((inputs,), language, "a.jsonl:1", answers)


def collect(*texts, task=TAGS):
    return collect_votes(texts, task)[0]


def vote(table, labels=("bad", "good"), languages=None):
    """Votes of texts [E,K] on one unit each; -1 is none."""
    table = np.array(table)
    text, annotator = np.nonzero(table >= 0)
    return Votes(
        labels=labels,
        annotators=tuple(f"a{k}" for k in range(table.shape[1])),
        offsets=np.arange(len(table) + 1),
        languages=languages or ("und",) * len(table),
        unit=text,
        annotator=annotator,
        label=table[text, annotator],
        weight=np.ones(len(text)),
    )


def test_votes_of_spans_scores_and_abstentions():
    text = answer("Anna Lee ran", a=(Span(0, 8, "P", 0.75),), b=(Span(0, 4, "P"),), c=(), d=None)
    votes = collect(text, answer("So", a=None))
    assert votes.annotators == ("a", "b", "c", "d")
    assert votes.offsets.tolist() == [0, 3, 4]
    expected = [[1.25, 1.75, 0], [2.25, 0, 0.75], [3, 0, 0], [0, 0, 0]]
    assert votes.count() == pytest.approx(np.array(expected))
    assert share_votes(votes) == pytest.approx(np.array(expected) / [[3], [3], [3], [1]])
    assert take_majority(votes).tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert votes.voted.tolist() == [True, True, True, False]
    assert decide_labels(combine_votes(votes, "share"), votes) == [("B-P", "O", "O"), ("O",)]


def test_labels_with_equally_many_votes_share_the_majority():
    votes = vote([[0, 1], [1, 1]])
    assert take_majority(votes).tolist() == [[0.5, 0.5], [0, 1]]


def test_classes_are_votes_on_texts():
    text = answer("Fine.", a={"good": 0.75, "bad": 0.25}, b={"bad": 1.0})
    votes = collect(text, task=CLASSES)
    assert share_votes(votes) == pytest.approx(np.array([[0.625, 0.375]]))
    assert decide_labels(share_votes(votes), votes) == [("bad",)]


def test_spans_that_do_not_fit_are_counted_with_examples():
    text = answer("Anna ran", a=(Span(0, 4, "P"), Span(4, 5, "P")), b=(Span(0, 3, "P"),))
    _, settlement = collect_votes([text], TAGS)
    assert dict(settlement.reasons) == {"blank": 1, "moved": 1}
    assert settlement.rejected == 1
    assert settlement.examples["blank"] == [("Anna ran", Span(4, 5, "P"), "a")]
    assert settlement.spans == {"a": 2, "b": 1}


def test_the_probabilities_of_a_chain_are_sums_over_all_sequences():
    draw = np.random.default_rng(0)
    start, steps = draw.dirichlet(np.ones(3)), draw.dirichlet(np.ones(3), 3)
    steps[0, 2] = 0  # an illegal step
    offsets = np.array([0, 4, 4, 5, 7])  # one text has no unit
    scores = np.log(draw.random((7, 3)))
    found, pairs, first = smooth(scores, offsets, Chain(start, steps))
    expected, expected_pairs, expected_first = np.zeros((7, 3)), np.zeros((3, 3)), np.zeros(3)
    for begin, end in itertools.pairwise(offsets):
        weights = {}
        for tags in itertools.product(range(3), repeat=end - begin):
            weight = start[tags[0]] if tags else 0
            for at, tag in enumerate(tags):
                weight *= np.exp(scores[begin + at, tag])
                weight *= steps[tags[at - 1], tag] if at else 1
            weights[tags] = weight
        total = sum(weights.values())
        for tags, weight in weights.items():
            for at, tag in enumerate(tags):
                expected[begin + at, tag] += weight / total
            for before, after in itertools.pairwise(tags):
                expected_pairs[before, after] += weight / total
            if tags:
                expected_first[tags[0]] += weight / total
    assert found == pytest.approx(expected)
    assert pairs == pytest.approx(expected_pairs)
    assert first == pytest.approx(expected_first)


def test_one_round_on_classes_worked_out_by_hand(monkeypatch):
    monkeypatch.setattr("xdistil.annotators.dawid_skene.ROUNDS", 1)
    # Majority: bad, bad, good, and a tie. Annotator 0 says bad, bad, good, bad; 1 the others.
    votes = vote([[0, 0, 0], [0, 0, 1], [1, 1, 1], [0, 1, -1]])
    found = learn_votes(votes).probabilities
    # Votes with those that each annotator begins with (1 for the true label, 0.1 elsewhere):
    # true bad: 2 texts and half of the tie; true good: 1 and half.
    said = np.array(
        [
            [[3.5, 0.1], [0.6, 2.0]],  # annotator 0
            [[3.0, 0.6], [0.1, 2.5]],
            [[2.0, 1.1], [0.1, 2.0]],
        ]
    )
    said /= said.sum(axis=2, keepdims=True)
    prior = np.array([2.6, 1.6]) / 4.2
    tie = prior * said[0, :, 0] * said[1, :, 1]
    assert found[3] == pytest.approx(tie / tie.sum())
    second = prior * said[0, :, 0] * said[1, :, 0] * said[2, :, 1]
    assert found[1] == pytest.approx(second / second.sum())


def test_known_confusions_are_recovered_and_better_than_the_majority():
    draw = np.random.default_rng(1)
    confusions = np.array([[[0.95, 0.05], [0.05, 0.95]], *[[[0.7, 0.3], [0.35, 0.65]]] * 4])
    true = draw.integers(2, size=4000)
    table = np.stack([draw.random(4000) < each[true, 1] for each in confusions], axis=1).astype(int)
    votes = vote(table)
    learned = learn_votes(votes)
    assert learned.confusions[0] == pytest.approx(confusions, abs=0.04)
    right = [
        (each.argmax(axis=1) == true).mean()
        for each in (learned.probabilities, take_majority(votes))
    ]
    assert right[0] > 0.94 > right[1] + 0.05


def test_languages_have_confusions_of_their_own():
    draw = np.random.default_rng(2)
    true = draw.integers(2, size=4000)
    german = np.arange(4000) < 2000
    wrong = np.stack([draw.random(4000) < np.where(german, *rates) for rates in
                      ((0.05, 0.35), (0.35, 0.05), *[(0.25, 0.25)] * 3)], axis=1)  # fmt: skip
    languages = tuple(np.where(german, "de", "en"))
    learned = learn_votes(
        vote(np.where(wrong, 1 - true[:, None], true[:, None]), languages=languages)
    )
    assert learned.languages == ("de", "en")
    errors = (learned.confusions[..., 0, 1] + learned.confusions[..., 1, 0]) / 2
    assert errors == pytest.approx(
        np.array([[0.05, 0.35, *[0.25] * 3], [0.35, 0.05, *[0.25] * 3]]), abs=0.06
    )


def test_abstentions_pull_nothing():
    texts = [
        answer("Anna ran", a=(Span(0, 4, "P"),), b=(Span(0, 4, "P"),)),
        answer("So it is", a=(), b=()),
    ]
    with_none = [answer(text.inputs[0], **text.answers, c=None) for text in texts]
    for how in ("majority", "share", "learned"):
        found = combine_votes(collect(*texts), how)
        assert combine_votes(collect(*with_none), how) == pytest.approx(found)


def test_annotators_that_never_confirm_each_other_are_believed():
    # Two dictionaries, of first and of last names; a third annotator marks nothing.
    texts = []
    for number in range(60):
        spans = {"a": (), "b": (), "c": ()}
        if number % 6 in (0, 1):
            spans["ab"[number % 6]] = (Span(8, 12, "P"),)
        texts.append(answer("So then Anna was there and it ran", **spans))
    votes = collect(*texts)
    assert not take_majority(votes)[:, 1:].any()
    learned = decide_labels(combine_votes(votes, "learned"), votes)
    assert [tags[2] for tags in learned[:4]] == ["B-P", "B-P", "O", "O"]
    assert {tag for tags in learned for tag in tags[3:]} == {"O"}


def test_learned_tags_are_legal_where_votes_are_not():
    text = answer("Anna Lee ran", a=(Span(0, 8, "P"),), b=(Span(5, 8, "P"),), c=(Span(0, 8, "P"),))
    found = combine_votes(collect(*[text] * 3), "learned")
    assert found.sum(axis=1) == pytest.approx(np.ones(9))
    assert found[::3, 2] == pytest.approx(np.zeros(3))  # no text begins with I-


def test_alpha_of_published_data():
    # Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C: 0.743.
    rows = ("123321412...", "1233224125.3", ".3333234225 1.", "1233244125 1.")
    rows = [row.replace(" ", "") for row in rows]
    rows[2], rows[3] = ".33323422510"[:11] + ".", "12332441251."
    table = [[int(row[at]) - 1 if row[at] != "." else -1 for row in rows] for at in range(12)]
    assert measure_alpha(vote(table, labels=tuple("12345"))) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_scores_is_that_of_equally_many_votes():
    hard = vote([[0, 0], [1, 1], [0, 1]])
    assert measure_alpha(hard) == pytest.approx(1 - (1 / 3) / (9 / 15))
    assert measure_alpha(vote([[0, -1], [1, -1]])) is None
    assert measure_alpha(vote([[0, 0], [0, 0]])) is None
    # Of two votes 0.5/0.5 half of the pairs differ.
    text = answer("x", a={"bad": 0.5, "good": 0.5}, b={"bad": 0.5, "good": 0.5})
    assert measure_alpha(collect(text, task=CLASSES)) == pytest.approx(1 - 0.5 / 1)
