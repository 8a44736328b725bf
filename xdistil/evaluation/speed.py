"""How much faster the student is than the teacher, measured in turns in one process.

The setting is that of Table 16 of XtremeDistil: real sentences, each in its own row, in batches of
32 or one by one. Both models get the same sentences in rows of the same length and take turns, so
that other load on the machine affects both. The time is that of a forward pass to the logits of
every subword, without tokenization and decoding.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from xdistil.data.packing import Batch
from xdistil.data.subwords import Subwords
from xdistil.evaluation.results import SpeedResult, Speedup, Spread
from xdistil.models.forward import compute_logits
from xdistil.models.types import Model, Params
from xdistil.runtime.process import count_cores

BATCH = 32  # sentences in a batch, and subwords in the shortest row, as in the paper
_BATCHES = 8  # different batches, which the rounds repeat
_FEWEST_ROUNDS = 5  # whatever the time


@dataclass(frozen=True)
class Runner:
    """A model, and the sentences as its own tokenizer cuts them."""

    model: Model
    params: Params  # host arrays
    subwords: Subwords
    padding_id: int


def measure_speed(
    teacher: Runner, student: Runner, row_length: int, seconds: float, seed: int = 0
) -> Speedup | None:
    """The seconds of a forward pass of both models, and how many times faster the student is.

    Args:
        teacher, student: both with the subwords of the same examples.
        row_length: subwords in the row of a single sentence. The rows of a batch hold 32 subwords,
            or the next multiple of 16 if the longest sentence needs more.
        seconds: time to spend without compilation, half for each setting; 0 measures nothing.
        seed: of the choice of sentences, among those that both tokenizers leave in one window.

    Returns:
        The speedup, which is the teacher's time over the student's in the same round. None if there
        is no time or no sentence.
    """
    runners = (teacher, student)
    segments = _choose_sentences(runners, seed)
    if seconds <= 0 or not len(segments):
        return None
    longest = max(
        int((runner.subwords.start[chosen + 1] - runner.subwords.start[chosen]).max())
        for runner, chosen in zip(runners, segments.T, strict=True)
    )
    batch_length = max(BATCH, -(-longest // 16) * 16)
    return {
        "batch_32": _compare(runners, segments, BATCH, batch_length, seconds / 2),
        "single": _compare(runners, segments, 1, row_length, seconds / 2),
        "dtype": student.model.dtype,
        "threads": count_cores(),
        "device": jax.local_devices()[0].device_kind,
    }


def _choose_sentences(runners: Sequence[Runner], seed: int) -> np.ndarray:
    """i64[N, models]: segments of N sentences; N is a multiple of BATCH, sentences may repeat."""
    segments = [_find_whole(runner.subwords) for runner in runners]
    both = np.array(sorted(set(segments[0]).intersection(*segments)), np.int64)
    if not len(both):
        return np.zeros((0, len(runners)), np.int64)
    shuffled = np.random.default_rng(seed).permutation(both)
    batches = min(_BATCHES, -(-len(both) // BATCH))
    chosen = np.resize(shuffled, batches * BATCH)
    return np.array([[whole[example] for whole in segments] for example in chosen.tolist()])


def _find_whole(subwords: Subwords) -> dict[int, int]:
    """The segment of each example that is not cut into windows."""
    found, first, count = np.unique(subwords.example, return_index=True, return_counts=True)
    return dict(zip(found[count == 1].tolist(), first[count == 1].tolist(), strict=True))


def _compare(
    runners: Sequence[Runner], segments: np.ndarray, size: int, length: int, seconds: float
) -> SpeedResult:
    device = jax.local_devices()[0]
    params = [jax.device_put(runner.params, device) for runner in runners]
    batches = [
        [
            jax.device_put(_pad_sentences(runner, segments[first : first + size, index], length))
            for first in range(0, min(len(segments), _BATCHES * size), size)
        ]
        for index, runner in enumerate(runners)
    ]

    def time_once(index: int, turn: int) -> float:
        batch = batches[index][turn % len(batches[index])]
        begin = time.perf_counter()
        jax.block_until_ready(compute_logits(params[index], batch, model=runners[index].model))
        return time.perf_counter() - begin

    for warm_up in range(2):
        for index in range(len(runners)):
            time_once(index, warm_up)
    rounds: list[list[float]] = []
    deadline = time.perf_counter() + seconds
    while len(rounds) < _FEWEST_ROUNDS or time.perf_counter() < deadline:
        rounds.append([time_once(index, len(rounds)) for index in range(len(runners))])
    return {
        **_summarise([teacher / student for teacher, student in rounds]),
        "teacher_seconds": _summarise([teacher for teacher, _ in rounds]),
        "student_seconds": _summarise([student for _, student in rounds]),
        "row_length": length,
        "rounds": len(rounds),
    }


def _pad_sentences(runner: Runner, segments: np.ndarray, length: int) -> Batch:
    """One segment per row, padded to the length."""
    subwords, shape = runner.subwords, (len(segments), length)
    tokens = np.full(shape, runner.padding_id, np.int32)
    token_type = np.zeros(shape, np.int32)
    segment = np.zeros(shape, np.int32)
    position = np.zeros(shape, np.int32)
    for row, index in enumerate(segments):
        first, end = subwords.start[index], subwords.start[index + 1]
        tokens[row, : end - first] = subwords.tokens[first:end]
        token_type[row, : end - first] = subwords.token_type[first:end]
        segment[row, : end - first] = 1
        position[row, : end - first] = np.arange(end - first)
    return Batch(
        tokens, segment, position, token_type, np.zeros(shape, np.int32), np.zeros(shape, bool)
    )


def _summarise(values: Sequence[float]) -> Spread:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}
