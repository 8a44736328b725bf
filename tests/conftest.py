"""One folder of compiled programs for all workers and subprocesses of a session."""

import os
import tempfile
from collections.abc import Iterator

import pytest

# JAX reads its environment when it is imported, and workers inherit that of the first process.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"


def pytest_addoption(parser):
    """How many processes tests/experiment/test_processes.py starts."""
    parser.addoption("--processes", type=int, default=2, help="of a run of several processes")


@pytest.fixture(scope="module")
def compile_quickly() -> Iterator[None]:
    """For modules whose time is compilation, and which do not depend on the compiler's effort.

    What was compiled so is dropped at their end: its last bits are not those of other programs.
    """
    import jax  # not before its environment is set

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
