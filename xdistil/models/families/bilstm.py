"""The paper's student: embeddings, one BiLSTM, a GELU projection to the teacher's width, a head.

Mukherjee & Hassan Awadallah 2020 (arXiv 2004.05686), section 3. With a vocabulary of V, embeddings
of width E, H units in each direction, a projection to width D and C classes it has
V*E + 8((E+H)H + H) + (2H*D + D) + (D*C + C) parameters: a gate has one bias vector.
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
    dropout: float = 0.2  # after the embeddings and after the BiLSTM
    padding_id: int = 0

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
        """1: the LSTM in both directions."""
        return 1


def read_config(raw: Mapping[str, Any], where: str) -> BiLSTMConfig:
    """The student that a config.json describes; InputError for a number out of bounds."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(BiLSTMConfig):
        name, value = field.name, raw.get(field.name)
        if field.type is float:
            values[name] = check_rate(value, name, where)
        else:
            values[name] = check_size(value, name, where, least=int(name != "padding_id"))
    return BiLSTMConfig(**values)


def write_config(config: BiLSTMConfig) -> dict[str, Any]:
    """The keys of a config.json for this student; the inverse of `read_config`."""
    return {"model_type": MODEL_TYPE, **dataclasses.asdict(config)}


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

        Hidden states: embeddings f[B,T,E], the BiLSTM's f[B,T,2H], the projection before its GELU
        f[B,T,D], and after it f[B,T,D]. There are no attention maps, whatever `attention` is. With
        `features`, the BiLSTM's hidden states, only what follows them is computed.
        """
        config = self.config
        embedded: tuple[jax.Array, ...] = ()
        if features is None:
            embeddings = _Embeddings(config, self.dtype, name="embeddings")(batch.tokens)
            embedded = (Dropout(config.dropout)(embeddings, deterministic),)
            features = LSTM(config.hidden_size, self.dtype, name="lstm")(embedded[0], batch.segment)
        both_ways = features.astype(array_type(self.dtype))
        dropped = Dropout(config.dropout)(both_ways, deterministic)
        projected = dense_layer(config.projection_size, self.dtype, name="projection")(dropped)
        activated = gelu(projected)
        logits = None
        if self.classes:
            logits = dense_layer(self.classes, self.dtype, name="classifier")(activated)
            logits = logits.astype(jnp.float32)
        return Output(logits, (*embedded, both_ways, projected, activated), None)

    @property
    def depth(self) -> int:
        """1: the projection is all that a loss compares."""
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
        return 1

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
        return (
            f"BiLSTM, embeddings {config.embedding_size}, 2 x {config.hidden_size} units, "
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
    """The student as nodes of a graph; ONNX's LSTM gets each text's length from the mask.

    Returns:
        Logits f32[B,T,C] of subwords (tagging), or f32[B,C] of texts (classification).
    """
    embedded = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    lengths = graph.add("ReduceSum", graph.mask, graph.constant([1]), keepdims=0)
    bias = _stack_directions(graph, "bias")
    states = graph.add(
        "LSTM",
        graph.add("Transpose", embedded, perm=[1, 0, 2]),
        graph.weight("lstm.input_kernel", _stack_directions(graph, "input_kernel")),
        graph.weight("lstm.recurrent_kernel", _stack_directions(graph, "recurrent_kernel")),
        # ONNX has a second bias, for the state: zero.
        graph.weight("lstm.bias", np.concatenate([bias, np.zeros_like(bias)], axis=1)),
        graph.cast(lengths, np.int32),
        direction="bidirectional",
        hidden_size=config.hidden_size,
        name="lstm",
    )  # f32[T,2,B,H]
    by_text = graph.add("Transpose", states, perm=[2, 0, 1, 3])
    both_ways = graph.add("Reshape", by_text, graph.constant([0, 0, 2 * config.hidden_size]))
    if task_kind == "classification":
        both_ways = graph.take_first(both_ways)
    activated = graph.activate(graph.dense(both_ways, "projection"), "gelu")
    return graph.dense(activated, "classifier")


def _stack_directions(graph: "Graph", name: str) -> np.ndarray:
    """A kernel f32[N,4H] or bias f32[4H] of both directions as ONNX has it: f32[2,4H(,N)]."""
    stacked = []
    for direction in ("forward", "backward"):
        enter, forget, new, leave = np.split(graph.leaf(f"lstm.{direction}.{name}").T, 4)
        stacked.append(np.concatenate([enter, leave, forget, new]))  # ONNX's order of gates
    return np.stack(stacked)
