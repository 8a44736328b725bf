"""Encoders against recorded outputs of PyTorch, and packed rows against each segment alone."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.models.samples import (
    ALBERT,
    BERT,
    DEBERTA,
    DISTILBERT,
    ELECTRA,
    FIXTURES,
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
    run_with_dropout,
)
from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.models.encoder import Transformer
from xdistil.models.families.bert import Encoder, EncoderConfig, read_config, write_config
from xdistil.models.hf.folder import load_model
from xdistil.models.ops import array_type
from xdistil.models.types import Output, Params

RECORDED = [
    "bert_tagging",
    "bert_classification",
    "electra_tagging",
    "electra_classification",
    "xlm-roberta_tagging",
    "xlm-roberta_classification",
    "deberta-v2_tagging",
    "deberta-v2_classification",
    "distilbert_classification",
    "mpnet_tagging",
    "modernbert_classification",
    "albert_tagging",
    "gpt2_classification",
    "rembert_classification",
    "flax_bert",
]
MODELS = [
    make_encoder(config, kind, 4)
    for config in (BERT, ELECTRA, ROBERTA, DEBERTA)
    for kind in ("tagging", "classification")
] + [
    make_encoder(DISTILBERT, "tagging", 4),
    make_encoder(MPNET, "tagging", 4),
    make_encoder(MODERNBERT, "classification", 4),  # of the mean over the segment
    make_encoder(ALBERT, "tagging", 4),
    make_encoder(REMBERT, "tagging", 4),
    make_encoder(GPT2, "classification", 4),  # of the last subword
]


def differs(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


@pytest.mark.parametrize("name", RECORDED)
def test_every_hidden_state_attention_map_and_logit_is_the_recorded_one(name: str) -> None:
    expected = np.load(FIXTURES / name / "expected.npz")
    loaded = load_model(str(FIXTURES / name))
    tokens, mask = expected["tokens"], expected["mask"]
    position = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    batch = Batch(tokens, mask, position, expected["token_type"], 0 * tokens, mask > 0)
    output = run(loaded.model, loaded.params, batch, attention=True)
    real = mask > 0
    assert loaded.notes == []
    assert len(output.hidden) == len(expected["hidden"])
    for ours, theirs in zip(output.hidden, expected["hidden"], strict=True):
        np.testing.assert_allclose(ours[real], theirs[real], rtol=0, atol=1e-4)
    for ours, theirs in zip(output.attention, expected["attention"], strict=True):
        by_query = [np.moveaxis(maps, 1, 2)[real] for maps in (ours, theirs)]
        np.testing.assert_allclose(*by_query, rtol=0, atol=1e-4)
    logits = output.logits[:, 0] if name.endswith("classification") else output.logits[real]
    theirs = expected["logits"]
    theirs = theirs if name.endswith("classification") else theirs[real]
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=1e-4)


@pytest.fixture(scope="module", params=MODELS, ids=lambda m: f"{m.config.model_type}-{m.task_kind}")
def packed(request: pytest.FixtureRequest) -> tuple[Transformer, Params, Batch, list[Output]]:
    """A model, five segments in one row, and the model's output for each segment alone."""
    model = request.param
    params = make_params(model)
    # Segments alone are padded to one length, so that there is one compilation.
    alone = [run(model, params, pack_row([part], 0), attention=True) for part in make_segments()]
    return model, params, pack_row(make_segments(), model.config.padding_id), alone


def largest_difference(packed: tuple, batch: Batch) -> float:
    """How far the row's logits and hidden states are from those of the segments alone."""
    model, params, row, alone = packed
    output = run(model, params, batch, attention=True)
    worst = 0.0
    for number, single in enumerate(alone, start=1):
        places = row.segment[0] == number
        length = places.sum()
        pairs = [
            (output.logits, single.logits),
            *zip(output.hidden, single.hidden, strict=True),
        ]
        for together, by_itself in pairs:
            worst = max(worst, differs(by_itself[0, :length], together[0, places]))
        for together, by_itself in zip(output.attention, single.attention, strict=True):
            inside = together[0][:, places][:, :, places]
            worst = max(worst, differs(by_itself[0, :, :length, :length], inside))
    return worst


def test_segments_packed_in_a_row_equal_each_alone(packed: tuple) -> None:
    assert largest_difference(packed, packed[2]) < 1e-5


