"""Which groups of parameters there are, and what a plan expands into."""

import jax
import numpy as np
import pytest

from tests.distill.small import init_params, make_bilstm, make_encoder, same
from xdistil.config import Stage
from xdistil.distill.losses import SIDE_PROJECTIONS
from xdistil.distill.unfreezing import (
    expand_plan,
    group_of,
    list_groups,
    merge_params,
    split_params,
)
from xdistil.plans import d42

BILSTM = ("head", "projection", "bilstm", "embeddings")


def gradual(**changes) -> tuple[Stage, ...]:
    return (Stage(name="logits", loss="logits", unfreeze="gradual", **changes),)


def test_groups_run_from_the_head_downwards():
    assert list_groups(init_params(make_bilstm())) == BILSTM
    twelve = jax.eval_shape(make_encoder(layers=12).init_params, jax.random.key(0))
    layers = tuple(f"layer {i}" for i in range(11, -1, -1))
    assert list_groups(twelve) == ("head", *layers, "positions", "embeddings")
    deep = jax.eval_shape(make_bilstm(layers=12).init_params, jax.random.key(0))
    lstms = tuple(f"bilstm {i}" for i in range(11, 0, -1))
    assert list_groups(deep) == ("head", "projection", *lstms, "bilstm", "embeddings")


def test_the_pooler_belongs_to_the_head_and_only_words_to_the_word_embeddings():
    assert group_of(("pooler", "dense", "kernel")) == "head"
    assert group_of(("classifier", "out_proj", "bias")) == "head"
    assert group_of(("embeddings_project", "kernel")) == "positions"
    assert group_of(("embeddings", "LayerNorm", "scale")) == "positions"
    assert group_of(("embeddings", "position_embeddings", "embedding")) == "positions"
    assert group_of(("embeddings", "word_embeddings", "embedding")) == "embeddings"
    assert group_of(("encoder", "layer", "10", "output", "dense", "bias")) == "layer 10"
    assert group_of((SIDE_PROJECTIONS, "0", "kernel")) == "projection"


def test_a_bilstm_unfreezes_head_projection_bilstm_embeddings():
    expanded = expand_plan(gradual(epochs=5.0), BILSTM)
    assert [(s.name, s.trainable) for s in expanded] == [
        ("logits/head", BILSTM[:1]),
        ("logits/projection", BILSTM[:2]),
        ("logits/bilstm", BILSTM[:3]),
        ("logits/embeddings", BILSTM),
    ]


def test_layers_of_a_bilstm_unfreeze_one_by_one():
    groups = ("head", "projection", "bilstm 2", "bilstm 1", "bilstm", "embeddings")
    expanded = expand_plan(gradual(unfreeze_every=5), groups)
    names = ["head", "projection", "bilstm-2", "bilstm-1", "bilstm", "embeddings"]
    assert [s.name for s in expanded] == [f"logits/{name}" for name in names]
    assert [s.trainable for s in expanded] == [groups[:size] for size in range(1, 7)]


@pytest.mark.parametrize("train_embeddings", [True, False])
def test_positions_unfreeze_with_the_lowest_layers_and_without_the_words(train_embeddings):
    """Frozen word embeddings leave nothing random frozen with them."""
    groups = list_groups(init_params(make_encoder()))
    expanded = expand_plan(gradual(), groups, train_embeddings)
    last = [("logits/embeddings", groups)] if train_embeddings else []
    assert [(s.name, s.trainable) for s in expanded] == [
        ("logits/head", ("head",)),
        ("logits/layers-0-1", ("head", "layer 1", "layer 0", "positions")),
        *last,
    ]


def test_unfreeze_epochs_bound_all_sub_stages_but_the_last():
    expanded = expand_plan(gradual(epochs=5.0, unfreeze_epochs=2.0), BILSTM)
    assert [s.epochs for s in expanded] == [2.0, 2.0, 2.0, 5.0]
    assert [s.epochs for s in expand_plan(gradual(epochs=5.0), BILSTM)] == [5.0] * 4


