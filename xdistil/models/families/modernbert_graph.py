"""ModernBERT as an ONNX graph; the model is in `modernbert`."""

from typing import TYPE_CHECKING

import numpy as np

from xdistil.models import onnx_layers
from xdistil.models.families.modernbert import ModernBertConfig

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph


def add_graph(graph: "Graph", config: ModernBertConfig, task_kind: str) -> str:
    """Logits as `bert.add_graph` has them, of texts of any length."""
    epsilon = config.norm_epsilon
    hidden = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    hidden = graph.layer_norm(hidden, "embeddings.norm", epsilon)
    biases = {False: graph.mask_scores(), True: graph.mask_scores(_find_near(graph, config))}
    rotations = {
        False: _find_rotations(graph, config, config.global_base),
        True: _find_rotations(graph, config, config.local_base),
    }
    scale = (config.hidden_size // config.heads) ** -0.5
    for index, local in enumerate(config.local):
        layer = f"encoder.layer.{index}"
        # The input of the first layer is normed already.
        normed = graph.layer_norm(hidden, f"{layer}.attn_norm", epsilon) if index else hidden
        joint = graph.dense(normed, f"{layer}.attn.Wqkv")
        parts = graph.add_split("Split", joint, outputs=3, axis=-1, num_outputs=3)
        query, key, value = (graph.split_heads(part, config.heads) for part in parts)
        query, key = _rotate(graph, query, rotations[local]), _rotate(graph, key, rotations[local])
        key = graph.add("Transpose", key, perm=[0, 1, 3, 2])
        context = onnx_layers.attend(graph, query, key, value, biases[local], scale)
        hidden = graph.add("Add", hidden, graph.dense(context, f"{layer}.attn.Wo"))
        normed = graph.layer_norm(hidden, f"{layer}.mlp_norm", epsilon)
        hidden = graph.add("Add", hidden, _gate(graph, config, normed, f"{layer}.mlp"))
    hidden = graph.layer_norm(hidden, "encoder.final_norm", epsilon)
    if task_kind == "classification":
        hidden = _average(graph, hidden) if config.pooling == "mean" else graph.take_first(hidden)
    pooled = graph.activate(graph.dense(hidden, "pooler.dense"), config.pooler_activation)
    return graph.dense(graph.layer_norm(pooled, "pooler.norm", epsilon), "classifier")


def _find_near(graph: "Graph", config: ModernBertConfig) -> str:
    """bool[T,T]: whether a query and a key are at most half a window apart."""
    apart = graph.add("Abs", graph.subtract_places())
    return graph.add("LessOrEqual", apart, graph.constant(config.window // 2))


def _find_rotations(graph: "Graph", config: ModernBertConfig, base: float) -> tuple[str, str]:
    """Cosines and sines of the angles of rotary positions: f32[T,D/H/2] each."""
    width = config.hidden_size // config.heads
    steps = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    places = graph.cast(graph.count_up(0, graph.length(graph.ids)), np.float32)
    column = graph.add("Unsqueeze", places, graph.constant([1]))
    angles = graph.add("Mul", column, graph.constant(1 / np.float32(base) ** steps, np.float32))
    return graph.add("Cos", angles), graph.add("Sin", angles)


def _rotate(graph: "Graph", by_head: str, rotations: tuple[str, str]) -> str:
    """Rotary positions of queries or keys f32[B,H,T,D/H]: the halves are rotated in pairs."""
    cosine, sine = rotations
    left, right = graph.add_split("Split", by_head, outputs=2, axis=-1, num_outputs=2)
    rotated = (
        graph.add("Sub", graph.add("Mul", left, cosine), graph.add("Mul", right, sine)),
        graph.add("Add", graph.add("Mul", right, cosine), graph.add("Mul", left, sine)),
    )
    return graph.add("Concat", *rotated, axis=-1)


def _gate(graph: "Graph", config: ModernBertConfig, hidden: str, name: str) -> str:
    """dense(activation(a) b) with a and b from one dense layer."""
    wide = graph.dense(hidden, f"{name}.Wi")
    shown, gate = graph.add_split("Split", wide, outputs=2, axis=-1, num_outputs=2)
    gated = graph.add("Mul", graph.activate(shown, config.activation), gate)
    return graph.dense(gated, f"{name}.Wo")


def _average(graph: "Graph", hidden: str) -> str:
    """f32[B,T,D] -> f32[B,D], the mean over the subwords of a text."""
    there = graph.cast(graph.mask, np.float32)
    weights = graph.add("Unsqueeze", there, graph.constant([1]))  # f32[B,1,T]
    total = graph.add("Squeeze", graph.add("MatMul", weights, hidden), graph.constant([1]))
    return graph.add("Div", total, graph.add("ReduceSum", there, graph.constant([1]), keepdims=1))
