"""Small texts, models and plans for the tests of the core: numbers, no tokenizer, no files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from xdistil import config
from xdistil.config import Data, Experiment, Stage
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Task
from xdistil.data.packing import Batch, PackedTexts, Rows, pack
from xdistil.data.subwords import Subwords
from xdistil.distill import loop
from xdistil.distill.loop import Outcome, fit
from xdistil.distill.losses import LossConfig
from xdistil.distill.stages import StageRun, plan_stages, request_signals
from xdistil.distill.step import StepConfig, eval_step
from xdistil.distill.trainer import Trainer
from xdistil.models.encoder import Transformer
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.types import QKV, Params
from xdistil.runtime.mesh import make_mesh, replicate
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.runtime.run_log import RunLog
from xdistil.runtime.session import Session
from xdistil.teacher.interface import NoTeacher, Teacher
from xdistil.teacher.model_teacher import ModelTeacher
from xdistil.teacher.signals import Signals

VOCABULARY, CLASSES, ROW_LENGTH = 20, 3, 12
TASK = Task("tagging", ("O", "B-PER", "I-PER"))
TEACHER = EncoderConfig(
    vocabulary_size=VOCABULARY,
    embedding_size=8,
    hidden_size=8,
    layers=2,
    heads=2,
    intermediate_size=16,
    positions=16,
)


def make_encoder(**changes: Any) -> Encoder:
    """A tagging encoder; `changes` of the teacher's shape, `dtype` of the module."""
    dtype = changes.pop("dtype", "float32")
    if "hidden_size" in changes:
        changes.setdefault("embedding_size", changes["hidden_size"])
    shape = EncoderConfig(**{**TEACHER.__dict__, **changes})
    return Encoder(shape, "tagging", CLASSES, dtype)


def make_bilstm(**changes: Any) -> BiLSTM:
    """A BiLSTM student that projects to the teacher's width."""
    dtype = changes.pop("dtype", "float32")
    shape = {
        "vocabulary_size": VOCABULARY,
        "embedding_size": 5,
        "hidden_size": 6,
        "projection_size": 8,
        "dropout": 0.1,
    }
    return BiLSTM(BiLSTMConfig(**{**shape, **changes}), CLASSES, dtype)


def init_params(model: Any, seed: int = 0) -> Params:
    """Host parameters, every one of them random: biases and norms too."""
    generator = np.random.default_rng(seed)

    def draw(path: Any, shape: Any) -> np.ndarray:
        centre = 1.0 if "scale" in jax.tree_util.keystr(path) else 0.0
        return (centre + 0.3 * generator.normal(size=shape.shape)).astype(np.float32)

    # Drawn here: initialisers of their own would be compiled one by one.
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(draw, shapes)