def test_embeddings_that_are_not_trained_are_in_no_sub_stage():
    expanded = expand_plan(gradual(epochs=5.0, unfreeze_epochs=2.0), BILSTM, False)
    assert [s.trainable for s in expanded] == [BILSTM[:1], BILSTM[:2], BILSTM[:3]]
    assert [s.epochs for s in expanded] == [2.0, 2.0, 5.0]
    (whole,) = expand_plan((Stage(name="x", loss="labels", data="train"),), BILSTM, False)
    assert whole.trainable == BILSTM[:3]


@pytest.mark.parametrize(
    "loss", ["representation", "attention", "relations", "representation+attention+relations"]
)
def test_what_cannot_reach_the_head_trains_everything_else(loss):
    (substage,) = expand_plan((Stage(name="first", loss=loss),), BILSTM)
    assert substage.name == "first"
    assert substage.trainable == ("projection", "bilstm", "embeddings")


@pytest.mark.parametrize("loss", ["representation+logits", "labels+attention"])
def test_a_sum_with_logits_or_labels_trains_the_head_too(loss):
    (substage,) = expand_plan((Stage(name="sum", loss=loss, data="train"),), BILSTM)
    assert substage.trainable == BILSTM


GROUPS = ("head", *(f"layer {i}" for i in range(6, -1, -1)), "embeddings")


@pytest.mark.parametrize(
    ("every", "names", "sizes"),
    [
        (0, ["head", "layers-0-6", "embeddings"], [1, 8, 9]),
        (3, ["head", "layers-4-6", "layers-1-3", "layer-0", "embeddings"], [1, 4, 7, 8, 9]),
        (1, ["head", *(f"layer-{i}" for i in range(6, -1, -1)), "embeddings"], list(range(1, 10))),
        (50, ["head", "layers-0-6", "embeddings"], [1, 8, 9]),
    ],
)
def test_layers_unfreeze_in_blocks(every, names, sizes):
    """Seven layers; what is unfrozen stays so, from the top downwards."""
    expanded = expand_plan(gradual(unfreeze_every=every), GROUPS)
    assert [s.name for s in expanded] == [f"logits/{name}" for name in names]
    assert [s.trainable for s in expanded] == [GROUPS[:size] for size in sizes]


def test_frozen_embeddings_leave_the_last_block_whole():
    expanded = expand_plan(
        gradual(unfreeze_every=4, unfreeze_epochs=1.0, epochs=9.0), GROUPS, False
    )
    assert [s.trainable for s in expanded] == [GROUPS[:1], GROUPS[:5], GROUPS[:8]]
    assert [s.epochs for s in expanded] == [1.0, 1.0, 9.0]


def test_d42_unfreezes_group_by_group():
    expanded = expand_plan(d42(), BILSTM)
    parts = ["head", "projection", "bilstm", "embeddings"]
    assert [s.name for s in expanded] == [
        "representation",
        *(f"logits/{part}" for part in parts),
        *(f"labels/{part}" for part in parts),
    ]
    assert [s.stage for s in expanded] == [0, 1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("trainable", [(), ("head",), ("head", "layer 1"), ("embeddings",)])
def test_merge_is_the_inverse_of_split(trainable):
    params = init_params(make_encoder())
    chosen, rest = split_params(params, trainable)
    assert same(merge_params(chosen, rest), params)
    assert same(merge_params(rest, chosen), params)
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (chosen, rest, params)]
    assert sizes[0] + sizes[1] == sizes[2]


def test_split_takes_whole_groups():
    chosen, rest = split_params(init_params(make_encoder()), ("head", "layer 1"))
    assert set(chosen) == {"classifier", "encoder"}
    assert set(chosen["encoder"]["layer"]) == {"1"}
    assert set(rest) == {"embeddings", "encoder"}
    assert set(rest["encoder"]["layer"]) == {"0"}


def test_split_never_copies_or_changes_a_leaf():
    params = init_params(make_bilstm())
    chosen, rest = split_params(params, ("bilstm",))
    assert chosen["lstm"]["forward"]["bias"] is params["lstm"]["forward"]["bias"]
    assert rest["classifier"]["kernel"] is params["classifier"]["kernel"]
    assert np.isfinite(params["classifier"]["kernel"]).all()
