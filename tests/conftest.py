"""What all workers and subprocesses of a session share: compiled programs, and a quick compiler."""

import gc
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

# JAX reads its environment when it is imported, and workers inherit that of the first process.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# Most of the time of these tests is compilation, and hardly any depends on the compiler's effort.
# JAX_DISABLE_MOST_OPTIMIZATIONS=0 asks for all of it.
_quick = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
if _quick and version("jaxlib").startswith("0.10."):  # later releases have one emitter of fusions
    _flags = os.environ.get("XLA_FLAGS", "").split()
    _flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys(_flags))


# Files of few tests that take long, and those that take longest of the others: a worker that began
# one of them at the end would work on alone.
LONG = (
    "experiment/test_processes.py",
    "experiment/test_faults.py",
    "experiment/test_devices.py",
    "experiment/test_resumed_run.py",
    "experiment/test_run.py",
    "experiment/test_refused_run.py",
    "distill/test_resume.py",
    "teacher/test_cache.py",
    "models/test_encoder.py",
    "experiment/test_signals.py",
    "experiment/test_without_labels.py",
    "test_pins.py",
)


def pytest_collection_modifyitems(items):
    """The workers take files in the order of their tests: the long ones first."""
    order = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))


def pytest_collection_finish():
    """What was imported stays until the end: the collector of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def compile_fully() -> Iterator[None]:
    """For tests of how exact a user's programs are, which are compiled with all optimizations."""
    import jax  # not before its environment is set

    before = os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()


def pytest_addoption(parser):
    """How many processes tests/experiment/test_processes.py starts."""
    parser.addoption("--processes", type=int, default=2, help="of a run of several processes")
