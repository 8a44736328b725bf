"""A bidirectional LSTM over packed rows and its gradient, with one scan for both directions.

Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000 and one bias vector a gate:
8((E+H)H + H) parameters for inputs of width E and H units in each direction.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.models.ops import array_type, multiply

Both = tuple[jax.Array, ...]  # of the forward and the backward direction


class LSTM(nn.Module):
    """A bidirectional LSTM over packed rows: f[B,T,E] -> f[B,T,2H], forward units first.

    The state starts from zero at a segment's first subword forwards and its last subword backwards,
    and at every padding subword, so that no segment sees another.
    """

    hidden_size: int
    dtype: str

    @nn.compact
    def __call__(self, inputs: jax.Array, segment: Any) -> jax.Array:
        forward = _Direction(self.hidden_size, name="forward")(inputs.shape[-1])
        backward = _Direction(self.hidden_size, name="backward")(inputs.shape[-1])
        # One product over all steps and both directions; the scan has only the recurrent part.
        kernel = jnp.concatenate([forward[0], backward[0]], axis=1)
        bias = jnp.concatenate([forward[2], backward[2]])
        times = jnp.swapaxes(inputs, 0, 1)
        gates = multiply(times, kernel, self.dtype, jnp.float32) + bias
        ahead, behind = jnp.split(gates, 2, axis=-1)

        inner = (segment[:, 1:] == segment[:, :-1]) & (segment[:, 1:] > 0)
        inner = jnp.swapaxes(inner, 0, 1).astype(jnp.float32)[..., None]
        keep_ahead = jnp.pad(inner, ((1, 0), (0, 0), (0, 0)))
        keep_behind = jnp.pad(inner[::-1], ((1, 0), (0, 0), (0, 0)))

        recurrent = (forward[1].astype(self.dtype), backward[1].astype(self.dtype))
        outputs = _recur((ahead, behind[::-1]), (keep_ahead, keep_behind), recurrent)
        both = jnp.concatenate([outputs[0], outputs[1][::-1]], axis=-1)
        return jnp.swapaxes(both, 0, 1).astype(array_type(self.dtype))


class _Direction(nn.Module):
    """One direction's parameters, gates in the order input, forget, cell, output."""

    hidden_size: int

    @nn.compact
    def __call__(self, input_size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        gates = 4 * self.hidden_size
        return (
            self.param("input_kernel", nn.initializers.glorot_uniform(), (input_size, gates)),
            self.param("recurrent_kernel", _orthogonal_gates, (self.hidden_size, gates)),
            self.param("bias", _forget_bias, (gates,)),
        )


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """One random orthogonal matrix a gate, side by side: f32[H,4H]."""
    draw = jax.vmap(lambda part: _draw_orthogonal(part, shape[0]))
    return jnp.concatenate(tuple(draw(jax.random.split(key, 4))), axis=1)


def _draw_orthogonal(key: jax.Array, size: int) -> jax.Array:
    """f32[size,size], uniform over orthogonal matrices: a product of reflections (Stewart 1980).

    Flax uses QR, but two concurrent QRs of jaxlib 0.10.2 deadlock on a CPU with two threads.
    """
    vectors = jax.random.normal(key, (size, size))
    places = jnp.arange(size)

    def reflect(k: jax.Array, matrix: jax.Array) -> jax.Array:
        vector = jnp.where(places >= k, vectors[k], 0.0)
        length = jnp.linalg.norm(vector)
        vector = vector.at[k].add(jnp.where(vector[k] < 0, -length, length))
        vector = vector / jnp.linalg.norm(vector)
        return matrix - 2.0 * jnp.outer(matrix @ vector, vector)

    signs = jnp.where(jnp.diagonal(vectors) < 0, 1.0, -1.0)
    return jax.lax.fori_loop(0, size, reflect, jnp.eye(size)) * signs


def _forget_bias(key: jax.Array, shape: tuple[int]) -> jax.Array:
    """One at the forget gates, so that a new LSTM remembers (Jozefowicz et al. 2015); else zero."""
    return jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), shape[0] // 4)


@jax.custom_vjp
def _recur(gates: Both, keep: Both, kernels: Both) -> Both:
    """Two independent LSTM recurrences in one scan: states f32[T,B,H] of each.

    `gates` f32[T,B,4H] are the inputs' part of the gates' sums, `keep` f32[T,B,1] is 0 where the
    state starts from zero and 1 elsewhere, `kernels` f[H,4H] are the recurrent weights.
    """
    return _recur_forward(gates, keep, kernels)[0]


