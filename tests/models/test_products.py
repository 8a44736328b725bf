"""How products of batches with matrices reach the compiler."""

import re

import jax
import numpy as np
import pytest

from tests.models import samples
from xdistil.models.encoder_config import EncoderConfig


@pytest.mark.parametrize("kind", ["tagging", "classification"])
@pytest.mark.parametrize("config", samples.CONFIGS, ids=lambda config: config.model_type)
def test_the_gradient_of_a_kernel_adds_up_over_one_axis(config: EncoderConfig, kind: str) -> None:
    """Over rows and positions at once it would need a transposed copy on a CPU."""
    model = samples.make_encoder(config, kind, 3)
    batch = samples.pack_row(samples.make_segments(), config.padding_id)
    batch = jax.tree.map(lambda x: np.concatenate([x, x]), batch)

    def add_up(params):
        return model.apply({"params": params}, batch).logits.sum()

    program = jax.jit(jax.grad(add_up)).lower(samples.make_params(model)).as_text()
    # Products by heads have batching_dims before these.
    contracted = re.findall(r"dot_general %\S+, %\S+, contracting_dims = \[([\d, ]*)\]", program)
    assert contracted
    assert not [axes for axes in contracted if "," in axes]