def test_a_segment_with_padding_equals_itself_without(packed: tuple) -> None:
    model, params, _, alone = packed
    segment = make_segments()[2]
    bare = run(model, params, segment, attention=True)
    assert differs(bare.logits, alone[2].logits[:, : segment.tokens.shape[1]]) < 1e-5


def test_positions_that_run_on_through_the_row_are_seen(packed: tuple) -> None:
    row = packed[2]
    running = np.arange(row.tokens.shape[1], dtype=np.int32)[None] % packed[0].config.positions
    difference = largest_difference(packed, row._replace(position=running))
    # Without absolute positions there is nothing that could continue.
    relative = packed[0].config in (DEBERTA, MODERNBERT)
    assert difference < 1e-5 if relative else difference > 1e-2


def test_a_mask_that_joins_two_segments_is_seen(packed: tuple) -> None:
    row = packed[2]
    joined = np.where(row.segment == 2, 1, row.segment)
    assert largest_difference(packed, row._replace(segment=joined)) > 1e-2


def test_a_mask_that_lets_padding_in_is_seen(packed: tuple) -> None:
    row = packed[2]
    joined = np.where(row.segment == 0, 5, row.segment)
    assert largest_difference(packed, row._replace(segment=joined)) > 1e-2


def test_token_types_of_the_pair_are_seen_where_there_are_two(packed: tuple) -> None:
    row = packed[2]
    difference = largest_difference(packed, row._replace(token_type=0 * row.token_type))
    assert difference > 1e-2 if packed[0].config.token_types > 1 else difference < 1e-5


def test_attention_maps_are_probabilities_within_the_segment(packed: tuple) -> None:
    model, params, row, _ = packed
    same = row.segment[:, :, None] == row.segment[:, None, :]
    for probabilities in run(model, params, row, attention=True).attention:
        assert probabilities.shape == (1, model.config.heads, 24, 24)
        np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)
        assert probabilities[np.broadcast_to(~same[:, None], probabilities.shape)].max() == 0


def test_a_row_of_padding_alone_is_finite_and_has_finite_gradients() -> None:
    model = Encoder(dataclasses.replace(BERT, layers=1), "tagging", 4)
    params = make_params(model)
    zeros = np.zeros((1, 6), np.int32)
    batch = Batch(zeros, zeros, zeros, zeros, zeros, zeros > 0)
    total = jax.jit(jax.grad(lambda p: model.apply({"params": p}, batch).logits.sum()))
    gradients = total(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_attention_and_head_are_there_only_where_asked_for() -> None:
    bare = Encoder(BERT)
    params = make_params(bare)
    output = run(bare, params, make_segments()[0])
    assert output.logits is None
    assert output.attention is None
    assert set(params) == {"embeddings", "encoder"}


def test_dropout_is_applied_to_probabilities_but_not_to_the_maps_returned() -> None:
    config = dataclasses.replace(BERT, layers=1, dropout=0.0, attention_dropout=0.5)
    model = Encoder(config, "tagging", 4)
    params = make_params(model)
    batch = pack_row(make_segments(), 0)

    quiet = run(model, params, batch, attention=True)
    noisy = run_with_dropout(model, params, batch)
    np.testing.assert_allclose(quiet.attention[0], noisy.attention[0], atol=1e-6)
    assert differs(quiet.logits, noisy.logits) > 1e-2


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BERT, "tagging"),
        (BERT, "classification"),
        (ELECTRA, "classification"),
        (ROBERTA, "classification"),
        (DEBERTA, "classification"),
    ],
)
def test_dropout_falls_on_what_the_head_reads_and_on_nothing_at_rate_zero(
    config: EncoderConfig, kind: str
) -> None:
    # Without layers only the embeddings and the head are left to drop from.
    config = dataclasses.replace(config, layers=0, dropout=0.5)
    model = make_encoder(config, kind, 4)
    batch = pack_row(make_segments(), 0)
    params = make_params(model)
    quiet = run(model, params, batch)
    noisy = run_with_dropout(model, params, batch)
    dropped = noisy.hidden[0] == 0
    if config.model_type == "bert":
        assert 0.3 < dropped.mean() < 0.7
        np.testing.assert_allclose(
            noisy.hidden[0][~dropped], 2 * quiet.hidden[0][~dropped], rtol=1e-5
        )
    assert differs(quiet.logits, noisy.logits) > 1e-2
    still = model.clone(config=dataclasses.replace(config, dropout=0.0))
    np.testing.assert_allclose(run_with_dropout(still, params, batch).logits, quiet.logits)


