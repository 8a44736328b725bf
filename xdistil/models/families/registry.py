"""The families of models: for each model type of a config.json the functions that handle it.

docs/add_a_family.md explains how to add one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdistil.models.families import (
    albert,
    bert,
    bilstm,
    deberta,
    distilbert,
    gpt2,
    modernbert,
    modernbert_graph,
    mpnet,
    rembert,
)
from xdistil.models.tensor_names import Names
from xdistil.models.types import Model, ModelConfig

if TYPE_CHECKING:
    from xdistil.models.onnx_graph import Graph


@dataclass(frozen=True)
class Family:
    """How models of one type are read, built, written and exported."""

    class_name: str  # the beginning of HF's class names
    build: Callable[..., Model]  # of config, kind of task, classes and dtype
    read_config: Callable[[Mapping[str, Any], str], ModelConfig]
    write_config: Callable[[Any], dict[str, Any]]
    names: Names
    # (graph, config, kind of task) -> the name of the logits, after adding the model's nodes.
    add_graph: Callable[["Graph", Any, str], str]


def _bert(class_name: str, prefix: str) -> Family:
    names = Names(prefix)
    return Family(
        class_name, bert.Encoder, bert.read_config, bert.write_config, names, bert.add_graph
    )


FAMILIES: dict[str, Family] = {  # by the model_type of a config.json
    "bert": _bert("Bert", "bert"),
    "electra": _bert("Electra", "electra"),
    "roberta": _bert("Roberta", "roberta"),
    "xlm-roberta": _bert("XLMRoberta", "roberta"),
    "camembert": _bert("Camembert", "roberta"),
    deberta.MODEL_TYPE: Family(
        "DebertaV2",
        deberta.Deberta,
        deberta.read_config,
        deberta.write_config,
        deberta.NAMES,
        deberta.add_graph,
    ),
    distilbert.MODEL_TYPE: Family(
        "DistilBert",
        distilbert.DistilBert,
        distilbert.read_config,
        distilbert.write_config,
        distilbert.NAMES,
        distilbert.add_graph,
    ),
    mpnet.MODEL_TYPE: Family(
        "MPNet", mpnet.MPNet, mpnet.read_config, mpnet.write_config, mpnet.NAMES, mpnet.add_graph
    ),
    modernbert.MODEL_TYPE: Family(
        "ModernBert",
        modernbert.ModernBert,
        modernbert.read_config,
        modernbert.write_config,
        modernbert.NAMES,
        modernbert_graph.add_graph,
    ),
    albert.MODEL_TYPE: Family(
        "Albert",
        albert.Albert,
        albert.read_config,
        albert.write_config,
        albert.NAMES,
        albert.add_graph,
    ),
    rembert.MODEL_TYPE: Family(
        "RemBert",
        rembert.RemBert,
        rembert.read_config,
        rembert.write_config,
        rembert.NAMES,
        rembert.add_graph,
    ),
    gpt2.MODEL_TYPE: Family(
        "GPT2", gpt2.GPT2, gpt2.read_config, gpt2.write_config, gpt2.NAMES, gpt2.add_graph
    ),
    bilstm.MODEL_TYPE: Family(
        "XdistilBiLSTM",
        bilstm.build,
        bilstm.read_config,
        bilstm.write_config,
        bilstm.NAMES,
        bilstm.add_graph,
    ),
}
