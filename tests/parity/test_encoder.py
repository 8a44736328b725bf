"""Every family against PyTorch, on random small models of uneven sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from tests.models.samples import make_tiny_tokenizer, pack_row, run
from tests.parity.reference import (
    AUTO,
    LABELS,
    SIZES,
    make_inputs,
    make_model,
    make_segments,
    run_model,
)
from xdistil.data.packing import Batch
from xdistil.models.families.deberta import DebertaConfig, find_rows
from xdistil.models.families.mpnet import find_buckets
from xdistil.models.hf.folder import Loaded, load_model, save_model
from xdistil.models.types import Output

TOLERANCE = 1e-4


def make_batch(inputs: dict[str, np.ndarray]) -> Batch:
    tokens, mask = inputs["tokens"], inputs["mask"]
    position = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    return Batch(tokens, mask, position, inputs["token_type"], 0 * tokens, mask > 0)


def answer(loaded: Loaded, inputs: dict[str, np.ndarray]) -> Output:
    return run(loaded.model, loaded.params, make_batch(inputs), attention=True)


def assert_equal(ours: Output, theirs: dict[str, np.ndarray], mask: np.ndarray, kind: str) -> None:
    """Every hidden state, attention map and logit at real subwords."""
    real = mask > 0
    for mine, expected in zip(ours.hidden, theirs["hidden"], strict=True):
        np.testing.assert_allclose(mine[real], expected[real], rtol=0, atol=TOLERANCE)
    for mine, expected in zip(ours.attention, theirs["attention"], strict=True):
        by_query = [np.moveaxis(maps, 1, 2)[real] for maps in (mine, expected)]
        np.testing.assert_allclose(*by_query, rtol=0, atol=TOLERANCE)
    if kind == "classification":
        np.testing.assert_allclose(ours.logits[:, 0], theirs["logits"], rtol=0, atol=TOLERANCE)
    elif kind == "tagging":
        np.testing.assert_allclose(
            ours.logits[real], theirs["logits"][real], rtol=0, atol=TOLERANCE
        )


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("bert", "tagging", {}),
    ("bert", "classification", {"hidden_act": "gelu", "type_vocab_size": 2}),
    ("bert", "tagging", {"hidden_act": "silu", "num_attention_heads": 7}),
    ("electra", "tagging", {"hidden_act": "gelu_pytorch_tanh"}),
    ("electra", "classification", {}),
    ("electra", "classification", {"embedding_size": 30, "type_vocab_size": 1}),
    ("roberta", "tagging", {}),
    ("roberta", "classification", {"type_vocab_size": 2, "pad_token_id": 1}),
    ("xlm-roberta", "tagging", {"hidden_act": "gelu", "pad_token_id": 9}),
    ("xlm-roberta", "classification", {}),
    ("camembert", "tagging", {"num_attention_heads": 1}),
    ("camembert", "classification", {}),
    ("deberta-v2", "tagging", {}),
    ("deberta-v2", "classification", {"pooler_hidden_act": "relu", "hidden_act": "relu"}),
    ("deberta-v2", "classification", {"pos_att_type": "c2p", "norm_rel_ebd": "none"}),
    ("deberta-v2", "tagging", {"share_att_key": False, "position_buckets": -1}),
    ("deberta-v2", "tagging", {"share_att_key": False, "pos_att_type": ["p2c"]}),
    ("deberta-v2", "tagging", {"position_buckets": -1, "max_relative_positions": 5}),
    (
        "deberta-v2",
        "tagging",
        {"embedding_size": 9, "relative_attention": False, "norm_rel_ebd": "none"},
    ),
    ("deberta-v2", "tagging", {"position_biased_input": True, "type_vocab_size": 2}),
    ("distilbert", "tagging", {}),
    ("distilbert", "classification", {"activation": "gelu"}),
    ("mpnet", "tagging", {}),
    ("mpnet", "classification", {"hidden_act": "gelu", "pad_token_id": 1}),
    ("modernbert", "tagging", {}),
    ("modernbert", "classification", {"local_attention": 3}),
    (
        "modernbert",
        "classification",
        {
            "classifier_pooling": "mean",
            "layer_types": ["sliding_attention", "full_attention"],
            "num_hidden_layers": 2,
            **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), True),
        },
    ),
    ("albert", "tagging", {}),
    ("albert", "classification", {"type_vocab_size": 1, "num_hidden_groups": 1}),
    ("rembert", "tagging", {}),
    ("rembert", "classification", {"type_vocab_size": 1, "hidden_act": "gelu_new"}),
    ("rembert", "classification", {"input_embedding_size": 27, "num_attention_heads": 1}),
    ("gpt2", "tagging", {}),
    (
        "gpt2",
        "classification",
        {"n_inner": None, "scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
    ),
]


@pytest.mark.parametrize(("family", "kind", "changes"), CASES)
def test_segments_packed_in_a_row_equal_pytorch_on_each_alone(
    family: str, kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Every hidden state, attention map and logit; one segment takes all positions."""
    reference = make_model(family, kind, seed=21, **changes)
    reference.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.notes == []
    segments = make_segments(reference.config, seed=22)
    row = pack_row([make_batch(inputs) for inputs in segments], reference.config.pad_token_id, 64)
    ours = run(loaded.model, loaded.params, row, attention=True)
    for number, inputs in enumerate(segments, start=1):
        theirs = run_model(reference, inputs)
        places = row.segment[0] == number
        pairs = list(
            zip((state[:, places] for state in ours.hidden), theirs["hidden"], strict=True)
        )
        inside = (maps[:, :, places][..., places] for maps in ours.attention)
        pairs += zip(inside, theirs["attention"], strict=True)
        logits = ours.logits[:, places]
        pairs.append((logits[:, 0] if kind == "classification" else logits, theirs["logits"]))
        for mine, expected in pairs:
            np.testing.assert_allclose(mine, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", SIZES)
@pytest.mark.parametrize("kind", ["tagging", "classification"])
def test_what_was_loaded_and_saved_is_the_same_to_pytorch(
    family: str, kind: str, tmp_path: Path
) -> None:
    reference = make_model(family, kind, seed=25)
    reference.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.task is not None
    assert (loaded.task.kind, loaded.task.labels) == (kind, LABELS)
    model, params, task = loaded.model, loaded.params, loaded.task
    save_model(tmp_path / "new", model, params, task, make_tiny_tokenizer(), {"words": "split"})
    opened, report = AUTO[kind].from_pretrained(
        tmp_path / "new", output_loading_info=True, attn_implementation="eager"
    )
    assert not any(report.values())
    assert opened.config.id2label == dict(enumerate(LABELS))
    assert opened.config.words == "split"
    state = opened.state_dict()
    assert state.keys() == reference.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in reference.state_dict().items())
    inputs = make_segments(reference.config, seed=26)[0]
    answers = [run_model(each.eval(), inputs)["logits"] for each in (opened, reference)]
    np.testing.assert_allclose(*answers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", SIZES)
def test_an_encoder_without_head_opens_in_pytorch(family: str, tmp_path: Path) -> None:
    make_model(family, "tagging", seed=27).base_model.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.task is None
    save_model(tmp_path / "new", loaded.model, loaded.params, None, make_tiny_tokenizer(), {})
    with_pooler = family not in ("electra", "deberta-v2", "distilbert", "modernbert", "gpt2")
    _, report = AutoModel.from_pretrained(
        tmp_path / "new",
        output_loading_info=True,
        **({"add_pooling_layer": False} if with_pooler else {}),
    )
    assert not any(report.values())


def test_distances_share_the_biases_of_pytorch() -> None:
    apart = torch.arange(-300, 301)
    theirs = MPNetEncoder.relative_position_bucket(apart)
    np.testing.assert_array_equal(find_buckets(apart.numpy()), theirs.numpy())


@pytest.mark.parametrize(("buckets", "distances"), [(256, 512), (32, 512), (6, 19), (7, 128)])
def test_distances_fall_into_the_buckets_of_pytorch(buckets: int, distances: int) -> None:
    apart = torch.arange(-distances - 9, distances + 10)
    theirs = make_log_bucket_position(apart, buckets, distances).long() + buckets
    config = DebertaConfig(buckets=buckets, distances=distances)
    ours = find_rows(config, apart.numpy())
    np.testing.assert_array_equal(ours, theirs.clip(0, 2 * buckets - 1).numpy())


def test_shards_that_pytorch_wrote_are_read(tmp_path: Path) -> None:
    reference = make_model("bert", "tagging", seed=23)
    reference.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    inputs = make_inputs(reference.config, seed=24)
    loaded = load_model(str(tmp_path))
    assert_equal(answer(loaded, inputs), run_model(reference, inputs), inputs["mask"], "tagging")
