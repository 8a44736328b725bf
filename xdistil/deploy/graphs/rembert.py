"""RemBERT as a graph."""

from xdistil.deploy.graphs.bert import add_layers, embed
from xdistil.models.families.rembert import RemBertConfig
from xdistil.models.onnx_graph import Graph


def add_rembert(graph: Graph, config: RemBertConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits and inputs as `bert.add_encoder` has them."""
    hidden, inputs = embed(graph, config)
    hidden = add_layers(graph, config, graph.dense(hidden, "embeddings_project"))
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "tanh")
    return graph.dense(hidden, "classifier"), inputs
