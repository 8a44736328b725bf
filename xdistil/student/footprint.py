"""Parameters, bytes and arithmetic of a student in closed form: no model is built.

A student is a list of weights, whose shapes follow from its config. The list is that of the modules
in `models/families`; what a file holds is that of `deploy`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.families.bilstm import BiLSTMConfig

Role = Literal["embedding", "kernel", "recurrence", "output", "vector"]

_SMALLEST = 1024  # numbers in the smallest weight that int8 files quantize
# Bytes of a file beside its weights: names of tensors, and the nodes of a graph. They hardly depend
# on widths. These numbers are measured, and tests compare the sums with files.
_TENSOR = 112  # of model.safetensors, by tensor
_GRAPH, _INT8_GRAPH = (1_900, 3_400), (3_200, 9_100)  # of a transformer: whatever it has, by layer
_BILSTM_GRAPH, _INT8_BILSTM_GRAPH = (975, 425), (2_440, 960)  # of a BiLSTM, likewise


@dataclass(frozen=True)
class Weight:
    """One array of parameters."""

    shape: tuple[int, ...]
    role: Role  # the output is the last layer of the head
    once: bool = False  # it multiplies a text once, and not each of its subwords

    @property
    def count(self) -> int:
        """The number of parameters."""
        return prod(self.shape)


@dataclass(frozen=True)
class Footprint:
    """What a student takes; bytes are those of the file with the weights alone."""

    parameters: int
    embeddings: int  # of the parameters, those of the word embeddings
    jax_bytes: int  # of model.safetensors
    onnx_bytes: int  # of onnx/model.onnx
    int8_bytes: int  # of onnx/model_quantized.onnx with all weights in int8
    subwords: float  # in a text
    flops: float  # of the products for such a text; a multiplication and an addition are two

    @property
    def encoder(self) -> int:
        """The parameters that are no word embeddings."""
        return self.parameters - self.embeddings

    def count_bytes(self, backend: str) -> int:
        """The bytes of the file that a backend of `deploy.predictor` loads."""
        return {"jax": self.jax_bytes, "onnx": self.onnx_bytes, "int8": self.int8_bytes}[backend]


def measure_footprint(
    config: BiLSTMConfig | EncoderConfig, task_kind: str, classes: int, subwords: float
) -> Footprint:
    """What a student of a shape takes.

    Args:
        config: of a student as `design_student` makes it: a BiLSTM, a BERT or an ELECTRA.
        task_kind: tagging or classification.
        subwords: in a text, special ones included; the mean of many texts will do.
    """
    weights = list(list_weights(config, task_kind, classes))
    count = sum(weight.count for weight in weights)
    graphs, zeros = (_GRAPH, _INT8_GRAPH), 0
    if isinstance(config, BiLSTMConfig):
        graphs = _BILSTM_GRAPH, _INT8_BILSTM_GRAPH
        zeros = 4 * 8 * config.hidden_size  # ONNX's LSTM has a second bias, which is zero here
    whole, small = (fixed + (by_layer + zeros) * config.layers for fixed, by_layer in graphs)
    return Footprint(
        parameters=count,
        embeddings=config.vocabulary_size * config.embedding_size,
        jax_bytes=4 * count + _TENSOR * len(weights),
        onnx_bytes=4 * count + whole,
        int8_bytes=sum(map(_count_int8, weights)) + small,
        subwords=subwords,
        flops=_count_flops(config, weights, subwords),
    )


def list_weights(
    config: BiLSTMConfig | EncoderConfig, task_kind: str, classes: int
) -> Iterator[Weight]:
    """Every array of parameters of a student, as `measure_footprint` takes it."""
    yield Weight((config.vocabulary_size, config.embedding_size), "embedding")
    if isinstance(config, BiLSTMConfig):
        yield from _list_bilstm(config, task_kind == "classification", classes)
    else:
        yield from _list_encoder(config)
        yield from _list_head(config, task_kind, classes)


def _list_bilstm(config: BiLSTMConfig, once: bool, classes: int) -> Iterator[Weight]:
    gates = 4 * config.hidden_size
    for layer in range(config.layers):
        width = 2 * config.hidden_size if layer else config.embedding_size
        for _ in range(2):  # directions
            yield Weight((width, gates), "recurrence")
            yield Weight((config.hidden_size, gates), "recurrence")
            yield Weight((gates,), "vector")
    yield from _list_dense(2 * config.hidden_size, config.projection_size, once=once)
    yield from _list_dense(config.projection_size, classes, "output", once)


def _list_encoder(config: EncoderConfig) -> Iterator[Weight]:
    narrow, width = config.embedding_size, config.hidden_size
    yield Weight((config.positions, narrow), "embedding")
    yield Weight((config.token_types, narrow), "embedding")
    yield from _list_norm(narrow)
    if narrow != width:
        yield from _list_dense(narrow, width)
    for _ in range(config.layers):
        for _ in range(4):  # queries, keys, values, output
            yield from _list_dense(width, width)
        yield from _list_norm(width)
        yield from _list_dense(width, config.intermediate_size)
        yield from _list_dense(config.intermediate_size, width)
        yield from _list_norm(width)


def _list_head(config: EncoderConfig, task_kind: str, classes: int) -> Iterator[Weight]:
    once = task_kind == "classification"
    if once:  # BERT's pooler, or the first layer of ELECTRA's head
        yield from _list_dense(config.hidden_size, config.hidden_size, once=True)
    yield from _list_dense(config.hidden_size, classes, "output", once)


def _list_dense(
    rows: int, columns: int, role: Role = "kernel", once: bool = False
) -> Iterator[Weight]:
    yield Weight((rows, columns), role, once)
    yield Weight((columns,), "vector")


def _list_norm(width: int) -> Iterator[Weight]:
    yield Weight((width,), "vector")
    yield Weight((width,), "vector")


def _count_int8(weight: Weight) -> int:
    """The bytes of a weight in an int8 file: a scale per row, or a scale and a zero per unit."""
    whole = weight.count if weight.role != "recurrence" else 2 * weight.count  # both directions
    if weight.role in ("vector", "output") or whole < _SMALLEST:
        return 4 * weight.count
    if weight.role == "embedding":
        return weight.count + 4 * weight.shape[0]
    return weight.count + 5 * weight.shape[1]


def _count_flops(
    config: BiLSTMConfig | EncoderConfig, weights: list[Weight], subwords: float
) -> float:
    products = [weight for weight in weights if weight.role not in ("vector", "embedding")]
    flops = sum(2 * weight.count * (1 if weight.once else subwords) for weight in products)
    if isinstance(config, EncoderConfig):  # the scores of attention, and the sums they weigh
        flops += 4 * config.layers * config.hidden_size * subwords**2
    return flops
