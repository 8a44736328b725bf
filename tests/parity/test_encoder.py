"""The encoder against PyTorch, on random small models that no committed fixture holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from tests.models.samples import run
from tests.parity.witness import make_inputs, make_model, run_model
from xdistil.models.deberta import DebertaConfig, find_rows
from xdistil.models.folders import Loaded, load_model
from xdistil.models.structs import Batch, Output

TOLERANCE = 1e-4


def answer(loaded: Loaded, inputs: dict[str, np.ndarray]) -> Output:
    tokens, mask = inputs["tokens"], inputs["mask"]
    position = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    batch = Batch(tokens, mask, position, inputs["token_type"], 0 * tokens, mask > 0)
    return run(loaded.model, loaded.params, batch, attention=True)


def assert_equal(ours: Output, theirs: dict[str, np.ndarray], mask: np.ndarray, kind: str) -> None:
    """Every hidden state, attention map and logit at real pieces."""
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


@pytest.mark.parametrize(
    ("family", "kind", "changes"),
    [
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
    ],
)
def test_every_layer_equals_pytorch(
    family: str, kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    witness = make_model(family, kind, seed=21, **changes)
    witness.save_pretrained(tmp_path)
    inputs = make_inputs(witness.config, seed=22)
    loaded = load_model(str(tmp_path))
    assert loaded.notes == []
    assert_equal(answer(loaded, inputs), run_model(witness, inputs), inputs["mask"], kind)


@pytest.mark.parametrize(("buckets", "distances"), [(256, 512), (32, 512), (6, 19), (7, 128)])
def test_distances_fall_into_the_buckets_of_pytorch(buckets: int, distances: int) -> None:
    apart = torch.arange(-distances - 9, distances + 10)
    theirs = make_log_bucket_position(apart, buckets, distances).long() + buckets
    config = DebertaConfig(buckets=buckets, distances=distances)
    ours = find_rows(config, apart.numpy())
    np.testing.assert_array_equal(ours, theirs.clip(0, 2 * buckets - 1).numpy())


def test_shards_that_pytorch_wrote_are_read(tmp_path: Path) -> None:
    witness = make_model("bert", "tagging", seed=23)
    witness.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    inputs = make_inputs(witness.config, seed=24)
    loaded = load_model(str(tmp_path))
    assert_equal(answer(loaded, inputs), run_model(witness, inputs), inputs["mask"], "tagging")
