"""Forward passes over packed rows, batch by batch, for predictions and for a teacher's signals."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import jax
import numpy as np
from jax.sharding import Mesh

from xdistil.data.packing import Array, Batch, Rows, fill_batch
from xdistil.data.subwords import PREDICTION_SUBWORDS, Subwords
from xdistil.models.layers import COLLECTION, read_vectors
from xdistil.models.types import Model, Output, Params, trace_shapes
from xdistil.runtime.mesh import gather_rows, local_rows, shard_batch


def apply_model(
    model: Model,
    params: Params,
    batch: Batch,
    attention: bool = False,
    dropout: jax.Array | None = None,
    features: Array | None = None,
    vectors: bool = False,
) -> Output:
    """A forward pass; deterministic unless there is a PRNG key for `dropout`.

    With `features`, the hidden state of index `model.features`, nothing below it is computed. With
    `vectors`, the output has the queries, keys and values of every layer.
    """
    output, collections = model.apply(
        {"params": params},
        batch,
        attention=attention,
        deterministic=dropout is None,
        features=features,
        rngs=None if dropout is None else {"dropout": dropout},
        mutable=[COLLECTION] if vectors else [],
    )
    return cast(Output, output)._replace(vectors=read_vectors(collections) if vectors else None)


def sows_qkv(model: Model) -> bool:
    """Whether a model's layers provide their queries, keys and values; nothing is computed."""
    row = np.zeros((1, 1), np.int32)
    batch = Batch(row, row, row, row, row, row > 0)
    params = trace_shapes(model)
    apply = partial(apply_model, model, vectors=True)
    return bool(jax.eval_shape(apply, params, batch).vectors)


@partial(jax.jit, static_argnames=("model",))
def compute_logits(params: Params, batch: Batch, *, model: Model) -> jax.Array:
    """f32[B,T,C] of a deterministic forward pass (meaningful where label_mask is true)."""
    logits = apply_model(model, params, batch).logits
    assert logits is not None  # whoever predicts has a head
    return cast(jax.Array, logits)


def iterate_batches(
    subwords: Subwords, rows: Rows, batch_rows: int, padding_id: int, first_row: int = 0
) -> Iterator[tuple[np.ndarray, Batch]]:
    """(row indices i64[batch_rows], batch) in order; the last batch is filled with index -1.

    The indices are those of all processes, the batch has the rows of this one. Rows before
    `first_row` are skipped.
    """
    count = len(rows.subword)
    for first in range(first_row, count, batch_rows):
        indices = np.arange(first, first + batch_rows)
        indices[indices >= count] = -1
        yield indices, fill_batch(subwords, rows, local_rows(indices), padding_id)


def prediction_rows(rows: Rows, devices: int) -> int:
    """How many rows are a batch of predictions, a multiple of the devices."""
    fitting = PREDICTION_SUBWORDS // rows.subword.shape[1] // devices
    return max(1, fitting) * devices


def predict_rows(
    model: Model,
    params: Params,
    subwords: Subwords,
    rows: Rows,
    batch_rows: int,
    padding_id: int,
    mesh: Mesh | None = None,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """f32[W,C] logits of the subwords that carry a word (classification: a segment), in order.

    Args:
        check: called before every batch; an exception that it raises ends the prediction.
    """
    carries = subwords.word >= 0
    place = np.cumsum(carries) - 1
    predicted = np.zeros((int(carries.sum()), model.classes), np.float32)
    pending: list[tuple[np.ndarray, jax.Array]] = []

    def write_back() -> None:
        indices, logits = pending.pop(0)
        placed = rows.subword[indices]
        there = (placed >= 0) & (indices >= 0)[:, None]
        there &= carries[placed]
        predicted[place[placed[there]]] = gather_rows(logits)[there]

    for indices, batch in iterate_batches(subwords, rows, batch_rows, padding_id):
        check()
        if mesh is not None:
            batch = shard_batch(mesh, batch)
        pending.append((indices, compute_logits(params, batch, model=model)))
        if len(pending) > 1:  # a batch is computed while the one before is fetched
            write_back()
    while pending:
        write_back()
    return predicted
