"""Model folders: what is written is read back, known variants are read, all else is refused."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from tests.models.samples import (
    BERT,
    BILSTM,
    CONFIGS,
    DEBERTA,
    ELECTRA,
    FIXTURES,
    ROBERTA,
    make_encoder,
    make_params,
    make_tiny_tokenizer,
)
from xdistil.data.examples import Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.errors import InputError
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.families.deberta import Deberta
from xdistil.models.hf.folder import Loaded, load_model, save_model
from xdistil.models.types import Params

TASK = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
TOPICS = Task("classification", TASK.labels)
TAGGER = FIXTURES / "bert_tagging"
LINEAR = "bert.encoder.layer.0.intermediate.dense.weight"

Tensors = dict[str, np.ndarray]


def rewrite(folder: Path, change: Any = None, source: Path = TAGGER, **config: Any) -> str:
    """A copy of a fixture with its tensors passed through `change` and keys of its config set."""
    folder.mkdir(exist_ok=True)
    raw = json.loads((source / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(raw))
    tensors = safetensors.numpy.load_file(source / "model.safetensors")
    tensors = change(tensors) if change else tensors
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return str(folder)


def assert_same(ours: Params, theirs: Params) -> None:
    flat, other = (traverse_util.flatten_dict(params) for params in (ours, theirs))
    assert flat.keys() == other.keys()
    for path, leaf in flat.items():
        np.testing.assert_array_equal(leaf, other[path], err_msg="/".join(path))


@pytest.fixture(scope="module")
def tagger() -> Loaded:
    return load_model(str(TAGGER))


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (Encoder(BERT, "tagging", 5), TASK),
        (Encoder(BERT, "classification", 5), TOPICS),
        (Encoder(ELECTRA, "tagging", 5), TASK),
        (Encoder(ELECTRA, "classification", 5), TOPICS),
        (Encoder(ELECTRA), None),
        (Encoder(ROBERTA, "tagging", 5), TASK),
        (Encoder(ROBERTA, "classification", 5), TOPICS),
        (Deberta(DEBERTA, "tagging", 5), TASK),
        (Deberta(DEBERTA, "classification", 5), TOPICS),
        *((make_encoder(config, "classification", 5), TOPICS) for config in CONFIGS[4:]),
        (BiLSTM(BILSTM, 5), TASK),
        (BiLSTM(BILSTM, 5), TOPICS),
        (BiLSTM(dataclasses.replace(BILSTM, layers=2), 5), TASK),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_saved_is_loaded_bit_by_bit(model, task: Task | None, tmp_path: Path) -> None:
    params = make_params(model)
    folder = tmp_path / "new" / "student"
    save_model(folder, model, params, task, make_tiny_tokenizer(), {"split": "spaces"})
    loaded = load_model(str(folder))
    assert loaded.model == model
    assert loaded.task == task
    assert loaded.notes == []
    assert loaded.config["split"] == "spaces"
    assert_same(loaded.params, params)
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.backend.get_vocab() == make_tiny_tokenizer().backend.get_vocab()
    assert [path.name for path in folder.parent.iterdir()] == ["student"]


@pytest.mark.parametrize("model", [BiLSTM(BILSTM, 5), make_encoder(BERT, "tagging", 5)])
def test_the_layout_of_arrays_in_memory_does_not_matter(model, tmp_path: Path) -> None:
    """A transposed view holds its numbers in another order; the file has them in the array's."""
    params = make_params(model)
    views = jax.tree.map(np.asfortranarray, params)
    save_model(tmp_path / "model", model, views, TASK, make_tiny_tokenizer(), {})
    assert_same(load_model(str(tmp_path / "model")).params, params)


def test_saving_replaces_a_model_folder_and_nothing_else(tmp_path: Path) -> None:
    model = BiLSTM(BILSTM, 5)
    tokenizer = make_tiny_tokenizer()
    for seed in (1, 2):
        save_model(tmp_path / "student", model, make_params(model, seed), TASK, tokenizer, {})
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model, 2))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(InputError, match="not a model folder"):
        save_model(tmp_path / "letters", model, make_params(model), TASK, tokenizer, {})
    with pytest.raises(InputError, match="not a model folder"):
        save_model(
            tmp_path / "letters" / "dear.txt", model, make_params(model), TASK, tokenizer, {}
        )
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_a_write_that_fails_leaves_the_old_folder_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = BiLSTM(BILSTM, 5), make_tiny_tokenizer()
    save_model(tmp_path / "student", model, make_params(model), TASK, tokenizer, {})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xdistil.models.hf.folder.save_tokenizer", fail)
    with pytest.raises(InputError, match="No space left"):
        save_model(tmp_path / "student", model, make_params(model, 9), TASK, tokenizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model))