def test_the_head_drops_from_its_own_input() -> None:
    config = dataclasses.replace(BERT, layers=0, dropout=0.5)
    model = Encoder(config, "tagging", 4)
    params = make_params(model)
    output = run_with_dropout(model, params, pack_row(make_segments(), 0))
    head = params["classifier"]
    undropped = output.hidden[-1] @ head["kernel"] + head["bias"]
    assert differs(undropped, output.logits) > 1e-2


def test_one_token_type_ignores_the_types_of_a_pair() -> None:
    model = Encoder(dataclasses.replace(BERT, token_types=1, layers=1), "tagging", 4)
    params = make_params(model)
    pair = make_segments()[2]
    single = pair._replace(token_type=0 * pair.token_type)
    answers = [run(model, params, batch).logits for batch in (pair, single)]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("config", [BERT, DEBERTA], ids=lambda c: c.model_type)
def test_bfloat16_arithmetic_is_near_float32_with_float32_parameters_and_logits(
    config: EncoderConfig,
) -> None:
    batch = pack_row(make_segments(), 0)
    exact = make_encoder(dataclasses.replace(config, layers=1), "tagging", 4)
    rough = exact.clone(dtype="bfloat16")
    params = make_params(rough)
    fresh = jax.eval_shape(rough.init_params, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {np.dtype("float32")}
    ours, theirs = (run(model, params, batch) for model in (rough, exact))
    assert ours.hidden[1].dtype == array_type("bfloat16")
    assert ours.logits.dtype == np.float32
    real = batch.segment > 0
    assert 1e-5 < differs(theirs.logits[real], ours.logits[real]) < 0.1


def test_equal_models_are_one_static_argument() -> None:
    traced = []

    def forward(model: Encoder, params: Params, batch: Batch) -> jax.Array:
        traced.append(model)
        return model.apply({"params": params}, batch).logits

    compiled = jax.jit(forward, static_argnums=0)
    params = make_params(MODELS[0])
    for _ in range(2):
        compiled(Encoder(dataclasses.replace(BERT), "tagging", 4), params, make_segments()[0])
    assert len(traced) == 1


@pytest.mark.parametrize("config", [BERT, ELECTRA, ROBERTA])
def test_config_reads_back_what_it_wrote(config: EncoderConfig) -> None:
    assert read_config(write_config(config), "here") == config


def test_missing_keys_take_the_defaults_of_the_family() -> None:
    electra = read_config({"model_type": "electra"}, "here")
    assert (electra.embedding_size, electra.hidden_size, electra.heads) == (128, 256, 4)
    bert = read_config({"model_type": "bert"}, "here")
    assert (bert.embedding_size, bert.hidden_size, bert.layers) == (768, 768, 12)


def test_robertas_have_as_many_positions_as_follow_that_of_padding() -> None:
    assert write_config(ROBERTA)["max_position_embeddings"] == 16 + 4 + 1
    base = read_config({"model_type": "xlm-roberta", "max_position_embeddings": 514}, "here")
    assert (base.positions, base.first_position, base.padding_id) == (512, 2, 1)
    assert read_config({"model_type": "roberta"}, "here").vocabulary_size == 50265
    with pytest.raises(InputError, match="max_position_embeddings is 5; it must be more than 5"):
        read_config(write_config(ROBERTA) | {"max_position_embeddings": 5}, "here")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_attention_heads": 7}, "multiple of the heads"),
        ({"num_attention_heads": 0}, "heads is 0"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide'"),
        ({"hidden_size": -4}, "hidden_size is -4"),
        ({"hidden_dropout_prob": -0.1}, "hidden_dropout_prob is -0.1"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"hidden_act": "mish"}, "activation is 'mish'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"is_decoder": True}, "is_decoder"),
    ],
)
def test_an_encoder_that_cannot_be_built_is_refused(change: dict, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        read_config(write_config(BERT) | change, "folder/config.json")
    assert str(caught.value).startswith("folder/config.json")
