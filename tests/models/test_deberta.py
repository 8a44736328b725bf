"""DeBERTa: its config, its parameter groups, and its attention against a loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.samples import DEBERTA, make_params, make_segments, run, run_with_dropout
from xdistil.config import Stage
from xdistil.distill.unfreezing import expand_plan, list_groups
from xdistil.errors import InputError
from xdistil.models.families.deberta import Deberta, _align, find_rows, read_config, write_config


def test_config_reads_back_what_it_wrote() -> None:
    other = dataclasses.replace(
        DEBERTA,
        embedding_size=9,
        token_types=2,
        absolute_positions=True,
        shared_projections=False,
        terms=("p2c",),
        buckets=0,
        distances=7,
        norm_distances=False,
        pooler_dropout=0.25,
        pooler_activation="relu",
    )
    for config in (DEBERTA, other):
        assert read_config(write_config(config), "here") == config


def test_old_spellings_and_missing_keys_are_those_of_the_family() -> None:
    raw = {
        "model_type": "deberta-v2",
        "pos_att_type": "P2C | c2p",
        "pooler_dropout": 0,
        "norm_rel_ebd": None,
    }
    config = read_config(raw | {"max_position_embeddings": 77}, "here")
    assert config.terms == ("c2p", "p2c")
    assert (config.hidden_size, config.embedding_size, config.layers) == (1536, 1536, 24)
    assert (config.token_types, config.absolute_positions, config.relative) == (0, True, False)
    assert (config.distances, config.span, config.norm_epsilon) == (77, 77, 1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv_kernel_size": 3}, "conv_kernel_size is 3; only 0"),
        ({"attention_head_size": 5}, "attention_head_size is 5; only 2"),
        ({"pos_att_type": ["p2p"]}, "known are c2p and p2c"),
        ({"position_buckets": 31}, "less than twice max_relative_positions, 16"),
        ({"position_buckets": 1}, "position_buckets is 1"),
        ({"share_att_key": "yes"}, "share_att_key is 'yes'; it must be true or false"),
        ({"pooler_hidden_act": "mish"}, "pooler_hidden_act is 'mish'"),
        ({"num_attention_heads": 7}, "multiple of the heads"),
    ],
)
def test_a_deberta_that_cannot_be_built_is_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_config(write_config(DEBERTA) | change, "folder/config.json")
    assert str(caught.value).startswith("folder/config.json")


@pytest.mark.parametrize("length", [1, 2, 5])
def test_every_row_is_aligned_to_its_own_distances(length: int) -> None:
    scores = np.random.default_rng(0).standard_normal((2, length, 2 * length))
    aligned = np.asarray(_align(jnp.asarray(scores)))
    assert aligned.shape == (2, length, length)
    for a in range(length):
        for b in range(length):
            np.testing.assert_array_equal(
                aligned[:, a, b], scores[:, a, length + b - a].astype(aligned.dtype)
            )


def test_near_distances_have_rows_of_their_own_and_far_ones_share() -> None:
    rows = find_rows(dataclasses.replace(DEBERTA, buckets=8, distances=32), np.arange(-40, 41))
    by_distance = dict(zip(range(-40, 41), rows.tolist(), strict=True))
    assert [by_distance[near] for near in range(-4, 5)] == list(range(4, 13))
    # From 4 to 31 three buckets lie at equal ratios: up to 4 * (31/4)^(1/3) = 7.9, then 15.7.
    assert [by_distance[far] for far in (5, 7, 8, 15, 16, 31)] == [13, 13, 14, 14, 15, 15]
    assert [by_distance[-far] for far in (5, 7, 8, 15, 16, 31)] == [3, 3, 2, 2, 1, 1]
    assert (rows.min(), rows.max()) == (0, 15)


def test_embeddings_of_distances_are_unfrozen_with_the_lowest_layer() -> None:
    model = Deberta(DEBERTA, "tagging", 3)
    groups = list_groups(jax.eval_shape(model.init_params, jax.random.key(0)))
    assert groups == ("head", "layer 1", "layer 0", "positions", "embeddings")
    plan = (Stage(name="logits", loss="logits", unfreeze="gradual", unfreeze_every=1),)
    unfrozen = [substage.trainable for substage in expand_plan(plan, groups)]
    assert unfrozen == [groups[:1], groups[:2], groups[:4], groups]


def test_dropout_needs_its_key_and_changes_the_output() -> None:
    model = Deberta(DEBERTA, "tagging", 3)
    params, batch = make_params(model), make_segments()[2]
    quiet = run(model, params, batch).logits
    noisy = run_with_dropout(model, params, batch).logits
    assert np.abs(quiet - noisy).max() > 1e-2
