"""The loss on the tags of sentences, against sums over all legal sequences in float64."""

from dataclasses import replace
from itertools import pairwise, product

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.distill.small import make_batch, make_bilstm, make_teacher, make_texts
from xdistil.config import Stage
from xdistil.data.decoding import find_legal, weigh_tags
from xdistil.data.examples import Task
from xdistil.distill.distances import cross_entropy, kl_divergence
from xdistil.distill.losses import LOSSES
from xdistil.distill.sentence_loss import sentence_cross_entropy, sentence_divergence
from xdistil.distill.stages import plan_stages
from xdistil.errors import InputError
from xdistil.models.types import Output
from xdistil.teacher.interface import NoTeacher
from xdistil.teacher.signals import Signals

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LEGAL = find_legal(LABELS)
compute = jax.jit(sentence_cross_entropy, static_argnames="legal")
diverge = jax.jit(sentence_divergence, static_argnames=("legal", "temperature"))


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
@settings(deadline=None)
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


def share_out(logits: np.ndarray, first: int) -> np.ndarray:
    """The probabilities of all legal tags of a sentence, which may begin with any tag if
    `first` may not begin one."""
    sums = []
    for tags in product(range(len(LABELS)), repeat=len(logits)):
        names = [LABELS[tag] for tag in tags]
        begins = not names[0].startswith("I") or LABELS[first].startswith("I")
        if begins and all(follows(old, new) for old, new in pairwise(names)):
            sums.append(logits[np.arange(len(tags)), list(tags)].sum())
    shares = np.exp(np.array(sums) - max(sums))
    return shares / shares.sum()


@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_divergence_is_that_over_all_legal_tags_of_sentences(lengths, seed):
    """Of packed sentences, between places that have no tag."""
    draw = np.random.default_rng(seed)
    student, teacher = draw.normal(size=(2, 1, 24, len(LABELS))) * 3
    segment, mask = np.repeat([[1, 2, 3]], 8, axis=1), np.zeros((1, 24), bool)
    student[0, -1] = teacher[0, -1] = np.nan  # padding may hold anything
    expected = 0.0
    for number, length in enumerate(lengths):
        places = 8 * number + np.sort(draw.choice(7, length, replace=False))
        mask[0, places] = True
        first = teacher[0, places[0]].argmax()
        own, target = (share_out(each[0, places] / 2, first) for each in (student, teacher))
        expected += 4 * np.sum(target * np.log(target / own))
    found = diverge(student, teacher, mask, segment, legal=LEGAL, temperature=2.0)
    assert found.count == sum(lengths)
    assert float(found.sum) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_its_gradient_is_what_the_probabilities_of_tags_differ_by():
    draw = np.random.default_rng(2)
    student, teacher = draw.normal(size=(2, 1, 12, len(LABELS))).astype(np.float32) * 3
    teacher[0, [0, 7], 0] += 20  # a sentence begins outside entities
    segment, mask = np.repeat([[1, 2]], [7, 5], axis=1), np.ones((1, 12), bool)
    begins = np.arange(12) % 7 == 0

    def total(logits):
        return sentence_divergence(logits, teacher, mask, segment, LEGAL).sum

    gradient = jax.jit(jax.grad(total))(student)
    own, target = (weigh_tags(each[0], begins, LABELS) for each in (student, teacher))
    np.testing.assert_allclose(gradient[0], own - target, atol=1e-5)
    assert float(jax.jit(total)(teacher)) == pytest.approx(0.0, abs=1e-4)


def test_where_all_tags_may_follow_the_divergence_is_that_of_each_word():
    draw = np.random.default_rng(3)
    student, teacher = draw.normal(size=(2, 2, 15, 4)).astype(np.float32)
    mask, segment = draw.random((2, 15)) < 0.6, np.repeat([[1, 2, 3]], 5, axis=1).repeat(2, axis=0)
    found = diverge(student, teacher, mask, segment, legal=((True,) * 4,) * 5, temperature=2.0)
    expected = kl_divergence(student, teacher, mask, 2.0)
    np.testing.assert_allclose((found.sum, found.count), (expected.sum, expected.count), rtol=1e-4)


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


def draw_logits(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


def test_a_stage_on_logits_learns_the_tags_that_the_teacher_makes_probable():
    texts, task = make_texts(), Task("tagging", ("O", "B-X", "I-X"))
    plan = (replace(PLAN[0], loss="logits", labels_loss="ce", logits_loss="crf", temperature=3.0),)
    (run,) = plan_stages(plan, "plan", make_bilstm(), make_teacher(), texts, task=task)
    losses, batch = run.step.losses, make_batch(2)
    student, teacher = (draw_logits(batch.tokens.shape, seed) for seed in range(2))
    output, signals = Output(student, (), None), Signals(teacher, (), ())
    found = LOSSES["logits"].compute(losses, {}, output, batch, signals)
    legal = find_legal(task.labels)
    mask = batch.label_mask
    expected = diverge(student, teacher, mask, batch.segment, legal=legal, temperature=3.0)
    np.testing.assert_allclose((found.sum, found.count), (expected.sum, expected.count), rtol=1e-5)
    # Labels beside them are those of single words.
    found = LOSSES["labels"].compute(losses, {}, output, batch, signals)
    plain = cross_entropy(student, batch.labels, batch.label_mask)
    np.testing.assert_allclose(found.sum, plain.sum, rtol=1e-5)


@pytest.mark.parametrize(
    "task", [Task("classification", ("no", "yes")), Task("tagging", ("O", "I-X", "E-X"))]
)
@pytest.mark.parametrize("loss", ["logits", "labels"])
def test_labels_that_are_no_tags_of_iob2_are_refused(task, loss):
    plan = (Stage(name="x", loss=loss, data="train", **{f"{loss}_loss": "crf"}),)
    with pytest.raises(
        InputError, match=rf"^plan\[0\].{loss}_loss is crf, .*: set plan\[0\].{loss}_loss="
    ):
        plan_stages(plan, "plan", make_bilstm(), make_teacher(), make_texts(), task=task)
