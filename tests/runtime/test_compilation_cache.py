"""Compiled programs are stored between processes, in the folder that the user sets."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import jax, jax.monitoring
from xdistil.runtime.compilation_cache import enable_compilation_cache
seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event))
enable_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(float(jax.jit(lambda x: x @ x + 1)(jax.numpy.eye(3)).sum()))
print(seen.count("/jax/compilation_cache/cache_hits"))
"""


def run(**environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in done.stderr
    return done.stdout.split()


def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    first, second = (run(XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert first[0] == second[0] == "12.0"
    assert first[1] == "0"
    assert int(second[1]) > 0
    (folder,) = (tmp_path / "xdistil").iterdir()
    assert folder.name.startswith("compiled-")


def test_without_a_writable_folder_nothing_is_stored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(XDG_CACHE_HOME=str(tmp_path / "file")) == ["12.0", "0"]
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_users_folder_is_used(tmp_path: Path) -> None:
    run(XDG_CACHE_HOME=str(tmp_path / "home"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert any((tmp_path / "own").iterdir())
    assert not (tmp_path / "home").exists()
