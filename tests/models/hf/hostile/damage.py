"""Ways to damage a model folder, and the refusal that must follow."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xdistil.deploy.jax_backend import open_model
from xdistil.errors import InputError

Change = Callable[[Path], object]

KERNEL = "bert.encoder.layer.0.intermediate.dense.weight"


def edit(file: str, change: Callable[[dict], object]) -> Change:
    def apply(folder: Path) -> None:
        raw = json.loads((folder / file).read_text())
        change(raw)
        (folder / file).write_text(json.dumps(raw))

    return apply


def put(file: str, content: bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(content)


def refuse(folder: Path, words: str, read: Callable[[str], object] = open_model) -> None:
    with pytest.raises(InputError) as caught:
        read(str(folder))
    sentence = str(caught.value)
    assert words in sentence
    assert str(folder) in sentence
    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert len(sentence) < 700
