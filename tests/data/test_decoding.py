"""Decoded tags against all legal sequences, one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.strategies import is_legal
from xdistil.data import decoding
from xdistil.data.decoding import ARGMAX, VITERBI, decode_tags, is_iob2, weigh_tags
from xdistil.data.examples import Example, Task
from xdistil.data.word_alignment import choose_decoding, label_words

LABELS = ("I-LOC", "B-PER", "O", "I-PER", "B-LOC")


def enumerate_best(logits, labels) -> float:
    """The sum of the logits of the best legal sequence."""
    sequences = product(range(len(labels)), repeat=len(logits))
    return max(
        logits[np.arange(len(logits)), sequence].sum()
        for sequence in map(list, sequences)
        if is_legal([labels[tag] for tag in sequence])
    )


@pytest.mark.parametrize("together", [2, 512])
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=7),
    seed=st.integers(0, 99),
    labels=st.permutations(LABELS),
)
def test_each_sequence_gets_its_best_legal_tags(
    monkeypatch_module, together, lengths, seed, labels
):
    monkeypatch_module.setattr(decoding, "_TOGETHER", together)
    logits = np.random.default_rng(seed).normal(size=(sum(lengths), 5))
    first = np.cumsum(lengths) - lengths
    begins = np.isin(np.arange(len(logits)), first)
    found = decode_tags(logits, begins, labels)
    for at, length in zip(first, lengths, strict=True):
        tags, own = found[at : at + length], logits[at : at + length]
        assert is_legal([labels[tag] for tag in tags])
        assert own[np.arange(length), tags].sum() == pytest.approx(enumerate_best(own, labels))


@pytest.mark.parametrize("together", [2, 512])
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=7),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1, 40]),
    labels=st.permutations(LABELS),
)
def test_a_probability_is_the_share_of_the_legal_sequences_with_the_tag(
    monkeypatch_module, together, lengths, seed, scale, labels
):
    monkeypatch_module.setattr(decoding, "_TOGETHER", together)
    logits = scale * np.random.default_rng(seed).normal(size=(sum(lengths), 5))
    first = np.cumsum(lengths) - lengths
    found = weigh_tags(logits, np.isin(np.arange(len(logits)), first), labels)
    for at, length in zip(first, lengths, strict=True):
        sequences = np.array(
            [
                each
                for each in product(range(5), repeat=length)
                if is_legal([labels[tag] for tag in each])
            ]
        )
        sums = logits[np.arange(at, at + length), sequences].sum(axis=1)
        shares = np.exp(sums - sums.max())
        expected = [
            np.bincount(sequences[:, word], shares, minlength=5) / shares.sum()
            for word in range(length)
        ]
        np.testing.assert_allclose(found[at : at + length], expected, atol=1e-6)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def decode(probabilities, decoding, known=None, joins=False):
    """The tags of one sentence with the probabilities of O, B-PER and I-PER of each word."""
    logits = np.log(probabilities)
    known = np.ones(len(logits), bool) if known is None else np.array(known)
    examples = [Example(("w",) * len(logits), None, "und")]
    task = Task("tagging", ("O", "B-PER", "I-PER"))
    (tags,) = label_words(logits, known, examples, task, decoding, joins)
    return tags


def test_a_name_that_never_began_is_begun_or_dropped_by_its_probability():
    """By hand: B I has 0.45 x 0.6, O O 0.5 x 0.25; then B I has 0.2 x 0.5, O O 0.7 x 0.45."""
    likely = [[0.5, 0.45, 0.05], [0.25, 0.15, 0.6]]
    assert decode(likely, VITERBI) == ("B-PER", "I-PER")
    assert decode(likely, ARGMAX) == ("O", "B-PER")
    unlikely = [[0.7, 0.2, 0.1], [0.45, 0.05, 0.5]]
    assert decode(unlikely, VITERBI) == ("O", "O")
    assert decode(unlikely, ARGMAX) == ("O", "B-PER")


def test_a_word_without_logits_ends_a_name_unless_names_continue_over_it():
    inside = [[0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.1, 0.6]]
    known = [True, False, True]
    assert decode(inside, VITERBI, known) == ("B-PER", "O", "O")
    assert decode(inside, VITERBI, known, joins=True) == ("B-PER", "I-PER", "I-PER")
    assert decode(inside, ARGMAX, known) == ("B-PER", "O", "B-PER")
    assert decode(inside, VITERBI, [False, False, False]) == ("O", "O", "O")


def test_sentences_are_decoded_apart():
    task = Task("tagging", ("O", "B-PER", "I-PER"))
    examples = [
        Example(("w",), None, "und"),
        Example((), None, "und"),
        Example(("w",), None, "und"),
    ]
    logits = np.log([[0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    found = label_words(logits, np.ones(2, bool), examples, task, VITERBI)
    assert found == [("B-PER",), (), ("O",)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("O", "B-PER", "I-PER"), True),
        (("B-PER", "O"), True),
        (("O", "I-PER"), False),
        (("O", "B-PER", "I-PER", "I-LOC"), False),
        (("O", "S-PER", "B-PER", "I-PER", "E-PER"), False),
    ],
)
def test_tags_that_cannot_be_iob2_are_decoded_word_by_word(labels, expected):
    assert is_iob2(labels) == expected
    assert choose_decoding(Task("tagging", labels)) == (VITERBI if expected else ARGMAX)
    assert choose_decoding(Task("classification", labels)) == ARGMAX
