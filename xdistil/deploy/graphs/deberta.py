"""DeBERTa-v2 and v3 as a graph."""

import numpy as np

from xdistil.deploy.graphs import bert
from xdistil.models.families.deberta import DebertaConfig, find_rows
from xdistil.models.onnx_graph import IDS, MASK, Graph


def add_deberta(graph: Graph, config: DebertaConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits f32[B,T,C] (tagging) or f32[B,C] of the first subword (classification), and the
    inputs.

    Only a model with absolute positions bounds the length of a batch.
    """
    hidden, inputs = _embed(graph, config)
    far_below = graph.mask_scores()
    distances = _Distances(graph, config) if config.relative else None
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        context = _attend(graph, config, hidden, far_below, distances, f"{layer}.attention.self")
        hidden = bert.add_residual(graph, config, context, hidden, f"{layer}.attention.output")
        hidden = bert.add_feed_forward(graph, config, hidden, layer)
    if task_kind == "classification":
        pooled = graph.dense(graph.take_first(hidden), "pooler.dense")
        hidden = graph.activate(pooled, config.pooler_activation)
    return graph.dense(hidden, "classifier"), inputs


def _embed(graph: Graph, config: DebertaConfig) -> tuple[str, list[str]]:
    inputs = [IDS, MASK]
    total = graph.look_up("embeddings.word_embeddings.embedding", IDS)
    if config.absolute_positions:
        total = bert.add_positions(graph, config, total)
    total = bert.add_token_types(graph, config, total, inputs)
    if config.embedding_size != config.hidden_size:
        name = "embeddings.embed_proj.kernel"
        total = graph.add("MatMul", total, graph.weight(name, graph.leaf(name)))
    return graph.layer_norm(total, "embeddings.LayerNorm", config.norm_epsilon), inputs


class _Distances:
    """The embeddings of distances, and their rows for a batch: those of -T .. T-1 and of T .. 1-T.

    Beyond twice `config.distances` every distance has the outermost row, so that a table as wide
    serves texts of any length.
    """

    def __init__(self, graph: Graph, config: DebertaConfig) -> None:
        name = "encoder.rel_embeddings.embedding"
        self.table = graph.weight(name, graph.leaf(name))
        if config.norm_distances:
            self.table = graph.layer_norm(self.table, "encoder.LayerNorm", config.norm_epsilon)
        self.length = graph.length(IDS)
        widest = 2 * config.distances
        rows = graph.constant(find_rows(config, np.arange(-widest, widest + 1)))
        start = graph.add("Neg", self.length)
        apart = graph.add("Range", start, self.length, graph.constant(1))
        low, high = graph.constant(-widest), graph.constant(widest)

        def find(values: str) -> str:
            clipped = graph.add("Clip", values, low, high)
            return graph.add("Gather", rows, graph.add("Add", clipped, high))

        self.rows = {"p2c": find(apart), "c2p": find(graph.add("Neg", apart))}


def _attend(
    graph: Graph,
    config: DebertaConfig,
    hidden: str,
    far_below: str,
    distances: _Distances | None,
    name: str,
) -> str:
    scale = (config.hidden_size // config.heads * (1 + len(config.terms))) ** 0.5
    divisor = graph.constant(scale, np.float32)
    query, key, value = (
        graph.split_heads(graph.dense(hidden, f"{name}.{part}_proj"), config.heads)
        for part in ("query", "key", "value")
    )
    query = graph.add("Div", query, divisor)
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
    if distances is not None:
        by_content = {"c2p": query, "p2c": graph.add("Div", key, divisor)}
        for term in config.terms:
            keys = _project(graph, config, distances, term, name)
            aligned = _align(graph, distances.length, graph.add("MatMul", by_content[term], keys))
            if term == "p2c":
                aligned = graph.add("Transpose", aligned, perm=[0, 1, 3, 2])
            scores = graph.add("Add", scores, aligned)
    probabilities = graph.add("Softmax", graph.add("Add", scores, far_below), axis=-1)
    return graph.join_heads(graph.add("MatMul", probabilities, value))


def _project(
    graph: Graph, config: DebertaConfig, distances: _Distances, term: str, name: str
) -> str:
    """f32[H,D/H,2T]: what a term multiplies with, for every distance of the batch."""
    part = {"c2p": "key", "p2c": "query"}[term]
    layer = f"{name}.{part}_proj" if config.shared_projections else f"{name}.pos_{part}_proj"
    projected = graph.dense(distances.table, layer)  # of weights alone: folded by the runtime
    split = graph.add("Reshape", projected, graph.constant([0, config.heads, -1]))
    by_head = graph.add("Transpose", split, perm=[1, 2, 0])
    return graph.add("Gather", by_head, distances.rows[term], axis=2)


def _align(graph: Graph, length: str, scores: str) -> str:
    """f32[B,H,T,2T] -> f32[B,H,T,T] with [a,b] from [a,T+b-a], as `deberta` does it."""
    size = graph.add("Unsqueeze", length, graph.constant([0]))
    flat = graph.add("Reshape", scores, graph.constant([0, 0, -1]))
    end, axis = graph.constant([np.iinfo(np.int64).max]), graph.constant([2])
    flat = graph.add("Slice", flat, size, end, axis)
    shape = graph.add("Concat", graph.constant([0, 0]), size, graph.constant([-1]), axis=0)
    shifted = graph.add("Reshape", flat, shape)
    return graph.add("Slice", shifted, graph.constant([0]), size, graph.constant([3]))
