"""Files that torch.save wrote, read without torch."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.reference import make_inputs, make_model, run_model
from tests.parity.test_encoder import answer, assert_equal
from xdistil.errors import InputError
from xdistil.models.hf.folder import load_model
from xdistil.models.hf.torch_pickle import read_pickle

FLOATS = ("float64", "float32", "float16", "bfloat16")
TYPES = (*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128")


def test_every_type_and_layout_is_read_as_it_was_saved(tmp_path: Path) -> None:
    table = torch.arange(60).reshape(6, 10)
    state = {name: (table % 7).to(getattr(torch, name)) for name in TYPES}
    state |= {
        "transposed": table.T,
        "slice": table[1:4, 2::3],
        "same storage": table[2],
        "scalar": torch.tensor(2.5),
        "nothing": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(3, 5)),
        "expanded": torch.arange(5).expand((1, -1)),
    }
    torch.save(state, tmp_path / "a.bin")
    found = read_pickle(tmp_path / "a.bin")
    assert found.keys() == state.keys()
    for name, expected in state.items():
        assert found[name].dtype.name == str(expected.dtype).removeprefix("torch.")
        assert found[name].shape == tuple(expected.shape)
        theirs = expected.detach()
        theirs = theirs.float() if theirs.is_floating_point() else theirs
        np.testing.assert_array_equal(
            found[name].read().astype(theirs.numpy().dtype), theirs.numpy()
        )


@pytest.mark.parametrize("shards", [1, 3])
def test_a_model_saved_with_torch_answers_the_same(shards: int, tmp_path: Path) -> None:
    reference = make_model("deberta-v2", "tagging", seed=31)
    reference.config.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    raw["architectures"] = [type(reference).__name__]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    state = reference.state_dict()
    if shards == 1:
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        names = [f"pytorch_model-{i + 1:05}-of-{shards:05}.bin" for i in range(shards)]
        placed = {key: names[i % shards] for i, key in enumerate(state)}
        for name in names:
            torch.save({key: state[key] for key in state if placed[key] == name}, tmp_path / name)
        index = tmp_path / "pytorch_model.bin.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    inputs = make_inputs(reference.config, seed=32)
    loaded = load_model(str(tmp_path))
    assert loaded.notes == []
    assert_equal(answer(loaded, inputs), run_model(reference, inputs), inputs["mask"], "tagging")


def test_a_whole_module_and_the_old_format_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.bin")
    with pytest.raises(InputError, match=r"asks for torch\.nn\.modules\.linear\.Linear"):
        read_pickle(tmp_path / "module.bin")
    state = {"w": torch.ones(3)}
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"PyTorch before 1\.6"):
        read_pickle(tmp_path / "old.bin")
