"""Words hidden from the student: whole words, a share of them, and from nobody else."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from tests.data.conftest import BUILDERS, wrap
from tests.distill.small import (
    CLASSES,
    Plan,
    init_params,
    make_batch,
    make_bilstm,
    make_plan,
    make_signals,
    make_teacher,
    make_texts,
    run_plan,
)
from tests.models.samples import make_tiny_tokenizer
from xdistil.config import Stage
from xdistil.data.examples import Task
from xdistil.data.packing import Batch
from xdistil.data.tokenizer import make_tokenizer
from xdistil.distill import step
from xdistil.distill import trainer as training
from xdistil.distill.losses import LossConfig
from xdistil.distill.masking import Masking, choose_masking, hide_words
from xdistil.distill.stages import plan_stages
from xdistil.distill.step import StepConfig
from xdistil.errors import InputError
from xdistil.models.types import Output
from xdistil.teacher.interface import SignalReader
from xdistil.teacher.signals import Signals

KEYS = jax.random.split(jax.random.key(5), 4000)
MASK = 99
# Two sentences and padding. Words: 10 11 | 12 | 13, and 10 | 14 15 16; 2 and 3 are around them.
TOKENS = np.array([[2, 10, 11, 12, 13, 3, 2, 10, 14, 15, 16, 3, 0, 0]], np.int32)
WORDS = ((1, 2), (3,), (4,), (7,), (8, 9, 10))  # their places
BATCH = Batch(
    tokens=TOKENS,
    segment=np.array([[1] * 6 + [2] * 6 + [0] * 2], np.int32),
    position=np.array([[*range(6), *range(6), 0, 0]], np.int32),
    token_type=np.zeros_like(TOKENS),
    labels=np.zeros_like(TOKENS),
    label_mask=np.isin(np.arange(14), [places[0] for places in WORDS])[None],
)


def hide(masking: Masking, batch: Batch = BATCH) -> np.ndarray:
    """bool[K,T] what is hidden in the one row of a batch, by key."""
    tokens = jax.vmap(lambda key: hide_words(masking, batch, key).tokens[0])(KEYS)
    assert set(np.asarray(tokens)[tokens != batch.tokens].tolist()) <= {masking.subword}
    return np.asarray(tokens == masking.subword)


def test_what_is_hidden_are_whole_words_each_by_itself():
    hidden = hide(Masking(0.3, MASK, (2, 3), whole_words=True))
    words = np.stack([hidden[:, places[0]] for places in WORDS], axis=1)
    for index, places in enumerate(WORDS):
        assert (hidden[:, places] == words[:, [index]]).all()
    assert not hidden[:, [0, 5, 6, 11, 12, 13]].any()
    # Every set of words is hidden as often as independent draws say, within four deviations.
    count = len(KEYS)
    for choice in range(2 ** len(WORDS)):
        chosen = np.array([choice >> index & 1 for index in range(len(WORDS))], bool)
        share = np.prod(np.where(chosen, 0.3, 0.7))
        found = (words == chosen).all(axis=1).sum()
        assert abs(found - count * share) < 4 * np.sqrt(count * share)


def test_a_unit_without_a_label_is_hidden_with_the_word_before_it():
    mask = BATCH.label_mask.copy()
    mask[0, 3] = False
    hidden = hide(Masking(0.5, MASK, (2, 3), whole_words=True), BATCH._replace(label_mask=mask))
    assert (hidden[:, [2, 3]] == hidden[:, [1]]).all()
    assert (hidden[:, 4] != hidden[:, 1]).any()


def test_subwords_are_hidden_one_by_one_where_no_words_are_known():
    first = np.isin(np.arange(14), [0, 6])[None]
    hidden = hide(Masking(0.3, MASK, (2, 3), whole_words=False), BATCH._replace(label_mask=first))
    text = hidden[:, [1, 2, 3, 4, 7, 8, 9, 10]]
    count = len(KEYS)
    assert (abs(text.sum(axis=0) - 0.3 * count) < 4 * np.sqrt(count * 0.21)).all()
    both = (text[:, 0] & text[:, 1]).sum()
    assert abs(both - 0.09 * count) < 4 * np.sqrt(count * 0.09)
    assert not hidden[:, [0, 5, 6, 11, 12, 13]].any()


def test_nothing_is_special_without_subwords_around_texts():
    hidden = hide(Masking(0.5, MASK, (), whole_words=True))
    assert hidden[:, :12].any(axis=0).all()
    assert not hidden[:, 12:].any()


def test_empty_rows_at_the_end_change_nothing():
    """They fill up a batch where its rows do not divide among the devices."""
    rows = Batch(*(np.repeat(values, 3, axis=0) for values in BATCH))
    filled = Batch(*(np.concatenate([values, np.zeros_like(values[:2])]) for values in rows))
    masking = Masking(0.5, MASK, (2, 3), whole_words=True)
    expected = np.asarray(hide_words(masking, rows, KEYS[0]).tokens)
    assert (expected[0] != expected[1]).any()
    found = np.asarray(hide_words(masking, filled, KEYS[0]).tokens)
    np.testing.assert_array_equal(found, [*expected, *np.zeros_like(expected[:2])])


def test_all_but_the_subwords_stays():
    found = hide_words(Masking(0.9, MASK, (2, 3), whole_words=True), BATCH, KEYS[0])
    for name, values in BATCH._asdict().items():
        assert (getattr(found, name) is values) == (name != "tokens")


# --- the step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_only_a_training_step_hides_words_and_it_keeps_labels(monkeypatch, frozen):
    """What the model reads, for features or for the head, and what the losses read."""
    read: list[np.ndarray] = []

    def apply_model(model: Any, params: Any, batch: Batch, *rest: Any) -> Output:
        read.append(np.asarray(batch.tokens))
        return Output(logits, (logits,) * 3, None)

    batch, key = make_batch(3), jax.random.key(8)
    logits = np.random.default_rng(0).normal(size=(*batch.tokens.shape, CLASSES))
    masking = Masking(0.4, 4, (), whole_words=True)
    losses = LossConfig(make_bilstm(), (("logits", 1.0), ("labels", 1.0)))
    config = StepConfig(losses, encoder_frozen=frozen, masking=masking)
    monkeypatch.setattr(step, "apply_model", apply_model)
    signals = make_signals(batch)
    trained, evaluated = (
        step.compute_losses(config, {}, batch, signals, dropout) for dropout in (key, None)
    )
    hidden = hide_words(masking, batch, jax.random.fold_in(key, step._MASKING)).tokens
    assert (hidden != batch.tokens).any()
    expected = [hidden] * (1 + frozen) + [batch.tokens] * (1 + frozen)
    np.testing.assert_array_equal(read, expected)
    assert trained == evaluated  # of the same output, and the same labels


class ReadError(Exception):
    """Ends a stage before its first step."""


def test_the_teacher_reads_all_words(tmp_path, monkeypatch):
    """Whatever its stage hides."""
    read: list[tuple[np.ndarray, np.ndarray]] = []

    class Reader(SignalReader):
        def signals(self, batch: Batch, loaded: Any, spec: Any) -> Signals:
            read.append((np.asarray(batch.tokens), np.asarray(batch.segment)))
            return Signals(None, (), ())

    def stop(*arguments: Any, config: StepConfig) -> Any:
        raise ReadError

    monkeypatch.setattr(training, "train_step", stop)
    stage = Stage(name="labels", loss="labels", data="train", keep="last")
    plan = make_plan((stage,), tmp_path)
    for masking in (None, Masking(0.9, 4, (2, 3), whole_words=True)):
        (run,) = plan.stages
        run = replace(run, step=replace(run.step, masking=masking))
        trainer = replace(plan.trainer, reader=Reader())
        with pytest.raises(ReadError):
            run_plan(Plan(trainer, (run,)), init_params(make_bilstm()))
    np.testing.assert_array_equal(*read)


# --- a stage --------------------------------------------------------------------------------------


def plan_one(mask: float, task: Task | None = None, **fields: Any) -> Any:
    stage = Stage(name="logits", loss="logits", unfreeze="gradual", epochs=2.0, mask=mask, **fields)
    tokenizer = make_tiny_tokenizer()
    texts, teacher = make_texts(), make_teacher()
    return plan_stages(
        (stage,), "plan", make_bilstm(), teacher, texts, task=task, tokenizer=tokenizer
    )


def test_a_stage_that_hides_words_does_not_cache_what_a_frozen_encoder_makes():
    masked, plain = plan_one(0.25)[0], plan_one(0.0)[0]
    assert masked.step.encoder_frozen
    assert plain.step.encoder_frozen
    assert not masked.caches_features
    assert plain.caches_features
    assert plain.step.masking is None
    assert masked.step.masking == Masking(0.25, 4, (2, 3), whole_words=True)


@pytest.mark.parametrize(("kind", "whole_words"), [("tagging", True), ("classification", False)])
def test_tagging_hides_words_and_classification_subwords(kind, whole_words):
    task = Task(kind, tuple(f"B-{i}" for i in range(CLASSES)))
    assert plan_one(0.25, task)[0].step.masking.whole_words == whole_words


STAGE = Stage(name="logits", loss="logits", mask=0.5)


def test_without_a_mask_token_the_unknown_one_takes_its_place():
    found = choose_masking(STAGE, "plan[0]", wrap("wordpiece"), whole_words=True)
    assert found == Masking(0.5, 1, (2, 3), whole_words=True)
    found = choose_masking(STAGE, "plan[0]", wrap("plain_unigram"), whole_words=True)
    assert found == Masking(0.5, 0, (), whole_words=True)  # nothing is around texts


def test_without_both_the_field_is_named():
    tokenizer = make_tokenizer(BUILDERS["byte_bpe"](), {"pad_token": "[PAD]"})
    with pytest.raises(
        InputError, match=r"^plan\[3\]\.mask is 0\.5, but .*: set plan\[3\]\.mask=0"
    ):
        choose_masking(STAGE, "plan[3]", tokenizer, whole_words=True)
