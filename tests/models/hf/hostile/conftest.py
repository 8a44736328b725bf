"""Sound model folders, for the tests to damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.folders import CLASSES, TAGGING, make_folder, train_tokenizer
from tests.models.hf.hostile.damage import Change


@pytest.fixture(scope="package")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a sound folder of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    tokenizer = train_tokenizer(folder / "tokenizer")
    kinds = {
        "bert": ("bert", TAGGING),
        "topics": ("bert", CLASSES),
        "lstm": ("bilstm", TAGGING),
        "roberta": ("roberta", TAGGING),
        "deberta": ("deberta-v2", TAGGING),
    }
    return {
        name: {
            path.name: path.read_bytes()
            for path in make_folder(folder / name, kind, task, tokenizer).iterdir()
        }
        for name, (kind, task) in kinds.items()
    }


@pytest.fixture
def write(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> Callable[..., Path]:
    """A callable that writes a sound folder, changes it and returns its path."""

    def make(change: Change = lambda folder: None, kind: str = "bert") -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        for name, content in sound[kind].items():
            (folder / name).write_bytes(content)
        change(folder)
        return folder

    return make
