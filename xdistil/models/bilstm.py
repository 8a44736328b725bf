"""The paper's student: embeddings, one BiLSTM, a GELU projection to the teacher's width, a head.

Mukherjee & Hassan Awadallah 2020 (arXiv 2004.05686), section 3. With a vocabulary of V, embeddings
of E, H units each way, a projection to D and C classes it has
V*E + 8((E+H)H + H) + (2H*D + D) + (D*C + C) parameters: a gate has one bias vector.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdistil.errors import InputError
from xdistil.models.structs import Batch, Output, Params

MODEL_TYPE = "xdistil_bilstm"


@dataclass(frozen=True)
class BiLSTMConfig:
    """The shape of a BiLSTM student."""

    vocabulary_size: int
    embedding_size: int  # E
    hidden_size: int  # H, units in each direction
    projection_size: int  # D, the teacher's width
    dropout: float = 0.2  # after the embeddings and after the BiLSTM
    padding_id: int = 0


def read_config(raw: Mapping[str, Any], where: str) -> BiLSTMConfig:
    """The student that a config.json describes; InputError where a size is missing or mistyped."""
    values = {}
    for field in dataclasses.fields(BiLSTMConfig):
        value = raw.get(field.name)
        if field.type is float and type(value) is int:
            value = float(value)
        if type(value) is not field.type or value < 0:
            raise InputError(
                f"{where}: {field.name} is {value!r}; it must be a number, not negative."
            )
        values[field.name] = value
    return BiLSTMConfig(**values)


def write_config(config: BiLSTMConfig) -> dict[str, Any]:
    """The keys of a config.json for this student; the inverse of `read_config`."""
    return {"model_type": MODEL_TYPE, **dataclasses.asdict(config)}


class BiLSTM(nn.Module):
    """The BiLSTM student on packed rows; hashable, so a jit static argument.

    Without classes it has no head, and Output.logits is None.
    """

    config: BiLSTMConfig
    classes: int = 0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, batch: Batch, attention: bool = False, deterministic: bool = True) -> Output:
        """Batch i32[B,T] -> Output with logits f32[B,T,C].

        Hidden states: embeddings f[B,T,E], the projection before its GELU f[B,T,D], and after it
        f[B,T,D]. There are no attention maps: `attention` is accepted and answered with None.
        """
        config = self.config
        embedded = _Embeddings(config, self.dtype, name="embeddings")(batch.tokens)
        embedded = nn.Dropout(config.dropout)(embedded, deterministic)
        both_ways = _LSTM(config.hidden_size, self.dtype, name="lstm")(embedded, batch.segment)
        both_ways = nn.Dropout(config.dropout)(both_ways, deterministic)
        projected = nn.Dense(config.projection_size, dtype=self.dtype, name="projection")(both_ways)
        activated = jax.nn.gelu(projected, approximate=False)
        logits = None
        if self.classes:
            logits = nn.Dense(self.classes, dtype=self.dtype, name="classifier")(activated)
            logits = logits.astype(jnp.float32)
        return Output(logits, (embedded, projected, activated), None)

    @nn.nowrap
    def init_params(self, key: jax.Array) -> Params:
        """Fresh float32 parameters, drawn with `key`."""
        row = jnp.zeros((1, 1), jnp.int32)
        return self.init(key, Batch(row, row, row, row, row, row > 0))["params"]


class _Embeddings(nn.Module):
    """Pieces i32[B,T] -> f[B,T,E]."""

    config: BiLSTMConfig
    dtype: str

    @nn.compact
    def __call__(self, tokens: Any) -> jax.Array:
        config = self.config
        table = nn.Embed(
            config.vocabulary_size,
            config.embedding_size,
            dtype=self.dtype,
            name="word_embeddings",
        )
        return table(tokens)


class _LSTM(nn.Module):
    """A bidirectional LSTM over packed rows: f[B,T,E] -> f[B,T,2H], forward units first.

    The state starts from zero at a segment's first piece forwards and its last piece backwards,
    and at every padding piece, so that no segment sees another.
    """

    hidden_size: int
    dtype: str

    @nn.compact
    def __call__(self, inputs: jax.Array, segment: Any) -> jax.Array:
        forward = _Direction(self.hidden_size, name="forward")(inputs.shape[-1])
        backward = _Direction(self.hidden_size, name="backward")(inputs.shape[-1])
        # One product over all steps and both directions leaves to the scan only what must wait.
        kernel = jnp.concatenate([forward[0], backward[0]], axis=1).astype(self.dtype)
        bias = jnp.concatenate([forward[2], backward[2]])
        times = jnp.swapaxes(inputs, 0, 1)
        gates = jnp.matmul(times, kernel, preferred_element_type=jnp.float32) + bias
        ahead, behind = jnp.split(gates, 2, axis=-1)

        inner = (segment[:, 1:] == segment[:, :-1]) & (segment[:, 1:] > 0)
        inner = jnp.swapaxes(inner, 0, 1).astype(jnp.float32)[..., None]
        keep_ahead = jnp.pad(inner, ((1, 0), (0, 0), (0, 0)))
        keep_behind = jnp.pad(inner[::-1], ((1, 0), (0, 0), (0, 0)))

        recurrent = (forward[1].astype(self.dtype), backward[1].astype(self.dtype))
        outputs = _recur((ahead, behind[::-1]), (keep_ahead, keep_behind), recurrent)
        both = jnp.concatenate([outputs[0], outputs[1][::-1]], axis=-1)
        return jnp.swapaxes(both, 0, 1).astype(self.dtype)


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
    """One orthogonal matrix a gate, side by side: f32[H,4H]."""
    size = shape[0]
    gates = [nn.initializers.orthogonal()(part, (size, size)) for part in jax.random.split(key, 4)]
    return jnp.concatenate(gates, axis=1)


def _forget_bias(key: jax.Array, shape: tuple[int]) -> jax.Array:
    """Zero, but one at the forget gates: a fresh LSTM remembers (Jozefowicz et al. 2015)."""
    return jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), shape[0] // 4)


Pair = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def _recur(gates: Pair, keep: Pair, kernels: Pair) -> Pair:
    """Two independent LSTM recurrences in one scan: states f32[T,B,H] of each.

    `gates` f32[T,B,4H] are the inputs' share of the gates, `keep` f32[T,B,1] is 0 where the state
    starts from zero and 1 elsewhere, `kernels` f[H,4H] are the recurrent weights.
    """
    return _recur_forward(gates, keep, kernels)[0]


def _recur_forward(gates: Pair, keep: Pair, kernels: Pair) -> tuple[Pair, Any]:
    def step(states: Any, inputs: Any) -> tuple[Any, Any]:
        results = [
            _cell(*state, *given, kernel)
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
    cell: jax.Array, hidden: jax.Array, given: jax.Array, keep: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step -> cell, hidden f32[B,H] and the gates after their activations f32[B,4H]."""
    product = jnp.matmul(
        (hidden * keep).astype(kernel.dtype), kernel, preferred_element_type=jnp.float32
    )
    pre_input, pre_forget, pre_cell, pre_output = jnp.split(given + product, 4, axis=-1)
    enter, forget = jax.nn.sigmoid(pre_input), jax.nn.sigmoid(pre_forget)
    new, leave = jnp.tanh(pre_cell), jax.nn.sigmoid(pre_output)
    cell = forget * (cell * keep) + enter * new
    opened = jnp.concatenate([enter, forget, new, leave], axis=-1)
    return cell, leave * jnp.tanh(cell), opened


def _recur_backward(residuals: Any, output_gradients: Pair) -> tuple[Pair, None, Pair]:
    # Written by hand because the transposed scan would add up the gradient of the recurrent
    # weights step by step; here it is one product after the scan, which is a third faster.
    trace, keep, kernels = residuals

    def step(carried: Any, inputs: Any) -> tuple[Any, Any]:
        results = [
            _cell_backward(*gradients, *given, kernel)
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
    """The state before each step: f32[T,B,H] moved one step later, zero first."""
    return jnp.pad(states[:-1], ((1, 0), (0, 0), (0, 0)))


def _cell_backward(
    cell_gradient: jax.Array,
    hidden_gradient: jax.Array,
    output_gradient: jax.Array,
    cell: jax.Array,
    previous_cell: jax.Array,
    opened: jax.Array,
    keep: jax.Array,
    kernel: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step back -> gradients of the previous cell and hidden state, and of the gates' sums."""
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
