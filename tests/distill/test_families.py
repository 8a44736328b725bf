"""One small student learns from a teacher of every family: hidden states, attention, logits."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    VOCABULARY,
    init_params,
    make_batch,
    make_encoder,
    make_session,
    make_teacher,
    make_texts,
)
from tests.models.samples import BERT, CONFIGS, ELECTRA, ROBERTA
from xdistil.config import Stage
from xdistil.distill.stages import plan_stages
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
def test_a_student_learns_from_every_family(config: EncoderConfig, tmp_path: Path) -> None:
    shape = make_shape(config)
    build: Any = FAMILIES[shape.model_type].build
    teacher = make_teacher(build(shape, "tagging", CLASSES))
    student: Encoder = make_encoder(embedding_size=6, model_type="electra", layers=1, dropout=0.0)
    params = init_params(student)
    words = np.asarray(teacher.params["embeddings"]["word_embeddings"]["embedding"])
    params["embeddings"]["word_embeddings"] = {"embedding": svd_embeddings(words, 6)}
    batch = make_batch(2)
    stages = plan_stages(PLAN, "plan", student, teacher, make_texts())
    inside, answers = (stage.spec for stage in stages)
    signals = teacher.place(make_session(tmp_path)).compute(batch, inside.union(answers))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(signals))
    for stage in stages:
        state = init_state(stage.step, *split_params(params, stage.trainable), jax.random.key(0))
        totals = []
        for _ in range(5):
            state, metrics = train_step(state, batch, signals, np.float32(1e-2), config=stage.step)
            totals.append(sum(float(tally.mean()) for tally in metrics.losses.values()))
        assert totals[-1] < totals[0]
        params = jax.device_get(merge_params(state.trainable, state.frozen))