def test_a_replacement_cut_short_between_its_renames_loses_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = BiLSTM(BILSTM, 5), make_tiny_tokenizer()
    save_model(tmp_path / "student", model, make_params(model), TASK, tokenizer, {})
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if source.name == ".student.new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(InputError, match="Input/output error"):
        save_model(tmp_path / "student", model, make_params(model, 9), TASK, tokenizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model))


def test_weights_can_be_read_by_whoever_reads_the_config(tmp_path: Path) -> None:
    model = Encoder(BERT, "tagging", 5)
    save_model(tmp_path / "m", model, make_params(model), TASK, make_tiny_tokenizer(), {})
    modes = {
        (tmp_path / "m" / name).stat().st_mode for name in ("config.json", "model.safetensors")
    }
    assert len(modes) == 1


def test_parameters_of_another_shape_are_not_saved(tmp_path: Path) -> None:
    params = make_params(Encoder(BERT, "tagging", 4))
    with pytest.raises(ValueError, match="not those of the model"):
        save_model(
            tmp_path / "x", Encoder(BERT, "tagging", 5), params, TASK, make_tiny_tokenizer(), {}
        )
    assert list(tmp_path.iterdir()) == []


# Known variants.


def without_prefix(tensors: Tensors) -> Tensors:
    return {name.removeprefix("bert."): value for name, value in tensors.items()}


def old_norms(tensors: Tensors) -> Tensors:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tensors.items()
    }


def with_buffers(tensors: Tensors) -> Tensors:
    ids = np.arange(19, dtype=np.int64)[None]
    return tensors | {
        "bert.embeddings.position_ids": ids,
        "bert.embeddings.token_type_ids": 0 * ids,
    }


@pytest.mark.parametrize("change", [without_prefix, old_norms, with_buffers])
def test_other_spellings_of_the_same_model_are_read(tagger: Loaded, change, tmp_path: Path) -> None:
    loaded = load_model(rewrite(tmp_path, change))
    assert loaded.notes == []
    assert_same(loaded.params, tagger.params)


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float64])
def test_other_precisions_are_cast_to_float32(tagger: Loaded, dtype: Any, tmp_path: Path) -> None:
    loaded = load_model(rewrite(tmp_path, lambda t: {k: v.astype(dtype) for k, v in t.items()}))
    expected = jax.tree.map(lambda leaf: leaf.astype(dtype).astype(np.float32), tagger.params)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {np.dtype("float32")}
    assert_same(loaded.params, expected)


def test_shards_are_read_as_one(tagger: Loaded, tmp_path: Path) -> None:
    rewrite(tmp_path)
    shard(tmp_path)
    assert_same(load_model(str(tmp_path)).params, tagger.params)


