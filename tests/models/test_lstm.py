"""First weights of the LSTM."""

import jax
import numpy as np

from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig

SIZE = 70


def test_recurrent_weights_of_every_gate_are_orthogonal_and_independent():
    model = BiLSTM(BiLSTMConfig(11, 5, SIZE, 6, layers=2), classes=3)
    params = jax.jit(model.init_params)(jax.random.key(0))
    gates = [
        gate
        for layer in ("lstm", "lstm_1")
        for direction in ("forward", "backward")
        for gate in np.split(np.asarray(params[layer][direction]["recurrent_kernel"]), 4, axis=1)
    ]
    for i, gate in enumerate(gates):
        np.testing.assert_allclose(gate @ gate.T, np.eye(SIZE), atol=2e-5)
        for other in gates[:i]:
            assert abs(np.sum(gate * other)) < 0.1 * SIZE  # that of a matrix with itself is SIZE


def test_orthogonal_weights_have_no_preferred_direction():
    """The entries of a uniformly drawn orthogonal matrix of n rows have mean 0 and variance 1/n."""
    model = BiLSTM(BiLSTMConfig(3, 2, 4, 2), classes=2)
    draw = jax.jit(lambda seed: model.init_params(jax.random.key(seed))["lstm"])
    drawn = []
    for seed in range(60):
        lstm = draw(seed)
        drawn += np.split(np.asarray(lstm["forward"]["recurrent_kernel"]), 4, axis=1)
    # 240 draws: the standard error of a mean is 0.032, of a variance below 0.03.
    np.testing.assert_allclose(np.mean(drawn, axis=0), 0.0, atol=0.13)
    np.testing.assert_allclose(np.mean(np.square(drawn), axis=0), 0.25, atol=0.1)
