"""The memory that a teacher takes on every device, from its shapes alone."""

import os
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.distill.finetune import find_subwords
from xdistil.distill.unfreezing import split_params
from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_bytes
from xdistil.experiment.build import Run
from xdistil.models.types import Params, trace_shapes
from xdistil.runtime.mesh import count_bytes
from xdistil.teacher.model_teacher import ModelTeacher

_SIZES = (16e9, 24e9, 40e9, 80e9)  # bytes of memory of usual devices
_FREE = 0.2  # share of a device's memory that is left for activations
_MOST_SHARDS = 1024


@dataclass(frozen=True)
class TeacherBytes:
    """Bytes on each of the devices that share a teacher; activations come on top."""

    parameters: int
    copies: int  # of the parameters in the type of the arithmetic, where that is not float32
    gradients: int
    moments: int  # AdamW's two

    @property
    def total(self) -> int:
        """All of them."""
        return self.parameters + self.copies + self.gradients + self.moments

    def __str__(self) -> str:
        parts = {
            "parameters": self.parameters,
            "copies for the arithmetic": self.copies,
            "gradients": self.gradients,
            "AdamW's moments": self.moments,
        }
        return ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.items() if size)


@dataclass(frozen=True)
class TeacherShapes:
    """What the devices hold of a teacher while it is fine-tuned, or used where it is not."""

    parameters: Params  # shapes
    trained: tuple[Params, ...]  # shapes, by stage of its plan; empty: it is not fine-tuned
    work_bytes: int  # of a number in its arithmetic

    def count_bytes(self, shards: int) -> TeacherBytes:
        """Bytes on each device where `shards` of them share the teacher."""
        parameters = count_bytes(self.parameters, shards)
        copies = parameters * self.work_bytes // 4 if self.work_bytes < 4 else 0
        gradients = max((count_bytes(tree, shards) for tree in self.trained), default=0)
        return TeacherBytes(parameters, copies, gradients, 2 * gradients)

    def count_devices(self, limit: float) -> int:
        """The smallest power of two of devices that share it within a limit each; 0: too many."""
        shards = 1
        while self.count_bytes(shards).total > limit:
            shards *= 2
            if shards > _MOST_SHARDS:
                return 0
        return shards


def find_shapes(run: Run) -> TeacherShapes | None:
    """The shapes of a run's teacher; None where it is no model."""
    if not isinstance(run.teacher, ModelTeacher):
        return None
    model = run.teacher.model
    shapes, trained = trace_shapes(model), []
    if run.finetuning:
        texts = [run.finetuning[0].dev.subwords, *(each.train.subwords for each in run.finetuning)]
        shapes = _with_rows(shapes, len(find_subwords(model, texts)))
        trained = [split_params(shapes, stage.trainable)[0] for stage in run.finetuning]
    return TeacherShapes(shapes, tuple(trained), jnp.dtype(model.dtype).itemsize)


def describe_memory(run: Run) -> list[str]:
    """One sentence: what a device holds of the teacher, and how many devices of which size do."""
    shapes, shards = find_shapes(run), run.experiment.mesh.teacher_shards
    if shapes is None:
        return []
    needed, use = shapes.count_bytes(shards), "fine-tuned" if run.finetuning else "used"
    told = f"memory of the teacher while it is {use}, without activations: "
    smallest, *_ = _SIZES
    if shapes.count_devices((1 - _FREE) * smallest) == 1:
        return [f"{told}{format_bytes(needed.total)}"]
    fitting: dict[int, str] = {}  # by number of devices, the smallest ones
    for size in _SIZES:
        if count := shapes.count_devices((1 - _FREE) * size):
            fitting.setdefault(count, f"{count} of {size / 1e9:.0f} GB")
    return [
        f"{told}{format_bytes(needed.total)} ({needed}) on each of the {shards} devices that share "
        f"it; it fits on {' or '.join(fitting.values())}, with {_FREE:.0%} free for activations"
    ]


def check_memory(run: Run) -> None:
    """Raises InputError where the teacher does not fit into the memory of the devices."""
    shapes, shards = find_shapes(run), run.experiment.mesh.teacher_shards
    if shapes is None:
        return
    needed, limit = shapes.count_bytes(shards), read_device_memory()
    if needed.total - needed.copies <= limit:  # XLA may keep copies of a few layers alone
        return
    least = shapes.count_devices(limit)
    raise InputError(
        f"The teacher takes {format_bytes(needed.total)} of each device ({needed}), and a device "
        f"has {format_bytes(int(limit))}: share it among {least or f'over {_MOST_SHARDS}'} devices "
        f"by mesh.teacher_shards, which is {shards}, or name a smaller teacher."
    )


def read_device_memory() -> float:
    """Bytes of one of this process's devices; the devices of a CPU share the machine's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return machine / jax.local_device_count()


def _with_rows(shapes: Params, rows: int) -> Params:
    """The shapes with so many word embeddings."""
    embeddings = shapes["embeddings"]
    table = embeddings["word_embeddings"]["embedding"]
    cut = jax.ShapeDtypeStruct((rows, *table.shape[1:]), np.float32)
    return {**shapes, "embeddings": {**embeddings, "word_embeddings": {"embedding": cut}}}
