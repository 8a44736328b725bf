"""A projection of the teacher's word embeddings that is trained beside the student's rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.distill.small import (
    VOCABULARY,
    init_params,
    make_batch,
    make_bilstm,
    make_signals,
)
from xdistil.distill.losses import LossConfig
from xdistil.distill.step import StepConfig, compute_losses, init_state, train_step
from xdistil.distill.unfreezing import list_groups, merge_params, split_params

WIDTH, RATES = 7, (0.0, 1e-2, 3e-2, 2e-2)
MODEL, BATCH = make_bilstm(dropout=0.0), make_batch(2)
SIGNALS = make_signals(BATCH)
TEACHER = np.random.default_rng(3).normal(size=(VOCABULARY, WIDTH)).astype(np.float32)
TEACHER[2] = TEACHER[1]


def get_table(params: Any) -> np.ndarray:
    return np.asarray(params["embeddings"]["word_embeddings"]["embedding"])


def set_table(params: Any, table: Any) -> Any:
    return {**params, "embeddings": {"word_embeddings": {"embedding": table}}}


def train(clip: float, width: int) -> Any:
    """The parameters after steps at RATES, those of the table with a trained projection or not."""
    losses = LossConfig(MODEL, (("logits", 1.0),))
    config = StepConfig(losses, clip=clip, projected_width=width)
    params = init_params(MODEL)
    trainable, frozen = split_params(params, list_groups(params))
    state = init_state(config, trainable, frozen, jax.random.key(3))
    teacher = TEACHER if width else None
    for rate in RATES:
        state, metrics = train_step(state, BATCH, SIGNALS, np.float32(rate), teacher, config=config)
    return jax.device_get(merge_params(state.trainable, state.frozen)), metrics


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_the_table_is_that_of_rows_and_a_projection_which_are_parameters(clip: float) -> None:
    """The twin has R and P as parameters of AdamW, and computes E = R + W P in its loss."""
    config = StepConfig(LossConfig(MODEL, (("logits", 1.0),)))
    steps = [optax.clip_by_global_norm(clip)] if clip else []
    optimizer = optax.chain(*steps, optax.scale_by_adam())
    params = init_params(MODEL)
    twin = {"own": params, "projection": jnp.zeros((WIDTH, get_table(params).shape[1]))}

    def fold(twin: Any) -> Any:
        return set_table(twin["own"], get_own(twin) + TEACHER @ twin["projection"])

    def get_own(twin: Any) -> Any:
        return twin["own"]["embeddings"]["word_embeddings"]["embedding"]

    def loss(twin: Any) -> Any:
        return compute_losses(config, fold(twin), BATCH, SIGNALS, None)["logits"].mean()

    moments = optimizer.init(twin)
    for rate in RATES:
        gradient = jax.grad(loss)(twin)
        updates, moments = optimizer.update(gradient, moments, twin)
        twin = jax.tree.map(lambda x, update, rate=rate: x - rate * update, twin, updates)
    assert np.abs(twin["projection"]).max() > 0.02
    found, metrics = train(clip, WIDTH)
    assert metrics.gradient_norm == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
    for one, other in zip(
        jax.tree.leaves(found), jax.tree.leaves(jax.device_get(fold(twin))), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


def test_subwords_that_do_not_occur_move_as_the_teacher_embeds_them() -> None:
    """1, 2 and 3 are in no text; the teacher has one and the same row for the first two."""
    assert not np.isin([1, 2, 3], BATCH.tokens).any()
    start = get_table(init_params(MODEL))
    alone, together = (get_table(train(0.0, width)[0]) - start for width in (0, WIDTH))
    assert not alone[1:4].any()
    np.testing.assert_allclose(together[1], together[2], atol=1e-6)
    assert np.abs(together[1:4]).min() > 1e-3
    assert np.abs(together[1] - together[3]).min() > 1e-3
