"""The BiLSTM student against `torch.nn.LSTM` with the same weights."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.models.samples import BILSTM, make_params, make_segments, run
from xdistil.models.families.bilstm import BiLSTM, name_layer
from xdistil.models.types import Params


def convert(params: Params, layers: int) -> torch.nn.LSTM:
    """PyTorch's LSTM, which has two biases a gate and the same order of gates."""
    lstm = torch.nn.LSTM(
        BILSTM.embedding_size,
        BILSTM.hidden_size,
        num_layers=layers,
        bidirectional=True,
        batch_first=True,
    )
    state = {}
    for layer in range(layers):
        for direction, end in (("forward", ""), ("backward", "_reverse")):
            own = params[name_layer(layer)][direction]
            place = f"l{layer}{end}"
            state[f"weight_ih_{place}"] = torch.tensor(own["input_kernel"].T)
            state[f"weight_hh_{place}"] = torch.tensor(own["recurrent_kernel"].T)
            state[f"bias_ih_{place}"] = torch.tensor(own["bias"])
            state[f"bias_hh_{place}"] = torch.zeros(len(own["bias"]))
    lstm.load_state_dict(state)
    return lstm


@pytest.mark.parametrize("layers", [1, 2])
def test_states_are_those_of_pytorch(layers: int) -> None:
    model = BiLSTM(dataclasses.replace(BILSTM, layers=layers))
    params, segment = make_params(model), make_segments()[2]
    table = params["embeddings"]["word_embeddings"]["embedding"]
    with torch.no_grad():
        expected, _ = convert(params, layers)(torch.tensor(table[segment.tokens]))
    states = run(model, params, segment).hidden[model.features]
    assert states.dtype == jnp.float32
    np.testing.assert_allclose(states, expected.numpy(), atol=1e-6)
