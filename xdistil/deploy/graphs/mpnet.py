"""MPNet as a graph."""

import numpy as np

from xdistil.deploy.graphs.bert import add_feed_forward, attend, embed
from xdistil.models.families.mpnet import MPNetConfig, find_buckets
from xdistil.models.onnx_graph import Graph

_WIDEST = 256  # subwords; from half of it on all distances have one bucket


def add_mpnet(graph: Graph, config: MPNetConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits and inputs as `bert.add_encoder` has them."""
    hidden, inputs = embed(graph, config)
    bias = graph.add("Add", graph.mask_scores(), _look_up_distances(graph))
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        own = f"{layer}.attention"
        context = attend(graph, config, hidden, bias, f"{own}.attn", ("q", "k", "v"))
        added = graph.add("Add", graph.dense(context, f"{own}.attn.o"), hidden)
        hidden = graph.layer_norm(added, f"{own}.LayerNorm", config.norm_epsilon)
        hidden = add_feed_forward(graph, config, hidden, layer)
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier"), inputs
    hidden = graph.activate(graph.dense(graph.take_first(hidden), "classifier.dense"), "tanh")
    return graph.dense(hidden, "classifier.out_proj"), inputs


def _look_up_distances(graph: Graph) -> str:
    """f32[H,T,T]: what is added to the score of a query and a key for their distance."""
    low, high = graph.constant(-_WIDEST), graph.constant(_WIDEST)
    apart = graph.add("Clip", graph.subtract_places(), low, high)
    buckets = graph.constant(find_buckets(np.arange(-_WIDEST, _WIDEST + 1)))
    chosen = graph.add("Gather", buckets, graph.add("Add", apart, high))
    rows = graph.look_up("encoder.relative_attention_bias.embedding", chosen)
    return graph.add("Transpose", rows, perm=[2, 0, 1])
