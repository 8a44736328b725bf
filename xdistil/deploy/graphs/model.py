"""A model of any family -> its ONNX graph."""

from collections.abc import Mapping
from typing import Any

from xdistil.data.examples import Task
from xdistil.deploy.graphs.albert import add_albert
from xdistil.deploy.graphs.bert import add_encoder
from xdistil.deploy.graphs.bilstm import add_bilstm
from xdistil.deploy.graphs.deberta import add_deberta
from xdistil.deploy.graphs.distilbert import add_distilbert
from xdistil.deploy.graphs.gpt2 import add_gpt2
from xdistil.deploy.graphs.modernbert import add_modernbert
from xdistil.deploy.graphs.mpnet import add_mpnet
from xdistil.deploy.graphs.rembert import add_rembert
from xdistil.errors import InputError
from xdistil.models.families.albert import Albert
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.families.deberta import Deberta
from xdistil.models.families.distilbert import DistilBert
from xdistil.models.families.gpt2 import GPT2
from xdistil.models.families.modernbert import ModernBert
from xdistil.models.families.mpnet import MPNet
from xdistil.models.families.rembert import RemBert
from xdistil.models.hf.folder import Model
from xdistil.models.onnx_graph import Graph
from xdistil.models.types import Params, count_parameters

# How each family is written: its way from the inputs to the logits.
_FAMILIES: dict[type, Any] = {
    BiLSTM: add_bilstm,
    Encoder: add_encoder,
    Deberta: add_deberta,
    DistilBert: add_distilbert,
    MPNet: add_mpnet,
    ModernBert: add_modernbert,
    Albert: add_albert,
    RemBert: add_rembert,
    GPT2: add_gpt2,
}
_MOST_PARAMETERS = 500_000_000  # of float32: a protobuf, which an ONNX file is, ends at 2 GiB


def build_graph(
    model: Model, params: Params, task: Task, storage: Mapping[str, str] | None = None
) -> Any:
    """The model with its head as an onnx.ModelProto.

    Inputs are `input_ids`, `attention_mask` and, where the model has more than one token type,
    `token_type_ids`, all i64[batch,length] of texts that are padded at their ends. The output
    `logits` is f32[batch,length,C] (tagging) or f32[batch,C] (classification).

    Args:
        storage: how weights are stored, by name, as `Graph` takes it; all in float32 by default.

    Raises:
        InputError: the model is too large for one ONNX file.
    """
    total = count_parameters(params)["total"]
    if total > _MOST_PARAMETERS:
        raise InputError(
            f"The model has {total} parameters, and an ONNX file holds {_MOST_PARAMETERS} at most:"
            " export its student."
        )
    graph = Graph(params, storage or {})
    logits, inputs = _FAMILIES[type(model)](graph, model.config, task.kind)
    subwords: tuple[str, ...] = ("length",) if task.kind == "tagging" else ()
    return graph.finish(logits, inputs, ("batch", *subwords, len(task.labels)))
