"""ONNX graphs against the models they were made of, in a runtime that is not ours."""

import dataclasses
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.deploy.folders import CLASSES, TAGGING
from tests.models.samples import (
    ALBERT,
    BERT,
    BILSTM,
    DEBERTA,
    DISTILBERT,
    ELECTRA,
    GPT2,
    MODERNBERT,
    MPNET,
    REMBERT,
    ROBERTA,
    make_encoder,
    make_params,
    make_segments,
    pack_row,
    run,
)
from xdistil.data.examples import Task
from xdistil.data.packing import Batch
from xdistil.deploy.onnx_export import build_graph
from xdistil.models.families.registry import FAMILIES
from xdistil.models.onnx_graph import FLOAT16, INT8, quantize_rows
from xdistil.models.types import Model

SHAPES = {
    "bilstm": BILSTM,
    "bilstm-deep": dataclasses.replace(BILSTM, hidden_size=30, layers=3),
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
    "modernbert": MODERNBERT,
    "modernbert-biased": dataclasses.replace(
        MODERNBERT,
        layers=3,
        local=(True, False, True),
        window=3,
        norm_bias=False,
        attention_bias=True,
        feed_forward_bias=True,
        pooler_bias=True,
        pooling="cls",
        pooler_activation="tanh",
        activation="silu",
        global_base=50.0,
        local_base=3.0,
    ),
    "rembert": REMBERT,
    "gpt2": GPT2,
    "gpt2-scaled": dataclasses.replace(
        GPT2, scale_by_width=False, scale_by_layer=True, activation="relu"
    ),
    "deberta-one-term": dataclasses.replace(DEBERTA, terms=("p2c",), token_types=1),
    "deberta-absolute": dataclasses.replace(
        DEBERTA, relative=False, terms=(), absolute_positions=True
    ),
}
_VARIANTS = (
    "bert-silu",
    "deberta-one-term",
    "deberta-absolute",
    "gpt2-scaled",
)  # their heads are as others'


def make_model(name: str, task: Task) -> Model:
    """The model of SHAPES with a head for the task."""
    shape = SHAPES[name]
    return FAMILIES[shape.model_type].build(shape, task.kind, len(task.labels))


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
    "shape",
    [DEBERTA, MODERNBERT, dataclasses.replace(MPNET, positions=290)],
    ids=["deberta", "modernbert", "mpnet"],
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


@pytest.mark.parametrize("task", [TAGGING, CLASSES], ids=lambda task: task.kind)
@pytest.mark.parametrize("name", ["modernbert-biased", "rembert", "gpt2"])
def test_batches_of_any_size_and_length_answer_as_packed_rows_do(name, task):
    """Each text alone in its batch, or padded to its neighbours' lengths and beyond."""
    model = make_model(name, task)
    params = make_params(model)
    session = open_graph(build_graph(model, params, task))
    wanted = {each.name for each in session.get_inputs()}
    rng = np.random.default_rng(5)
    for texts in (1, 2, 3, 5, 8):
        lengths = rng.permutation(np.r_[16, 1, rng.integers(1, 13, 6)])[:texts]
        segments = [make_segment(rng, length) for length in lengths]
        row = pack_row(segments, model.config.padding_id, 96)
        packed = run(model, params, row).logits[0]
        for spare in (0, 1, 4):
            shape = (texts, max(lengths) + spare)
            tokens, mask, types = (np.zeros(shape, np.int64) for _ in range(3))
            for place, segment in enumerate(segments):
                size = segment.tokens.size
                tokens[place, :size], mask[place, :size] = segment.tokens[0], 1
                types[place, :size] = segment.token_type[0]
            if shape[1] > model.config.positions:
                continue
            inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": types}
            (answers,) = session.run(["logits"], {each: inputs[each] for each in wanted})
            at = 0
            for answer, size in zip(answers, lengths, strict=True):
                ours = answer[:size] if task.kind == "tagging" else answer[None]
                expected = packed[at : at + size][: len(ours)]
                np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=0)
                at += size


def make_segment(rng: np.random.Generator, length: int) -> Batch:
    """A text of random subwords, the second half of which is of the second type."""
    tokens = rng.integers(0, 53, (1, length), dtype=np.int32)
    ones, places = np.ones_like(tokens), np.arange(length, dtype=np.int32)[None]
    types = (places >= length // 2).astype(np.int32)
    return Batch(tokens, ones, places, types, 0 * ones, ones > 0)


def test_every_family_has_a_graph_and_is_tried():
    tried = {shape.model_type for shape in SHAPES.values()}
    assert {FAMILIES[each].build for each in tried} == {each.build for each in FAMILIES.values()}


def test_families_are_imported_without_the_package_onnx():
    code = (
        "import sys; sys.modules['onnx'] = None; "
        "from xdistil.models.families.registry import FAMILIES; "
        "assert all(callable(family.add_graph) for family in FAMILIES.values())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
