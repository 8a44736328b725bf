"""Model folders that do not fit or are cut short are refused, each in one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.hf.rewritten_folder import LINEAR, rewrite, shard
from tests.models.samples import FIXTURES
from xdistil.errors import InputError
from xdistil.models.hf.folder import load_model


def drop(name: str) -> Any:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        (drop(LINEAR), {}, "lacks encoder/layer/0/intermediate/dense/kernel"),
        (drop("classifier.bias"), {}, "lacks classifier/bias"),
        (
            lambda t: t | {"bert.encoder.layer.9.strange.weight": np.ones(2, np.float32)},
            {},
            "does not know: encoder/layer/9/strange/kernel",
        ),
        (
            lambda t: t | {LINEAR: t[LINEAR][:-1].copy()},
            {},
            "21 by 36; config.json makes it 21 by 37",
        ),
        (lambda t: t | {LINEAR: t[LINEAR] * np.nan}, {}, "not finite"),
        (
            lambda t: t | {LINEAR.removeprefix("bert."): t[LINEAR]},
            {},
            "twice, under two spellings",
        ),
        (None, {"vocab_size": 62}, "61 by 21; config.json makes it 62 by 21"),
        (None, {"num_hidden_layers": 2}, "does not know: encoder/layer/2"),
        (None, {"num_hidden_layers": 4}, "lacks encoder/layer/3"),
        (
            None,
            {"model_type": "t5"},
            "supported are bert, electra, roberta, xlm-roberta, camembert, deberta-v2",
        ),
        (None, {"id2label": {"0": "O", "2": "B-PER"}}, "id2label"),
        (None, {"num_attention_heads": 4}, "multiple of the heads"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    change: Any, config: dict, words: str, tmp_path: Path
) -> None:
    folder = rewrite(tmp_path / "model", change, **config)
    with pytest.raises(InputError) as caught:
        load_model(folder)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_sentence_on_a_damaged_header_is_short(tmp_path: Path) -> None:
    """The library's message quotes what it does not know."""
    folder = rewrite(tmp_path / "model")
    header = json.dumps({"x": {"dtype": "Z" * 5000, "shape": [], "data_offsets": [0, 0]}}).encode()
    file = len(header).to_bytes(8, "little") + header
    (tmp_path / "model" / "model.safetensors").write_bytes(file)
    with pytest.raises(InputError, match=r"is damaged, cut short or no safetensors file") as caught:
        load_model(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kept", [0, 4, 100, 5_000, -1])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    folder = Path(rewrite(tmp_path))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:kept])
    with pytest.raises(InputError, match="damaged, cut short or no safetensors"):
        load_model(str(folder))


@pytest.mark.parametrize("kept", [0, 1, 100, 9_000, -1])
def test_flax_messages_cut_short_are_refused(kept: int, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "flax_bert", tmp_path, dirs_exist_ok=True)
    whole = (tmp_path / "flax_model.msgpack").read_bytes()
    (tmp_path / "flax_model.msgpack").write_bytes(whole[:kept])
    with pytest.raises(InputError, match="damaged or cut short"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    "place", ["../model.safetensors", "/etc/passwd", "..\\x.safetensors", ".."]
)
def test_shards_outside_the_folder_are_refused(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    rewrite(tmp_path)
    rewrite(folder)
    placed = dict.fromkeys(shard(folder), place)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    with pytest.raises(InputError, match="same folder"):
        load_model(str(folder))


def test_a_shard_that_is_not_there_or_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    rewrite(tmp_path)
    placed = shard(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    first, second = sorted(set(placed.values()))
    index.write_text(json.dumps({"weight_map": dict.fromkeys(placed, first)}))
    with pytest.raises(InputError, match=r"lacks .* which the index beside it places"):
        load_model(str(tmp_path))
    index.write_text(json.dumps({"weight_map": placed}))
    (tmp_path / second).unlink()
    with pytest.raises(InputError, match=second):
        load_model(str(tmp_path))
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(InputError, match="weight_map"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1, 2]", "\udcff"])
def test_a_damaged_config_is_refused(text: str, tmp_path: Path) -> None:
    rewrite(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(str(tmp_path))


def test_a_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no config\.json"):
        load_model(str(tmp_path))
    rewrite(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds no model: none of model\.safetensors, .*\.bin"):
        load_model(str(tmp_path))
