"""A loss that is not finite: named, reproducible from what is left, and no checkpoint holds it."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from xdistil.distill.course import Course, count_steps

from tests.distill.small import init_params, make_bilstm, make_course, make_teacher, run_course
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


def make(folder: Path) -> tuple[Course, int]:
    """A course whose teacher has one infinite logit, and the step, from 1, that meets it first."""
    course = make_course((STAGE,), folder, make_bilstm(), make_teacher(), log_every=3)
    (leg,) = course.legs
    logits = np.array(leg.train.signals["logits"])
    logits[leg.train.subwords.start[17] + 1] = np.inf
    leg = replace(leg, train=replace(leg.train, signals={"logits": logits}))
    batch_rows, _, _ = count_steps(
        leg.planned, leg.train.subwords, leg.train.rows, course.batch_size
    )
    feed = make_batches(
        leg.train.subwords,
        leg.train.rows,
        partial(gather_signals, leg.train.signals, leg.train.rows),
        batch_rows,
        1.0,
        course.seed,
        0,
    )
    step = next(
        i for i, (_, cached) in enumerate(feed, 1) if not np.isfinite(cached["logits"]).all()
    )
    return replace(course, legs=(leg,)), step


def test_the_step_and_the_loss_are_named_and_can_be_reproduced(tmp_path):
    course, bad = make(tmp_path)
    assert bad > 2  # so that a checkpoint precedes it
    with pytest.raises(DivergenceError) as caught:
        run_course(course, tmp_path, init_params(make_bilstm()), save=True)
    assert f"at step {bad} of logits the loss logits is not finite" in str(caught.value)
    assert str(tmp_path / "diverged") in str(caught.value)

    steps = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert max(steps) == (bad - 1) // 2 * 2
    text = (tmp_path / "metrics.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)
        assert json.loads(line)["step"] < bad

    planned = course.legs[0].planned
    params = init_params(planned.recipe.model)
    state = init_state(
        planned.recipe, *split_params(params, planned.substage.trainable), jax.random.key(0)
    )
    left = Checkpoints(tmp_path / "diverged")
    (step,) = left.list_steps()
    cursor = left.read_cursor(step)
    assert cursor is not None
    assert cursor["step"] == bad - 1
    items = left.restore(step, cursor, state, params)
    left.close()
    assert items is not None
    batch, signals, lr = read_divergence(tmp_path / "diverged")
    _, metrics = train_step(
        items[0], batch, Signals(signals["logits"], (), ()), lr, recipe=planned.recipe
    )
    assert int(metrics.failed) == bad
    assert not np.isfinite(metrics.losses["logits"].sum)
