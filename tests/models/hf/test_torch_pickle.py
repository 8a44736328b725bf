"""PyTorch's own files: tensors are read, and everything else is refused and never called."""

import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.models.hf.rewritten_folder import assert_same
from tests.models.samples import FIXTURES
from xdistil.errors import InputError
from xdistil.models.hf.folder import load_model
from xdistil.models.hf.torch_pickle import read_pickle

NUMBERS = np.arange(12, dtype=np.float32)


def write_archive(
    path: Path, listing: str | bytes, data: bytes = NUMBERS.tobytes(), **others: bytes
) -> Path:
    """A file in PyTorch's layout with one storage."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "model/data.pkl", listing.encode() if isinstance(listing, str) else listing
        )
        archive.writestr("model/data/0", data)
        for name, content in others.items():
            archive.writestr(f"model/{name}", content)
    return path


def name_tensor(
    size: tuple,
    stride: tuple,
    offset: object = 0,
    numbers: object = 12,
    kind: str = "torch\nFloatStorage",
) -> str:
    """A pickle of the oldest, readable protocol, of one tensor named `w`."""

    def write_tuple(values: tuple) -> str:
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    storage = f"(Vstorage\nc{kind}\nV0\nVcpu\nI{numbers}\ntQ"
    arguments = f"({storage}I{offset}\n{write_tuple(size)}{write_tuple(stride)}I00\n}}t"
    return f"}}Vw\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rs."


@pytest.mark.parametrize("kind", ["tagging", "classification"])
def test_a_model_that_pytorch_saved_is_the_same_as_its_safetensors(
    kind: str, tmp_path: Path
) -> None:
    source = FIXTURES / f"xlm-roberta_{kind}"
    pickled = FIXTURES / f"pickled_{kind}"
    shutil.copy(source / "config.json", tmp_path)
    for path in pickled.iterdir():
        shutil.copy(path, tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.notes == []
    assert_same(loaded.params, load_model(str(source)).params)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "expected"),
    [
        ((3, 4), (4, 1), 0, NUMBERS.reshape(3, 4)),
        ((4, 3), (1, 4), 0, NUMBERS.reshape(3, 4).T),
        ((2, 2), (6, 2), 1, [[1, 3], [7, 9]]),
        ((), (), 11, 11),
        ((0, 5), (5, 1), 12, np.zeros((0, 5))),
        ((3,), (0,), 4, [4, 4, 4]),
    ],
)
def test_strides_and_offsets_are_respected(
    size: tuple, stride: tuple, offset: int, expected: object, tmp_path: Path
) -> None:
    path = write_archive(tmp_path / "a.bin", name_tensor(size, stride, offset))
    (tensor,) = read_pickle(path).values()
    assert tensor.dtype == np.float32
    assert tensor.shape == np.shape(expected)
    np.testing.assert_array_equal(tensor.read(), expected)


CALL = "c{}\n(Vtouch {}\ntR."


@pytest.mark.parametrize(
    "name",
    [
        "posix\nsystem",
        "os\nsystem",
        "builtins\neval",
        "builtins\nexec",
        "__builtin__\neval",
        "subprocess\ncheck_output",
        "torch\nload",
        "collections\nOrderedDict.fromkeys",
        "torch._utils\n_rebuild_tensor_v2.__call__",
        "xdistil.models.hf.torch_pickle\nread_pickle",
    ],
)
def test_a_pickle_that_asks_for_a_function_is_refused_and_runs_nothing(
    name: str, tmp_path: Path
) -> None:
    proof = tmp_path / "ran"
    path = write_archive(tmp_path / "evil.bin", CALL.format(name, proof))
    with pytest.raises(InputError) as caught:
        read_pickle(path)
    assert str(path) in str(caught.value)
    assert name.replace("\n", ".") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not proof.exists()


class Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return eval, (f"open({str(self.proof)!r}, 'w')",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_smuggles_a_function_in(protocol: int, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    listing = pickle.dumps({"w": Evil(proof)}, protocol)
    with pytest.raises(InputError, match="eval, which could run any program"):
        read_pickle(write_archive(tmp_path / "evil.bin", listing))
    assert not proof.exists()
    pickle.loads(listing)  # The same pickle does run in the standard reader.
    assert proof.exists()


@pytest.mark.parametrize(
    "listing",
    [
        "ctorch\nFloatStorage\n(tR.",  # calling what is only a name
        "ctorch._utils\n_rebuild_tensor_v2\n}Vx\nI1\nsb.",  # giving a function a state
        "ccollections\nOrderedDict\n}Vfromkeys\nI1\nsb.",
        "]Vx\na.",
        "}Vw\nI3\ns.",
        "}I3\nI3\ns.",
        "}Vw\n(Vmodule\nctorch\nFloatStorage\nV0\nVcpu\nI12\ntQs.",
        "}Vw\n(I1\ntQs.",
        "",
    ],
)
def test_what_is_no_listing_of_tensors_is_refused(listing: str, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "odd.bin", listing)
    with pytest.raises(InputError, match=r"odd\.bin is damaged or no checkpoint"):
        read_pickle(path)


def test_a_state_cannot_replace_how_it_is_read(tmp_path: Path) -> None:
    tensor = name_tensor((12,), (1,)).removesuffix(".").removeprefix("}")
    listing = f"ccollections\nOrderedDict\n(tR{tensor}}}Vitems\nI1\nsb."
    path = write_archive(tmp_path / "a.bin", listing)
    np.testing.assert_array_equal(read_pickle(path)["w"].read(), NUMBERS)


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (name_tensor((13,), (1,)), "w: it reaches beyond its storage"),
        (name_tensor((3, 4), (4, 1), 1), "beyond its storage"),
        (name_tensor((2,), (12,)), "beyond its storage"),
        (name_tensor((99999999, 9999999), (0, 0)), "beyond its storage"),
        (name_tensor((3,), (-1,), 5), "-1 is no size"),
        (name_tensor((3,), (1,), -1), "-1 is no size"),
        (name_tensor((-3,), (1,)), "-3 is no size"),
        (name_tensor((3, 4), (4,)), "strides do not fit"),
        (name_tensor((1,) * 40, (1,) * 40), "strides do not fit"),
        (name_tensor((3,), (1,), "01"), "True is no size"),
        (name_tensor((3,), (1,), numbers=11), "has 48 bytes and not 44"),
        (name_tensor((3,), (1,), kind="torch\nDoubleStorage"), "has 48 bytes and not 96"),
        (name_tensor((3,), (1,), kind="torch\nfloat32"), "no storage"),
        (name_tensor((3,), (1,)).replace("V0\n", "V7\n"), "data/7"),
        (name_tensor((3,), (1,)).replace("Vstorage", "Vmodule"), "'module' where a storage"),
    ],
)
def test_tensors_beyond_their_storage_are_refused(listing: str, words: str, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.bin", listing)
    with pytest.raises(InputError, match=words):
        read_pickle(path)


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (b"}r\xff\xff\xff\x03.", "keeps a value under the number 67108863"),
        (b"}p67108863\n.", "keeps a value under the number 67108863"),
        (b"})" + b"\x85" * 40_000 + b"K\x01s.", "more tuples than"),
        (b"}" + b"N0" * 2**21 + b".", "data.pkl is longer than"),
    ],
)
def test_a_listing_that_would_take_memory_or_stack_is_refused(
    listing: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        read_pickle(write_archive(tmp_path / "a.bin", listing))


def test_a_storage_shorter_than_the_archive_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", name_tensor((12,), (1,)))
        archive.writestr("model/data/0", NUMBERS[:3].tobytes())
        archive.getinfo("model/data/0").file_size = 48
    tensor = read_pickle(path)["w"]
    with pytest.raises(InputError, match="a storage has 12 bytes and not 48"):
        tensor.read()


def test_another_byte_order_or_a_compressed_storage_is_refused(tmp_path: Path) -> None:
    listing = name_tensor((12,), (1,))
    path = write_archive(tmp_path / "a.bin", listing, byteorder=b"big")
    with pytest.raises(InputError, match="little-endian"):
        read_pickle(path)
    path = write_archive(tmp_path / "b.bin", listing, byteorder=b"little")
    assert read_pickle(path)["w"].shape == (12,)
    with zipfile.ZipFile(tmp_path / "c.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", listing)
        archive.writestr("model/data/0", NUMBERS.tobytes())
    with pytest.raises(InputError, match="compressed"):
        read_pickle(tmp_path / "c.bin")


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -30, -1])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.bin", name_tensor((12,), (1,)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"a\.bin is damaged"):
        read_pickle(path)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.bin", name_tensor((12,), (1,)))
    whole = bytearray(path.read_bytes())
    whole[whole.find(NUMBERS.tobytes()) + 5] ^= 1
    path.write_bytes(whole)
    tensor = read_pickle(path)["w"]
    with pytest.raises(InputError, match=r"a\.bin is damaged"):
        tensor.read()


def test_the_format_before_zip_archives_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
    with pytest.raises(InputError, match=r"before 1\.6, .* save it again, best as safetensors"):
        read_pickle(path)