def shard(folder: Path) -> dict[str, str]:
    """Split model.safetensors in two with an index; returns the index's weight map."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    placed = {}
    for number in (0, 1):
        name = f"model-0000{number + 1}-of-00002.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::2]}
        safetensors.numpy.save_file(part, folder / name)
        placed |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return placed


def test_flax_messages_with_a_pretraining_head_are_read(tmp_path: Path) -> None:
    source = FIXTURES / "flax_bert"
    shutil.copy(source / "config.json", tmp_path)
    tree = flax.serialization.msgpack_restore((source / "flax_model.msgpack").read_bytes())
    tree["cls"] = {"predictions": {"bias": np.zeros(31, np.float32)}}
    tree["bert"]["pooler"] = {"dense": {"bias": np.zeros(15, np.float32)}}
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.msgpack_serialize(tree))
    loaded = load_model(str(tmp_path))
    assert_same(loaded.params, load_model(str(source)).params)
    assert loaded.notes == [
        "Left out the pre-training head 'cls'.",
        "Left out the pooler, which this task does not use.",
    ]


def test_what_the_pretraining_of_deberta_left_behind_is_left_out(tmp_path: Path) -> None:
    source = FIXTURES / "deberta-v2_classification"

    def add(tensors: Tensors) -> Tensors:
        return tensors | {
            "deberta.embeddings.word_embeddings._weight": np.ones((59, 22), np.float32),
            "deberta.embeddings.position_embeddings.weight": np.ones((19, 22), np.float32),
            "lm_predictions.lm_head.bias": np.ones(59, np.float32),
            "mask_predictions.classifier.bias": np.ones(1, np.float32),
        }

    loaded = load_model(rewrite(tmp_path, add, source))
    assert_same(loaded.params, load_model(str(source)).params)
    assert loaded.notes == [
        "Left out the pre-training head 'lm_predictions'.",
        "Left out the pre-training head 'mask_predictions'.",
        "Left out the position embeddings, which this encoder does not use.",
    ]


def test_extra_embedding_rows_stay(tagger: Loaded, tmp_path: Path) -> None:
    name = "bert.embeddings.word_embeddings.weight"

    def grow(tensors: Tensors) -> Tensors:
        return tensors | {name: np.concatenate([tensors[name], np.ones((3, 21), np.float32)])}

    loaded = load_model(rewrite(tmp_path, grow))
    assert loaded.model.config.vocabulary_size == 64
    table = loaded.params["embeddings"]["word_embeddings"]["embedding"]
    np.testing.assert_array_equal(
        table[:61], tagger.params["embeddings"]["word_embeddings"]["embedding"]
    )
    assert "64 rows where config.json says 61" in loaded.notes[0]


# Heads.


def head_of(params: Params) -> Params:
    return params["classifier"]


def test_a_head_of_other_labels_is_replaced_and_noted(tagger: Loaded) -> None:
    task = Task("tagging", ("O", "B-ORG", "I-ORG"))
    loaded = load_model(str(TAGGER), task=task)
    assert head_of(loaded.params)["kernel"].shape == (21, 3)
    assert loaded.task == task
    assert loaded.model.classes == 3
    assert loaded.notes == [
        "Left out the classification head, which was made for other labels.",
        "The classifier is new and not trained yet.",
    ]
    assert_same(loaded.params["encoder"], tagger.params["encoder"])
    again = load_model(str(TAGGER), task=task)
    other = load_model(str(TAGGER), task=task, seed=1)
    assert_same(again.params, loaded.params)
    assert not np.array_equal(head_of(other.params)["kernel"], head_of(loaded.params)["kernel"])


@pytest.mark.parametrize("name", ["bert_tagging", "electra_classification"])
def test_the_same_labels_in_another_order_keep_the_head(name: str) -> None:
    own = load_model(str(FIXTURES / name))
    task = Task(own.task.kind, tuple(reversed(own.task.labels)))
    loaded = load_model(str(FIXTURES / name), task=task)
    last, own_last = (
        model.params["classifier"].get("out_proj", model.params["classifier"])
        for model in (loaded, own)
    )
    np.testing.assert_array_equal(last["kernel"], own_last["kernel"][:, ::-1])
    np.testing.assert_array_equal(last["bias"], own_last["bias"][::-1])
    if name == "electra_classification":
        assert_same(loaded.params["classifier"]["dense"], own.params["classifier"]["dense"])
    assert len(loaded.notes) == 1


def test_a_tagger_asked_to_classify_gets_a_new_pooler_and_head() -> None:
    loaded = load_model(str(TAGGER), task=TOPICS)
    assert loaded.params["pooler"]["dense"]["kernel"].shape == (21, 21)
    assert 0 < loaded.params["pooler"]["dense"]["kernel"].std() < 0.03
    assert any("pooler is new" in note for note in loaded.notes)


def test_a_model_that_is_no_classifier_has_no_task(tmp_path: Path) -> None:
    loaded = load_model(rewrite(tmp_path, architectures=["BertModel"]))
    assert loaded.task is None
    assert loaded.model == Encoder(loaded.model.config)
    assert set(loaded.params) == {"embeddings", "encoder"}
    assert loaded.notes == ["Left out the classifier, which this task does not use."]


# Refusals: each one sentence that names the file.


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
