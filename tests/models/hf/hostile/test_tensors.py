"""Damaged or hostile safetensors files are refused."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests.deploy.folders import TAGGING
from tests.models.hf.hostile.damage import KERNEL, Change, put, refuse
from xdistil.data.examples import Task
from xdistil.models.hf.folder import load_model


def with_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)

    return apply


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool", "complex64", jnp.float8_e4m3fn])
def test_weights_of_other_types_than_common_floats_are_refused(dtype: Any, write) -> None:
    # A quantised checkpoint has such numbers, which have no meaning without their scales.
    change = with_tensors(lambda tensors: tensors | {KERNEL: tensors[KERNEL].astype(dtype)})
    refuse(write(change), "weights must be floats of 16 to 64 bits")


def test_numbers_too_large_for_float32_are_told_without_a_warning(write) -> None:
    change = with_tensors(lambda t: t | {KERNEL: t[KERNEL].astype(np.float64) * 1e300})
    refuse(write(change), f"{KERNEL} holds numbers that are not finite")


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 10**6, "classifier", "classifier\0.bias"])
def test_a_tensor_of_an_odd_name_is_named_in_one_line(name: str, write) -> None:
    change = with_tensors(lambda tensors: tensors | {name: tensors[KERNEL]})
    refuse(write(change), "holds tensors this model does not know")


def test_a_head_narrower_than_its_labels_is_refused_though_their_order_differs(write) -> None:
    change = with_tensors(lambda t: t | {"classifier.weight": t["classifier.weight"][:3].copy()})
    task = Task("tagging", tuple(reversed(TAGGING.labels)))
    refuse(
        write(change), "classifier/kernel has the shape 8 by 3", lambda n: load_model(n, task=task)
    )


def header_only(header: Any, data: bytes = b"") -> Change:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return put("model.safetensors", struct.pack("<Q", len(text)) + text + data)


def place(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "change",
    [
        header_only({KERNEL: place([10**6, 10**6], 0, 4 * 10**12)}, b"\0" * 100),
        header_only({KERNEL: place([2**40, 2**40], 0, 2**63)}, b"\0" * 100),
        header_only({KERNEL: place([-1, 4], 0, 16)}, b"\0" * 16),
        header_only({KERNEL: place([4], 0, 16, "Q9")}, b"\0" * 16),
        header_only({KERNEL: place([4], 0, 16), "b": place([4], 0, 16)}, b"\0" * 16),
        header_only([1]),
        header_only(b'{"\xff": 1}'),
        put("model.safetensors", struct.pack("<Q", 2**63) + b"{}"),
        put("model.safetensors", struct.pack("<Q", 1000) + b"{}"),
    ],
)
def test_a_header_that_cannot_be_is_refused(change: Change, write) -> None:
    refuse(write(change), "model.safetensors is damaged, cut short or no safetensors file")


def test_terabytes_are_refused_before_memory_is_taken(write) -> None:
    # A file with holes: it has the length of its header, and needs no space on the disk.
    def change(folder: Path) -> None:
        with (folder / "model.safetensors").open("r+b") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(length))
            at = 4 * 10**12
            whole = {KERNEL: place([10**6, 10**6], 0, at)}
            for name, old in header.items():
                if name not in (KERNEL, "__metadata__"):
                    begin, end = old["data_offsets"]
                    whole[name] = place(old["shape"], at, at + end - begin)
                    at += end - begin
            text = json.dumps(whole)
            file.seek(0)
            file.write(struct.pack("<Q", len(text)) + text.encode())
            file.truncate(8 + len(text) + at)

    refuse(write(change), "intermediate/dense/kernel has the shape 1000000 by 1000000")


# A shard index


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {KERNEL: "../model.safetensors"}}, "in the same folder"),
        ({"weight_map": {KERNEL: "a\0.safetensors"}}, "in the same folder"),
        ({"weight_map": {KERNEL: "\ud800.safetensors"}}, "in the same folder"),
        ({"weight_map": {KERNEL: "a\n.safetensors"}}, "in the same folder"),
        ({"weight_map": {KERNEL: "x" * 10**5 + ".safetensors"}}, "in the same folder"),
        ({"weight_map": {KERNEL: ""}}, "in the same folder"),
        ({"weight_map": {KERNEL: ["part.safetensors"]}}, "weight_map must map"),
        ({"weight_map": {"a\nb": "part.safetensors"}}, r"lacks 'a\nb'"),
        ({"weight_map": {}}, "holds 0 tensors; config.json asks for 2 layers"),
        ({"weight_map": 7}, "weight_map must map"),
        ([], "must hold a JSON object"),
    ],
)
def test_an_index_that_leads_nowhere_is_refused(index: Any, words: str, write) -> None:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    refuse(write(change), words)
