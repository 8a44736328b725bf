"""Several processes on this machine against one: the same losses, scores and files.

Each of them has two devices, and all devices of all processes share one copy of the teacher.

`pytest tests/experiment/test_processes.py --processes=4` takes four instead of two.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from tests.experiment.tiny_run import arguments, read_json, read_lines, write_run

ROOT = Path(__file__).parents[2]
SECONDS = 240  # after which a process is taken for hanging


@pytest.fixture(scope="module")
def count(request) -> int:
    return request.config.getoption("--processes")


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> tuple[Path, Path]:
    """A config and its data."""
    return write_run(tmp_path_factory.mktemp("task"))


def start(task: tuple[Path, Path], workdir: Path, count: int, *more: str) -> list[Any]:
    """The processes of a run; what they print goes to a file each beside the workdir."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if count > 1:
        flags = environment.get("XLA_FLAGS", "")
        environment["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2"
    processes = []
    for index in range(count):
        place = [
            f"--config.distributed=localhost:{port},{index},{count}",
            f"--config.mesh.teacher_shards={2 * count}",
        ]
        place = place if count > 1 else []
        with printed(workdir, index).open("w") as output:
            command = [sys.executable, "train.py", *arguments(*task, workdir, *place, *more)]
            processes.append(
                subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
                )
            )
    return processes


def printed(workdir: Path, index: int) -> Path:
    return workdir.with_name(f"{workdir.name}.{index}.log")


def end(processes: list[Any], workdir: Path) -> list[int]:
    """The exit codes."""
    try:
        return [process.wait(SECONDS) for process in processes]
    except subprocess.TimeoutExpired:
        for index, process in enumerate(processes):
            process.kill()
            print(printed(workdir, index).read_text())
        raise


def wait_for(condition: Callable[[], bool], processes: list[Any]) -> None:
    limit = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < limit
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def has_line(workdir: Path, plan: str, step: int) -> bool:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    return any(line["plan"] == plan and line["step"] >= step for line in whole)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, task) -> Path:
    workdir = tmp_path_factory.mktemp("alone") / "run"
    assert end(start(task, workdir, 1), workdir) == [0]
    return workdir


@pytest.fixture(scope="module")
def together(tmp_path_factory, task, count) -> Path:
    """Stopped once by SIGTERM, by all its processes at the same step, and run to its end."""
    workdir = tmp_path_factory.mktemp("together") / "run"
    processes = start(task, workdir, count)
    wait_for(lambda: has_line(workdir, "teacher", 10), processes)
    processes[-1].send_signal(signal.SIGTERM)
    assert end(processes, workdir) == [75] * count, printed(workdir, 0).read_text()
    assert end(start(task, workdir, count), workdir) == [0] * count, printed(workdir, 0).read_text()
    return workdir


def test_losses_are_those_of_one_process(alone, together):
    ours, theirs = read_lines(together), read_lines(alone)
    assert [(line["plan"], line["stage"], line["step"], line["event"]) for line in ours] == [
        (line["plan"], line["stage"], line["step"], line["event"]) for line in theirs
    ]
    names = {name for line in theirs for name in line if name.startswith(("loss_", "gradient"))}
    assert len(names) == 4
    for name in names:
        np.testing.assert_allclose(
            [line[name] for line in ours if name in line],
            [line[name] for line in theirs if name in line],
            rtol=1e-5,
        )


def test_scores_and_parameters_are_those_of_one_process(alone, together):
    ours, theirs = (read_json(folder / "results.json") for folder in (together, alone))
    for model in ("teacher", "student"):
        for split in ("dev", "test"):
            assert ours[model][split] == theirs[model][split]
            path = f"predictions/{model}.{split}.tsv"
            assert (together / path).read_bytes() == (alone / path).read_bytes()
        name = f"{model}/model.safetensors"
        expected = safetensors.numpy.load_file(alone / name)
        for key, values in safetensors.numpy.load_file(together / name).items():
            np.testing.assert_allclose(values, expected[key], atol=1e-4)
    assert ours["baselines"][0]["test"] == theirs["baselines"][0]["test"]


def test_the_files_are_those_of_one_process(alone, together):
    def names(folder: Path) -> set[str]:
        found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        # A cache is named after the teacher's bits, a checkpoint's parts after its processes.
        shared = {path for path in found if path.parts[0] not in ("checkpoints", "tensorboard")}
        return {str(path).partition("-")[0] for path in shared}

    assert names(together) == names(alone)
    steps = [
        sorted(path.name for path in (folder / "checkpoints" / "student").iterdir())
        for folder in (together, alone)
    ]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("victim", ["first", "last"])
def test_a_dead_process_takes_the_others_down_and_one_goes_on(tmp_path, task, count, victim):
    workdir, longer = tmp_path / "run", "--config.teacher.plan[0].epochs=4000"
    processes = start(task, workdir, count, longer)
    wait_for(lambda: has_line(workdir, "teacher", 20), processes)
    index = 0 if victim == "first" else count - 1
    processes[index].kill()
    begin = time.monotonic()
    codes = end(processes, workdir)
    assert time.monotonic() - begin < 30
    assert all(codes)
    survivor = printed(workdir, 1 if index == 0 else 0).read_text()
    # JAX's words, which depend on who notices it; the first process leads.
    named = rf"Task {index} heartbeat timeout|stopped sending heartbeats\):\s+{index}\b"
    assert re.search(named if index else r"the leader \(usually slice 0 task 0\)", survivor), (
        survivor
    )

    (process,) = start(task, workdir, 1, longer)
    steps = max(line["step"] for line in read_lines(workdir))
    wait_for(lambda: has_line(workdir, "teacher", steps + 10), [process])
    # One device has a whole copy; the checksums are those of the shards.
    told = printed(workdir, 0).read_text()
    assert "teacher: resumes at train, step" in told
    assert "damaged" not in told
    process.send_signal(signal.SIGTERM)
    assert end([process], workdir) == [75]
