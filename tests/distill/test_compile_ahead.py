"""Programs of later stages are compiled while earlier ones train: nothing is left to compile."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.distill.small import (
    CLASSES,
    VOCABULARY,
    Plan,
    init_params,
    make_encoder,
    make_plan,
    make_teacher,
    run_plan,
    same,
)
from xdistil.config import Stage
from xdistil.data.packing import SoftLabels
from xdistil.distill import compile_ahead
from xdistil.distill.stages import train_projection
from xdistil.runtime.mesh import replicate

PLAN = (
    Stage(name="representation", loss="representation", hidden_map="1:1", epochs=1.0),
    Stage(name="head", loss="logits", unfreeze="gradual", epochs=2.0),
    Stage(name="labels", loss="labels", data="train", epochs=1.0),
)


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The steps that the thread of the test compiles; the setting is this thread's alone."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told = re.match(r"Compiling jit\((train_step|eval_step)\)", record.getMessage())
            if told:
                found.append(told[1])

    handler, logger = Collect(), logging.getLogger("jax._src.interpreters.pxla")
    logger.addHandler(handler)
    logger.propagate = False
    with jax.log_compiles():
        yield found
    logger.propagate = True
    logger.removeHandler(handler)


def run_stages(folder):
    # A dropout of its own: programs of other tests are compiled already.
    model = make_encoder(dropout=0.11, layers=1)
    trainer, stages = make_plan(PLAN, folder, model=model, teacher=make_teacher())
    # The last stage learns probabilities of labels.
    known = stages[-1].train.subwords
    place = np.where(known.label_mask, known.labels, -1)
    soft = SoftLabels(np.eye(CLASSES, dtype=np.float32), place)
    last = replace(stages[-1], train=replace(stages[-1].train, soft_labels=soft))
    teacher = replicate(trainer.session.mesh, np.ones((VOCABULARY, 5), np.float32))
    trainer = replace(trainer, teacher_embeddings=teacher)
    stages = train_projection((*stages[:-1], last), 5)
    return run_plan(Plan(trainer, stages), init_params(model))


def test_only_the_first_stage_waits_for_its_programs(tmp_path, compiled):
    outcomes = run_stages(tmp_path)
    names = [stage["name"] for stage in outcomes[-1].stages]
    assert [names[0], names[-1]] == ["representation", "labels"]
    assert sorted(compiled) == ["eval_step", "train_step"]


def test_outcomes_do_not_depend_on_it(tmp_path, monkeypatch):
    (tmp_path / "ahead").mkdir()
    (tmp_path / "later").mkdir()
    *_, ahead = run_stages(tmp_path / "ahead")

    def fail(*arguments):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compile_ahead, "compile_stage", fail)
    *_, later = run_stages(tmp_path / "later")
    assert same(ahead.params, later.params)
