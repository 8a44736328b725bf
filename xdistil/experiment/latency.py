"""How long students take for texts, as `xdistil.load` serves them: from words to labels.

Students that exist as shapes alone are written with random weights, which take as long as trained
ones. They are timed in a child process that uses a given number of cores, and take turns there, so
that other load on the machine affects all of them.
"""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil.config import Data
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer
from xdistil.deploy.predictor import Classifier, Tagger, load
from xdistil.deploy.preprocessing import write_preprocessing
from xdistil.errors import InputError
from xdistil.models.hf.folder import save_model
from xdistil.models.types import Model, trace_shapes
from xdistil.student.shapes import Shape, name_shape

log = logging.getLogger("xdistil")

BATCH = 32  # texts that are timed, one by one and together
Call = Callable[[Sequence[tuple[str, ...]]], object]
_FILES = {"onnx": "model.onnx", "int8": "model_quantized.onnx"}


@dataclass(frozen=True)
class Latency:
    """Seconds for one text: the mean over texts of each text's median over rounds."""

    single: float  # given one by one
    batch: float  # given BATCH at once


@dataclass(frozen=True)
class Stopwatch:
    """Measures the latency of shapes on some texts."""

    folder: Path  # for model folders, each of which is written once
    task: Task
    data: Data
    backend: str
    examples: Sequence[Example]  # BATCH at most

    def measure(self, shapes: Sequence[Shape], threads: int, rounds: int = 5) -> list[Latency]:
        """Their latencies with a number of cores."""
        shown = "a shape" if len(shapes) == 1 else f"{len(shapes)} shapes"
        log.info(
            "measuring %s with %s", shown, "a thread" if threads == 1 else f"{threads} threads"
        )
        folders = [self.folder / name_shape(shape) for shape in shapes]
        for shape, folder in zip(shapes, folders, strict=True):
            if not folder.exists():
                tokenizer = shape.vocabulary.tokenizer
                write_random(folder, shape.model, tokenizer, self.task, self.data, self.backend)
        return measure_latency(folders, self.examples, self.backend, threads, rounds)


def write_random(
    folder: Path, model: Model, tokenizer: Tokenizer, task: Task, data: Data, backend: str
) -> None:
    """Writes a model folder with random weights, and the file that an ONNX backend loads."""
    generator = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: 0.05 * generator.standard_normal(leaf.shape, np.float32), trace_shapes(model)
    )
    save_model(folder, model, params, task, tokenizer, write_preprocessing(data))
    if backend != "jax":
        _write_onnx(folder, backend)


def _write_onnx(folder: Path, backend: str) -> None:
    # As `xdistil export` does, without the tests that random weights cannot pass.
    import onnx

    from xdistil.deploy.jax_backend import open_model
    from xdistil.deploy.onnx_export import FOLDER, build_file
    from xdistil.deploy.quantize import choose_int8, list_weights, write_candidate

    opened = open_model(str(folder))
    path = folder / FOLDER / _FILES[backend]
    path.parent.mkdir()
    graph = build_file(opened)
    if backend == "onnx":
        onnx.save_model(graph, str(path))
        return
    candidate = choose_int8("int8", list_weights(graph))
    write_candidate(build_file(opened, candidate.storage), candidate, path)


def measure_latency(
    folders: Sequence[Path],
    examples: Sequence[Example],
    backend: str,
    threads: int,
    rounds: int,
) -> list[Latency]:
    """The latencies of model folders, in turns.

    Args:
        examples: at most BATCH texts.
        backend: one of `deploy.predictor.BACKENDS`.
        threads: cores that the child process uses, and threads of ONNX Runtime.
    """
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    inputs = [each.inputs for each in examples]
    with ProcessPoolExecutor(1, context, _use_cores, (threads,)) as pool:
        paths = list(map(str, folders))
        future = pool.submit(_time_models, paths, inputs, backend, threads, rounds)
        try:
            return future.result()
        except BrokenProcessPool:
            raise InputError(
                f"The process that measures {len(paths)} shapes together was killed, perhaps for "
                "its memory: lower --measure."
            ) from None


def _use_cores(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # before JAX and ONNX Runtime start their threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _time_models(
    paths: Sequence[str],
    inputs: Sequence[tuple[str, ...]],
    backend: str,
    threads: int,
    rounds: int,
) -> list[Latency]:
    calls = [_make_call(load(path, backend, threads=threads)) for path in paths]
    for call in calls:
        _time_once(call, inputs)  # compiles
    turns = np.array([[_time_once(call, inputs) for call in calls] for _ in range(rounds)])
    # Of each text by itself: where the machine is shared, every round has some that had to wait.
    seconds = np.median(turns, axis=0)
    return [Latency(float(each[:-1].mean()), float(each[-1] / len(inputs))) for each in seconds]


def _make_call(model: Tagger | Classifier) -> Call:
    """What labels a list of texts."""
    call: Any = model.tag if isinstance(model, Tagger) else model.classify
    return call


def _time_once(call: Call, inputs: Sequence[tuple[str, ...]]) -> list[float]:
    """Seconds of each text given by itself, and of all at once."""
    seconds = []
    for texts in ([each] for each in inputs):
        begin = time.perf_counter()
        call(texts)
        seconds.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    call(inputs)
    return [*seconds, time.perf_counter() - begin]
