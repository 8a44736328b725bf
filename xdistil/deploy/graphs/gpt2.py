"""GPT-2 as a graph: every subword sees those before it, and a text's class is read at its last."""

from xdistil.deploy.graphs.bert import add_positions, weigh_joint
from xdistil.models.families.gpt2 import GPT2Config
from xdistil.models.onnx_graph import IDS, MASK, Graph


def add_gpt2(graph: Graph, config: GPT2Config, task_kind: str) -> tuple[str, list[str]]:
    """Logits f32[B,T,C] (tagging) or f32[B,C] of the last subword (classification), and the inputs.

    A batch may be as long as the model has positions.
    """
    words = graph.look_up("embeddings.word_embeddings.embedding", IDS)
    hidden = add_positions(graph, config, words)
    behind = graph.subtract_places()
    bias = graph.mask_scores(graph.add("LessOrEqual", behind, graph.constant(0)))
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        normed = graph.layer_norm(hidden, f"{layer}.ln_1", config.norm_epsilon)
        joint = graph.dense(normed, f"{layer}.attn.c_attn")
        context = weigh_joint(graph, config, joint, bias, _scale(config, index))
        hidden = graph.add("Add", hidden, graph.dense(context, f"{layer}.attn.c_proj"))
        normed = graph.layer_norm(hidden, f"{layer}.ln_2", config.norm_epsilon)
        wide = graph.activate(graph.dense(normed, f"{layer}.mlp.c_fc"), config.activation)
        hidden = graph.add("Add", hidden, graph.dense(wide, f"{layer}.mlp.c_proj"))
    hidden = graph.layer_norm(hidden, "encoder.ln_f", config.norm_epsilon)
    if task_kind == "tagging":
        return graph.dense(hidden, "classifier"), [IDS, MASK]
    return graph.dense(_take_last(graph, hidden), "classifier.score"), [IDS, MASK]


def _scale(config: GPT2Config, index: int) -> float:
    """What the scores of a layer are multiplied by."""
    scale = (config.hidden_size // config.heads) ** -0.5 if config.scale_by_width else 1.0
    return scale / (index + 1) if config.scale_by_layer else scale


def _take_last(graph: Graph, hidden: str) -> str:
    """f32[B,T,D] -> f32[B,D], where a text's last subword stands."""
    lengths = graph.add("ReduceSum", MASK, graph.constant([1]), keepdims=1)
    return graph.add("GatherND", hidden, graph.add("Sub", lengths, graph.constant(1)), batch_dims=1)
