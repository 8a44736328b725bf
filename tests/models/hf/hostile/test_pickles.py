"""Damaged or hostile files of PyTorch are refused."""

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import xdistil
from tests.deploy.folders import label_lines
from tests.models.hf.hostile.damage import KERNEL, Change, refuse

STORAGES = {
    "float32": "Float",
    "float64": "Double",
    "int8": "Char",
    "int64": "Long",
    "bool": "Bool",
    "complex64": "ComplexFloat",
}


def write_tuple(numbers: tuple[int, ...]) -> str:
    return "(" + "".join(f"I{number}\n" for number in numbers) + "t"


def list_tensor(name: str, record: int, dtype: str, shape: tuple[int, ...]) -> str:
    """A contiguous tensor in a pickle of the oldest, readable protocol."""
    count = math.prod(shape)
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    storage = f"(Vstorage\nctorch\n{STORAGES[dtype]}Storage\nV{record}\nVcpu\nI{count}\ntQ"
    spelt = name.encode("raw_unicode_escape").decode("latin-1").replace("\n", "\\u000a")
    return (
        f"V{spelt}\nctorch._utils\n_rebuild_tensor_v2\n"
        f"({storage}I0\n{write_tuple(shape)}{write_tuple(strides)}I00\n}}tRs"
    )


def with_pickle(
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = dict,
    huge: tuple[int, ...] = (),
) -> Change:
    """The tensors in PyTorch's layout; `huge` is the shape of KERNEL in the file."""

    def apply(folder: Path) -> None:
        tensors = change(safetensors.numpy.load_file(folder / "model.safetensors"))
        (folder / "model.safetensors").unlink()
        listing = "}"
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
            for record, (name, value) in enumerate(tensors.items()):
                shape = huge if huge and name == KERNEL else value.shape
                listing += list_tensor(name, record, value.dtype.name, shape)
                archive.writestr(f"model/data/{record}", value.tobytes())
                length = math.prod(shape) * value.itemsize
                archive.getinfo(f"model/data/{record}").file_size = length
            archive.writestr("model/data.pkl", (listing + ".").encode("latin-1"))

    return apply


def test_the_pickle_that_is_changed_below_is_sound_before(write) -> None:
    assert len(label_lines(xdistil.load(str(write(with_pickle()))), b"Anna\n")) == 1


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool", "complex64"])
def test_pickled_weights_of_other_types_than_floats_are_refused(dtype: str, write) -> None:
    change = with_pickle(lambda tensors: tensors | {KERNEL: tensors[KERNEL].astype(dtype)})
    refuse(write(change), f"{KERNEL} holds {dtype}; weights must be floats of 16 to 64 bits")


def test_pickled_numbers_too_large_for_float32_are_told_without_a_warning(write) -> None:
    change = with_pickle(lambda t: t | {KERNEL: t[KERNEL].astype(np.float64) * 1e300})
    refuse(write(change), f"{KERNEL} holds numbers that are not finite")


@pytest.mark.parametrize("name", ["a\nb", "", "x" * 10**6, "classifier"])
def test_a_pickled_tensor_of_an_odd_name_is_named_in_one_line(name: str, write) -> None:
    change = with_pickle(lambda tensors: tensors | {name: tensors[KERNEL]})
    refuse(write(change), "holds tensors this model does not know")


def test_pickled_terabytes_are_refused_before_memory_is_taken(write) -> None:
    change = with_pickle(huge=(10**6, 10**6))
    refuse(write(change), "intermediate/dense/kernel has the shape 1000000 by 1000000")


@pytest.mark.parametrize(
    "cut",
    [
        lambda whole: b"",
        lambda whole: b"PK",
        lambda whole: b"\0" * 99,
        lambda whole: b"\x80" * 10**5,
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole.replace(b"FloatStorage", b"Float\n.....!"),
        lambda whole: whole.replace(b"data.pkl", b"data.pk\n"),
    ],
)
def test_a_pickle_that_is_cut_short_or_none_is_refused(cut, write) -> None:
    def change(folder: Path) -> None:
        with_pickle()(folder)
        path = folder / "pytorch_model.bin"
        path.write_bytes(cut(path.read_bytes()))

    refuse(write(change), "pytorch_model.bin is ")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("../pytorch_model.bin", "is no .bin file in the same folder"),
        ("a\0.bin", "in the same folder"),
        ("\ud800.bin", "in the same folder"),
        ("a\n.bin", "in the same folder"),
        ("x" * 10**5 + ".bin", "in the same folder"),
        ("part.safetensors", "in the same folder"),
        ("gone.bin", "gone.bin"),
        (["part.bin"], "weight_map must map"),
    ],
)
def test_an_index_of_pickles_that_leads_nowhere_is_refused(file: Any, words: str, write) -> None:
    def change(folder: Path) -> None:
        with_pickle()(folder)
        (folder / "pytorch_model.bin").rename(folder / "part.bin")
        index = {"weight_map": {KERNEL: file}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))

    refuse(write(change), words)
