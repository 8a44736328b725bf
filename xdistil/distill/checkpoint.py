"""Resumable state on disk, through Orbax: state, best parameters and cursor, saved together.

A checkpoint of step n holds everything that the steps after n depend on. The cursor is JSON and is
read first, since the shapes of the state depend on the sub-stage that it names. It carries a
checksum of every leaf and one of itself: Orbax restores a flipped bit without a word.
"""

import json
import logging
import sys
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from xdistil.distill.step import TrainState
from xdistil.models.types import Params

log = logging.getLogger("xdistil")


class Checkpoints:
    """The checkpoints of one plan, in a folder of their own; the newest two are kept."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, making it where it does not exist."""
        # Its failures come as exceptions too, which are told once, as a sentence.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._folder = folder
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False),
            item_names=("state", "best", "cursor"),
        )

    def save(self, state: TrainState, best: Params, cursor: dict[str, Any]) -> None:
        """Writes one checkpoint, whole or not at all.

        Args:
            best: the best parameters of the sub-stage so far, all groups.
            cursor: JSON of where the run stands; `total_step` numbers the checkpoint.

        Raises:
            OSError: it cannot be written.
        """
        # PRNG keys and empty sub-trees are no arrays that Orbax stores: the key is made anew from
        # the seed and the sub-stage, and a frozen sub-tree without leaves is left out.
        tree = _storable(state)
        cursor = {**cursor, "checksums": {"state": checksum(tree), "best": checksum(best)}}
        step = cursor["total_step"]
        if step in self._manager.all_steps():  # a damaged one, behind which the plan went on
            self._manager.delete(step)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(tree),
            best=ocp.args.StandardSave(best),
            cursor=ocp.args.JsonSave({**cursor, "seal": _seal(cursor)}),
        )
        # Threads of a save that fails go on complaining, object by object, into our sentence.
        shown, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
        try:
            self._manager.save(step, args=items, force=True)
            sys.unraisablehook = shown
        except Exception as error:  # Orbax raises whatever its parts do
            reason = str(error).splitlines()[0].rpartition(": ")[2]
            raise OSError(
                f"{self._folder}: checkpoint {step} cannot be written ({reason})"
            ) from error

    def read_cursor(self, step: int) -> dict[str, Any] | None:
        """The cursor of one checkpoint, None where it cannot be read."""
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
        """Numbers of the checkpoints at hand, newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def restore(
        self, step: int, cursor: dict[str, Any], state: TrainState, best: Params
    ) -> tuple[TrainState, Params] | None:
        """State and best parameters of a checkpoint, laid out like the given ones.

        Args:
            state: a state of the same shapes and sharding, whose key is kept.
            best: parameters likewise.

        Returns:
            None where files are damaged: the caller tries the checkpoint before.
        """
        try:
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(_abstract(_storable(state))),
                    best=ocp.args.StandardRestore(_abstract(best)),
                ),
            )
        except Exception as error:  # Orbax raises bare ones too
            log.warning("checkpoint %s cannot be restored (%s); trying the one before", step, error)
            return None
        tree, best = items["state"], items["best"]
        if cursor["checksums"] != {"state": checksum(tree), "best": checksum(best)}:
            log.warning("checkpoint %s is damaged (checksum differs); trying the one before", step)
            return None
        restored = state._replace(
            step=tree["step"],
            trainable=tree["trainable"],
            frozen=tree.get("frozen", {}),
            optimizer=tree["optimizer"],
        )
        return restored, best

    def close(self) -> None:
        """Ends the manager's threads."""
        self._manager.close()


def checksum(tree: Any) -> str:
    """CRC-32 of every leaf's bytes in tree order, as eight hexadecimal digits."""
    value = 0
    for leaf in jax.tree.leaves(tree):
        value = zlib.crc32(np.ascontiguousarray(leaf).data, value)
    return f"{value:08x}"


def _seal(cursor: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(cursor, sort_keys=True).encode()):08x}"


def _storable(state: TrainState) -> dict[str, Any]:
    tree = {"step": state.step, "trainable": state.trainable, "optimizer": state.optimizer}
    return {**tree, "frozen": state.frozen} if state.frozen else tree


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
