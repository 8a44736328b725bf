"""What a frozen encoder makes of the texts, computed once: the same losses, less work."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.distill.small import (
    init_params,
    make_batch,
    make_bilstm,
    make_encoder,
    make_plan,
    make_teacher,
    make_texts,
    run_plan,
)
from xdistil.config import Stage
from xdistil.distill import trainer as training
from xdistil.distill.losses import LossConfig
from xdistil.distill.stages import plan_stages
from xdistil.distill.step import StepConfig, init_state, train_step
from xdistil.distill.unfreezing import HEAD, PROJECTION, list_groups, split_params
from xdistil.models.forward import apply_model
from xdistil.teacher import cache
from xdistil.teacher.signals import Signals, SignalSpec

LABELS = Signals(None, (), ())
FEATURES = SignalSpec(hidden=(1,))  # what a BiLSTM's head reads


def start(config: StepConfig, groups: tuple[str, ...]):
    params = init_params(config.losses.model)
    return init_state(config, *split_params(params, groups), jax.random.key(3))


@pytest.mark.parametrize(
    ("make", "groups"), [(make_encoder, (HEAD,)), (make_bilstm, (HEAD, PROJECTION))]
)
def test_features_given_or_computed_make_the_same_step(make, groups):
    """With dropout above the features, none below them."""
    model, batch = make(), make_batch(4)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), clip=1.0, encoder_frozen=True)
    hidden = apply_model(model, init_params(model), batch).hidden
    features = np.asarray(hidden[model.features])
    found = [
        train_step(start(config, groups), batch, signals, np.float32(1e-2), config=config)
        for signals in (LABELS, LABELS._replace(features=features))
    ]
    for left, right in zip(*map(jax.tree.leaves, found), strict=True):
        if not jax.numpy.issubdtype(left.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(left, right, atol=1e-6)
    other = LABELS._replace(features=np.zeros_like(features))
    _, metrics = train_step(start(config, groups), batch, other, np.float32(1e-2), config=config)
    assert abs(metrics.losses["labels"].sum - found[0][1].losses["labels"].sum) > 1e-3


def test_a_step_on_features_leaves_the_encoder_out():
    model = make_encoder(hidden_size=64, intermediate_size=256, layers=4)
    config = StepConfig(LossConfig(model, (("labels", 1.0),)), encoder_frozen=True)
    batch = make_batch(8)

    def count_flops(signals: Signals) -> float:
        lowered = train_step.lower(
            start(config, (HEAD,)), batch, signals, np.float32(1), config=config
        )
        return lowered.compile().cost_analysis()["flops"]

    features = np.zeros((*batch.tokens.shape, 64), np.float32)
    assert count_flops(LABELS._replace(features=features)) < 0.02 * count_flops(LABELS)


def test_only_stages_of_logits_and_labels_can_have_a_frozen_encoder():
    plan = (
        Stage(name="representation", loss="representation", hidden_map="2"),
        Stage(name="logits", loss="logits", unfreeze="gradual"),
    )
    stages = plan_stages(plan, "plan", make_bilstm(), make_teacher(), make_texts())
    assert [stage.step.encoder_frozen for stage in stages] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert len(list_groups(init_params(make_bilstm()))) == 4


@pytest.fixture
def written(monkeypatch) -> list[SignalSpec]:
    """The signals of every pass over texts whose outcome is written down."""
    passes: list[SignalSpec] = []
    real = cache._write_signals

    def write(paths, spec, *rest):
        passes.append(spec)
        real(paths, spec, *rest)

    monkeypatch.setattr(cache, "_write_signals", write)
    return passes


def run_gradual(folder: Path, epochs: float):
    folder.mkdir()
    stage = Stage(name="logits", loss="logits", unfreeze="gradual", epochs=epochs, lr=1e-2)
    plan = make_plan((stage,), folder, teacher=make_teacher())
    (*_, outcome) = run_plan(plan, init_params(make_bilstm()))
    return outcome


def test_stages_with_one_frozen_encoder_share_one_pass(tmp_path, written):
    run_gradual(tmp_path / "run", 2.0)
    # Of transfer and dev, for the head alone as for head and projection.
    assert written.count(FEATURES) == 2
    assert not (tmp_path / "run/cache/features").exists()  # what no later stage reads is gone


def test_a_single_epoch_is_no_reason_to_write(tmp_path, written):
    run_gradual(tmp_path / "run", 1.0)
    assert written  # the teacher's
    assert FEATURES not in written


def test_the_outcome_is_that_of_computing_in_every_step(tmp_path, monkeypatch):
    kept = run_gradual(tmp_path / "kept", 2.0)
    monkeypatch.setattr(training, "cache_features", lambda *_: None)
    computed = run_gradual(tmp_path / "computed", 2.0)
    for one, other in zip(kept.stages, computed.stages, strict=True):
        assert one["best"] == pytest.approx(other["best"], rel=2e-3)
    assert kept.stages[0]["best"] != computed.stages[0]["best"]  # rounded to float16
    for one, other in zip(*(jax.tree.leaves(o.params) for o in (kept, computed)), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-3)


def test_a_full_disk_costs_time_and_not_the_run(tmp_path, monkeypatch):
    stage = Stage(name="labels", loss="labels", data="train", unfreeze="gradual", epochs=2.0)
    plan = make_plan((stage,), tmp_path)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    *_, outcome = run_plan(plan, init_params(make_bilstm()))
    assert len(outcome.stages) == 4
