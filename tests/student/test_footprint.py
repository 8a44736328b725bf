"""Closed forms against models and files that are built, and against the products of a program."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import safetensors.numpy
from jax.extend import core

from tests.deploy.folders import CLASSES, TAGGING, draw_params
from tests.models.samples import LENGTHS, make_encoder
from xdistil.data.packing import Batch
from xdistil.deploy.onnx_export import build_graph
from xdistil.deploy.quantize import choose_int8, list_weights, write_candidate
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import save_model
from xdistil.models.types import Model, count_parameters
from xdistil.student.footprint import measure_footprint

BERT = EncoderConfig(
    vocabulary_size=700,
    embedding_size=64,
    hidden_size=64,
    layers=2,
    heads=2,
    intermediate_size=128,
    positions=48,
)
ELECTRA = dataclasses.replace(
    BERT, model_type="electra", embedding_size=48, layers=3, intermediate_size=256, positions=80
)
BILSTM = BiLSTMConfig(vocabulary_size=900, embedding_size=40, hidden_size=56, projection_size=72)
DEEP = dataclasses.replace(BILSTM, layers=3)
CONFIGS = {"bilstm": BILSTM, "deep": DEEP, "bert": BERT, "electra": ELECTRA}


def make_model(config: BiLSTMConfig | EncoderConfig, task) -> Model:
    classes = len(task.labels)
    if isinstance(config, BiLSTMConfig):
        return BiLSTM(config, classes)
    return make_encoder(config, task.kind, classes)


@pytest.mark.parametrize("task", [TAGGING, CLASSES], ids=["tagging", "classification"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_parameters_and_files_are_those_of_the_model(config, task, tmp_path, monkeypatch):
    model = make_model(config, task)
    params = draw_params(model)
    monkeypatch.setattr("xdistil.models.hf.folder.save_tokenizer", lambda tokenizer, folder: None)
    found = measure_footprint(config, task.kind, len(task.labels), 20.0)

    counted = count_parameters(params)
    assert (found.parameters, found.embeddings) == (counted["total"], counted["embeddings"])
    assert found.encoder == counted["total"] - counted["embeddings"]

    save_model(tmp_path / "model", model, params, task, None, {})
    written = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert written == pytest.approx(found.jax_bytes, abs=500)
    assert len(safetensors.numpy.load_file(tmp_path / "model" / "model.safetensors")) > 5

    graph = build_graph(model, params, task)
    assert len(graph.SerializeToString()) == pytest.approx(found.onnx_bytes, abs=1000)
    candidate = choose_int8("int8", list_weights(graph))
    quantized = tmp_path / "quantized.onnx"
    write_candidate(build_graph(model, params, task, candidate.storage), candidate, quantized)
    assert quantized.stat().st_size == pytest.approx(found.int8_bytes, abs=3000)
    assert [found.count_bytes(name) for name in ("jax", "onnx", "int8")] == [
        found.jax_bytes,
        found.onnx_bytes,
        found.int8_bytes,
    ]


def count_products(program: core.Jaxpr) -> int:
    """The multiplications and additions of all matrix products of a program, scans included."""
    total = 0
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += times * count_products(inner)
    return total


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_flops_are_those_of_the_products_of_the_program(config):
    length = 2 * max(LENGTHS)
    row = np.zeros((1, length), np.int32)
    batch = Batch(row, row + 1, row, row, row, row > 0)
    model = make_model(config, TAGGING)
    program = jax.make_jaxpr(lambda params: model.apply({"params": params}, batch).logits)(
        draw_params(model)
    )
    found = measure_footprint(config, "tagging", len(TAGGING.labels), length)
    assert found.flops == count_products(program.jaxpr)


def test_a_head_of_texts_multiplies_once_a_text():
    short, long = (measure_footprint(BILSTM, "classification", 3, length) for length in (1, 11))
    head = 2 * (2 * 56 * 72 + 72 * 3)
    lstm = 2 * 8 * (40 + 56) * 56
    assert short.flops == head + lstm
    assert long.flops == head + 11 * lstm
    deep = measure_footprint(DEEP, "classification", 3, 11)
    assert deep.flops == long.flops + 2 * 11 * 2 * 8 * (2 * 56 + 56) * 56
