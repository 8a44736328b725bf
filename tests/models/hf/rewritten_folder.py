"""The folder of a tagger with other tensors, another config or several shards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from tests.models.samples import FIXTURES
from xdistil.models.types import Params

TAGGER = FIXTURES / "bert_tagging"
LINEAR = "bert.encoder.layer.0.intermediate.dense.weight"

Tensors = dict[str, np.ndarray]


def rewrite(folder: Path, change: Any = None, source: Path = TAGGER, **config: Any) -> str:
    """A copy of a fixture with its tensors passed through `change` and keys of its config set."""
    folder.mkdir(exist_ok=True)
    raw = json.loads((source / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(raw))
    tensors = safetensors.numpy.load_file(source / "model.safetensors")
    tensors = change(tensors) if change else tensors
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return str(folder)


def assert_same(ours: Params, theirs: Params) -> None:
    flat, other = (traverse_util.flatten_dict(params) for params in (ours, theirs))
    assert flat.keys() == other.keys()
    for path, leaf in flat.items():
        np.testing.assert_array_equal(leaf, other[path], err_msg="/".join(path))


def shard(folder: Path) -> dict[str, str]:
    """Split model.safetensors in two with an index; returns the index's weight map."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {}
    for number in (0, 1):
        name = f"model-0000{number + 1}-of-00002.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::2]}
        safetensors.numpy.save_file(part, folder / name)
        placed |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return placed
