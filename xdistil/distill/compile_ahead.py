"""Compiles the programs of a plan's next stage while a stage trains.

JAX finds them in its cache when the next stage calls them. Nothing is compiled ahead in a run of
several processes, whose compilers may wait for each other, with sharded parameters, while a cache
of the teacher's signals grows, or for a stage whose steps compute signals.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xdistil.data.batches import fill_up
from xdistil.data.packing import Batch, PackedTexts, fill_batch
from xdistil.distill.stages import StageRun
from xdistil.distill.step import TrainState, eval_step, init_state, train_step
from xdistil.distill.trainer import TARGETS, Trainer, read_targets, without_projections
from xdistil.distill.unfreezing import split_params
from xdistil.models.forward import apply_model
from xdistil.models.types import Params
from xdistil.runtime.mesh import BY_ROWS
from xdistil.teacher.signals import Signals, SignalSpec
from xdistil.teacher.storage import gather_signals

log = logging.getLogger("xdistil")


@contextlib.contextmanager
def compiling(trainer: Trainer, stage: StageRun, params: Params) -> Iterator[None]:
    """Compiles what a stage will call in a thread, which ends before the block does.

    Args:
        params: of the stage, with its side projections; only their shapes are read.
    """
    mesh = trainer.session.mesh
    if jax.process_count() > 1 or mesh.shape["shard"] > 1 or trainer.reader.growing:
        yield
        return
    thread = threading.Thread(target=_compile, args=(trainer, stage, params), name="compilation")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _compile(trainer: Trainer, stage: StageRun, params: Params) -> None:
    try:
        compile_stage(trainer, stage, params)
    except Exception:  # the stage compiles them itself, and reports what is wrong
        log.debug("%s is not compiled ahead", stage.name, exc_info=True)


def compile_stage(trainer: Trainer, stage: StageRun, params: Params) -> None:
    """Compiles the step of a stage, and its loss on dev; nothing is computed or read.

    Args:
        params: as in `compiling`.
    """
    mesh, config = trainer.session.mesh, stage.step
    train, dev = (
        _describe_batch(trainer, stage, params, name, texts)
        for name, texts in ((stage.texts, stage.train), ("dev", stage.dev))
    )
    if train is None or dev is None:
        return
    everywhere = PartitionSpec()
    state = _place(mesh, everywhere, _describe_state(stage, params))
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    teacher = _place(mesh, everywhere, trainer.choose_embeddings(stage))
    train_step.lower(state, *train, rate, teacher, config=config).compile()
    if not stage.monitors_score:
        eval_step.lower(_place(mesh, everywhere, params), *dev, config=config).compile()


def _describe_state(stage: StageRun, params: Params) -> TrainState:
    key = jax.random.key(0)
    trainable, frozen = split_params(params, stage.trainable)
    return jax.eval_shape(partial(init_state, stage.step, key=key), trainable, frozen)


def _describe_batch(
    trainer: Trainer, stage: StageRun, params: Params, name: str, texts: PackedTexts
) -> tuple[Batch, Signals] | None:
    """Shapes and shardings of a batch and its signals; None where steps compute the latter."""
    mesh, reader, model = trainer.session.mesh, trainer.reader, stage.step.losses.model
    rows = stage.count_steps(trainer.session.experiment.batch_size).rows
    empty = np.full(fill_up(rows, mesh.size), -1)
    batch = fill_batch(texts.subwords, texts.rows, empty, trainer.padding_id)
    loaded = gather_signals(reader.columns(name, stage.spec), texts.rows, empty)
    if stage.spec.without(loaded) != SignalSpec():
        return None
    signals = reader.signals(batch, {**loaded}, stage.spec)
    if name == stage.texts:
        targets = gather_signals(read_targets(stage), texts.rows, empty)
        signals = signals._replace(targets=targets.get(TARGETS))
    if stage.caches_features:
        output = jax.eval_shape(partial(apply_model, model), without_projections(params), batch)
        shape = output.hidden[model.features].shape
        signals = signals._replace(features=np.broadcast_to(np.float16(0), shape))
    return _place(mesh, BY_ROWS, (batch, signals))


def _place(mesh: Mesh, spec: PartitionSpec, tree: Any) -> Any:
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)
