"""What several files read: the tiny task, a finished run of it, and texts without labels."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiment.ready_teacher import make_teacher
from tests.experiment.tiny_run import CONFIG, TASK, arguments, write_task
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


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """The tiny config, a teacher, and a folder with texts, a gold test and no train file."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "tiny.py").write_text(CONFIG, encoding="utf-8")
    write_task(folder / "task")
    for name in ("train.tsv", "dev.tsv"):
        (folder / "task" / name).unlink()
    make_teacher(folder / "teacher", TASK)
    return folder
