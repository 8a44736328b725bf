"""Compiled programs kept on disk: a run that goes on, or another like it, compiles less."""

import hashlib
import os
import platform
from pathlib import Path

import jax

_LEAST_SECONDS = 0.3  # of a compilation worth keeping
_MOST_BYTES = 1 << 30


def enable_compilation_cache() -> None:
    """Lets JAX keep what it compiles in the user's cache folder, XDG_CACHE_HOME or ~/.cache.

    Whoever has chosen a folder (JAX_COMPILATION_CACHE_DIR) keeps it. A home folder may be shared by
    unlike machines, and code compiled for one CPU may not run on another: each kind of CPU has a
    folder of its own. Where no folder can be written, nothing is kept. Results do not change by a
    bit.
    """
    # Options of JAX are attributes that it adds while it runs, which no type checker sees.
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "xdistil" / f"compiled-{_cpu_digest()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only home, or none
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def _cpu_digest() -> str:
    """Eight hexadecimal digits that tell kinds of CPU apart."""
    text = platform.machine() + platform.processor()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]
