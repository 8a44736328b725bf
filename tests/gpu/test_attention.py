"""On a GPU alone: cuDNN's attention against the maps written out, packed segments and padding."""

import dataclasses

import jax
import numpy as np

from tests.models.samples import BERT, run
from xdistil.data.packing import Batch
from xdistil.models import layers
from xdistil.models.families.bert import Encoder

SHAPE = dataclasses.replace(
    BERT,
    embedding_size=96,
    hidden_size=96,
    heads=3,
    intermediate_size=160,
    positions=64,
    initializer_range=0.1,
)


def make_rows(count: int) -> Batch:
    """Rows of 64 with segments of 1 to 30 subwords, the last places padding."""
    generator = np.random.default_rng(0)
    segment, position = (np.zeros((count, 64), np.int32) for _ in range(2))
    for row in range(count):
        at = number = 0
        while (length := int(generator.integers(1, 31))) <= 60 - at:
            number += 1
            segment[row, at : at + length] = number
            position[row, at : at + length] = np.arange(length)
            at += length
    tokens = generator.integers(0, 53, segment.shape).astype(np.int32) * (segment > 0)
    return Batch(tokens, segment, position, 0 * tokens, 0 * tokens, segment > 0)


def test_attention_without_maps_is_attention_with_them(monkeypatch) -> None:
    assert jax.default_backend() == "gpu"
    model, batch = Encoder(SHAPE, "tagging", 4, "bfloat16"), make_rows(8)
    params = jax.device_get(model.init_params(jax.random.key(0)))
    asked = []
    real = layers._has_fused_attention
    monkeypatch.setattr(
        layers, "_has_fused_attention", lambda *given: asked.append(real(*given)) or asked[-1]
    )
    fused, written = (run(model, params, batch, attention=maps) for maps in (False, True))
    assert asked == [True, True]  # of two layers; with maps the question does not arise
    exact = run(model.clone(dtype="float32"), params, batch)
    places = batch.segment > 0
    scale = np.abs(exact.logits[places]).max()
    rounding = np.abs(written.logits - exact.logits)[places].max() / scale
    assert 0 < rounding < 0.05
    assert np.abs(fused.logits - written.logits)[places].max() / scale < 2 * rounding
