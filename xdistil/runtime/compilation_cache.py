"""The compilation cache on disk: a run that resumes, or a similar one, compiles less."""

import hashlib
import os
import platform
from pathlib import Path

import jax

from xdistil.runtime.environment import read_cpu_information

_LEAST_SECONDS = 0.3  # shorter compilations are not stored
_MOST_BYTES = 1 << 30


def enable_compilation_cache() -> None:
    """Makes JAX store compiled programs in the user's cache folder, XDG_CACHE_HOME or ~/.cache.

    A folder that the user has set (JAX_COMPILATION_CACHE_DIR) stays. Each type of CPU has its own
    subfolder, because machines may share a home folder, and code compiled for one CPU may not run
    on another. If no folder can be written, nothing is stored. Results are bit for bit the same.
    """
    # JAX adds its options as attributes at run time, where a type checker does not see them.
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "xdistil" / f"compiled-{_cpu_digest()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only home folder, or none
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def _cpu_digest() -> str:
    """Eight hexadecimal digits that identify the type of CPU."""
    flags = read_cpu_information("flags") or read_cpu_information("Features")
    text = platform.machine() + platform.processor() + flags
    return hashlib.sha256(text.encode()).hexdigest()[:8]
