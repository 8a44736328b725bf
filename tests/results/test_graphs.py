"""ONNX graphs against the models they were made of, in a runtime that is not ours."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.models.samples import (
    ALBERT,
    BERT,
    BILSTM,
    DEBERTA,
    DISTILBERT,
    ELECTRA,
    GPT2,
    MPNET,
    ROBERTA,
    make_encoder,
    make_params,
    make_segments,
    pack_row,
    run,
)
from tests.results.folders import CLASSES, TAGGING
from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.models.bilstm import BiLSTM
from xdistil.models.folders import Model
from xdistil.results.graphs.builder import FLOAT16, INT8, quantize_rows
from xdistil.results.graphs.model import build_graph, check_family

SHAPES = {
    "bilstm": BILSTM,
    "bert": BERT,
    "bert-silu": dataclasses.replace(BERT, activation="silu", token_types=3),
    "electra": ELECTRA,
    "roberta": ROBERTA,
    "deberta": DEBERTA,
    "deberta-own-projections": dataclasses.replace(
        DEBERTA,
        embedding_size=7,
        shared_projections=False,
        norm_distances=False,
        absolute_positions=True,
        token_types=2,
        buckets=0,
        distances=4,
        pooler_activation="tanh",
    ),
    "distilbert": DISTILBERT,
    "mpnet": MPNET,
    "albert": ALBERT,
    "deberta-one-term": dataclasses.replace(DEBERTA, terms=("p2c",), token_types=1),
    "deberta-absolute": dataclasses.replace(
        DEBERTA, relative=False, terms=(), absolute_positions=True
    ),
}
_VARIANTS = ("bert-silu", "deberta-one-term", "deberta-absolute")  # their heads are as others'


def make_model(name: str, task: Task) -> Model:
    """The model of SHAPES with a head for the task."""
    shape = SHAPES[name]
    if name == "bilstm":
        return BiLSTM(shape, len(task.labels))
    return make_encoder(shape, task.kind, len(task.labels))


def open_graph(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session for a graph that ONNX's own checker finds well formed."""
    onnx.checker.check_model(graph, full_check=True)
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run_padded(session: onnxruntime.InferenceSession, padding_id: int) -> np.ndarray:
    """The samples' segments as a batch, a row each, padded one further than the longest."""
    segments = make_segments()
    shape = (len(segments), max(s.tokens.size for s in segments) + 1)
    inputs = {
        "input_ids": np.full(shape, padding_id, np.int64),
        "attention_mask": np.zeros(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    for row, segment in enumerate(segments):
        length = segment.tokens.size
        inputs["input_ids"][row, :length] = segment.tokens[0]
        inputs["attention_mask"][row, :length] = 1
        inputs["token_type_ids"][row, :length] = segment.token_type[0]
    wanted = {each.name for each in session.get_inputs()}
    return session.run(["logits"], {name: inputs[name] for name in wanted})[0]


pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *((name, TAGGING) for name in SHAPES),
        *((name, CLASSES) for name in SHAPES if name not in _VARIANTS),
    ],
    ids=lambda each: each if isinstance(each, str) else each.kind,
)
def test_a_padded_batch_in_onnx_answers_as_packed_rows_do(name, task):
    model = make_model(name, task)
    params = make_params(model)
    session = open_graph(build_graph(model, params, task))
    padding_id = model.config.padding_id
    answers = run_padded(session, padding_id)
    segments = make_segments()
    packed = run(model, params, pack_row(segments, padding_id)).logits[0]
    at = 0
    for answer, segment in zip(answers, segments, strict=True):
        expected = packed[at : at + segment.tokens.size]
        ours = answer[: len(expected)] if task.kind == "tagging" else answer[None]
        np.testing.assert_allclose(ours, expected[: len(ours)], atol=2e-5, rtol=0)
        at += segment.tokens.size
    assert np.ptp(packed[:at], axis=0).min() > 0.05  # so that a constant answer would be seen


def test_inputs_are_those_that_the_model_reads():
    def inputs(name: str) -> list[str]:
        model = make_model(name, TAGGING)
        session = open_graph(build_graph(model, make_params(model), TAGGING))
        assert [each.type for each in session.get_inputs()] == ["tensor(int64)"] * len(
            session.get_inputs()
        )
        return [each.name for each in session.get_inputs()]

    assert inputs("bilstm") == ["input_ids", "attention_mask"]
    assert inputs("bert") == ["input_ids", "attention_mask", "token_type_ids"]
    assert inputs("roberta") == ["input_ids", "attention_mask"]
    assert inputs("deberta") == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    "shape", [DEBERTA, dataclasses.replace(MPNET, positions=290)], ids=["deberta", "mpnet"]
)
def test_texts_may_be_far_longer_than_the_distances_that_are_told_apart(shape):
    length = 290
    model = make_encoder(shape, "tagging", len(TAGGING.labels))
    params = make_params(model)
    session = open_graph(build_graph(model, params, TAGGING))
    tokens = np.random.default_rng(2).integers(0, 53, (1, length))
    ones = np.ones_like(tokens)
    (answer,) = session.run(["logits"], {"input_ids": tokens, "attention_mask": ones})
    batch = make_segments()[0]._replace(
        tokens=tokens.astype(np.int32),
        segment=ones.astype(np.int32),
        position=np.arange(length, dtype=np.int32)[None],
        token_type=0 * ones.astype(np.int32),
    )
    np.testing.assert_allclose(answer, run(model, params, batch).logits, atol=2e-5, rtol=0)


def test_a_family_without_a_graph_is_refused():
    with pytest.raises(InputError, match=r"No ONNX graph is written for GPT2: those of BERT"):
        check_family(make_encoder(GPT2, "tagging", 5))


def test_a_row_is_quantized_by_its_own_largest_number():
    values = np.array([[0.5, -1.27, 0.004], [0.0, 0.0, 0.0], [1e-3, 0.0, -2e-3]], np.float32)
    rows, scales = quantize_rows(values)
    np.testing.assert_array_equal(rows, [[50, -127, 0], [0, 0, 0], [64, 0, -127]])
    np.testing.assert_allclose(scales[:, 0], [0.01, 1.0, 2e-3 / 127], rtol=1e-6)


@pytest.mark.parametrize("storage", [FLOAT16, INT8])
def test_weights_stored_small_answer_as_the_same_weights_rounded(storage):
    model = make_model("bilstm", TAGGING)
    params = make_params(model)
    names = {
        "embeddings.word_embeddings.embedding": ("embeddings", "word_embeddings", "embedding"),
        "projection.kernel": ("projection", "kernel"),
    }
    graph = build_graph(model, params, TAGGING, dict.fromkeys(names, storage))
    for *parents, leaf in names.values():
        place = params
        for parent in parents:
            place = place[parent]
        if storage == FLOAT16:
            place[leaf] = place[leaf].astype(np.float16).astype(np.float32)
        else:
            largest = np.abs(place[leaf]).max(axis=1)[:, None] / 127
            place[leaf] = np.round(place[leaf] / largest) * largest
    smaller = run_padded(open_graph(graph), 4)
    whole = build_graph(model, params, TAGGING)
    np.testing.assert_allclose(smaller, run_padded(open_graph(whole), 4), atol=1e-5, rtol=0)
    assert len(graph.SerializeToString()) < len(whole.SerializeToString())
