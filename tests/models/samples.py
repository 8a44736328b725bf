"""Small models, tokenizers and packed rows for the tests of models."""

import functools
from pathlib import Path

import jax
import numpy as np
import tokenizers
from flax import traverse_util
from tokenizers import models, normalizers, pre_tokenizers, processors

from xdistil.data.packing import Batch
from xdistil.data.tokenizer import Tokenizer, make_tokenizer
from xdistil.models.encoder import Transformer
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.albert import AlbertConfig
from xdistil.models.families.bilstm import BiLSTMConfig
from xdistil.models.families.deberta import DebertaConfig
from xdistil.models.families.distilbert import DistilBertConfig
from xdistil.models.families.gpt2 import GPT2Config
from xdistil.models.families.modernbert import ModernBertConfig
from xdistil.models.families.mpnet import MPNetConfig
from xdistil.models.families.registry import FAMILIES
from xdistil.models.families.rembert import RemBertConfig
from xdistil.models.types import Model, Output, Params

FIXTURES = Path(__file__).parent / "fixtures"

BERT = EncoderConfig(
    model_type="bert",
    vocabulary_size=53,
    embedding_size=18,
    hidden_size=18,
    layers=2,
    heads=3,
    intermediate_size=25,
    positions=16,
    padding_id=4,
    initializer_range=0.3,
)
ELECTRA = EncoderConfig(
    model_type="electra",
    vocabulary_size=53,
    embedding_size=11,
    hidden_size=15,
    layers=2,
    heads=5,
    intermediate_size=25,
    positions=16,
    activation="relu",
    initializer_range=0.3,
)
ROBERTA = EncoderConfig(
    model_type="xlm-roberta",
    vocabulary_size=53,
    embedding_size=14,
    hidden_size=14,
    layers=2,
    heads=7,
    intermediate_size=25,
    positions=16,
    token_types=1,
    activation="gelu_new",
    padding_id=4,
    initializer_range=0.3,
)
DEBERTA = DebertaConfig(
    vocabulary_size=53,
    embedding_size=22,
    hidden_size=22,
    layers=2,
    heads=11,
    intermediate_size=25,
    positions=16,
    norm_epsilon=1e-7,
    padding_id=4,
    initializer_range=0.3,
    absolute_positions=False,
    relative=True,
    terms=("c2p", "p2c"),
    shared_projections=True,
    buckets=6,
    distances=16,
    norm_distances=True,
)
DISTILBERT = DistilBertConfig(
    vocabulary_size=53,
    embedding_size=18,
    hidden_size=18,
    layers=2,
    heads=3,
    intermediate_size=25,
    positions=16,
    activation="relu",
    padding_id=4,
    initializer_range=0.3,
)
MPNET = MPNetConfig(
    vocabulary_size=53,
    embedding_size=14,
    hidden_size=14,
    layers=2,
    heads=7,
    intermediate_size=25,
    positions=16,
    padding_id=4,
    initializer_range=0.3,
)
MODERNBERT = ModernBertConfig(
    vocabulary_size=53,
    embedding_size=18,
    hidden_size=18,
    layers=2,
    heads=3,
    intermediate_size=25,
    positions=24,
    dropout=0.1,
    padding_id=4,
    initializer_range=0.3,
    local=(False, True),
    window=4,
    norm_bias=True,
    classifier_dropout=0.1,
    pooling="mean",
)
ALBERT = AlbertConfig(
    vocabulary_size=53,
    embedding_size=7,
    hidden_size=15,
    layers=3,
    groups=2,
    heads=5,
    intermediate_size=25,
    positions=16,
    activation="gelu_new",
    padding_id=4,
    initializer_range=0.3,
)
REMBERT = RemBertConfig(
    vocabulary_size=53,
    embedding_size=7,
    hidden_size=15,
    layers=2,
    heads=5,
    intermediate_size=25,
    positions=16,
    activation="relu",
    padding_id=4,
    initializer_range=0.3,
    classifier_dropout=0.2,
)
GPT2 = GPT2Config(
    vocabulary_size=53,
    embedding_size=18,
    hidden_size=18,
    layers=2,
    heads=3,
    intermediate_size=25,
    positions=16,
    activation="gelu_new",
    norm_epsilon=1e-5,
    padding_id=4,
    initializer_range=0.3,
)
CONFIGS = (BERT, ELECTRA, ROBERTA, DEBERTA, DISTILBERT, MPNET, MODERNBERT, ALBERT, REMBERT, GPT2)
BILSTM = BiLSTMConfig(
    vocabulary_size=53, embedding_size=7, hidden_size=9, projection_size=12, padding_id=4
)
LENGTHS = (3, 1, 9, 5, 2)  # the third is a pair
ROW_LENGTH = 24  # leaves four places of padding
PAIR = 2


