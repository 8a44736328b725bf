"""Small texts, models and plans for the tests of this folder: numbers, no tokenizer, no files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil.config import Stage
from xdistil.data.packing import Batch, Rows, pack
from xdistil.data.subwords import Subwords
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.course import Course, Leg, Source
from xdistil.distill.loop import Outcome, run_plan
from xdistil.distill.recipes import plan_stages, wanted_signals
from xdistil.models.families.bert import Encoder, EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.types import Params
from xdistil.runtime.mesh import make_mesh, replicate
from xdistil.runtime.preemption import PreemptionGuard
from xdistil.runtime.run_log import RunLog
from xdistil.teacher.cache import open_cache
from xdistil.teacher.model_teacher import Reader, params_fingerprint
from xdistil.teacher.signals import signal_names

VOCABULARY, CLASSES, ROW_LENGTH = 20, 3, 12
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


def make_teacher(model: Encoder | None = None, kept: np.ndarray | None = None, seed: int = 7):
    """A teacher with random parameters over every device."""
    model, mesh = model or make_encoder(), make_mesh()
    params = init_params(model, seed)
    return Reader(model, replicate(mesh, params), 0, kept, params_fingerprint(params), mesh)


def make_course(
    plan: tuple[Stage, ...],
    folder: Path,
    model: Any = None,
    teacher: Reader | None = None,
    evaluate: Callable[[Params], dict[str, Any]] | None = None,
    train_embeddings: bool = True,
    cached: str = "float16",
    **changes: Any,
) -> Course:
    """A course over small texts: 24 transfer, 16 train and 6 dev sentences, 8 a step.

    Args:
        cached: the type in which all signals are cached; empty: the teacher runs in the steps.
    """
    model = model or make_bilstm()
    shape = None if teacher is None else teacher.model.config
    texts = {
        name: (subwords, make_rows(subwords))
        for name, subwords in (
            ("transfer", make_subwords(24, 1)),
            ("train", make_subwords(16, 2)),
            ("dev", make_subwords(6, 3)),
        )
    }

    def source(name: str, wanted: Any) -> Source:
        signals: Any = {}
        if teacher is not None and signal_names(wanted) and cached:
            signals = open_cache(folder / "signals", teacher, *texts[name], wanted, 4, kind=cached)
        return Source(*texts[name], signals)

    legs = []
    for planned in plan_stages(plan, "plan", model, shape, train_embeddings):
        wanted = wanted_signals(planned.recipe)
        legs.append(Leg(planned, source(planned.stage.data, wanted), source("dev", wanted)))
    settings: dict[str, Any] = {
        "name": "student",
        "main_score": "macro_f1",
        "batch_size": 8,
        "padding_id": 0,
        "eval_every": 2,
        "log_every": 1,
        "seed": 0,
        "mesh": make_mesh(),
        "place": replicate,
        "cache": folder / "features",
        "diverged": folder / "diverged",
        "stop": PreemptionGuard(),
        "checkpoint_minutes": 0.0,
    }
    return Course(
        legs=tuple(legs),
        teacher=teacher,
        evaluate=evaluate or (lambda params: {"macro_f1": 0.5}),
        **{**settings, **changes},
    )


class NoCheckpoints:
    """Stands for checkpoints where nothing is resumed: keeps none, and takes no time."""

    def save(self, *arguments: Any) -> None:
        """Does nothing."""

    def list_steps(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Does nothing."""


def run_course(course: Course, folder: Path, params: Params, save: bool = False) -> list[Outcome]:
    """Every outcome of the course; its run_log, and its checkpoints if any, lie in the folder."""
    checkpoints: Any = Checkpoints(folder / "checkpoints") if save else NoCheckpoints()
    run_log = RunLog(folder)
    try:
        return list(run_plan(course, params, checkpoints, run_log))
    finally:
        run_log.close()
        checkpoints.close()


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal bit by bit."""
    if jax.tree.structure(left) != jax.tree.structure(right):
        return False
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
