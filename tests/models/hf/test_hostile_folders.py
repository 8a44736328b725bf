"""Model folders damaged by accident or on purpose: each is refused in one sentence, early."""

import json
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.serialization
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import xdistil
from tests.deploy.folders import CLASSES, TAGGING, label_lines, make_folder, train_tokenizer
from xdistil.data.examples import Task
from xdistil.deploy.jax_backend import open_model
from xdistil.errors import InputError
from xdistil.models.hf.folder import load_model

Change = Callable[[Path], object]

KERNEL = "bert.encoder.layer.0.intermediate.dense.weight"
LABELS = {str(index): label for index, label in enumerate(TAGGING.labels)}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a sound folder of each kind."""
    folder = tmp_path_factory.mktemp("sound")
    tokenizer = train_tokenizer(folder / "tokenizer")
    kinds = {
        "bert": ("bert", TAGGING),
        "topics": ("bert", CLASSES),
        "lstm": ("bilstm", TAGGING),
        "roberta": ("roberta", TAGGING),
        "deberta": ("deberta-v2", TAGGING),
    }
    return {
        name: {
            path.name: path.read_bytes()
            for path in make_folder(folder / name, kind, task, tokenizer).iterdir()
        }
        for name, (kind, task) in kinds.items()
    }


@pytest.fixture
def write(sound: dict[str, dict[str, bytes]], tmp_path: Path) -> Callable[..., Path]:
    """A callable that writes a sound folder, changes it and returns its path."""

    def make(change: Change = lambda folder: None, kind: str = "bert") -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        for name, content in sound[kind].items():
            (folder / name).write_bytes(content)
        change(folder)
        return folder

    return make


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


@pytest.mark.parametrize("kind", ["bert", "topics", "lstm", "roberta", "deberta"])
def test_what_is_changed_below_is_sound_before(kind: str, write: Callable[..., Path]) -> None:
    assert len(label_lines(xdistil.load(str(write(kind=kind))), b"Anna went\n")) == 1


# config.json


ENCODER = {
    "vocab_size": 1,
    "hidden_size": 1,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 1,
    "max_position_embeddings": 1,
    "type_vocab_size": 1,
    "pad_token_id": 0,
}
SIZES = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "deberta": ENCODER
    | {
        "embedding_size": 1,
        "type_vocab_size": 0,
        "position_buckets": -1,
        "max_relative_positions": -1,
    },
    "lstm": {
        "vocabulary_size": 1,
        "embedding_size": 1,
        "hidden_size": 1,
        "projection_size": 1,
        "padding_id": 0,
    },
}


@pytest.mark.parametrize(
    ("kind", "key", "least"),
    [(kind, key, least) for kind, keys in SIZES.items() for key, least in keys.items()],
)
def test_a_size_that_none_can_have_is_refused(kind, key, least, sound, tmp_path) -> None:
    for name, content in sound[kind].items():
        (tmp_path / name).write_bytes(content)
    config = json.loads(sound[kind]["config.json"])
    for value in (min(-1, least - 1), least - 1, True, 1.0, "8", [8], 10**8, 10**12, 10**30):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        refuse(tmp_path, f"config.json: {key} is {str(value)[:20]}" if value != "8" else "'8'")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("bert", "num_hidden_layers"),
        ("bert", "hidden_size"),
        ("bert", "vocab_size"),
        ("roberta", "num_hidden_layers"),
        ("roberta", "max_position_embeddings"),
        ("deberta", "num_hidden_layers"),
        ("deberta", "embedding_size"),
        ("deberta", "max_position_embeddings"),
    ],
)
def test_a_size_far_beyond_the_tensors_costs_nothing(kind: str, key: str, write) -> None:
    # Ten million layers would be traced for hours, a pooler of this width needs terabytes.
    change = edit("config.json", lambda raw: raw.update({key: 10_000_000}))
    words = {
        "num_hidden_layers": "tensors; config.json asks for",
        "embedding_size": "lacks embeddings/embed_proj/kernel",
    }.get(key, "config.json makes it")
    refuse(write(change, kind), words, lambda name: load_model(name, task=CLASSES))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("bert", "layer_norm_eps"),
        ("bert", "hidden_dropout_prob"),
        ("bert", "attention_probs_dropout_prob"),
        ("deberta", "layer_norm_eps"),
        ("deberta", "pooler_dropout"),
    ],
)
def test_a_rate_that_none_can_be_is_refused(kind: str, key: str, sound, tmp_path) -> None:
    config = json.loads(sound[kind]["config.json"])
    for value in (float("nan"), float("inf"), -0.1, 5, "0", True, 10**400):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        refuse(tmp_path, f"config.json: {key} is ")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("architectures", "BertForTokenClassification", "architectures is 'BertFor"),
        ("architectures", {"a": 1}, "architectures is"),
        ("architectures", [None], "architectures is"),
        ("architectures", 7, "architectures is 7"),
        ("id2label", list(TAGGING.labels), "id2label is ["),
        ("id2label", 5, "id2label is 5"),
        ("id2label", {}, "id2label is {}"),
        ("id2label", LABELS | {"4": 1}, "class 4 1; it must be a text"),
        ("id2label", LABELS | {"4": None}, "class 4 None"),
        ("id2label", LABELS | {"4": ""}, "class 4 ''"),
        ("id2label", LABELS | {"4": "a\nb"}, r"class 4 'a\nb'"),
        ("id2label", LABELS | {"4": "a\tb"}, r"class 4 'a\tb'"),
        ("id2label", LABELS | {"4": "\ud800"}, r"class 4 '\ud800'"),
        ("id2label", LABELS | {"4": "O"}, "names 'O' twice"),
        ("id2label", {str(i): f"B-{i}" for i in range(50_000)}, "config.json makes it 50000"),
        ("model_type", ["bert"], "['bert'] is not supported"),
        ("model_type", "x" * 10**6, "is not supported"),
        ("hidden_act", "x\n" * 10**5, "is unknown"),
        ("hidden_act", 7, "hidden_act is 7"),
        ("xdistil", [], "xdistil is []"),
        ("xdistil", None, "xdistil is None"),
        ("xdistil", {"row_length": "64"}, "xdistil.row_length is '64'"),
        ("xdistil", {"row_length": 0}, "xdistil.row_length is 0"),
        ("xdistil", {"row_length": True}, "xdistil.row_length is True"),
        ("xdistil", {"row_length": 10**30}, "xdistil.row_length is 1000"),
        ("xdistil", {"row_length": 64, "max_length": 64}, "rows and positions hold 48"),
        ("xdistil", {"row_length": 16, "max_length": 17}, "rows and positions hold 16"),
        ("xdistil", {"scheme": ["iob2"]}, "xdistil.scheme is ['iob2']"),
        ("xdistil", {"repair": 1}, "xdistil.repair is 1"),
    ],
)
def test_a_field_of_another_type_or_meaning_is_refused(key, value, words, write) -> None:
    refuse(write(edit("config.json", lambda raw: raw.update({key: value}))), words)


def test_a_roberta_has_positions_behind_that_of_padding(write) -> None:
    change = edit("config.json", lambda raw: raw.update(max_position_embeddings=5, pad_token_id=4))
    refuse(write(change, "roberta"), "max_position_embeddings is 5; it must be more than 5")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pos_att_type", 7, "pos_att_type is 7"),
        ("pos_att_type", {"c2p": 1}, "pos_att_type is {'c2p': 1}"),
        ("pos_att_type", [["c2p"]], "pos_att_type is [['c2p']]"),
        ("pos_att_type", "c2p|p2p", "pos_att_type is ['c2p', 'p2p']"),
        ("pos_att_type", "x|" * 10**5, "pos_att_type is ['x', 'x'"),
        ("relative_attention", 1, "relative_attention is 1; it must be true or false"),
        ("share_att_key", "true", "share_att_key is 'true'"),
        ("norm_rel_ebd", True, "norm_rel_ebd is True; it must be a text"),
        ("pooler_hidden_act", "x\n" * 10**5, "known are"),
        ("pooler_hidden_size", 9, "pooler_hidden_size is 9; only 8"),
        ("conv_kernel_size", "x\n" * 10**5, "only 0 is supported"),
        ("attention_head_size", [4], "attention_head_size is [4]; only 4"),
        ("position_buckets", 1024, "position_buckets is 1024; it must be from 2 to less than"),
        ("position_buckets", 1, "position_buckets is 1; it must be from 2"),
    ],
)
def test_a_field_of_deberta_that_none_can_have_is_refused(key, value, words, write) -> None:
    refuse(write(edit("config.json", lambda raw: raw.update({key: value})), "deberta"), words)


@pytest.mark.parametrize("kind", ["roberta", "deberta"])
def test_subwords_beyond_the_rows_of_any_family_are_refused(kind: str, write) -> None:
    change = edit("tokenizer.json", lambda raw: raw["model"]["vocab"].update(Anna=500))
    refuse(write(change, kind), "has 501 subwords")


@pytest.mark.parametrize("kind", ["roberta", "deberta"])
def test_segments_longer_than_the_positions_of_any_family_are_refused(kind: str, write) -> None:
    record = {"row_length": 64, "max_length": 49}
    change = edit("config.json", lambda raw: raw.update(xdistil=record))
    refuse(write(change, kind), "rows and positions hold 48 subwords")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 99,
        b"[]",
        b"[" * 10**6,
        b'{"a":' * 10**5,
        '{"model_type": "bert"}'.encode("utf-16"),
        b'{"model_type": "\xed\xa0\x80"}',
        b'{"hidden_size": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: str(len(content)),
)
def test_what_is_no_json_object_in_utf8_is_refused(content: bytes, sound, tmp_path) -> None:
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        for name, whole in sound["bert"].items():
            (tmp_path / name).write_bytes(content if name == file else whole)
        refuse(tmp_path, "")


# Tensors


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


# PyTorch's files

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


# Flax messages

SQUARE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"bert": SQUARE, "a": SQUARE, "b": SQUARE}, "lacks"),
        ({"classifier": SQUARE, "a": SQUARE, "b": SQUARE}, "lacks"),
        ({"bert": {"a": "b"}}, "holds 1 tensors; config.json asks for 2 layers"),
        ({1: SQUARE}, "damaged or cut short"),
        ([SQUARE], "damaged or cut short"),
        (5, "damaged or cut short"),
        ({"bert": [1, [2]]}, "damaged or cut short"),
        (b"\xc1\xff\x00", "damaged or cut short"),
        (b"\xc7\x03\x01abc", "damaged or cut short"),
        (b"\xdd\xff\xff\xff\xff", "damaged or cut short"),
        (b"\x91" * 10**5, "damaged or cut short"),
    ],
)
def test_a_flax_message_of_something_else_is_refused(tree: Any, words: str, write) -> None:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        content = tree if isinstance(tree, bytes) else flax.serialization.msgpack_serialize(tree)
        (folder / "flax_model.msgpack").write_bytes(content)

    refuse(write(change), words)


# The tokenizer


def no_unknown(raw: dict) -> None:
    del raw["model"]["vocab"]["[UNK]"]
    raw["added_tokens"] = [each for each in raw["added_tokens"] if each["content"] != "[UNK]"]


def only_special(raw: dict) -> None:
    kept = {f"[{role}]" for role in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    raw["model"]["vocab"] = {k: v for k, v in raw["model"]["vocab"].items() if k in kept}


def unigram(vocabulary: list, unknown: int | None) -> Callable[[dict], None]:
    model = {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary}
    return lambda raw: raw.update(model=model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (no_unknown, "Missing [UNK]"),
        (lambda raw: raw["model"].update(unk_token="<none>"), "Missing [UNK]"),
        (only_special, "no subword but special ones"),
        (
            lambda raw: raw["model"]["vocab"].update(Anna=10**9),
            "1000000001 subwords and the model's",
        ),
        (lambda raw: raw["model"]["vocab"].update(Anna=2**31), "has 2147483649 subwords"),
        (lambda raw: raw["model"]["vocab"].update(Anna=500), "has 501 subwords"),
        (lambda raw: raw["model"]["vocab"].update(Anna=-1), "has no tokenizer that can be used"),
        (lambda raw: raw["model"].update(type="Nope"), "has no tokenizer that can be used"),
        (unigram([["a", 0.0]], None), "has no tokenizer that can be used"),
        (unigram([["a", 0.0]], 99), "has no tokenizer that can be used"),
        (unigram([], None), "has no tokenizer"),
        (
            lambda raw: raw["post_processor"]["special_tokens"]["[CLS]"].update(ids=[10**9]),
            "puts subword 1000000000 around texts",
        ),
        (lambda raw: raw["post_processor"].update(special_tokens={}), "tokenizer that can be used"),
        (
            lambda raw: raw["post_processor"].update(single=raw["post_processor"]["single"][:1]),
            "does not give each text once",
        ),
        (
            lambda raw: raw.update(
                normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}
            ),
            "has no tokenizer that can be used",
        ),
    ],
)
def test_a_tokenizer_that_cannot_cut_every_text_is_refused(change, words: str, write) -> None:
    refuse(write(edit("tokenizer.json", change)), words)


def test_a_folder_without_the_files_of_a_tokenizer_is_refused(write) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()

    refuse(write(change), "has no tokenizer")


def test_the_code_of_a_folder_is_never_run_nor_asked_about(write, monkeypatch) -> None:
    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        settings = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Own: pass\n")

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = write(change, "lstm")
    refuse(folder, "has no tokenizer that can be used")
    assert not (folder / "ran").exists()
