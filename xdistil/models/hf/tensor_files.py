"""Tensor files: safetensors and PyTorch's, whole or in shards, and HF Flax's msgpack."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
from flax import serialization, traverse_util

from xdistil.errors import InputError, show, show_name
from xdistil.models.hf.torch_pickle import read_pickle
from xdistil.runtime.json_io import read_json

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
FLAX = "flax_model.msgpack"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"

_SHARD = re.compile(r"[\w .-]{1,200}", re.ASCII)  # a file name without its ending, not a path
_FLOATS = ("F16", "BF16", "F32", "F64")  # in safetensors; smaller types come without their scales
_LONGEST_REASON = 200  # characters of a library's message


class Stored(NamedTuple):
    """A tensor in a file, which is read only when `read` or `read_raw` is called."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]  # float32, of this shape; InputError unless finite floats
    read_raw: Callable[[], np.ndarray]  # of its stored type; InputError likewise, except for
    # whole numbers and booleans

    def transposed(self) -> "Stored":
        """The tensor with its axes reversed."""
        return Stored(self.shape[::-1], lambda: self.read().T, lambda: self.read_raw().T)

    def take_last(self, order: list[int]) -> "Stored":
        """The tensor with its last axis in another order."""
        return Stored(
            self.shape, lambda: self.read()[..., order], lambda: self.read_raw()[..., order]
        )


class Tensors(NamedTuple):
    """The tensors of a checkpoint."""

    values: dict[str, Stored]
    flax: bool  # names are HF Flax paths joined by "/" and kernels are [in, out]; else PyTorch's
    where: Path  # the file they came from


def read_tensors(folder: Path) -> Tensors:
    """All tensors of a model folder: safetensors, or else Flax's msgpack, or else PyTorch's.

    Shapes come from the files' headers; values are read on demand. Raises InputError if there is no
    such file, or one that is damaged, cut short or names files outside the folder.
    """
    if (folder / WHOLE).exists():
        return Tensors(_read_safetensors(folder / WHOLE, None), False, folder / WHOLE)
    if (folder / INDEX).exists():
        values = _read_shards(folder / INDEX, ".safetensors", _read_safetensors)
        return Tensors(values, False, folder / INDEX)
    if (folder / FLAX).exists():
        return Tensors(_read_msgpack(folder / FLAX), True, folder / FLAX)
    if (folder / PICKLE).exists():
        return Tensors(_read_pickle(folder / PICKLE, None), False, folder / PICKLE)
    if (folder / PICKLE_INDEX).exists():
        values = _read_shards(folder / PICKLE_INDEX, ".bin", _read_pickle)
        return Tensors(values, False, folder / PICKLE_INDEX)
    raise InputError(
        f"{folder} holds no model: none of {WHOLE}, {INDEX}, {FLAX}, {PICKLE} or {PICKLE_INDEX}."
    )


def _read_safetensors(path: Path, names: list[str] | None) -> dict[str, Stored]:
    with _report_damage(path):
        file = safetensors.safe_open(path, framework="numpy")
        held = list(file.keys())
        _check_held(held, names, path)
        return {name: _find_stored(path, file, name) for name in names or held}


def _find_stored(path: Path, file: Any, name: str) -> Stored:
    header = file.get_slice(name)
    dtype = header.get_dtype()

    def read_raw() -> np.ndarray:
        if dtype.startswith("F") and dtype not in _FLOATS:
            raise _not_floats(path, name, dtype)
        with _report_damage(path):
            return _check_finite(file.get_tensor(name), name, path)

    def read() -> np.ndarray:
        if dtype not in _FLOATS:
            raise _not_floats(path, name, dtype)
        with _report_damage(path):
            return _to_float32(file.get_tensor(name), name, path)

    return Stored(tuple(header.get_shape()), read, read_raw)


@contextlib.contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]  # which may quote the file
        raise InputError(
            f"{path} is damaged, cut short or no safetensors file ({reason})."
        ) from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: give a smaller model.") from error


def _read_pickle(path: Path, names: list[str] | None) -> dict[str, Stored]:
    held = read_pickle(path)
    _check_held(list(held), names, path)

    def store(name: str) -> Stored:
        tensor = held[name]

        def read() -> np.ndarray:
            if not _is_float(tensor.dtype):
                raise _not_floats(path, name, tensor.dtype.name)
            return _to_float32(tensor.read(), name, path)

        return Stored(tensor.shape, read, lambda: _check_finite(tensor.read(), name, path))

    return {name: store(name) for name in names or held}


def _check_held(held: list[str], names: list[str] | None, path: Path) -> None:
    missing = sorted(set(names or held) - set(held))
    if missing:
        raise InputError(
            f"{path} lacks {show_name(missing[0])}, which the index beside it places there."
        )


def _read_shards(
    index: Path, ending: str, read: Callable[[Path, list[str]], dict[str, Stored]]
) -> dict[str, Stored]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise InputError(f"{index}: weight_map must map the names of tensors to files.")
    files: dict[str, list[str]] = {}
    for name, file in placed.items():
        files.setdefault(file, []).append(name)
    values: dict[str, Stored] = {}
    for file, names in files.items():
        # A downloaded index must not name files outside its folder.
        if not (file.endswith(ending) and _SHARD.fullmatch(file.removesuffix(ending))):
            raise InputError(
                f"{index}: {show(file)} is no {ending} file in the same folder; shards must be."
            )
        values.update(read(index.with_name(file), names))
    return values


def _read_msgpack(path: Path) -> dict[str, Stored]:
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        flat = traverse_util.flatten_dict(tree, sep="/")
        arrays = {name: np.asarray(value) for name, value in flat.items()}
    except Exception as error:  # A damaged file can fail anywhere in the decoder.
        raise InputError(f"{path} is damaged or cut short ({type(error).__name__}).") from error

    def store(name: str, value: np.ndarray) -> Stored:
        def read() -> np.ndarray:
            if not _is_float(value.dtype):
                raise _not_floats(path, name, value.dtype.name)
            return _to_float32(value, name, path)

        return Stored(value.shape, read, lambda: _check_finite(value, name, path))

    return {name: store(name, value) for name, value in arrays.items()}


def _is_float(dtype: np.dtype) -> bool:
    # JAX's own test, because NumPy's does not count bfloat16 among the floats.
    return jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize >= 2


def _not_floats(path: Path, name: str, dtype: str) -> InputError:
    return InputError(
        f"{path}: {show_name(name)} holds {dtype}; weights must be floats of 16 to 64 bits."
    )


def _to_float32(value: np.ndarray, name: str, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):  # overflows are reported as not finite
        return _check_finite(value.astype(np.float32, copy=False), name, path)


def _check_finite(value: np.ndarray, name: str, path: Path) -> np.ndarray:
    if not np.isfinite(value).all():
        raise InputError(f"{path}: {show_name(name)} holds numbers that are not finite.")
    return value
