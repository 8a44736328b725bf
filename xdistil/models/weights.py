"""Tensors on disk: safetensors and PyTorch's own, whole or in shards, and HF Flax's msgpack."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
from flax import serialization, traverse_util

from xdistil.errors import InputError
from xdistil.models.pickles import read_pickle

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
FLAX = "flax_model.msgpack"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"


class Tensors(NamedTuple):
    """What a checkpoint holds, floats as float32."""

    values: dict[str, np.ndarray]
    flax: bool  # names are HF Flax paths joined by "/" and kernels are [in, out]; else PyTorch's
    where: Path  # the file they came from


def read_tensors(folder: Path) -> Tensors:
    """All tensors of a model folder: safetensors, or else Flax's msgpack, or else PyTorch's.

    Raises InputError when there is none of them, or when one is damaged, cut short, not finite or
    points outside the folder.
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in UTF-8; InputError where it is missing, damaged or no object."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(value).__name__}.")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object in UTF-8, indented, with a line end; the inverse of `read_json`."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _read_safetensors(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            held = list(file.keys())
            _check_held(held, names, path)
            return {name: _to_float32(file.get_tensor(name), name, path) for name in names or held}
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise InputError(
            f"{path} is damaged, cut short or no safetensors file ({error})."
        ) from error


def _read_pickle(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    held = read_pickle(path)
    _check_held(list(held), names, path)
    return {name: _to_float32(held[name], name, path) for name in names or held}


def _check_held(held: list[str], names: list[str] | None, path: Path) -> None:
    missing = sorted(set(names or held) - set(held))
    if missing:
        raise InputError(f"{path} lacks {missing[0]}, which the index beside it places there.")


def _read_shards(
    index: Path, ending: str, read: Callable[[Path, list[str]], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not all(isinstance(file, str) for file in placed.values()):
        raise InputError(f"{index}: weight_map must map the names of tensors to files.")
    files: dict[str, list[str]] = {}
    for name, file in placed.items():
        files.setdefault(file, []).append(name)
    values: dict[str, np.ndarray] = {}
    for file, names in files.items():
        # A downloaded index must not make us read files elsewhere.
        if Path(file).name != file or "\\" in file or not file.endswith(ending):
            raise InputError(
                f"{index}: {file!r} is no {ending} file in the same folder; shards must be."
            )
        values.update(read(index.with_name(file), names))
    return values


def _read_msgpack(path: Path) -> dict[str, np.ndarray]:
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        flat = traverse_util.flatten_dict(tree, sep="/")
        return {name: _to_float32(np.asarray(value), name, path) for name, value in flat.items()}
    except InputError:
        raise
    except Exception as error:  # A cut or flipped byte surfaces anywhere in the decoder.
        raise InputError(f"{path} is damaged or cut short ({type(error).__name__}).") from error


def _to_float32(value: np.ndarray, name: str, path: Path) -> np.ndarray:
    # JAX's own test, because NumPy's does not count bfloat16 among the floats.
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    value = value.astype(np.float32, copy=False)
    if not np.isfinite(value).all():
        raise InputError(f"{path}: {name} holds numbers that are not finite.")
    return value
