"""A loss that is not finite: named, reproducible from what is left, and no checkpoint holds it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.distill.small import Plan, init_params, make_bilstm, make_plan, make_teacher, run_plan
from xdistil.config import Stage
from xdistil.data.batches import make_batches
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.divergence import read_divergence
from xdistil.distill.step import init_state, train_step
from xdistil.distill.unfreezing import split_params
from xdistil.errors import DivergenceError
from xdistil.teacher.signals import Signals
from xdistil.teacher.storage import gather_signals

STAGE = Stage(name="logits", loss="logits", epochs=4.0, lr=1e-2)


def make(folder: Path) -> tuple[Plan, int]:
    """A plan whose teacher has one infinite logit, and the step, from 1, that meets it first."""
    plan = make_plan((STAGE,), folder, make_bilstm(), make_teacher(), log_every=3)
    (stage,) = plan.stages
    reader = plan.trainer.reader
    logits = np.array(reader.stored["transfer"]["logits"])
    logits[stage.train.subwords.start[17] + 1] = np.inf
    stored = {**reader.stored, "transfer": {"logits": logits}}
    experiment = plan.trainer.session.experiment
    feed = make_batches(
        stage.train.subwords,
        stage.train.rows,
        partial(gather_signals, stored["transfer"], stage.train.rows),
        stage.count_steps(experiment.batch_size).rows,
        1.0,
        experiment.seed,
        0,
    )
    step = next(
        i for i, (_, loaded) in enumerate(feed, 1) if not np.isfinite(loaded["logits"]).all()
    )
    trainer = replace(plan.trainer, reader=replace(reader, stored=stored))
    return Plan(trainer, plan.stages), step


def test_the_step_and_the_loss_are_named_and_can_be_reproduced(tmp_path):
    plan, bad = make(tmp_path)
    assert bad > 2  # so that a checkpoint precedes it
    with pytest.raises(DivergenceError) as caught:
        run_plan(plan, init_params(make_bilstm()), save=True)
    assert f"at step {bad} of logits the loss logits is not finite" in str(caught.value)
    assert str(tmp_path / "diverged") in str(caught.value)

    steps = [int(path.name) for path in (tmp_path / "checkpoints/student").iterdir()]
    assert max(steps) == (bad - 1) // 2 * 2
    text = (tmp_path / "metrics.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)
        assert json.loads(line)["step"] < bad

    (stage,) = plan.stages
    params = init_params(stage.step.losses.model)
    state = init_state(stage.step, *split_params(params, stage.trainable), jax.random.key(0))
    left = Checkpoints(tmp_path / "diverged")
    (step,) = left.list_steps()
    found = left.restore(step, lambda index: (state, params))
    left.close()
    assert found is not None
    assert found.progress.step == bad - 1
    batch, signals, lr = read_divergence(tmp_path / "diverged")
    _, metrics = train_step(
        found.state, batch, Signals(signals["logits"], (), ()), lr, config=stage.step
    )
    assert int(metrics.failed) == bad
    assert not np.isfinite(metrics.losses["logits"].sum)
