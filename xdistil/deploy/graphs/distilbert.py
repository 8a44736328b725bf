"""DistilBERT as a graph."""

from xdistil.deploy.graphs.bert import attend, embed
from xdistil.models.families.distilbert import DistilBertConfig
from xdistil.models.onnx_graph import Graph


def add_distilbert(graph: Graph, config: DistilBertConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits and inputs as `bert.add_encoder` has them."""
    hidden, inputs = embed(graph, config)
    far_below = graph.mask_scores()
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        parts = ("q_lin", "k_lin", "v_lin")
        context = attend(graph, config, hidden, far_below, f"{layer}.attention", parts)
        added = graph.add("Add", graph.dense(context, f"{layer}.attention.out_lin"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.sa_layer_norm", config.norm_epsilon)
        wide = graph.activate(graph.dense(hidden, f"{layer}.ffn.lin1"), config.activation)
        added = graph.add("Add", graph.dense(wide, f"{layer}.ffn.lin2"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.output_layer_norm", config.norm_epsilon)
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "relu")
    return graph.dense(hidden, "classifier"), inputs
