"""One folder of compiled programs for all workers and subprocesses of a session."""

import os
import tempfile

# JAX reads its environment when it is imported, and workers inherit that of the first process.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _folder = tempfile.TemporaryDirectory()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"


def pytest_addoption(parser):
    """How many processes tests/test_processes.py starts."""
    parser.addoption("--processes", type=int, default=2, help="of a run of several processes")
