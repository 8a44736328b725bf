"""The loss on the tags of sentences, against sums over all legal sequences in float64."""

from itertools import pairwise, product

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.distill.small import make_batch, make_bilstm, make_texts
from xdistil.config import Stage
from xdistil.data.decoding import find_legal
from xdistil.data.examples import Task
from xdistil.distill.distances import cross_entropy
from xdistil.distill.losses import LOSSES
from xdistil.distill.sentence_loss import sentence_cross_entropy
from xdistil.distill.stages import plan_stages
from xdistil.errors import InputError
from xdistil.models.types import Output
from xdistil.teacher.interface import NoTeacher
from xdistil.teacher.signals import Signals

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LEGAL = find_legal(LABELS)
compute = jax.jit(sentence_cross_entropy, static_argnames="legal")


def follows(old: str, new: str) -> bool:
    return new[0] != "I" or (old != "O" and old[2:] == new[2:])


def sum_legal(logits: np.ndarray, gold: list[int]) -> float:
    """-log of the share of the gold tags; their first one may always begin."""
    may_begin = [not name.startswith("I") or LABELS[gold[0]].startswith("I") for name in LABELS]
    total = 0.0
    for tags in product(range(len(LABELS)), repeat=len(logits)):
        names = [LABELS[tag] for tag in tags]
        if may_begin[tags[0]] and all(follows(old, new) for old, new in pairwise(names)):
            total += np.exp(logits[np.arange(len(tags)), list(tags)].sum())
    return np.log(total) - logits[np.arange(len(gold)), gold].sum()


def cut(names: list[str]) -> list[list[str]]:
    """Tags cut before each one that does not continue the one before."""
    parts = [names[:1]]
    for old, new in pairwise(names):
        if follows(old, new):
            parts[-1].append(new)
        else:
            parts.append([new])
    return parts


tags_of_sentences = st.lists(
    st.lists(st.sampled_from(LABELS), min_size=1, max_size=4), min_size=1, max_size=3
)


@given(rows=st.lists(tags_of_sentences, min_size=1, max_size=2), seed=st.integers(0, 99))
def test_it_is_the_share_of_the_gold_tags_among_all_legal_ones(rows, seed):
    """In packed rows, between places without a label; illegal gold is cut."""
    draw = np.random.default_rng(seed)
    shape = (len(rows), 30)
    labels, segment = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    mask = np.zeros(shape, bool)
    logits = draw.normal(size=(*shape, len(LABELS))).astype(np.float32) * 3
    logits[0, -1] = np.nan  # padding may hold anything
    expected, count = 0.0, 0
    for row, sentences in enumerate(rows):
        at = 0
        for number, names in enumerate(sentences, 1):
            places = at + np.sort(draw.choice(8, len(names), replace=False))
            segment[row, at : at + 8] = number
            mask[row, places] = True
            labels[row, places] = [LABELS.index(name) for name in names]
            at += 8
            count += len(names)
            for part in cut(names):
                here, places = places[: len(part)], places[len(part) :]
                own = logits[row, here].astype(np.float64)
                expected += sum_legal(own, [LABELS.index(name) for name in part])
    found = compute(logits, labels, mask, segment, legal=LEGAL)
    assert found.count == count
    assert float(found.sum) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_two_words_by_hand():
    """O or B-PER, then O, B-PER or I-PER after B-PER: of 1 + 1 + 2 + 2 + 2 the gold has 2."""
    logits = np.log([[[1.0, 2.0, 5.0], [1.0, 1.0, 1.0]]])
    labels, every = np.array([[1, 2]]), np.ones((1, 2), bool)
    legal = find_legal(("O", "B-PER", "I-PER"))
    found = compute(logits, labels, every, np.ones((1, 2), np.int32), legal=legal)
    assert float(found.mean()) == pytest.approx(np.log(8 / 2) / 2)


def test_where_all_tags_may_follow_it_is_the_cross_entropy():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(3, 20, 4)).astype(np.float32)
    labels = draw.integers(0, 4, (3, 20))
    mask = draw.random((3, 20)) < 0.6
    segment = np.repeat([[1, 2, 3, 0]], 5, axis=1) * np.ones((3, 1), int)
    free = ((True,) * 4,) * 5
    found = compute(logits, labels, mask, np.sort(segment, axis=1), legal=free)
    expected = cross_entropy(logits, labels, mask)
    np.testing.assert_allclose(found.sum, expected.sum, rtol=1e-5)
    assert found.count == expected.count


def test_gradients_are_finite_and_sum_to_nothing_at_each_word():
    """As those of every softmax do; also with logits that leave one tag alone possible."""
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(2, 9, 5)).astype(np.float32)
    logits[0] *= 100
    labels, mask = np.zeros((2, 9), int), np.ones((2, 9), bool)
    labels[:, 3:6] = [1, 2, 2]
    segment = np.repeat([[1, 1, 2]], 3, axis=0).repeat(3, axis=1)[:2]

    def total(logits):
        return sentence_cross_entropy(logits, labels, mask, segment, LEGAL).sum

    gradient = np.asarray(jax.jit(jax.grad(total))(logits))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(axis=-1), 0.0, atol=1e-4)
    assert np.abs(gradient).max() > 0.1


PLAN = (Stage(name="labels", loss="labels", data="train", labels_loss="crf"),)


def test_a_stage_with_it_learns_the_tags_of_packed_sentences():
    texts, task = make_texts(), Task("tagging", ("O", "B-X", "I-X"))
    (run,) = plan_stages(PLAN, "plan", make_bilstm(), NoTeacher(), texts, task=task)
    losses, batch = run.step.losses, make_batch(2)
    output = Output(draw_logits(batch.tokens.shape), (), None)
    found = LOSSES["labels"].compute(losses, {}, output, batch, Signals(None, (), ()))
    legal = find_legal(task.labels)
    expected = compute(output.logits, batch.labels, batch.label_mask, batch.segment, legal=legal)
    np.testing.assert_allclose((found.sum, found.count), (expected.sum, expected.count), rtol=1e-5)
    plain = cross_entropy(output.logits, batch.labels, batch.label_mask)
    assert found.sum < plain.sum  # illegal tags have no share


def draw_logits(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "task", [Task("classification", ("no", "yes")), Task("tagging", ("O", "I-X", "E-X"))]
)
def test_labels_that_are_no_tags_of_iob2_are_refused(task):
    with pytest.raises(
        InputError, match=r"^plan\[0\].labels_loss is crf, .*: set plan\[0\].labels"
    ):
        plan_stages(PLAN, "plan", make_bilstm(), NoTeacher(), make_texts(), task=task)
