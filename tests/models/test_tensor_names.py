"""The table of names is one to one, and reads the names of old checkpoints."""

import jax
import pytest
from flax import traverse_util

from tests.models.samples import CONFIGS, make_encoder
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.registry import FAMILIES
from xdistil.models.tensor_names import BUFFERS, PRETRAINING, Path


def write(model_type: str, path: str) -> str:
    """The PyTorch name of a leaf, its path joined by slashes, in a model with a head."""
    return FAMILIES[model_type].names.write(tuple(path.split("/")), headed=True)


def read(model_type: str, name: str) -> str:
    return "/".join(FAMILIES[model_type].names.read(name))


def list_leaves(config: EncoderConfig, kind: str) -> list[Path]:
    model = make_encoder(config, kind, 3)
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    return list(traverse_util.flatten_dict(shapes))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
@pytest.mark.parametrize("kind", ["tagging", "classification", ""])
def test_names_are_one_to_one_with_the_leaves(config: EncoderConfig, kind: str) -> None:
    leaves, table = list_leaves(config, kind), FAMILIES[config.model_type].names
    names = {table.write(path, headed=bool(kind)): path for path in leaves}
    assert len(names) == len(leaves)
    assert {name: table.read(name) for name in names} == names


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_the_parts_that_the_library_asks_for_are_called_the_same_everywhere(config) -> None:
    leaves = set(list_leaves(config, "classification"))
    assert ("embeddings", "word_embeddings", "embedding") in leaves
    layers = {path[2] for path in leaves if path[:2] == ("encoder", "layer")}
    assert layers == {str(index) for index in range(config.own_layers)}
    tops = {path[0] for path in leaves} - {"embeddings_project"}
    assert {"embeddings", "encoder", "classifier"} <= tops
    assert tops <= {"embeddings", "encoder", "classifier", "pooler"}


@pytest.mark.parametrize(
    ("model_type", "path", "name"),
    [
        ("bert", "pooler/dense/kernel", "bert.pooler.dense.weight"),
        (
            "bert",
            "encoder/layer/1/attention/self/query/kernel",
            "bert.encoder.layer.1.attention.self.query.weight",
        ),
        (
            "electra",
            "encoder/layer/1/attention/output/LayerNorm/scale",
            "electra.encoder.layer.1.attention.output.LayerNorm.weight",
        ),
        ("electra", "classifier/out_proj/bias", "classifier.out_proj.bias"),
        ("deberta-v2", "pooler/dense/kernel", "pooler.dense.weight"),
        (
            "deberta-v2",
            "encoder/rel_embeddings/embedding",
            "deberta.encoder.rel_embeddings.weight",
        ),
        (
            "distilbert",
            "encoder/layer/1/ffn/lin2/kernel",
            "distilbert.transformer.layer.1.ffn.lin2.weight",
        ),
        ("distilbert", "pooler/dense/bias", "pre_classifier.bias"),
        (
            "mpnet",
            "encoder/relative_attention_bias/embedding",
            "mpnet.encoder.relative_attention_bias.weight",
        ),
        (
            "modernbert",
            "embeddings/word_embeddings/embedding",
            "model.embeddings.tok_embeddings.weight",
        ),
        ("modernbert", "encoder/layer/1/attn_norm/scale", "model.layers.1.attn_norm.weight"),
        ("modernbert", "encoder/final_norm/scale", "model.final_norm.weight"),
        ("modernbert", "pooler/norm/scale", "head.norm.weight"),
        (
            "albert",
            "encoder/layer/1/albert_layers/0/ffn/kernel",
            "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn.weight",
        ),
        ("albert", "pooler/dense/kernel", "albert.pooler.weight"),
        (
            "rembert",
            "embeddings_project/kernel",
            "rembert.encoder.embedding_hidden_mapping_in.weight",
        ),
        (
            "rembert",
            "encoder/layer/1/intermediate/dense/kernel",
            "rembert.encoder.layer.1.intermediate.dense.weight",
        ),
        ("gpt2", "embeddings/position_embeddings/embedding", "transformer.wpe.weight"),
        ("gpt2", "encoder/layer/1/ln_2/scale", "transformer.h.1.ln_2.weight"),
        ("gpt2", "classifier/score/kernel", "score.weight"),
    ],
)
def test_names_are_those_of_pytorch(model_type: str, path: str, name: str) -> None:
    assert write(model_type, path) == name
    assert read(model_type, name) == path


def test_a_model_without_head_has_no_prefix() -> None:
    path = ("embeddings", "word_embeddings", "embedding")
    assert FAMILIES["bert"].names.write(path, headed=False) == "embeddings.word_embeddings.weight"
    assert FAMILIES["gpt2"].names.write(path, headed=False) == "wte.weight"
    assert FAMILIES["gpt2"].names.read("wte.weight") == path


def test_gamma_and_beta_are_scale_and_bias() -> None:
    assert read("bert", "bert.embeddings.LayerNorm.gamma") == "embeddings/LayerNorm/scale"
    assert read("bert", "embeddings.LayerNorm.beta") == "embeddings/LayerNorm/bias"


def test_flax_paths_lose_the_prefix_of_their_family_and_are_renamed() -> None:
    def read_flax(model_type: str, name: str) -> str:
        return "/".join(FAMILIES[model_type].names.read_flax(name))

    assert read_flax("bert", "bert/pooler/dense/bias") == "pooler/dense/bias"
    assert read_flax("bert", "classifier/bias") == "classifier/bias"
    assert read_flax("gpt2", "transformer/h/0/ln_1/scale") == "encoder/layer/0/ln_1/scale"


def test_kernels_are_transposed_but_for_those_of_gpt2() -> None:
    table = FAMILIES["gpt2"].names
    joint, head = ("encoder", "layer", "0", "attn", "c_attn", "kernel"), ("classifier", "kernel")
    assert [table.is_transposed(path, flax=False) for path in (joint, head)] == [False, True]
    assert [table.is_transposed(path, flax=True) for path in (joint, head)] == [True, False]
    assert not table.is_transposed((*joint[:-1], "bias"), flax=False)


@pytest.mark.parametrize(
    "name",
    [
        "cls.predictions.bias",
        "cls/seq_relationship/bias",
        "discriminator_predictions.dense.weight",
        "mask_predictions.classifier.weight",
        "predictions.decoder.weight",
        "vocab_transform.weight",
        "lm_head.weight",
        "decoder.bias",
    ],
)
def test_pretraining_heads_are_distinguished_from_the_classifier(name: str) -> None:
    assert PRETRAINING.match(name)
    assert not PRETRAINING.match("classifier.weight")


def test_buffers_are_distinguished_from_parameters() -> None:
    assert BUFFERS.fullmatch("bert.embeddings.position_ids")
    assert BUFFERS.fullmatch("embeddings.token_type_ids")
    assert BUFFERS.fullmatch("deberta.embeddings.word_embeddings._weight")
    assert BUFFERS.fullmatch("h.11.attn.bias")
    assert BUFFERS.fullmatch("transformer.h.0.attn.masked_bias")
    assert not BUFFERS.fullmatch("bert.embeddings.position_embeddings.weight")
    assert not BUFFERS.fullmatch("h.0.attn.c_attn.bias")
