"""A builder of ONNX graphs: nodes, weights and the operations that families use.

It needs the package `onnx`, so families import it only for type checking.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from flax import traverse_util
from onnx import TensorProto, helper, numpy_helper

from xdistil.models.types import Params

IDS, MASK, TYPES, LOGITS = "input_ids", "attention_mask", "token_type_ids", "logits"
OPSET = 20  # with Gelu; ONNX Runtime knows it since 1.17
_IR_VERSION = 9  # of this opset's release: older runtimes refuse a later one
_FAR_BELOW = -1e30  # added to a masked score; finite, so that an empty row gives no NaN
# How a weight may be stored; arithmetic is in float32.
FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"


class Graph:
    """A graph that is being built. Values have names; those of the inputs, i64[B,T] each, are
    `ids`, `mask` and `types`.

    `storage` maps names of weights to how they are stored: FLOAT32 (the default), FLOAT16, or INT8
    with a scale for each row (the last axis). Nodes convert smaller types to float32; a runtime
    folds them when it opens the file. Of an embedding only the rows looked up are converted.
    """

    ids, mask, types = IDS, MASK, TYPES

    def __init__(self, params: Params, storage: Mapping[str, str]) -> None:
        flat = traverse_util.flatten_dict(params)
        self._leaves = {".".join(path): np.asarray(leaf) for path, leaf in flat.items()}
        self._storage = storage
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}
        self._names: set[str] = set()

    def leaf(self, name: str) -> np.ndarray:
        """A parameter by its path, joined by dots."""
        return self._leaves[name]

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns its name."""
        return self.add_split(operator, *inputs, outputs=1, name=name, **attributes)[0]

    def add_split(
        self, operator: str, *inputs: str, outputs: int, name: str = "", **attributes: Any
    ) -> list[str]:
        """Adds a node with several outputs and returns their names."""
        name = self._name(name or operator)
        results = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, results, name=name, **attributes))
        return results

    def cast(self, x: str, dtype: Any) -> str:
        """The value in another NumPy type."""
        return self.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A small constant, such as a shape or a factor."""
        return self._store(self._name("constant"), np.asarray(value, dtype))

    def weight(self, name: str, value: np.ndarray) -> str:
        """A float32 weight, stored as `storage` asks."""
        storage = self._storage.get(name, FLOAT32)
        if storage == FLOAT32:
            return self._store(name, value)
        if storage == FLOAT16:
            narrow = self._store(name, value.astype(np.float16))
            return self.cast(narrow, np.float32)
        rows, scales = quantize_rows(value)
        wide = self.cast(self._store(name, rows), np.float32)
        return self.add("Mul", wide, self._store(f"{name}.scale", scales))

    def look_up(self, name: str, indices: str) -> str:
        """The rows of an embedding: i64[...] -> f32[..., E]."""
        table, storage = self.leaf(name), self._storage.get(name, FLOAT32)
        if storage == FLOAT32:
            return self.add("Gather", self._store(name, table), indices, name=f"{name}.rows")
        if storage == FLOAT16:
            narrow = self._store(name, table.astype(np.float16))
            rows = self.add("Gather", narrow, indices, name=f"{name}.rows")
            return self.cast(rows, np.float32)
        quantized, scales = quantize_rows(table)
        rows = self.add("Gather", self._store(name, quantized), indices, name=f"{name}.rows")
        factors = self.add("Gather", self._store(f"{name}.scale", scales), indices)
        return self.add("Mul", self.cast(rows, np.float32), factors)

    def dense(self, x: str, name: str) -> str:
        """x @ kernel + bias of the layer with this name; its bias may be missing."""
        bias = self.leaf(f"{name}.bias") if f"{name}.bias" in self._leaves else None
        return self.affine(x, name, self.leaf(f"{name}.kernel"), bias)

    def affine(self, x: str, name: str, kernel: np.ndarray, bias: np.ndarray | None) -> str:
        """x @ kernel + bias, for weights that are computed from the parameters."""
        product = self.add("MatMul", x, self.weight(f"{name}.kernel", kernel), name=name)
        if bias is None:
            return product
        return self.add("Add", product, self._store(f"{name}.bias", bias))

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        """A norm over the last axis; its bias may be missing."""
        leaves = [leaf for leaf in (f"{name}.scale", f"{name}.bias") if leaf in self._leaves]
        parts = [self._store(leaf, self.leaf(leaf)) for leaf in leaves]
        return self.add("LayerNormalization", x, *parts, axis=-1, epsilon=epsilon, name=name)

    def activate(self, x: str, activation: str) -> str:
        """One of `encoder_config.ACTIVATIONS`."""
        if activation == "gelu":
            return self.add("Gelu", x)
        if activation in ("gelu_new", "gelu_pytorch_tanh"):
            return self.add("Gelu", x, approximate="tanh")
        if activation in ("silu", "swish"):
            return self.add("Mul", x, self.add("Sigmoid", x))
        return self.add({"relu": "Relu", "tanh": "Tanh"}[activation], x)

    def length(self, ids: str) -> str:
        """i64[] of the second axis."""
        size = self.add("Shape", ids, start=1, end=2)
        return self.add("Squeeze", size, self.constant([0]))

    def count_up(self, first: int, length: str) -> str:
        """i64[length]: first, first + 1, ..."""
        start = self.constant(first)
        end = self.add("Add", length, start)
        return self.add("Range", start, end, self.constant(1))

    def subtract_places(self) -> str:
        """i64[T,T]: the position of each key (last) less that of each query."""
        places = self.count_up(0, self.length(IDS))
        keys, queries = (self.add("Unsqueeze", places, self.constant([axis])) for axis in (0, 1))
        return self.add("Sub", keys, queries)

    def mask_scores(self, seen: str = "") -> str:
        """What is added to scores f32[B,H,T,T]: 0 at keys (last) that are not padding, else -1e30.

        With `seen` bool[T,T], 0 only at keys that a query may attend to.
        """
        mask = self.add("Unsqueeze", MASK, self.constant([1, 2]))
        there = self.cast(mask, np.bool_)
        if seen:
            there = self.add("And", there, seen)
        zero, far = (self.constant(value, np.float32) for value in (0.0, _FAR_BELOW))
        return self.add("Where", there, zero, far)

    def take_first(self, hidden: str) -> str:
        """f32[B,T,D] -> f32[B,D], at a text's first subword."""
        return self.add("Gather", hidden, self.constant(0), axis=1)

    def split_heads(self, x: str, heads: int, keys: bool = False) -> str:
        """f32[B,T,D] -> f32[B,H,T,D/H], or for keys f32[B,H,D/H,T]."""
        split = self.add("Reshape", x, self.constant([0, 0, heads, -1]))
        return self.add("Transpose", split, perm=[0, 2, 3, 1] if keys else [0, 2, 1, 3])

    def join_heads(self, x: str) -> str:
        """f32[B,H,T,D/H] -> f32[B,T,D]."""
        return self.add(
            "Reshape", self.add("Transpose", x, perm=[0, 2, 1, 3]), self.constant([0, 0, -1])
        )

    def finish(self, logits: str, shape: tuple[str | int, ...]) -> onnx.ModelProto:
        """The model, with the inputs that nodes read and the float32 output `logits`."""
        read = {name for node in self._nodes for name in node.input}
        self._nodes.append(helper.make_node("Identity", [logits], [LOGITS], name=LOGITS))
        graph = helper.make_graph(
            self._nodes,
            "xdistil",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
                for name in (IDS, MASK, TYPES)
                if name in read
            ],
            [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, shape)],
            list(self._stored.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="xdistil",
        )

    def _store(self, name: str, value: np.ndarray) -> str:
        if name not in self._stored:
            self._stored[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def _name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}.{number}"
        self._names.add(name)
        return name


def quantize_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32[..., N] -> i8[..., N] and scales f32[..., 1]: the largest number of a row becomes 127.

    A single scale for an embedding would be that of its largest row and lose the small ones.
    """
    scales = np.abs(values).max(axis=-1, keepdims=True) / np.float32(127)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.rint(values / scales).astype(np.int8), scales