def _recur_forward(gates: Both, keep: Both, kernels: Both) -> tuple[Both, Any]:
    def step(states: Any, inputs: Any) -> tuple[Any, Any]:
        results = [
            _cell(state, given, kernel)
            for state, given, kernel in zip(states, inputs, kernels, strict=True)
        ]
        return tuple((cell, hidden) for cell, hidden, _ in results), tuple(results)

    _, batch, width = gates[0].shape
    zero = jnp.zeros((batch, width // 4), jnp.float32)
    start = ((zero, zero), (zero, zero))
    inputs = tuple(zip(gates, keep, strict=True))
    _, trace = jax.lax.scan(step, start, inputs)
    return (trace[0][1], trace[1][1]), (trace, keep, kernels)


def _cell(
    state: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array], kernel: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step of one direction: cell, hidden f32[B,H] and the activated gates f32[B,4H].

    `inputs` are `gates` and `keep` of the step, as in `_recur`.
    """
    (cell, hidden), (given, keep) = state, inputs
    product = jnp.matmul(
        (hidden * keep).astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
    )
    # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so one tanh for all gates is enough, which is faster.
    scale = jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5]), kernel.shape[0])
    opened = jnp.tanh((given + product) * scale) * scale + (1 - scale)
    enter, forget, new, leave = jnp.split(opened, 4, axis=-1)
    cell = forget * (cell * keep) + enter * new
    return cell, leave * jnp.tanh(cell), opened


def _recur_backward(residuals: Any, output_gradients: Both) -> tuple[Both, None, Both]:
    # Written by hand: the transposed scan would accumulate the gradient of the recurrent weights
    # step by step; here it is one product after the scan, which is a third faster.
    trace, keep, kernels = residuals

    def step(carried: Any, inputs: Any) -> tuple[Any, Any]:
        results = [
            _cell_backward(gradients, given, kernel)
            for gradients, given, kernel in zip(carried, inputs, kernels, strict=True)
        ]
        return tuple((cell, hidden) for cell, hidden, _ in results), tuple(r[2] for r in results)

    zero = jnp.zeros_like(trace[0][0][0])
    inputs = tuple(
        (gradient, cells, _previous(cells) * kept, opened, kept)
        for gradient, (cells, _, opened), kept in zip(output_gradients, trace, keep, strict=True)
    )
    _, gate_gradients = jax.lax.scan(step, ((zero, zero), (zero, zero)), inputs, reverse=True)
    kernel_gradients = tuple(
        jnp.einsum(
            "tbh,tbg->hg",
            (_previous(hidden) * kept).astype(kernel.dtype),
            gradient.astype(kernel.dtype),
            preferred_element_type=jnp.float32,
        ).astype(kernel.dtype)
        for (_, hidden, _), kept, gradient, kernel in zip(
            trace, keep, gate_gradients, kernels, strict=True
        )
    )
    return gate_gradients, None, kernel_gradients


def _previous(states: jax.Array) -> jax.Array:
    """The state before each step: f32[T,B,H] shifted by one step, zero first."""
    return jnp.pad(states[:-1], ((1, 0), (0, 0), (0, 0)))


def _cell_backward(
    gradients: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, ...], kernel: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step back: gradients of the earlier cell and hidden state, and of the gates' sums.

    `gradients` are those of the cell and hidden state from later steps; `inputs` the gradient of
    the output, the cell, the earlier cell, the activated gates and `keep`.
    """
    cell_gradient, hidden_gradient = gradients
    output_gradient, cell, previous_cell, opened, keep = inputs
    enter, forget, new, leave = jnp.split(opened, 4, axis=-1)
    hidden_gradient = hidden_gradient + output_gradient
    squashed = jnp.tanh(cell)
    cell_gradient = cell_gradient + hidden_gradient * leave * (1 - squashed**2)
    gates = jnp.concatenate(
        [
            cell_gradient * new * enter * (1 - enter),
            cell_gradient * previous_cell * forget * (1 - forget),
            cell_gradient * enter * (1 - new**2),
            hidden_gradient * squashed * leave * (1 - leave),
        ],
        axis=-1,
    )
    earlier = jnp.matmul(gates.astype(kernel.dtype), kernel.T, preferred_element_type=jnp.float32)
    return cell_gradient * forget * keep, earlier * keep, gates


_recur.defvjp(_recur_forward, _recur_backward)
