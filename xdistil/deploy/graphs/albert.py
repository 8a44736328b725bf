"""ALBERT as a graph: its layers share their weights in the file as well."""

from xdistil.deploy.graphs.bert import attend, embed
from xdistil.models.families.albert import AlbertConfig
from xdistil.models.onnx_graph import Graph


def add_albert(graph: Graph, config: AlbertConfig, task_kind: str) -> tuple[str, list[str]]:
    """Logits and inputs as `bert.add_encoder` has them."""
    hidden, inputs = embed(graph, config)
    hidden = graph.dense(hidden, "encoder.embedding_hidden_mapping_in")
    far_below = graph.mask_scores()
    for index in range(config.layers):
        group = int(index / (config.layers / config.groups))  # as the model itself finds it
        layer = f"encoder.layer.{group}.albert_layers.0"
        context = attend(graph, config, hidden, far_below, f"{layer}.attention")
        added = graph.add("Add", graph.dense(context, f"{layer}.attention.dense"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.attention.LayerNorm", config.norm_epsilon)
        wide = graph.activate(graph.dense(hidden, f"{layer}.ffn"), config.activation)
        added = graph.add("Add", graph.dense(wide, f"{layer}.ffn_output"), hidden)
        hidden = graph.layer_norm(added, f"{layer}.full_layer_layer_norm", config.norm_epsilon)
    if task_kind == "classification":
        hidden = graph.activate(graph.dense(graph.take_first(hidden), "pooler.dense"), "tanh")
    return graph.dense(hidden, "classifier"), inputs