def make_subwords(sentences: int, seed: int) -> Subwords:
    """Sentences of 3 to 7 subwords; a subword's class is its id modulo the number of classes."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 8, sentences)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    count = int(start[-1])
    tokens = generator.integers(4, VOCABULARY, count).astype(np.int32)
    mask = np.ones(count, bool)
    mask[start[:-1]] = mask[start[1:] - 1] = False
    tokens[start[:-1]], tokens[start[1:] - 1] = 2, 3
    within = np.arange(count) - np.repeat(start[:-1], lengths)
    return Subwords(
        tokens=tokens,
        token_type=np.zeros(count, np.int8),
        labels=np.where(mask, tokens % CLASSES, 0).astype(np.int32),
        label_mask=mask,
        word=np.where(mask, within - 1, -1).astype(np.int32),
        start=start,
        example=np.arange(sentences, dtype=np.int32),
    )


def make_rows(subwords: Subwords, seed: int = 0) -> Rows:
    """The subwords packed into rows of ROW_LENGTH."""
    return pack(subwords, ROW_LENGTH, seed)


def make_batch(rows: int, seed: int = 0) -> Batch:
    """Random packed rows: two segments of 5 and 4 subwords, then 3 of padding."""
    generator = np.random.default_rng(seed)
    segment = np.tile(np.repeat([1, 2, 0], [5, 4, 3]), (rows, 1)).astype(np.int32)
    position = np.tile(np.concatenate([np.arange(5), np.arange(4), np.zeros(3)]), (rows, 1))
    tokens = generator.integers(4, VOCABULARY, segment.shape) * (segment > 0)
    return Batch(
        tokens=tokens.astype(np.int32),
        segment=segment,
        position=position.astype(np.int32),
        token_type=np.zeros_like(segment),
        labels=(tokens % CLASSES * (segment > 0)).astype(np.int32),
        label_mask=(segment > 0) & (position > 0),
    )


def make_signals(batch: Batch, hidden: int = 0, attention: int = 0, seed: int = 5) -> Signals:
    """Random logits, and as many hidden states and attention maps of two heads as asked for."""
    generator = np.random.default_rng(seed)
    rows, length = batch.tokens.shape

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=(rows, *shape)).astype(np.float32)

    return Signals(
        draw(length, CLASSES),
        tuple(draw(length, TEACHER.hidden_size) for _ in range(hidden)),
        tuple(draw(2, length, length) for _ in range(attention)),
    )


def make_vectors(batch: Batch, width: int, count: int, seed: int = 6) -> tuple[QKV, ...]:
    """Random queries, keys and values of a number of layers."""
    generator = np.random.default_rng(seed)
    shape = (3, *batch.tokens.shape, width)
    return tuple(QKV(*generator.normal(size=shape).astype(np.float32)) for _ in range(count))


def losses_of(
    losses: LossConfig, params: Params, batch: Batch, signals: Signals
) -> dict[str, float]:
    """The mean of each of the losses, without dropout."""
    tallies = eval_step(params, batch, signals, config=StepConfig(losses))
    return {name: float(tally.mean()) for name, tally in tallies.items()}


def make_teacher(
    model: Transformer | None = None,
    remap: np.ndarray | None = None,
    seed: int = 7,
    **settings: Any,
) -> ModelTeacher:
    """A teacher with random parameters, whose signals are cached.

    Args:
        settings: fields of the config's teacher.
    """
    model = model or make_encoder()
    tokenizer: Any = None  # subwords are numbers here
    return ModelTeacher(
        config=config.Teacher(**{"cache": "always", **settings}),
        model=model,
        params=init_params(model, seed),
        tokenizer=tokenizer,
        task=TASK,
        decoding=ARGMAX,
        padding_id=0,
        remap=remap,
    )


def make_session(folder: Path, **changes: Any) -> Session:
    """A session whose workdir is the folder: 8 sentences a step, an evaluation every second one.

    Args:
        changes: of the mesh, the preemption guard, or fields of the experiment.
    """
    held = {"mesh": changes.pop("mesh", None) or make_mesh()}
    held["preemption"] = changes.pop("preemption", None) or PreemptionGuard()
    fields = {"batch_size": 8, "eval_every": 2, "log_every": 1, "checkpoint_minutes": 0.0}
    experiment = Experiment(
        data=Data(row_length=ROW_LENGTH), **{"dtype": "float32", **fields, **changes}
    )
    return Session(experiment, folder, run_log=RunLog(folder), **held)


def make_texts() -> dict[str, PackedTexts]:
    """24 transfer, 16 train and 6 dev sentences, without their words."""
    texts = {}
    for seed, (name, sentences) in enumerate((("transfer", 24), ("train", 16), ("dev", 6)), 1):
        subwords = make_subwords(sentences, seed)
        texts[name] = PackedTexts([], subwords, make_rows(subwords))
    return texts


class Plan(NamedTuple):
    """A plan, ready to run."""

    trainer: Trainer
    stages: tuple[StageRun, ...]


def make_plan(
    plan: tuple[Stage, ...],
    folder: Path,
    model: Any = None,
    teacher: Teacher | None = None,
    evaluate: Callable[[Params], Any] | None = None,
    train_embeddings: bool = True,
    place: Callable[[Any, Any], Any] = replicate,
    **changes: Any,
) -> Plan:
    """A plan over `make_texts`; what its teacher caches is in the folder.

    Args:
        changes: as in `make_session`.
    """
    model, teacher = model or make_bilstm(), teacher or NoTeacher()
    session = make_session(folder, **changes)
    stages = plan_stages(plan, "plan", model, teacher, make_texts(), train_embeddings)
    experiment = session.experiment
    requests = request_signals(stages, {}, experiment.batch_size, experiment.eval_every)
    trainer = Trainer(
        name="student",
        session=session,
        reader=teacher.reader(requests, session),
        evaluate=evaluate or (lambda params: {"macro_f1": 0.5, "per_language": {}}),
        metric="macro_f1",
        place=place,
        padding_id=0,
    )
    return Plan(trainer, stages)


class NoCheckpoints:
    """Stands for checkpoints where nothing is resumed: keeps none, and takes no time."""

    def __init__(self, folder: Path) -> None:
        """Opens nothing."""

    def save(self, *arguments: Any) -> None:
        """Does nothing."""

    def wait(self) -> None:
        """Does nothing."""

    def list_steps(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Does nothing."""


def run_plan(plan: Plan, params: Params, save: bool = False) -> list[Outcome]:
    """Every outcome of a plan; its log, and its checkpoints if any, are in the workdir."""
    session = plan.trainer.session
    run_log = RunLog(session.workdir)  # a log that was closed stays closed
    trainer = replace(plan.trainer, session=replace(session, run_log=run_log))
    with pytest.MonkeyPatch.context() as patch:
        if not save:
            patch.setattr(loop, "Checkpoints", NoCheckpoints)
        try:
            return list(fit(trainer, plan.stages, params))
        finally:
            run_log.close()


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal bit by bit."""
    if jax.tree.structure(left) != jax.tree.structure(right):
        return False
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
