"""What a step whose loss or gradient is not finite leaves behind, to be looked into.

The folder holds an Orbax checkpoint of the state before the step, whose cursor says which stage it
is, and the batch of every process with the cached signals and the learning rate (`batch-N.npz`).
"""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from xdistil.data.packing import Batch
from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.plan import merge_params
from xdistil.distill.step import TrainState
from xdistil.runtime.mesh import wait_for_all

_SIGNAL = "signal-"  # begins the names of signals in the file of a batch


def save_divergence(
    folder: Path,
    state: TrainState,
    batch: Batch,
    cached: dict[str, np.ndarray],
    lr: np.floating,
    cursor: dict[str, Any],
) -> None:
    """Writes the folder anew.

    Args:
        state: as the failed step left it, which is as it was before.
        batch: of the failed step, host arrays, this process's rows; `cached` its signals.
        cursor: of the newest checkpoint.
    """
    if jax.process_index() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    wait_for_all("an earlier failure removed")
    step = int(state.step)
    total = cursor["total_step"] - cursor["step"] + step
    checkpoints = Checkpoints(folder)
    best = merge_params(state.trainable, state.frozen)
    checkpoints.save(state, best, {**cursor, "step": step, "total_step": total})
    checkpoints.close()
    arrays = {**batch._asdict(), **{_SIGNAL + name: values for name, values in cached.items()}}
    np.savez(folder / f"batch-{jax.process_index()}.npz", lr=lr, **arrays)


def read_divergence(folder: Path) -> tuple[Batch, dict[str, np.ndarray], np.floating]:
    """The batch of the first process, its cached signals and the learning rate."""
    with np.load(folder / "batch-0.npz") as arrays:
        batch = Batch(**{name: arrays[name] for name in Batch._fields})
        signals = {
            name.removeprefix(_SIGNAL): arrays[name] for name in arrays if name.startswith(_SIGNAL)
        }
        return batch, signals, arrays["lr"][()]
