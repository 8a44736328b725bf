"""The BiLSTM student as a graph: ONNX's own bidirectional LSTM, which knows each text's length."""

import numpy as np
from onnx import TensorProto

from xdistil.models.families.bilstm import BiLSTMConfig
from xdistil.models.onnx_graph import IDS, MASK, Graph

_EMBEDDINGS = "embeddings.word_embeddings.embedding"
_GATES = (0, 3, 1, 2)  # ONNX has input, output, forget, cell; we have input, forget, cell, output


def add_bilstm(graph: Graph, config: BiLSTMConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits f32[B,T,C] (tagging) or f32[B,C] of the first subword (classification), and the
    inputs.

    Texts of a batch end where their attention_mask does.
    """
    embedded = graph.look_up(_EMBEDDINGS, IDS)
    lengths = graph.add("ReduceSum", MASK, graph.constant([1]), keepdims=0)
    states = graph.add(
        "LSTM",
        graph.add("Transpose", embedded, perm=[1, 0, 2]),
        graph.weight("lstm.input_kernel", _stack(graph, "input_kernel")),
        graph.weight("lstm.recurrent_kernel", _stack(graph, "recurrent_kernel")),
        graph.weight("lstm.bias", _stack_bias(graph)),
        graph.add("Cast", lengths, to=TensorProto.INT32),
        direction="bidirectional",
        hidden_size=config.hidden_size,
        name="lstm",
    )  # f32[T,2,B,H]
    by_text = graph.add("Transpose", states, perm=[2, 0, 1, 3])
    both_ways = graph.add("Reshape", by_text, graph.constant([0, 0, 2 * config.hidden_size]))
    if task_kind == "classification":
        both_ways = graph.take_first(both_ways)
    activated = graph.activate(graph.dense(both_ways, "projection"), "gelu")
    return graph.dense(activated, "classifier"), [IDS, MASK]


def _stack(graph: Graph, name: str) -> np.ndarray:
    """Kernels f32[N,4H] of both directions as ONNX has them: f32[2,4H,N]."""
    return np.stack(
        [
            _order_gates(graph.leaf(f"lstm.{direction}.{name}").T)
            for direction in ("forward", "backward")
        ]
    )


def _stack_bias(graph: Graph) -> np.ndarray:
    """f32[2,8H]: ONNX has a second bias for the state, which is zero."""
    stacked = _stack(graph, "bias")
    return np.concatenate([stacked, np.zeros_like(stacked)], axis=1)


def _order_gates(rows: np.ndarray) -> np.ndarray:
    gates = np.split(rows, 4)
    return np.concatenate([gates[gate] for gate in _GATES])
