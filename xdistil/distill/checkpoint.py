"""Resumable state on disk, through Orbax: state, best parameters and progress, saved together.

A checkpoint of step n holds everything that the steps after n depend on. The progress is JSON, in
the item `cursor`. It is read first, since the shapes of the state depend on the stage that it
names. It holds a checksum of every leaf and one of itself: Orbax restores a flipped bit silently.

Training continues while a checkpoint is written: `save` takes the state as host arrays, and a
thread computes the checksums, writes the files and deletes old checkpoints. One checkpoint is
written at a time. Several processes write together, and all of them wait.
"""

import concurrent.futures
import json
import logging
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from xdistil.distill.progress import Progress, read_progress
from xdistil.distill.step import TrainState
from xdistil.models.types import Params
from xdistil.runtime.mesh import gather_all, is_on_one_host, keep

log = logging.getLogger("xdistil")

_INVERTED = 0xFFFFFFFF


class Checkpoint(NamedTuple):
    """Where a plan stands, and everything that its next step depends on."""

    state: TrainState
    best: Params  # the best parameters of the stage so far, all groups, as `mesh.keep` gives them
    progress: Progress


class Checkpoints:
    """The checkpoints of one plan, in a folder of their own; the newest two are kept."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, making it where it does not exist."""
        # Its failures are raised as exceptions too, and reported once, as a sentence.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._folder = folder
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=2,
                enable_async_checkpointing=False,
                cleanup_tmp_directories=True,  # of a run that was killed while it wrote
            ),
            item_handlers={
                # Compressing float32 costs twice the time of writing it and saves a tenth.
                "state": ocp.PyTreeCheckpointHandler(use_compression=False),
                "best": ocp.PyTreeCheckpointHandler(use_compression=False),
                "cursor": ocp.JsonCheckpointHandler(),
            },
        )
        # A program that exits waits for its thread.
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._written: concurrent.futures.Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes one checkpoint, whole or not at all; `total_step` numbers it.

        Returns once the one before is written; `wait` waits for this one. Several processes write
        it before they return.

        Raises:
            OSError: the one before cannot be written, or that of several processes.
        """
        self.wait()
        state, best, progress = checkpoint
        # PRNG keys and empty sub-trees are no arrays that Orbax stores: the key is derived from
        # the seed and the sub-stage, and a frozen sub-tree without leaves is left out.
        tree, cursor = _storable(state), progress.to_json()
        if jax.process_count() > 1:
            # Orbax's barriers are collective calls, as training makes them: all in one order.
            self._write(tree, best, cursor)
            return
        # On a CPU the host arrays are those of the device, which the next step then leaves alone:
        # JAX does not donate the memory of an array that NumPy holds.
        self._written = self._writer.submit(self._write, jax.device_get(tree), best, cursor)

    def wait(self) -> None:
        """Waits until the last checkpoint is on disk.

        Raises:
            OSError: it cannot be written.
        """
        written = self._written
        if written is not None:
            concurrent.futures.wait([written])  # a signal may end this, and `close` waits again
            self._written = None
            written.result()

    def _write(self, tree: Any, best: Params, cursor: dict[str, Any]) -> None:
        step = cursor["total_step"]
        # Threads of a failed save keep printing errors, object by object, into our sentence.
        shown, sys.unraisablehook = sys.unraisablehook, _ignore
        try:
            cursor["checksums"] = {"state": checksum(tree), "best": checksum(best)}
            if step in self._manager.all_steps():  # a damaged one, before which the plan resumed
                self._manager.delete(step)
            items = ocp.args.Composite(
                state=ocp.args.PyTreeSave(tree),
                best=ocp.args.PyTreeSave(best),
                cursor=ocp.args.JsonSave({**cursor, "seal": _seal(cursor)}),
            )
            self._manager.save(step, args=items, force=True)
        except Exception as error:  # Orbax raises whatever its parts do
            reason = str(error).splitlines()[0].rpartition(": ")[2]
            raise OSError(
                f"{self._folder}: checkpoint {step} cannot be written ({reason})"
            ) from error
        if shown is not _ignore:
            sys.unraisablehook = shown

    def restore(
        self, step: int, make: Callable[[int], tuple[TrainState, Params]]
    ) -> Checkpoint | None:
        """A checkpoint, laid out like the state and the parameters that `make` returns.

        Args:
            make: of the index of a stage run, a state and parameters of the same shapes and
                sharding; the state's key is kept.

        Returns:
            None where files are damaged: the caller tries the checkpoint before.

        Raises:
            OSError: as `wait`.
        """
        self.wait()
        cursor = self._read_cursor(step)
        if cursor is None:
            return None
        progress = read_progress(cursor)
        state, best = make(progress.stage)
        items = ocp.args.Composite(state=_restore_like(_storable(state)), best=_restore_like(best))
        failed, key = state.failed, state.key
        del state, best  # the devices may not have room for two
        try:
            items = self._manager.restore(step, args=items)
        except Exception as error:  # Orbax raises bare ones too
            log.warning("checkpoint %s cannot be restored (%s); trying the one before", step, error)
            return None
        tree, best = items["state"], items["best"]
        if cursor["checksums"] != {"state": checksum(tree), "best": checksum(best)}:
            log.warning("checkpoint %s is damaged (checksum differs); trying the one before", step)
            return None
        trainable, frozen = tree["trainable"], tree.get("frozen", {})
        restored = TrainState(tree["step"], failed, key, trainable, frozen, tree["optimizer"])
        return Checkpoint(restored, keep(best), progress)

    def _read_cursor(self, step: int) -> dict[str, Any] | None:
        try:
            items = self._manager.restore(
                step, args=ocp.args.Composite(cursor=ocp.args.JsonRestore())
            )
        except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
            log.warning("checkpoint %s cannot be read (%s); trying the one before", step, error)
            return None
        cursor = items["cursor"]
        if cursor.pop("seal", None) != _seal(cursor):
            log.warning("checkpoint %s has a damaged cursor; trying the one before", step)
            return None
        return cursor

    def list_steps(self) -> list[int]:
        """Numbers of the checkpoints on disk, newest first. Raises as `wait`."""
        self.wait()
        return sorted(self._manager.all_steps(), reverse=True)

    def close(self) -> None:
        """Waits as `wait` does, and ends the threads. Raises as it does."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._manager.close()


