"""Packed rows -> batches in a seeded order: shuffled, divided among processes, resumable.

An element of the grain dataset is a whole batch, indexed by its step in the stage, so the position
in the data is the step.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from math import ceil

import grain
import numpy as np

from xdistil.data.packing import Batch, Rows, fill_batch
from xdistil.data.sampling import draw_rows, draw_weighted
from xdistil.data.subwords import Subwords

_PREFETCHED = 4  # batches made ahead of the step


def rows_per_batch(subwords: Subwords, row_length: int, batch_size: int) -> int:
    """Rows with about `batch_size` sentences, at least one.

    It does not depend on the number of devices, and so neither does the order of the data.
    """
    sentences = int(subwords.example[-1]) + 1
    return max(1, round(batch_size * (len(subwords.tokens) / sentences) / row_length))


def fill_up(batch_rows: int, devices: int) -> int:
    """Rows of a batch with the empty rows at its end that make it divisible among devices."""
    return devices * ceil(batch_rows / devices)


def steps_per_epoch(rows: Rows, batch_rows: int) -> int:
    """Batches with every row once; the last one may have empty rows."""
    return ceil(len(rows.subword) / batch_rows)


def count_steps(rows: Rows, batch_rows: int, epochs: float) -> int:
    """Batches in this many epochs, at least one; a part of an epoch is rounded up."""
    return max(1, ceil(round(epochs * steps_per_epoch(rows, batch_rows), 6)))


def make_batches(
    subwords: Subwords,
    rows: Rows,
    columns: Callable[[np.ndarray], dict[str, np.ndarray]],
    batch_rows: int,
    epochs: float,
    seed: int,
    padding_id: int,
    devices: int = 1,
    process_index: int = 0,
    process_count: int = 1,
    first_step: int = 0,
    weights: np.ndarray | None = None,
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """The batches of a stage from `first_step` up to its `count_steps`, prefetched in a thread.

    Rows are shuffled in each epoch by (seed, epoch), or drawn by language if `rows` has quotas.
    A batch is filled up for `devices`, which counts those of all processes; process p of n gets the
    p-th contiguous block of it.

    Args:
        columns: further arrays of a batch, by name, for the rows with these indices i64[B] (-1: an
            empty row); their first axis is B.
        weights: f64[R], above 0: rows are drawn in proportion to them, within each language if
            `rows` has quotas.
    """
    filled = fill_up(batch_rows, devices)
    share, rest = divmod(filled, process_count)
    if rest:
        raise ValueError(f"{devices} devices do not divide among {process_count} processes.")
    in_epoch = steps_per_epoch(rows, batch_rows)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> np.ndarray:
        count = len(rows.subword)
        shuffled = np.full(in_epoch * batch_rows, -1)
        if weights is not None:
            counts, quota = (rows.languages, rows.quota) if len(rows.quota) else ([count], [count])
            shuffled[:count] = draw_weighted(
                np.asarray(counts), np.asarray(quota), weights, seed, epoch
            )
        elif len(rows.quota):
            shuffled[:count] = draw_rows(rows.languages, rows.quota, seed, epoch)
        else:
            shuffled[:count] = np.random.default_rng([seed, epoch]).permutation(count)
        return shuffled

    def make(step: int) -> tuple[Batch, dict[str, np.ndarray]]:
        epoch, at = divmod(int(step), in_epoch)
        indices = np.full(filled, -1)
        indices[:batch_rows] = order(epoch)[at * batch_rows :][:batch_rows]
        indices = indices[process_index * share :][:share]
        batch = fill_batch(subwords, rows, indices, padding_id)
        return batch, columns(indices)

    steps = grain.MapDataset.range(first_step, count_steps(rows, batch_rows, epochs))
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_PREFETCHED)
    return iter(steps.map(make).to_iter_dataset(reading))
