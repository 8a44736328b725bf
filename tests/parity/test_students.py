"""Relations and students of kept layers or narrow embeddings, against PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from tests.models.samples import (
    BERT,
    DEBERTA,
    make_encoder,
    make_params,
    make_segments,
    make_tiny_tokenizer,
    pack_row,
    run,
)
from tests.parity.reference import AUTO, LABELS, make_model
from xdistil.config import Student
from xdistil.data.examples import Task
from xdistil.data.packing import Batch
from xdistil.distill import distances
from xdistil.models.families.bert import EncoderConfig
from xdistil.models.hf.folder import load_model, save_model
from xdistil.student.design import design_student
from xdistil.student.layer_selection import cut_layers, keep_layers
from xdistil.teacher.signals import SignalSpec, compute_signals

TASK = Task("tagging", LABELS)
NAMES = {"query": "queries", "key": "keys", "value": "values"}


def hear_vectors(
    model: transformers.PreTrainedModel, layer: int, tokens: np.ndarray
) -> dict[str, torch.Tensor]:
    """What the dense layers of a layer's attention answer in PyTorch: f[T,D] each."""
    heard: dict[str, torch.Tensor] = {}
    ending = "_proj" if model.config.model_type == "deberta-v2" else ""
    attention = model.base_model.encoder.layer[layer].attention.self

    def listen(name: str) -> Any:
        def hook(module: Any, given: Any, answer: torch.Tensor) -> None:
            # DeBERTa's projections answer for the distances too.
            heard.setdefault(name, answer[0])

        return getattr(attention, name + ending).register_forward_hook(hook)

    hooks = [listen(name) for name in NAMES]
    with torch.no_grad():
        model(input_ids=torch.tensor(tokens))
    for hook in hooks:
        hook.remove()
    return heard


@pytest.mark.parametrize(
    ("teacher", "student", "heads"),
    [("roberta", "electra", 2), ("deberta-v2", "roberta", 2), ("bert", "bert", 7)],
)
def test_relations_and_their_divergence_equal_pytorch(
    teacher: str, student: str, heads: int, tmp_path: Path
) -> None:
    """Segments packed in one row, against each alone; layers 1 of the teacher, 0 of the student."""
    tokens = [np.random.default_rng(7).integers(6, 45, (1, length)) for length in (9, 1, 4)]
    segment = np.repeat([1, 2, 3, 0], [9, 1, 4, 3])[None].astype(np.int32)
    position = np.concatenate([np.arange(9), [0], np.arange(4), np.zeros(3)])[None]
    packed = np.concatenate([*tokens, np.full((1, 3), 5)], axis=1).astype(np.int32)
    zeros = np.zeros_like(segment)
    batch = Batch(packed, segment, position.astype(np.int32), zeros, zeros, segment > 0)
    references, vectors = [], []
    for number, (family, layer) in enumerate(((teacher, 1), (student, 0))):
        reference = make_model(family, "tagging", seed=30 + number)
        reference.save_pretrained(tmp_path / str(number))
        loaded = load_model(str(tmp_path / str(number)))
        spec = SignalSpec(vectors=(layer,))
        signals = compute_signals(loaded.params, batch, model=loaded.model, spec=spec)
        vectors += signals.vectors
        references.append((reference, layer))
    expected = dict.fromkeys(NAMES, 0.0)
    for text in tokens:
        heard = [hear_vectors(reference, layer, text) for reference, layer in references]
        for name in NAMES:
            relations = []
            for each in heard:
                parts = torch.stack(each[name].chunk(heads, dim=-1))
                scores = parts @ parts.transpose(-1, -2) / parts.shape[-1] ** 0.5
                relations.append(functional.log_softmax(scores, dim=-1))
            expected[name] += functional.kl_div(
                relations[1], relations[0], reduction="sum", log_target=True
            ).item()
    for name, field in NAMES.items():
        ours, theirs = getattr(vectors[1], field), getattr(vectors[0], field)
        tally = distances.relation_divergence(ours, theirs, segment, heads)
        assert tally.sum == pytest.approx(expected[name], rel=1e-4)
        assert tally.count == heads * 14


def test_the_divergence_of_attention_maps_equals_pytorch() -> None:
    model = make_encoder(BERT, "tagging", len(LABELS))
    segments = make_segments()
    maps = [
        run(model, make_params(model, seed), pack_row(segments, 4), attention=True).attention[1]
        for seed in (0, 1)
    ]
    segment = pack_row(segments, 4).segment
    expected, count = 0.0, 0
    for number in range(1, 6):
        own = np.flatnonzero(segment[0] == number)
        teacher, student = (torch.tensor(each[0][:, own][:, :, own]) for each in maps)
        expected += functional.kl_div(student.log(), teacher, reduction="sum").item()
        count += teacher.shape[0] * len(own)
    tally = distances.attention_divergence(maps[1], maps[0], segment)
    assert tally.sum == pytest.approx(expected, rel=1e-4)
    assert tally.count == count


@pytest.mark.parametrize("config", [BERT, DEBERTA], ids=lambda c: c.model_type)
def test_a_student_of_kept_layers_is_pytorchs_teacher_without_the_others(
    config: EncoderConfig, tmp_path: Path
) -> None:
    reference = make_model(config.model_type, "tagging", seed=40)  # of three layers
    reference.save_pretrained(tmp_path / "teacher")
    teacher = load_model(str(tmp_path / "teacher"), task=TASK)
    student = cut_layers(teacher.model, (0, 2))
    params = keep_layers(teacher.params, (0, 2))
    save_model(tmp_path / "student", student, params, TASK, make_tiny_tokenizer(), {})
    opened, report = AUTO["tagging"].from_pretrained(tmp_path / "student", output_loading_info=True)
    assert not any(report.values())
    assert opened.config.num_hidden_layers == 2
    assert type(opened) is type(reference)
    layers = reference.base_model.encoder.layer
    reference.base_model.encoder.layer = torch.nn.ModuleList([layers[0], layers[2]])
    tokens = torch.tensor(np.random.default_rng(8).integers(6, 45, (1, 11)))
    with torch.no_grad():
        expected, found = (model(input_ids=tokens).logits for model in (reference, opened.eval()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    zeros = np.zeros((1, 11), np.int32)
    batch = Batch(
        tokens.numpy().astype(np.int32), zeros + 1, np.arange(11)[None], zeros, zeros, zeros == 0
    )
    ours = run(student, params, batch).logits
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["tagging", "classification"])
def test_pytorch_opens_a_student_of_narrow_embeddings(kind: str, tmp_path: Path) -> None:
    shape = Student(
        kind="transformer", embedding_size=7, hidden_size=20, heads=5, layers=2, dropout=0.0
    )
    task, tokenizer = Task(kind, LABELS), make_tiny_tokenizer()
    model = design_student(shape, BERT, tokenizer, task, "float32")
    params = make_params(model)
    assert params["embeddings"]["word_embeddings"]["embedding"].shape == (53, 7)
    save_model(tmp_path / "student", model, params, task, tokenizer, {})
    opened, report = AUTO[kind].from_pretrained(tmp_path / "student", output_loading_info=True)
    assert not any(report.values())
    assert opened.config.model_type == "electra"
    segment = make_segments()[2]
    tokens = np.where(segment.tokens == tokenizer.pad, 9, segment.tokens)
    with torch.no_grad():
        expected = opened.eval()(
            input_ids=torch.tensor(tokens), token_type_ids=torch.tensor(segment.token_type)
        ).logits.numpy()
    ours = run(model, params, segment._replace(tokens=tokens)).logits
    ours = ours[:, 0] if kind == "classification" else ours
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)
