"""The table of names is one to one, and knows the spellings of old checkpoints."""

import jax
import pytest
from flax import traverse_util

from tests.models.samples import BERT, DEBERTA, ELECTRA, ROBERTA, make_encoder
from xdistil.models.names import (
    BUFFERS,
    PREFIXES,
    PRETRAINING,
    read_flax_path,
    read_name,
    write_name,
)


@pytest.mark.parametrize("config", [BERT, ELECTRA, ROBERTA, DEBERTA], ids=lambda c: c.model_type)
@pytest.mark.parametrize("kind", ["tagging", "classification", ""])
def test_names_are_one_to_one_with_the_leaves(config, kind: str) -> None:
    model = make_encoder(config, kind, 3)
    leaves = traverse_util.flatten_dict(jax.eval_shape(model.init_params, jax.random.key(0)))
    prefix = PREFIXES[config.model_type]
    names = {write_name(path, prefix if kind else ""): path for path in leaves}
    assert len(names) == len(leaves)
    assert {name: read_name(name, prefix) for name in names} == names


def test_names_are_those_of_pytorch() -> None:
    layer = ("encoder", "layer", "1", "attention")
    assert write_name((*layer, "self", "query", "kernel"), "bert") == (
        "bert.encoder.layer.1.attention.self.query.weight"
    )
    assert write_name((*layer, "output", "LayerNorm", "scale"), "electra") == (
        "electra.encoder.layer.1.attention.output.LayerNorm.weight"
    )
    assert write_name(("embeddings", "word_embeddings", "embedding"), "") == (
        "embeddings.word_embeddings.weight"
    )
    assert write_name(("classifier", "out_proj", "bias"), "electra") == "classifier.out_proj.bias"
    assert write_name(("pooler", "dense", "kernel"), "bert") == "bert.pooler.dense.weight"
    assert write_name(("pooler", "dense", "kernel"), "deberta") == "pooler.dense.weight"
    assert write_name(("encoder", "rel_embeddings", "embedding"), "deberta") == (
        "deberta.encoder.rel_embeddings.weight"
    )


def test_gamma_and_beta_are_scale_and_bias() -> None:
    assert read_name("bert.embeddings.LayerNorm.gamma", "bert") == (
        "embeddings",
        "LayerNorm",
        "scale",
    )
    assert read_name("embeddings.LayerNorm.beta", "bert") == ("embeddings", "LayerNorm", "bias")


def test_flax_paths_lose_only_the_prefix_of_their_family() -> None:
    assert read_flax_path(("bert", "pooler", "dense", "bias"), "bert") == (
        "pooler",
        "dense",
        "bias",
    )
    assert read_flax_path(("classifier", "bias"), "bert") == ("classifier", "bias")


@pytest.mark.parametrize(
    "name",
    [
        "cls.predictions.bias",
        "cls/seq_relationship/bias",
        "discriminator_predictions.dense.weight",
        "mask_predictions.classifier.weight",
    ],
)
def test_pretraining_heads_are_told_from_the_classifier(name: str) -> None:
    assert PRETRAINING.match(name)
    assert not PRETRAINING.match("classifier.weight")


def test_buffers_are_told_from_parameters() -> None:
    assert BUFFERS.fullmatch("bert.embeddings.position_ids")
    assert BUFFERS.fullmatch("embeddings.token_type_ids")
    assert BUFFERS.fullmatch("deberta.embeddings.word_embeddings._weight")
    assert not BUFFERS.fullmatch("bert.embeddings.position_embeddings.weight")
