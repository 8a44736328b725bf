"""Packages, devices and processor of a run, for environment.json."""

import os
import platform
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "numpy")


def describe_device(dtype: str) -> str:
    """A sentence about JAX, its devices and the type of matrix products; it says how to use a GPU
    that JAX does not see."""
    devices = jax.devices()
    kind = devices[0].device_kind
    text = (
        f"JAX {jax.__version__} on {len(devices)} x {kind}, {os.cpu_count()} CPU cores, matrix "
        f"products in {dtype}"
    )
    gpu = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
    if gpu and devices[0].platform == "cpu":
        text = (
            "This machine has a GPU, but JAX runs on the CPU: pip install 'xdistil[cuda]' to use "
            f"the GPU. {text}"
        )
    return text


def describe_environment(command: list[str], fingerprints: dict[str, str]) -> dict[str, Any]:
    """Versions, command line, data fingerprints and device, for environment.json."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": read_cpu_information("model name") or platform.machine(),
        "cpu_cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "command": shlex.join(command),
        "data": fingerprints,
    }


def read_cpu_information(name: str) -> str:
    """The first value of a name in /proc/cpuinfo; empty where there is none."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(errors="replace") if information.exists() else ""
    lines = text.splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
