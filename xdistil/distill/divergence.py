"""What is kept of a step whose loss or gradient is not finite, to find the cause.

The folder holds an Orbax checkpoint of the state before the step, whose progress names the stage,
and the batch of every process with the cached signals and the learning rate (`batch-N.npz`).
"""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from xdistil.data.packing import Batch
from xdistil.distill.checkpoint import Checkpoint, Checkpoints
from xdistil.distill.unfreezing import merge_params
from xdistil.runtime.mesh import wait_for_all

_SIGNAL = "signal-"  # begins the names of signals in the file of a batch


def save_divergence(
    folder: Path,
    checkpoint: Checkpoint,
    batch: Batch,
    loaded: dict[str, np.ndarray],
    lr: np.floating,
) -> None:
    """Replaces the folder.

    Args:
        checkpoint: its state is as the failed step left it, which is as it was before.
        batch: of the failed step, host arrays, this process's rows; `loaded` its signals.
    """
    if jax.process_index() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    wait_for_all("an earlier failure removed")
    state, progress = checkpoint.state, checkpoint.progress
    step = int(state.step)
    failed = replace(
        progress, step=step, total_step=progress.total_step - progress.step + step, begun=True
    )
    checkpoints = Checkpoints(folder)
    best = merge_params(state.trainable, state.frozen)
    checkpoints.save(Checkpoint(state, best, failed))
    checkpoints.close()
    arrays = {**batch._asdict(), **{_SIGNAL + name: values for name, values in loaded.items()}}
    np.savez(folder / f"batch-{jax.process_index()}.npz", lr=lr, **arrays)


def read_divergence(folder: Path) -> tuple[Batch, dict[str, np.ndarray], np.floating]:
    """The batch of the first process, its cached signals and the learning rate."""
    with np.load(folder / "batch-0.npz") as arrays:
        batch = Batch(**{name: arrays[name] for name in Batch._fields})
        signals = {
            name.removeprefix(_SIGNAL): arrays[name] for name in arrays if name.startswith(_SIGNAL)
        }
        return batch, signals, arrays["lr"][()]
