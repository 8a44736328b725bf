"""A teacher with a head that a run takes for trained, and the command that leaves it unchanged."""

import json
from pathlib import Path

from tests.deploy.folders import make_folder
from tests.experiment.tiny_run import FILLERS, NAMES, TASK, arguments
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.data.train_tokenizer import train_wordpiece


def make_teacher(folder: Path, task: Task, kind: str = "bert") -> Path:
    """A model folder with random weights whose subwords know the words of the tiny task."""
    words = [word for lists in NAMES.values() for names in lists for word in names]
    words += [word for names in FILLERS.values() for word in names]
    train_wordpiece([Example(tuple(words), None, "und")], 150, folder.parent / "tokenizer")
    return make_folder(folder, kind, task, load_tokenizer(str(folder.parent / "tokenizer")))


def ready(config: Path, data: Path | str, workdir: Path, teacher: Path, *more: str) -> list[str]:
    return arguments(
        config,
        data,
        workdir,
        f"--config.teacher.model={teacher}",
        "--config.teacher.finetune=False",
        "--config.speed_seconds=0",
        *more,
    )


def without_head(folder: Path) -> Path:
    make_teacher(folder, TASK)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    return folder
