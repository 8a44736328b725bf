"""The type of a run's arithmetic: what the config says, what the run began with, or the faster one
on the device.

In `bfloat16` the factors of matrix products are of that type, and on a GPU or TPU the arrays
between them too. Parameters, optimizer, softmax, normalisations, losses and the state of an LSTM
stay float32.
"""

import json
from pathlib import Path

import jax

from xdistil.config import Experiment
from xdistil.runtime.environment import read_cpu_information
from xdistil.runtime.mesh import global_max

# Instructions that multiply matrices in bfloat16, as /proc/cpuinfo on Linux names them.
_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
_FIRST_GPU = 8.0  # NVIDIA's compute capability with bfloat16 units: A100


def choose_dtype(experiment: Experiment, workdir: Path | None = None) -> str:
    """`float32` or `bfloat16`; all processes must call this, and choose the same.

    Args:
        workdir: whose config.json, if there is one, has the type that the run began with.
    """
    if experiment.dtype != "auto":
        return experiment.dtype
    if workdir is not None and (workdir / "config.json").exists():
        try:
            stored = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
            return str(stored["dtype"])
        except (ValueError, KeyError):
            return "float32"  # `check_workdir` reports what is damaged
    slow = not all(map(multiplies_in_bfloat16, jax.local_devices()))
    return "float32" if global_max(int(slow)) else "bfloat16"


def multiplies_in_bfloat16(device: jax.Device) -> bool:
    """Whether a training step in bfloat16 is faster than one in float32 on such a device.

    docs/performance.md has the measurements.
    """
    if device.platform == "tpu":
        return True
    if device.platform == "cpu":
        flags = read_cpu_information("flags").split()
        return any(flag in flags for flag in _CPU_FLAGS)
    try:
        return float(getattr(device, "compute_capability", 0)) >= _FIRST_GPU
    except ValueError:  # other makers' GPUs name an architecture
        return False
