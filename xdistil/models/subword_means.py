"""The mean hidden state of every subword over its occurrences in texts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xdistil.data.packing import Batch, Rows, gather_indices
from xdistil.data.subwords import Subwords
from xdistil.models.forward import iterate_batches


@dataclass(frozen=True)
class SubwordMeans:
    """Mean hidden states of the subwords that occur."""

    subwords: np.ndarray  # i32[N] ids, each once
    values: np.ndarray  # f32[N,D]


def average_states(
    compute: Callable[[Batch], np.ndarray],
    subwords: Subwords,
    rows: Rows,
    batch_rows: int,
    padding_id: int,
    width: int,
    check: Callable[[], None] = lambda: None,
) -> SubwordMeans:
    """The mean states of the subwords of packed texts, special ones among them, ids ascending.

    One sum for each subword that occurs is in memory, and the states of one batch. The sums are
    taken on the host in a fixed order, so that equal states give equal bits.

    Args:
        compute: this process's rows of a batch -> the states f[B,T,D] of all processes' rows.
        batch_rows: rows of a batch, of all processes.
        width: D.
        check: called before every batch; an exception that it raises ends the pass.
    """
    ids, number = np.unique(subwords.tokens, return_inverse=True)
    sums = np.zeros((len(ids), width), np.float32)
    for indices, batch in iterate_batches(subwords, rows, batch_rows, padding_id):
        check()
        places, filled = gather_indices(rows, indices)
        states = np.asarray(compute(batch)[filled], np.float32)
        here = number[places[filled]]
        order = np.argsort(here, kind="stable")
        found, first = np.unique(here[order], return_index=True)
        sums[found] += np.add.reduceat(states[order], first, axis=0)
    counts = np.bincount(number, minlength=len(ids)).astype(np.float32)
    return SubwordMeans(ids.astype(np.int32), sums / counts[:, None])
