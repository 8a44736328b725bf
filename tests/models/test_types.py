"""The properties of models, compared with their outputs."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.models.samples import (
    ALBERT,
    BERT,
    BILSTM,
    CONFIGS,
    make_encoder,
    make_params,
    make_segments,
    run,
)
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.families.registry import FAMILIES

KINDS = ("mse", "cosine", "kl")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_the_properties_of_an_encoder_are_those_of_its_output(config: EncoderConfig) -> None:
    model = make_encoder(config, "tagging", 3)
    output = run(model, make_params(model), make_segments()[0], attention=True)
    assert model.depth == len(output.hidden) - 1 == len(output.attention)
    assert {maps.shape[1] for maps in output.attention} == {model.attention_heads}
    assert output.logits.shape[-1] == model.classes == 3
    assert model.max_positions == config.positions
    assert model.projection_size is None
    for layer, expected in enumerate(output.hidden):
        for kind in KINDS:
            assert model.compared_state(output, layer, kind) is expected


def test_a_bilstm_compares_its_projection_before_its_gelu_and_for_the_kl_after_it() -> None:
    model = BiLSTM(BILSTM, 3)
    output = run(model, make_params(model), make_segments()[2], attention=True)
    assert (model.depth, model.attention_heads, model.max_positions) == (1, 0, None)
    assert output.attention is None
    before, same, after = (model.compared_state(output, 1, kind) for kind in KINDS)
    assert same is before
    assert before.shape[-1] == model.projection_size == BILSTM.projection_size
    assert before.min() < -0.5  # below any GELU
    np.testing.assert_allclose(after, jax.nn.gelu(before, approximate=False), atol=1e-6)


def test_a_summary_names_kind_and_sizes() -> None:
    assert make_encoder(ALBERT, "", 0).summary() == "albert, 3 layers x 15, 5 heads, embeddings 7"
    expected = "BiLSTM, embeddings 7, 2 x 9 units, projection to 12"
    assert BiLSTM(BILSTM).summary() == expected
    deep = BiLSTM(dataclasses.replace(BILSTM, layers=2))
    assert deep.summary() == "BiLSTM, embeddings 7, 2 layers of 2 x 9 units, projection to 12"
    assert deep.depth == 1


@pytest.mark.parametrize("config", [*CONFIGS, BILSTM], ids=lambda config: config.model_type)
def test_every_family_is_built_by_its_row(config: EncoderConfig) -> None:
    family = FAMILIES[config.model_type]
    assert family.build(config, "tagging", 3, "bfloat16").dtype == "bfloat16"
    assert family.build(config, "", 0, "float32").classes == 0
    assert family.read_config(family.write_config(config), "here") == config


def test_the_text_of_a_model_which_names_cached_signals_stays() -> None:
    # If it changes, every shared cache is computed again.
    assert " ".join(str(BiLSTM(BILSTM, 3)).split()) == (
        "BiLSTM( # attributes config = BiLSTMConfig(vocabulary_size=53, embedding_size=7, "
        "hidden_size=9, projection_size=12, dropout=0.2, padding_id=4) classes = 3 "
        "dtype = 'float32' )"
    )
    assert str(dataclasses.replace(BILSTM, layers=2)).endswith("padding_id=4, layers=2)")
    assert " ".join(str(make_encoder(BERT, "tagging", 3)).split()) == (
        "Encoder( # attributes config = EncoderConfig(model_type='bert', vocabulary_size=53, "
        "embedding_size=18, hidden_size=18, layers=2, heads=3, intermediate_size=25, "
        "positions=16, token_types=2, activation='gelu', norm_epsilon=1e-12, dropout=0.1, "
        "attention_dropout=0.1, padding_id=4, initializer_range=0.3) task_kind = 'tagging' "
        "classes = 3 dtype = 'float32' )"
    )


def test_layers_with_parameters_of_their_own_are_counted() -> None:
    assert dataclasses.replace(ALBERT, layers=9, groups=2).own_layers == 2
    assert BERT.own_layers == 2
    assert BILSTM.own_layers == 1
    assert dataclasses.replace(BILSTM, layers=3).own_layers == 3
