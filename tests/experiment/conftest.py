"""A finished run of the tiny task, which the tests of several files read."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiment.tiny_run import CONFIG, arguments, write_task
from xdistil.cli.overrides import parse_command
from xdistil.experiment.run import run


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "task")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, config, data) -> tuple[Path, dict[str, Any]]:
    """A workdir whose run has ended, and what `run` gave back."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    command = parse_command(arguments(config, data, workdir))
    return workdir, run(command.experiment, workdir, ["train.py", "--config=tiny.py"])