def make_encoder(config: EncoderConfig, kind: str, classes: int) -> Transformer:
    """An encoder of its config's family."""
    encoder = FAMILIES[config.model_type].build(config, kind, classes)
    assert isinstance(encoder, Transformer)
    return encoder


def make_params(model: Model, seed: int = 0) -> Params:
    """Random float32 parameters of a model, biases and norms included."""
    rng = np.random.default_rng(seed)
    shapes = traverse_util.flatten_dict(jax.eval_shape(model.init_params, jax.random.key(0)))
    leaves = {
        path: (path[-1] == "scale") + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32)
        for path, leaf in shapes.items()
    }
    return traverse_util.unflatten_dict(leaves)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply(model: Model, params: Params, batch: Batch, attention: bool) -> Output:
    return model.apply({"params": params}, batch, attention=attention)


def run(model: Model, params: Params, batch: Batch, attention: bool = False) -> Output:
    """The model's output without dropout, compiled once for each model and shape of the batch."""
    return jax.device_get(_apply(model, params, batch, attention))


@functools.partial(jax.jit, static_argnums=0)
def _drop(model: Model, params: Params, batch: Batch, key: jax.Array) -> Output:
    return model.apply(
        {"params": params}, batch, attention=True, deterministic=False, rngs={"dropout": key}
    )


def run_with_dropout(model: Model, params: Params, batch: Batch) -> Output:
    """The model's output with dropout drawn from a fixed key."""
    return jax.device_get(_drop(model, params, batch, jax.random.key(1)))


def make_segments() -> list[Batch]:
    """Five unequal segments of random subwords, each as a batch of its own, without padding."""
    rng = np.random.default_rng(11)
    segments = []
    for index, length in enumerate(LENGTHS):
        tokens = rng.integers(0, 53, (1, length), dtype=np.int32)
        token_type = np.zeros_like(tokens)
        if index == PAIR:
            token_type[:, length // 2 :] = 1
        ones = np.ones_like(tokens)
        position = np.arange(length, dtype=np.int32)[None]
        segments.append(Batch(tokens, ones, position, token_type, 0 * ones, ones > 0))
    return segments


def pack_row(segments: list[Batch], padding_id: int, row_length: int = ROW_LENGTH) -> Batch:
    """The segments end to end in one padded row."""

    def join(field: str, padding: int) -> np.ndarray:
        parts = [getattr(segment, field)[0] for segment in segments]
        rest = np.full(row_length - sum(map(len, parts)), padding, np.int32)
        return np.concatenate([*parts, rest])[None]

    numbered = [s._replace(segment=s.segment * (i + 1)) for i, s in enumerate(segments)]
    segment = np.concatenate([s.segment[0] for s in numbered])
    segment = np.pad(segment, (0, row_length - len(segment)))[None].astype(np.int32)
    return Batch(
        tokens=join("tokens", padding_id),
        segment=segment,
        position=join("position", 0),
        token_type=join("token_type", 0),
        labels=join("labels", 0),
        label_mask=segment > 0,
    )


def make_wordpiece(vocabulary: list[str], lowercase: bool = True) -> Tokenizer:
    """A WordPiece tokenizer over a vocabulary that begins with the five special subwords."""
    backend = tokenizers.Tokenizer(
        models.WordPiece({subword: i for i, subword in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    backend.add_special_tokens(["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    special = {
        f"{role}_token": f"[{role.upper()}]" for role in ("unk", "pad", "cls", "sep", "mask")
    }
    return make_tokenizer(backend, special)


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_tiny_tokenizer() -> Tokenizer:
    """A tokenizer of 53 subwords, as many as the models above have rows."""
    letters = "abcdefghijklmnopqrstuvwx"
    subwords = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    return make_wordpiece(subwords)
