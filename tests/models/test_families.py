"""The configs, old spellings, refusals and parameter groups of the other families."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
import pytest
import safetensors.numpy
import transformers
from flax import traverse_util

from tests.models.samples import (
    ALBERT,
    CONFIGS,
    DISTILBERT,
    GPT2,
    MODERNBERT,
    MPNET,
    REMBERT,
    make_encoder,
    make_params,
    make_segments,
    make_tiny_tokenizer,
    pack_row,
    run,
    run_with_dropout,
)
from xdistil.config import Stage
from xdistil.data.examples import Task
from xdistil.distill.unfreezing import expand_plan, list_groups
from xdistil.errors import InputError
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.registry import FAMILIES
from xdistil.models.hf.folder import load_model, save_model
from xdistil.student.design import with_dropout

TASK = Task("tagging", ("O", "B-PER", "I-PER"))


def read(raw: dict[str, Any]) -> Any:
    return FAMILIES[raw["model_type"]].read_config(raw, "folder/config.json")


def write(config: EncoderConfig) -> dict[str, Any]:
    return FAMILIES[config.model_type].write_config(config)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_config_reads_back_what_it_wrote(config: EncoderConfig) -> None:
    assert read(json.loads(json.dumps(write(config)))) == config


@pytest.mark.parametrize("model_type", [each for each in FAMILIES if each != "xdistil_bilstm"])
def test_missing_keys_take_the_defaults_of_transformers(model_type: str) -> None:
    theirs = transformers.AutoConfig.for_model(model_type).to_dict()
    assert read({"model_type": model_type}) == read(theirs)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_transformers_reads_the_shape_that_is_written(config: EncoderConfig) -> None:
    theirs = transformers.AutoConfig.for_model(**write(config))
    sizes = (theirs.vocab_size, theirs.hidden_size, theirs.num_hidden_layers)
    assert sizes == (config.vocabulary_size, config.hidden_size, config.layers)
    assert theirs.num_attention_heads == config.heads
    assert theirs.max_position_embeddings == config.positions + config.first_position
    assert read(theirs.to_dict()) == config


def test_older_modernberts_have_other_keys_for_local_layers_and_rotary_bases() -> None:
    raw = {
        key: value
        for key, value in write(MODERNBERT).items()
        if key not in ("layer_types", "rope_parameters")
    } | {"num_hidden_layers": 5, "global_attn_every_n_layers": 2}
    config = read(raw)
    assert config.local == (False, True, False, True, False)
    assert (config.global_base, config.local_base) == (160_000.0, 10_000.0)
    read_again = read(raw | {"global_rope_theta": 70_000, "local_rope_theta": 60_000})
    assert (read_again.global_base, read_again.local_base) == (70_000.0, 60_000.0)
    assert read(raw | {"local_rope_theta": None}).local_base == 160_000.0


def test_mmbert_may_name_another_type_of_positions() -> None:
    raw = write(MODERNBERT) | {"position_embedding_type": "sans_pos"}
    assert read(raw) == MODERNBERT


def test_gpt2_without_padding_uses_the_subword_that_ends_texts() -> None:
    raw = {"model_type": "gpt2", "pad_token_id": None}
    assert read(raw).padding_id == 50256
    assert read(raw | {"vocab_size": 99}).padding_id == 0
    assert read(raw | {"eos_token_id": 7}).padding_id == 7
    assert read(raw | {"eos_token_id": 7, "pad_token_id": 3}).padding_id == 3
    assert read({"model_type": "gpt2", "n_embd": 48}).intermediate_size == 4 * 48


@pytest.mark.parametrize(
    ("config", "change", "words"),
    [
        (DISTILBERT, {"n_heads": 7}, "multiple of the heads"),
        (DISTILBERT, {"dim": "wide"}, "dim is 'wide'"),
        (DISTILBERT, {"seq_classif_dropout": -1}, "seq_classif_dropout is -1"),
        (DISTILBERT, {"pad_token_id": 53}, "pad_token_id is 53; it must be less than vocab_size"),
        (MPNET, {"relative_attention_num_buckets": 64}, "num_buckets is 64; only 32"),
        (MPNET, {"max_position_embeddings": 2}, "is 2; it must be more than 2"),
        (MODERNBERT, {"num_attention_heads": 2}, "of 9 each cannot be rotated in pairs"),
        (MODERNBERT, {"classifier_pooling": "max"}, "classifier_pooling is 'max'; known are cls"),
        (MODERNBERT, {"classifier_activation": "mish"}, "classifier_activation is 'mish'"),
        (MODERNBERT, {"layer_types": ["full_attention"]}, "layer_types is"),
        (MODERNBERT, {"layer_types": ["full_attention", "odd"]}, "for each of 2 layers"),
        (MODERNBERT, {"layer_types": [["a"], {}]}, "layer_types is"),
        (MODERNBERT, {"layer_types": None, "global_attn_every_n_layers": 0}, "every_n_layers is 0"),
        (MODERNBERT, {"layer_types": None, "num_hidden_layers": 10**7}, "at most 1024"),
        (MODERNBERT, {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "'default'"),
        (MODERNBERT, {"rope_parameters": {"sliding_attention": 7}}, "rope_parameters.sliding"),
        (MODERNBERT, {"rope_parameters": {"full_attention": {"rope_theta": -1}}}, "above 1"),
        (MODERNBERT, {"rope_parameters": {"full_attention": {"rope_theta": "1"}}}, "is '1'"),
        (MODERNBERT, {"rope_parameters": 7}, "scaled rotary positions"),
        (MODERNBERT, {"rope_scaling": {"factor": 2}}, "scaled rotary positions"),
        (MODERNBERT, {"norm_bias": 1}, "norm_bias is 1; it must be true or false"),
        (MODERNBERT, {"local_attention": -1}, "local_attention is -1"),
        (ALBERT, {"inner_group_num": 2}, "inner_group_num is 2; only 1"),
        (ALBERT, {"num_hidden_groups": 4}, "3 layers in 4 groups"),
        (ALBERT, {"num_hidden_groups": 0}, "3 layers in 0 groups"),
        (ALBERT, {"num_hidden_layers": 10**7}, "1024 layers at most"),
        (ALBERT, {"embedding_size": 0}, "embedding_size is 0"),
        (REMBERT, {"input_embedding_size": 0}, "input_embedding_size is 0"),
        (REMBERT, {"classifier_dropout_prob": 2}, "classifier_dropout_prob is 2"),
        (REMBERT, {"is_decoder": True}, "is_decoder is True; only False"),
        (GPT2, {"add_cross_attention": True}, "add_cross_attention is True"),
        (GPT2, {"n_inner": -1}, "n_inner is -1"),
        (GPT2, {"attn_pdrop": float("nan")}, "attn_pdrop is nan"),
        (GPT2, {"activation_function": "mish"}, "activation is 'mish'"),
        (GPT2, {"scale_attn_weights": "no"}, "scale_attn_weights is 'no'"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused(
    config: EncoderConfig, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(write(config) | change)
    assert words in str(caught.value)
    assert str(caught.value).startswith("folder/config.json: ")


def test_an_unknown_model_type_names_those_that_are_known_and_the_guide(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(InputError) as caught:
        load_model(str(tmp_path))
    sentence = str(caught.value)
    assert "'t5' is not supported" in sentence
    assert all(known in sentence for known in FAMILIES)
    assert "docs/add_a_family.md" in sentence
    assert (Path(__file__).parents[2] / "docs" / "add_a_family.md").exists()


@pytest.mark.parametrize("config", [DISTILBERT, ALBERT, GPT2], ids=lambda c: c.model_type)
def test_flax_checkpoints_of_families_that_had_them_are_read(
    config: EncoderConfig, tmp_path: Path
) -> None:
    """PyTorch's names as HF turns them into Flax's: every matrix is transposed."""
    model = make_encoder(config, "tagging", 3)
    params = make_params(model)
    save_model(tmp_path, model, params, TASK, make_tiny_tokenizer(), {})
    flat = {}
    for name, value in safetensors.numpy.load_file(tmp_path / "model.safetensors").items():
        *parents, leaf = name.split(".")
        if leaf == "weight" and ("embeddings" in parents[-1] or parents[-1] in ("wte", "wpe")):
            leaf = "embedding"
        elif leaf == "weight":
            leaf, value = ("kernel", value.T) if value.ndim == 2 else ("scale", value)
        flat[(*parents, leaf)] = np.ascontiguousarray(value)
    (tmp_path / "model.safetensors").unlink()
    tree = traverse_util.unflatten_dict(flat)
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.msgpack_serialize(tree))
    loaded = load_model(str(tmp_path))
    assert loaded.notes == []
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_every_family_is_unfrozen_from_the_head_to_the_embeddings(
    config: EncoderConfig,
) -> None:
    model = make_encoder(config, "classification", 3)
    groups = list_groups(jax.eval_shape(model.init_params, jax.random.key(0)))
    layers = [f"layer {index}" for index in reversed(range(config.own_layers))]
    assert groups == ("head", *layers, "positions", "embeddings")
    plan = (Stage(name="logits", loss="logits", unfreeze="gradual", unfreeze_every=1),)
    unfrozen = [substage.trainable for substage in expand_plan(plan, groups)]
    assert unfrozen[0] == ("head",)
    assert unfrozen[-1] == groups


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_every_rate_of_dropout_is_set_at_once(config: EncoderConfig) -> None:
    changed = with_dropout(make_encoder(config, "tagging", 3), 0.25).config
    for field in dataclasses.fields(changed):
        if "dropout" in field.name:
            assert getattr(changed, field.name) == 0.25
        else:
            assert getattr(changed, field.name) == getattr(config, field.name)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DISTILBERT, "classification"),
        (MODERNBERT, "tagging"),
        (ALBERT, "tagging"),
        (REMBERT, "tagging"),
        (GPT2, "tagging"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.model_type,
)
def test_a_rate_of_the_classifier_falls_on_what_it_reads_alone(
    config: EncoderConfig, kind: str
) -> None:
    quiet = with_dropout(make_encoder(config, kind, 3), 0.0)
    rate: dict[str, Any] = {"classifier_dropout": 0.5}
    model = quiet.clone(config=dataclasses.replace(quiet.config, **rate))
    params, batch = make_params(model), pack_row(make_segments(), config.padding_id)
    calm, noisy = run(model, params, batch), run_with_dropout(model, params, batch)
    np.testing.assert_allclose(noisy.hidden[-1], calm.hidden[-1], rtol=0, atol=1e-5)
    assert np.abs(noisy.logits - calm.logits).max() > 0.1
    without = run_with_dropout(quiet, params, batch)
    np.testing.assert_allclose(without.logits, calm.logits, rtol=0, atol=1e-5)
