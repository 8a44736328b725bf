"""Model folders that are read: other spellings, precisions, shards, heads and labels."""

import shutil
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.hf.rewritten_folder import TAGGER, Tensors, assert_same, rewrite, shard
from tests.models.samples import FIXTURES
from xdistil.data.examples import Task
from xdistil.models.families.bert import Encoder
from xdistil.models.hf.folder import Loaded, load_model
from xdistil.models.types import Params

TASK = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
TOPICS = Task("classification", TASK.labels)


@pytest.fixture(scope="module")
def tagger() -> Loaded:
    return load_model(str(TAGGER))


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
