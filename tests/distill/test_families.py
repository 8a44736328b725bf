"""One small student learns from a teacher of every family: hidden states, attention, logits."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from xdistil.distill.recipes import plan_stages, wanted_signals

from tests.distill.small import (
    CLASSES,
    VOCABULARY,
    init_params,
    make_batch,
    make_encoder,
    make_teacher,
)
from tests.models.samples import BERT, CONFIGS, ELECTRA, ROBERTA
from xdistil.config import Stage
from xdistil.distill.step import init_state, train_step
from xdistil.distill.unfreezing import merge_params, split_params
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bert import Encoder
from xdistil.models.families.registry import FAMILIES
from xdistil.student.embeddings import svd_embeddings

PLAN = (
    Stage(
        name="representation",
        loss="representation+attention",
        hidden_loss="mse",
        hidden_map="last",
        attention_map="last",
        lr=1e-2,
    ),
    Stage(name="logits", loss="logits", lr=1e-2),
)
# One of each module: ELECTRA and RoBERTa are BERT's.
TEACHERS = [BERT, *(config for config in CONFIGS if config not in (BERT, ELECTRA, ROBERTA))]


def make_shape(config: EncoderConfig) -> EncoderConfig:
    """The family's sample in the sizes of the small student, so that both share every step."""
    changes: dict[str, Any] = {"hidden_size": 8, "heads": 2, "layers": 2}
    narrow = config.embedding_size != config.hidden_size
    changes |= {"embedding_size": 6 if narrow else 8, "vocabulary_size": VOCABULARY}
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize("config", TEACHERS, ids=lambda config: config.model_type)
def test_a_student_learns_from_every_family(config: EncoderConfig) -> None:
    shape = make_shape(config)
    build: Any = FAMILIES[shape.model_type].build
    teacher = make_teacher(build(shape, "tagging", CLASSES))
    student: Encoder = make_encoder(embedding_size=6, model_type="electra", layers=1, dropout=0.0)
    params = init_params(student)
    words = np.asarray(teacher.params["embeddings"]["word_embeddings"]["embedding"])
    params["embeddings"]["word_embeddings"] = {"embedding": svd_embeddings(words, 6)}
    batch = make_batch(2)
    stages = plan_stages(PLAN, "plan", student, shape)
    inside, answers = (wanted_signals(planned.recipe) for planned in stages)
    signals = teacher.compute(batch, inside.union(answers))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(signals))
    for planned in stages:
        recipe = planned.recipe
        state = init_state(
            recipe, *split_params(params, planned.substage.trainable), jax.random.key(0)
        )
        totals = []
        for _ in range(5):
            state, metrics = train_step(state, batch, signals, np.float32(1e-2), recipe=recipe)
            totals.append(sum(float(tally.mean()) for tally in metrics.losses.values()))
        assert totals[-1] < totals[0]
        params = jax.device_get(merge_params(state.trainable, state.frozen))
