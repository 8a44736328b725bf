"""The paper's student: embeddings, a BiLSTM, a GELU projection to the teacher's width, a head.

Mukherjee & Hassan Awadallah 2020 (arXiv 2004.05686), section 3. With a vocabulary of V, embeddings
of width E, H units in each direction, a projection to width D and C classes it has
V*E + 8((E+H)H + H) + (2H*D + D) + (D*C + C) parameters: a gate has one bias vector. Each further
layer of the BiLSTM reads the states of the one before, 2H wide, and adds 8(3H*H + H).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from xdistil.data.packing import Array, Batch
from xdistil.models.config_fields import check_rate, check_size
from xdistil.models.layers import draw_params
from xdistil.models.lstm import LSTM
from xdistil.models.ops import Dropout, array_type, dense_layer, gelu
from xdistil.models.tensor_names import Names, Path
from xdistil.models.types import Output, Params

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph

MODEL_TYPE = "xdistil_bilstm"


@dataclass(frozen=True)
class BiLSTMConfig:
    """The shape of a BiLSTM student."""

    vocabulary_size: int
    embedding_size: int  # E
    hidden_size: int  # H, units in each direction
    projection_size: int  # D, the teacher's width
    dropout: float = 0.2  # after the embeddings and after every layer
    padding_id: int = 0
    layers: int = 1  # BiLSTMs, each on the states of the one before

    def __repr__(self) -> str:
        """The fields; without the number of layers where that is 1, since the text of such a model
        is part of the names of signals that earlier versions cached."""
        shown = [field.name for field in dataclasses.fields(self)]
        if self.layers == 1:
            shown.remove("layers")
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({values})"

    @property
    def model_type(self) -> str:
        """The model type of a config.json."""
        return MODEL_TYPE

    @property
    def first_position(self) -> int:
        """0: there are no position embeddings."""
        return 0

    @property
    def own_layers(self) -> int:
        """The LSTMs in both directions."""
        return self.layers


def read_config(raw: Mapping[str, Any], where: str) -> BiLSTMConfig:
    """The student that a config.json describes; InputError for a number out of bounds.

    Earlier versions wrote no number of layers, and had one.
    """
    raw = {"layers": 1, **raw}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(BiLSTMConfig):
        name, value = field.name, raw.get(field.name)
        if field.type is float:
            values[name] = check_rate(value, name, where)
        else:
            values[name] = check_size(value, name, where, least=int(name != "padding_id"))
    return BiLSTMConfig(**values)


def write_config(config: BiLSTMConfig) -> dict[str, Any]:
    """The keys of a config.json for this student; the inverse of `read_config`.

    One layer is left out, so that earlier versions read such a student, and write the same file.
    """
    values = dataclasses.asdict(config)
    if config.layers == 1:
        del values["layers"]
    return {"model_type": MODEL_TYPE, **values}


def build(config: BiLSTMConfig, task_kind: str, classes: int, dtype: str = "float32") -> "BiLSTM":
    """The student; its head is the same for every kind of task."""
    return BiLSTM(config, classes, dtype)


class _Names(Names):
    """Tensors named by the paths of their leaves, joined by dots."""

    def write(self, path: Path, headed: bool) -> str:
        return ".".join(path)

    def read(self, name: str) -> Path:
        return tuple(name.split("."))

    def read_flax(self, name: str) -> Path:
        return self.read(name)

    def is_transposed(self, path: Path, flax: bool) -> bool:
        return False


NAMES = _Names(prefix="")


def name_layer(layer: int) -> str:
    """What the parameters of a layer, counted from 0, are called: lstm, lstm_1, lstm_2 ..."""
    return f"lstm_{layer}" if layer else "lstm"


class BiLSTM(nn.Module):
    """The BiLSTM student on packed rows; hashable, so a jit static argument.

    Without classes it has no head, and Output.logits is None.
    """

    config: BiLSTMConfig
    classes: int = 0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        batch: Batch,
        attention: bool = False,
        deterministic: bool = True,
        features: Any = None,
    ) -> Output:
        """Batch i32[B,T] -> Output with logits f32[B,T,C].

        Hidden states: embeddings f[B,T,E], f[B,T,2H] of every layer, the projection before its GELU
        f[B,T,D], and after it f[B,T,D]. There are no attention maps, whatever `attention` is. With
        `features`, the hidden states of the last layer, only what follows them is computed.
        """
        config = self.config
        below: tuple[jax.Array, ...] = ()  # the features
        if features is None:
            embeddings = _Embeddings(config, self.dtype, name="embeddings")(batch.tokens)
            dropped = features = Dropout(config.dropout)(embeddings, deterministic)
            for layer in range(config.layers):
                below = (*below, features)
                if layer:
                    dropped = Dropout(config.dropout)(features, deterministic)
                lstm = LSTM(config.hidden_size, self.dtype, name=name_layer(layer))
                features = lstm(dropped, batch.segment)
        both_ways = features.astype(array_type(self.dtype))
        dropped = Dropout(config.dropout)(both_ways, deterministic)
        projected = dense_layer(config.projection_size, self.dtype, name="projection")(dropped)
        activated = gelu(projected)
        logits = None
        if self.classes:
            logits = dense_layer(self.classes, self.dtype, name="classifier")(activated)
            logits = logits.astype(jnp.float32)
        return Output(logits, (*below, both_ways, projected, activated), None)

    @property
    def depth(self) -> int:
        """1, whatever the number of LSTMs: the projection is all that a loss compares."""
        return 1

    @property
    def max_positions(self) -> int | None:
        """None: a text may have any length."""
        return None

    @property
    def attention_heads(self) -> int:
        """0: there is no attention."""
        return 0

    @property
    def projection_size(self) -> int | None:
        """The width of the projection, D."""
        return self.config.projection_size

    @property
    def features(self) -> int:
        """The index among the hidden states of what projection and head read."""
        return self.config.layers

    @nn.nowrap
    def compared_state(self, output: Output, layer: int, kind: str) -> Array:
        """The projection f[B,T,D]: for the KL after its GELU, for other kinds of loss before it."""
        # GELU cannot reach below -0.17, where much of a teacher's energy may lie: only the KL,
        # which compares distributions over the width, reads what comes after it.
        return output.hidden[-1] if kind == "kl" else output.hidden[-2]

    @nn.nowrap
    def summary(self) -> str:
        """The widths on one line."""
        config = self.config
        layers = f"{config.layers} layers of " if config.layers > 1 else ""
        return (
            f"BiLSTM, embeddings {config.embedding_size}, {layers}2 x {config.hidden_size} units, "
            f"projection to {config.projection_size}"
        )

    @nn.nowrap
    def init_params(self, key: jax.Array) -> Params:
        """New float32 parameters, drawn with `key`."""
        return draw_params(self, key)


class _Embeddings(nn.Module):
    """Subwords i32[B,T] -> f[B,T,E]."""

    config: BiLSTMConfig
    dtype: str

    @nn.compact
    def __call__(self, tokens: Any) -> jax.Array:
        config = self.config
        table = nn.Embed(config.vocabulary_size, config.embedding_size, name="word_embeddings")
        return table(tokens).astype(array_type(self.dtype))  # rounded last, as in `look_up`


def add_graph(graph: "Graph", config: BiLSTMConfig, task_kind: str) -> str:
    """The student as nodes of a graph; ONNX's LSTMs get each text's length from the mask.

    Returns:
        Logits f32[B,T,C] of subwords (tagging), or f32[B,C] of texts (classification).
    """
    embedded = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    lengths = graph.add("ReduceSum", graph.mask, graph.constant([1]), keepdims=0)
    lengths = graph.cast(lengths, np.int32)
    inputs = graph.add("Transpose", embedded, perm=[1, 0, 2])
    for layer in range(config.layers):
        states = _add_lstm(graph, name_layer(layer), inputs, lengths, config.hidden_size)
        # f32[T,2,B,H] -> f32[T,B,2H] for the next layer; of the last f32[B,T,2H].
        axes = [0, 2, 1, 3] if layer < config.layers - 1 else [2, 0, 1, 3]
        joined = graph.add("Transpose", states, perm=axes)
        inputs = graph.add("Reshape", joined, graph.constant([0, 0, 2 * config.hidden_size]))
    both_ways = inputs
    if task_kind == "classification":
        both_ways = graph.take_first(both_ways)
    activated = graph.activate(graph.dense(both_ways, "projection"), "gelu")
    return graph.dense(activated, "classifier")


def _add_lstm(graph: "Graph", name: str, inputs: str, lengths: str, size: int) -> str:
    """Adds the layer whose parameters have a name: f32[T,B,N] -> f32[T,2,B,H]."""
    bias = _stack_directions(graph, name, "bias")
    return graph.add(
        "LSTM",
        inputs,
        graph.weight(f"{name}.input_kernel", _stack_directions(graph, name, "input_kernel")),
        graph.weight(
            f"{name}.recurrent_kernel", _stack_directions(graph, name, "recurrent_kernel")
        ),
        # ONNX has a second bias, for the state: zero.
        graph.weight(f"{name}.bias", np.concatenate([bias, np.zeros_like(bias)], axis=1)),
        lengths,
        direction="bidirectional",
        hidden_size=size,
        name=name,
    )


def _stack_directions(graph: "Graph", layer: str, name: str) -> np.ndarray:
    """A kernel f32[N,4H] or bias f32[4H] of both directions as ONNX has it: f32[2,4H(,N)]."""
    stacked = []
    for direction in ("forward", "backward"):
        enter, forget, new, leave = np.split(graph.leaf(f"{layer}.{direction}.{name}").T, 4)
        stacked.append(np.concatenate([enter, leave, forget, new]))  # ONNX's order of gates
    return np.stack(stacked)
