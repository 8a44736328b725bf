"""Layers that encoders share, as nodes of an ONNX graph; `layers.py` has them as modules.

Values are strings, their names in the graph. Importing this file does not need `onnx`.

Letters: B texts, T subwords of the longest, D width, H heads.
"""

from typing import TYPE_CHECKING

import numpy as np

from xdistil.models.encoder_config import EncoderConfig

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph


def add_embeddings(graph: "Graph", config: EncoderConfig) -> str:
    """The normed sum of subwords, positions and token types: f32[B,T,E]."""
    total = graph.look_up("embeddings.word_embeddings.embedding", graph.ids)
    total = add_token_types(graph, config, add_positions(graph, config, total))
    return graph.layer_norm(total, "embeddings.LayerNorm", config.norm_epsilon)


def add_positions(graph: "Graph", config: EncoderConfig, total: str) -> str:
    """Adds the embeddings of positions, counted from the family's first one."""
    positions = graph.count_up(config.first_position, graph.length(graph.ids))
    rows = graph.look_up("embeddings.position_embeddings.embedding", positions)
    return graph.add("Add", total, rows)


def add_token_types(graph: "Graph", config: EncoderConfig, total: str) -> str:
    """Adds the embeddings of token types, if there are any; a single type needs no input."""
    name = "embeddings.token_type_embeddings.embedding"
    if not config.token_types:
        return total
    if config.token_types > 1:
        return graph.add("Add", total, graph.look_up(name, graph.types))
    return graph.add("Add", total, graph.weight(name, graph.leaf(name)))


def add_attention(
    graph: "Graph",
    config: EncoderConfig,
    hidden: str,
    bias: str,
    name: str,
    parts: tuple[str, str, str] = ("query", "key", "value"),
) -> str:
    """softmax(Q K / sqrt(D/H) + bias) V by heads: f32[B,T,D] -> f32[B,T,D].

    Args:
        name: of the module that holds the three projections, which are called `parts`.
    """
    # One product for all three, as in the model itself.
    kernel, offset = (
        np.concatenate([graph.leaf(f"{name}.{part}.{leaf}") for part in parts], axis=-1)
        for leaf in ("kernel", "bias")
    )
    joint = graph.affine(hidden, name, kernel, offset)
    return attend_joint(graph, config, joint, bias, (config.hidden_size // config.heads) ** -0.5)


def attend_joint(graph: "Graph", config: EncoderConfig, joint: str, bias: str, scale: float) -> str:
    """`attend`, of queries, keys and values side by side: f32[B,T,3D] -> f32[B,T,D]."""
    query, key, value = graph.add_split("Split", joint, outputs=3, axis=-1, num_outputs=3)
    query, value = (graph.split_heads(part, config.heads) for part in (query, value))
    return attend(graph, query, graph.split_heads(key, config.heads, keys=True), value, bias, scale)


def attend(graph: "Graph", query: str, key: str, value: str, bias: str, scale: float) -> str:
    """softmax(scale Q K + bias) V: f32[B,H,T,D/H], keys f32[B,H,D/H,T] -> f32[B,T,D]."""
    scores = graph.add("MatMul", graph.add("Mul", query, graph.constant(scale, np.float32)), key)
    return weigh(graph, scores, bias, value)


def weigh(graph: "Graph", scores: str, bias: str, value: str) -> str:
    """softmax(scores + bias) V: scores f32[B,H,T,T] and values f32[B,H,T,D/H] -> f32[B,T,D]."""
    probabilities = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
    return graph.join_heads(graph.add("MatMul", probabilities, value))


def add_residual(graph: "Graph", config: EncoderConfig, x: str, residual: str, name: str) -> str:
    """norm(residual + dense(x))."""
    added = graph.add("Add", graph.dense(x, f"{name}.dense"), residual)
    return graph.layer_norm(added, f"{name}.LayerNorm", config.norm_epsilon)


def add_feed_forward(graph: "Graph", config: EncoderConfig, hidden: str, layer: str) -> str:
    """The feed-forward part of a post-norm layer."""
    wide = graph.dense(hidden, f"{layer}.intermediate.dense")
    wide = graph.activate(wide, config.activation)
    return add_residual(graph, config, wide, hidden, f"{layer}.output")
