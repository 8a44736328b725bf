"""A damaged or hostile config.json is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import xdistil
from tests.deploy.folders import CLASSES, TAGGING, label_lines
from tests.models.hf.hostile.damage import edit, refuse
from xdistil.models.hf.folder import load_model

LABELS = {str(index): label for index, label in enumerate(TAGGING.labels)}


@pytest.mark.parametrize("kind", ["bert", "topics", "lstm", "roberta", "deberta"])
def test_folders_are_sound_before_they_are_damaged(kind: str, write: Callable[..., Path]) -> None:
    assert len(label_lines(xdistil.load(str(write(kind=kind))), b"Anna went\n")) == 1


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
