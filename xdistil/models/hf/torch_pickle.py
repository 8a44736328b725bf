"""Reads PyTorch's checkpoints, `pytorch_model.bin`, without PyTorch and without running their code.

Such a file is a zip archive. `data.pkl` names the storage, size and strides of each tensor;
`data/N` are the bytes of the storages. A pickle can call any function with any arguments. Here
names are looked up in a short table and never imported, and calls only record their arguments:
tensors are taken out of their storages afterwards, when all that is recorded has been checked.
"""

import collections
import contextlib
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from xdistil.errors import InputError, show, show_name

# The type of a storage -> the type of its numbers.
_STORAGES: dict[str, Any] = {
    "torch.DoubleStorage": np.float64,
    "torch.FloatStorage": np.float32,
    "torch.HalfStorage": np.float16,
    "torch.BFloat16Storage": jnp.bfloat16,
    "torch.LongStorage": np.int64,
    "torch.IntStorage": np.int32,
    "torch.ShortStorage": np.int16,
    "torch.CharStorage": np.int8,
    "torch.ByteStorage": np.uint8,
    "torch.BoolStorage": np.bool_,
    "torch.ComplexFloatStorage": np.complex64,
    "torch.ComplexDoubleStorage": np.complex128,
}
_MOST_AXES = 32
_MOST_NUMBERS = 2**48  # of a storage or a stride: more than any memory has
_MOST_LISTED = 2**22  # bytes of data.pkl; a tensor needs about two hundred
_MOST_TUPLES = 30_000  # in data.pkl; a tensor needs five


class Pickled(NamedTuple):
    """A tensor in a file, within its storage; its numbers are not read yet."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]  # of this shape and type; InputError where bytes are damaged


class _Storage(NamedTuple):
    kind: str  # a key of _STORAGES
    record: str  # its bytes are data/<record>
    numbers: int  # how many it has


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # numbers of the storage before the first
    size: tuple[int, ...]
    stride: tuple[int, ...]  # in numbers


class _MakeTensor:
    # In place of torch._utils._rebuild_tensor_v2. Without fields a pickle cannot change it.
    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
        return _Tensor(storage, offset, size, stride)


class _KeepTensor:
    # In place of torch._utils._rebuild_parameter.
    __slots__ = ()

    def __call__(self, tensor: Any, *_: Any) -> Any:
        return tensor


# What a pickle may name; strings are never called.
_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor_v2": _MakeTensor(),
    "torch._utils._rebuild_parameter": _KeepTensor(),
    **{name: name for name in _STORAGES},
    **{f"torch.{np.dtype(kind).name}": np.dtype(kind).name for kind in _STORAGES.values()},
}


class _Reader(pickle.Unpickler):
    # Every name in a pickle, however it is spelt, goes through find_class.

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        symbol = f"{module}.{name}"
        if symbol not in _KNOWN:
            shown = show_name(symbol)
            raise InputError(
                f"{self._path} is not read: its pickle also asks for {shown}, which"
                " could run any program; look for a copy of the model as safetensors."
            )
        return _KNOWN[symbol]

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, record, _, count = pid
        if word != "storage":
            raise ValueError(f"{show(word)} where a storage is expected")
        return _Storage(kind, record, count)


def read_pickle(path: Path) -> dict[str, Pickled]:
    """The tensors of a model's state that `torch.save` wrote, by name, in their own types.

    Raises InputError if the file is damaged, in the format of PyTorch before 1.6, or has anything
    but named tensors; no function named in it is called, and nothing is imported.
    """
    with _report_damage(path):
        with path.open("rb") as file:
            begin = file.read(2)
        if begin != b"PK":
            if begin[:1] != b"\x80":
                raise ValueError("it is no zip archive")
            raise InputError(
                f"{path} is in the format of PyTorch before 1.6, which is not read: load it with"
                " PyTorch and save it again, best as safetensors."
            )
        return _read_archive(zipfile.ZipFile(path), path)


@contextlib.contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory: give a smaller model.") from error
    except Exception as error:  # A damaged file can fail anywhere in zip and pickle.
        reason = show_name((" ".join(str(error).split())[:120] or type(error).__name__).rstrip("."))
        raise InputError(f"{path} is damaged or no checkpoint of PyTorch ({reason}).") from error


def _read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, Pickled]:
    listings = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(listings) != 1:
        raise ValueError("it has no data.pkl")
    root = listings[0].removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in archive.namelist() and _read_short(archive, order, 10) != b"little":
        raise ValueError("its numbers are not little-endian")
    listing = _read_short(archive, listings[0], _MOST_LISTED)
    _check_listing(listing)
    state = _Reader(io.BytesIO(listing), path).load()
    if not isinstance(state, dict):
        raise ValueError(f"it holds no tensors by name but one {type(state).__name__}")
    tensors = {}
    # dict.items, because the pickle may have set an attribute of this name.
    for name, tensor in dict.items(state):
        if type(name) is not str or type(tensor) is not _Tensor:
            raise ValueError(f"{show(name)} is no tensor")
        try:
            tensors[name] = _find_tensor(archive, root, tensor, path)
        except ValueError as error:
            raise ValueError(f"{show_name(name)}: {error}") from error
    return tensors


def _read_short(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    # Unpacked, it may be a thousand times as long as the file.
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"its {show_name(name)} is longer than {most} bytes")
    return content


def _check_listing(listing: bytes) -> None:
    # Python's reader reserves memory up to the highest number of its memo, and its stack overflows
    # on deeply nested tuples.
    tuples = 0
    for opcode, argument, _ in pickletools.genops(listing):
        if opcode.name.endswith("PUT") and int(argument or 0) > len(listing):
            raise ValueError(f"it keeps a value under the number {show(argument)}")
        tuples += opcode.name.startswith("TUPLE")
        if tuples > _MOST_TUPLES:
            raise ValueError("it has more tuples than the tensors of a model need")


def _find_tensor(archive: zipfile.ZipFile, root: str, tensor: _Tensor, path: Path) -> Pickled:
    storage, offset, size, stride = tensor
    if type(storage) is not _Storage or storage.kind not in _STORAGES:
        raise ValueError("it has no storage")
    if type(storage.record) is not str:
        raise ValueError(f"its storage is named {show(storage.record)}")
    if not (type(size) is type(stride) is tuple and len(size) == len(stride) <= _MOST_AXES):
        raise ValueError("its strides do not fit its size")
    for number in (storage.numbers, offset, *size, *stride):
        if type(number) is not int or not 0 <= number < _MOST_NUMBERS:
            raise ValueError(f"{show(number)} is no size")
    record = archive.getinfo(f"{root}data/{storage.record}")
    kind = np.dtype(_STORAGES[storage.kind])
    length = storage.numbers * kind.itemsize
    if record.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its storage is compressed")
    if record.file_size != length:
        raise ValueError(f"its storage has {record.file_size} bytes and not {length}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # More numbers than the storage has would repeat them to fill the memory.
    if 0 not in size and (last >= storage.numbers or math.prod(size) > storage.numbers):
        raise ValueError("it reaches beyond its storage")

    def read() -> np.ndarray:
        if 0 in size:
            return np.zeros(size, kind)
        with _report_damage(path):
            content = archive.read(record)
            if len(content) != length:  # the archive's index may give a wrong length
                raise ValueError(f"a storage has {len(content)} bytes and not {length}")
            numbers = np.frombuffer(content, kind)[offset:]
            strides = [step * kind.itemsize for step in stride]
            return np.lib.stride_tricks.as_strided(numbers, size, strides, writeable=False)

    return Pickled(size, kind, read)
