"""Real runs on a disk that fills up, and in a folder that cannot be written to."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.experiment.tiny_run import arguments, read_json, write_run

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> tuple[Path, Path]:
    """A config and its data."""
    return write_run(tmp_path_factory.mktemp("task"))


def run(task: tuple[Path, Path], workdir: Path, largest_file: int = 0):
    """train.py; files may not grow beyond that many bytes, as on a full disk."""

    def limit() -> None:
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))

    return subprocess.run(
        [sys.executable, "train.py", *arguments(*task, workdir, "--config.teacher.cache=always")],
        cwd=ROOT,
        env={
            **os.environ,
            # On a full disk programs are read, but none is stored: JAX would leave half of it.
            **({"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"} if largest_file else {}),
        },
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )


def test_a_disk_that_fills_up_again_and_again_costs_nothing_but_time(task, tmp_path):
    """Lines of metrics, checkpoints, a model and the cache meet its end, one after the other."""
    whole = run(task, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    workdir, told = tmp_path / "run", []
    for largest_file in (500, 6_000, 20_000, 26_500):
        done = run(task, workdir, largest_file)
        last = done.stderr.splitlines()[-1]
        assert done.returncode in (1, 2), done.stderr
        assert last.startswith("train.py: "), done.stderr
        assert "too large" in last.lower()
        assert "Traceback" not in done.stderr.replace("Exception ignored", "")
        assert not (workdir / "results.json").exists()
        told.append(last)
    assert len(set(told)) > 1, told
    done = run(task, workdir)
    assert done.returncode == 0, done.stderr
    for name in ("teacher/model.safetensors", "student/model.safetensors"):
        assert (workdir / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ours, theirs = (read_json(f / "results.json") for f in (workdir, tmp_path / "whole"))
    assert {**ours, "timing": None} == {**theirs, "timing": None}


@pytest.mark.skipif(os.getuid() != 0, reason="becomes a user who may not write")
def test_a_workdir_of_another_user_is_refused():
    """Root may write anywhere, so the process becomes nobody, with all that it imports loaded."""
    program = (
        "import os, sys, train, xdistil.experiment.dry_run, xdistil.experiment.run;"
        f"os.setuid({NOBODY}); sys.exit(train.main(sys.argv[1:]))"
    )
    base = Path(tempfile.mkdtemp())
    try:
        base.chmod(0o755)
        (base / "run").mkdir()
        task = write_run(base)
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments(*task, base / "run")],
            cwd=ROOT,
            # As train.main sets it, which is called here behind the imports.
            env={**os.environ, "TRANSFORMERS_VERBOSITY": "error"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"train.py: --workdir={base}/run cannot be written to")
    finally:
        shutil.rmtree(base)
