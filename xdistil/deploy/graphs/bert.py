"""BERT, ELECTRA and the RoBERTas as a graph."""

import numpy as np

from xdistil.models.families.bert import EncoderConfig
from xdistil.models.onnx_graph import IDS, MASK, TYPES, Graph


def add_encoder(graph: Graph, config: EncoderConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits f32[B,T,C] (tagging) or f32[B,C] of the first subword (classification), and the
    inputs.

    A batch may be as long as the model has positions.
    """
    hidden, inputs = embed(graph, config)
    if config.embedding_size != config.hidden_size:
        hidden = graph.dense(hidden, "embeddings_project")
    return _classify(graph, config, task_kind, add_layers(graph, config, hidden)), inputs


def add_layers(graph: Graph, config: EncoderConfig, hidden: str) -> str:
    """BERT's layers, from the first hidden state to the last."""
    far_below = graph.mask_scores()
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        context = attend(graph, config, hidden, far_below, f"{layer}.attention.self")
        hidden = add_residual(graph, config, context, hidden, f"{layer}.attention.output")
        hidden = add_feed_forward(graph, config, hidden, layer)
    return hidden


def add_residual(graph: Graph, config: EncoderConfig, x: str, residual: str, name: str) -> str:
    """norm(residual + dense(x))."""
    added = graph.add("Add", graph.dense(x, f"{name}.dense"), residual)
    return graph.layer_norm(added, f"{name}.LayerNorm", config.norm_epsilon)


def add_feed_forward(graph: Graph, config: EncoderConfig, hidden: str, layer: str) -> str:
    """The wide half of a layer and the way back."""
    wide = graph.dense(hidden, f"{layer}.intermediate.dense")
    wide = graph.activate(wide, config.activation)
    return add_residual(graph, config, wide, hidden, f"{layer}.output")


def add_token_types(graph: Graph, config: EncoderConfig, total: str, inputs: list[str]) -> str:
    """Adds the embeddings of token types, if there are any; one type alone needs no input."""
    name = "embeddings.token_type_embeddings.embedding"
    if not config.token_types:
        return total
    if config.token_types > 1:
        inputs.append(TYPES)
        return graph.add("Add", total, graph.look_up(name, TYPES))
    return graph.add("Add", total, graph.weight(name, graph.leaf(name)))


def add_positions(graph: Graph, config: EncoderConfig, total: str) -> str:
    """Adds the embeddings of positions: 0, 1, ..., behind what the family keeps for padding."""
    positions = graph.count_up(config.first_position, graph.length(IDS))
    rows = graph.look_up("embeddings.position_embeddings.embedding", positions)
    return graph.add("Add", total, rows)


def embed(graph: Graph, config: EncoderConfig) -> tuple[str, list[str]]:
    """The normed sum of subwords, positions and token types f32[B,T,E], and the inputs."""
    inputs = [IDS, MASK]
    total = graph.look_up("embeddings.word_embeddings.embedding", IDS)
    total = add_positions(graph, config, total)
    total = add_token_types(graph, config, total, inputs)
    return graph.layer_norm(total, "embeddings.LayerNorm", config.norm_epsilon), inputs


def attend(
    graph: Graph,
    config: EncoderConfig,
    hidden: str,
    bias: str,
    name: str,
    parts: tuple[str, str, str] = ("query", "key", "value"),
) -> str:
    """softmax(Q K / sqrt(D/H) + bias) V by heads: f32[B,T,D] -> f32[B,T,D].

    Args:
        name: of what holds the three projections, which are called `parts`.
    """
    # One product for all three, as in the model itself.
    kernel, offset = (
        np.concatenate([graph.leaf(f"{name}.{part}.{leaf}") for part in parts], axis=-1)
        for leaf in ("kernel", "bias")
    )
    joint = graph.affine(hidden, name, kernel, offset)
    return weigh_joint(graph, config, joint, bias, (config.hidden_size // config.heads) ** -0.5)


def weigh_joint(graph: Graph, config: EncoderConfig, joint: str, bias: str, scale: float) -> str:
    """`weigh`, of queries, keys and values side by side: f32[B,T,3D] -> f32[B,T,D]."""
    query, key, value = graph.add_split("Split", joint, outputs=3, axis=-1, num_outputs=3)
    query, value = (graph.split_heads(part, config.heads) for part in (query, value))
    return weigh(graph, query, graph.split_heads(key, config.heads, keys=True), value, bias, scale)


def weigh(graph: Graph, query: str, key: str, value: str, bias: str, scale: float) -> str:
    """softmax(scale Q K + bias) V: f32[B,H,T,D/H], keys f32[B,H,D/H,T] -> f32[B,T,D]."""
    scores = graph.add("MatMul", graph.add("Mul", query, graph.constant(scale, np.float32)), key)
    probabilities = graph.add("Softmax", graph.add("Add", scores, bias), axis=-1)
    return graph.join_heads(graph.add("MatMul", probabilities, value))


def _classify(graph: Graph, config: EncoderConfig, task_kind: str, hidden: str) -> str:
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier")
    hidden = graph.take_first(hidden)
    if config.model_type == "bert":
        pooled = graph.activate(graph.dense(hidden, "pooler.dense"), "tanh")
        return graph.dense(pooled, "classifier")
    activation = "gelu" if config.model_type == "electra" else "tanh"
    hidden = graph.activate(graph.dense(hidden, "classifier.dense"), activation)
    return graph.dense(hidden, "classifier.out_proj")