def checksum(tree: Any) -> str:
    """CRC-32 of every leaf's bytes in tree order, as eight hexadecimal digits.

    It does not depend on the sharding. Where leaves are sharded over processes, all of them must
    call this at the same point.
    """
    leaves = jax.tree.leaves(tree)
    if all(map(is_on_one_host, leaves)):
        value = 0
        for leaf in leaves:
            value = zlib.crc32(np.ascontiguousarray(leaf).data, value)
        return f"{value:08x}"
    # CRC-32 without its first and last inversion is linear over bits: that of the whole is the
    # exclusive or of those of its parts, each with zeros for the others'. The inversions are done
    # by the first process alone.
    first = jax.process_index() == 0
    value = 0 if first else _INVERTED
    for leaf in leaves:
        value = zlib.crc32(_own_part(leaf, first).data, value)
    value ^= 0 if first else _INVERTED
    return f"{np.bitwise_xor.reduce(gather_all(np.uint32(value))):08x}"


def _own_part(leaf: Any, first: bool) -> np.ndarray:
    """An array of which this process keeps its share, with zeros elsewhere."""
    if is_on_one_host(leaf):
        return np.ascontiguousarray(leaf) if first else np.zeros(np.shape(leaf), leaf.dtype)
    part = np.zeros(leaf.shape, leaf.dtype)
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:  # which exists on one device of all
            part[shard.index] = shard.data
    return part


def _seal(cursor: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(cursor, sort_keys=True).encode()):08x}"


def _storable(state: TrainState) -> dict[str, Any]:
    tree = {"step": state.step, "trainable": state.trainable, "optimizer": state.optimizer}
    return {**tree, "frozen": state.frozen} if state.frozen else tree


def _restore_like(tree: Any) -> ocp.args.PyTreeRestore:
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
    return ocp.args.PyTreeRestore(
        target, restore_args=ocp.checkpoint_utils.construct_restore_args(target)
    )


def _ignore(unraisable: Any) -> None:
    """An `unraisablehook` that prints nothing."""
