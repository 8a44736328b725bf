"""Queries, keys and values that encoders provide on request."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from tests.models.samples import (
    ALBERT,
    BERT,
    BILSTM,
    CONFIGS,
    DEBERTA,
    MODERNBERT,
    make_encoder,
    make_params,
    make_segments,
    pack_row,
)
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.forward import apply_model, sows_qkv
from xdistil.models.layers import COLLECTION, read_vectors, sow_qkv
from xdistil.models.types import QKV
from xdistil.teacher.signals import SignalSpec, compute_signals

PROJECTIONS = {
    "bert": ("query", "key", "value"),
    "albert": ("query", "key", "value"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj"),
}


@pytest.mark.parametrize("config", [BERT, DEBERTA, ALBERT], ids=lambda c: c.model_type)
def test_vectors_are_the_projections_of_what_a_layer_reads(config: EncoderConfig) -> None:
    model = make_encoder(config, "tagging", 3)
    params, batch = make_params(model), pack_row(make_segments(), config.padding_id)
    ends = (0, config.layers - 1)
    wanted = SignalSpec(hidden=ends, vectors=ends)
    signals = jax.device_get(compute_signals(params, batch, model=model, spec=wanted))
    own = (0, config.own_layers - 1)
    for layer, states, vectors in zip(own, signals.hidden, signals.vectors, strict=True):
        flat = flatten_dict(params["encoder"]["layer"][str(layer)])
        for name, ours in zip(PROJECTIONS[config.model_type], vectors, strict=True):
            (kernel,) = (leaf for path, leaf in flat.items() if path[-2:] == (name, "kernel"))
            (bias,) = (leaf for path, leaf in flat.items() if path[-2:] == (name, "bias"))
            expected = states.astype(np.float64) @ kernel + bias
            assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()


def test_modernbert_provides_its_vectors_before_rotation() -> None:
    model = make_encoder(MODERNBERT, "tagging", 3)
    params, batch = make_params(model), pack_row(make_segments(), MODERNBERT.padding_id)
    wanted = SignalSpec(hidden=(0,), vectors=(0,))
    signals = jax.device_get(compute_signals(params, batch, model=model, spec=wanted))
    joint = signals.hidden[0] @ params["encoder"]["layer"]["0"]["attn"]["Wqkv"]["kernel"]
    for ours, expected in zip(signals.vectors[0], np.split(joint, 3, axis=-1), strict=True):
        assert np.abs(ours - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model_type)
def test_every_family_but_the_decoder_hands_out_its_vectors(config: EncoderConfig) -> None:
    model = make_encoder(config, "tagging", 3)
    assert sows_qkv(model) == (config.model_type != "gpt2")
    apply = functools.partial(apply_model, model, vectors=True)
    shapes = jax.eval_shape(apply, make_params(model), make_segments()[2])
    found = shapes.vectors
    assert len(found) == (config.layers if config.model_type != "gpt2" else 0)
    assert all(each.shape == (1, 9, config.hidden_size) for layer in found for each in layer)


def test_vectors_are_there_only_where_asked_for() -> None:
    model, batch = make_encoder(BERT, "tagging", 3), make_segments()[0]
    params = make_params(model)
    for asked, count in ((False, None), (True, 2)):
        apply = functools.partial(apply_model, model, vectors=asked)
        vectors = jax.eval_shape(apply, params, batch).vectors
        assert count == (None if vectors is None else len(vectors))
    assert set(jax.eval_shape(model.init, jax.random.key(0), batch)) == {"params"}


def test_who_hands_out_nothing_is_known_without_computing() -> None:
    assert not sows_qkv(BiLSTM(BILSTM, 3))


def test_layers_are_ordered_by_their_numbers() -> None:
    """The tenth is not between the first and the second."""

    def hand(number: int) -> dict:
        vectors = QKV(*(np.full(1, number) for _ in range(3)))
        return {"attention": {"self": {"vectors": (vectors,)}, "other": {"else": (0,)}}}

    layers = {str(number): hand(number) for number in (10, 0, 2, 1)}
    found = read_vectors({COLLECTION: {"encoder": {"layer": layers}}})
    assert [int(vectors.queries[0]) for vectors in found] == [0, 1, 2, 10]
    assert read_vectors({}) == ()


class Shared(nn.Module):
    """One module for all layers, as ALBERT has it."""

    @nn.compact
    def __call__(self, x: jax.Array) -> None:
        again = Layer(name="layer")
        for step in range(3):
            again(x + step)


class Layer(nn.Module):
    """Stores its input as vectors."""

    @nn.compact
    def __call__(self, x: jax.Array) -> None:
        sow_qkv(self, x, 2 * x, 3 * x)


def test_a_module_that_several_layers_share_stores_vectors_in_their_order() -> None:
    _, collections = Shared().apply({}, np.zeros(1), mutable=[COLLECTION])
    expected = [QKV(*(np.full(1, factor * step) for factor in (1, 2, 3))) for step in range(3)]
    assert list(read_vectors(collections)) == expected
