"""A model folder <-> model and parameters: config.json, tensors and tokenizer.

Reading and writing refuse missing and unknown tensors. Folders of encoders are Hugging Face
folders, which PyTorch `transformers` opens; a BiLSTM student's has the same files and a model type
of its own.
"""

import dataclasses
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util

from xdistil.data.examples import Task
from xdistil.data.tokenizer import Tokenizer, save_tokenizer
from xdistil.errors import InputError, show, show_name
from xdistil.models import tensor_names
from xdistil.models.config_fields import LARGEST
from xdistil.models.families.registry import FAMILIES
from xdistil.models.hf import tensor_files
from xdistil.models.hf.head import (
    HEADS,
    MULTILABEL,
    check_problem,
    describe_tags,
    read_head,
)
from xdistil.models.hf.hub import find_folder
from xdistil.models.tensor_names import Path as LeafPath
from xdistil.models.types import Model, Params, trace_shapes
from xdistil.runtime.json_io import write_json

_HEAD_PARTS = ("pooler", "classifier")  # parts of the parameters that may be new for a task
_WORD_EMBEDDINGS = ("embeddings", "word_embeddings", "embedding")
_POSITIONS = ("embeddings", "position_embeddings", "embedding")
_SHOWN = 3  # names of tensors that a message lists


@dataclass(frozen=True)
class Loaded:
    """A model read from a folder."""

    model: Model
    params: Params  # float32 NumPy arrays
    config: dict[str, Any]  # config.json as read
    notes: list[str]  # sentences on what was left out, initialized or reordered
    task: Task | None = None  # the task of the head; None: the model has no head


def check_rows(tokenizer: Tokenizer, loaded: Loaded, remedy: str) -> None:
    """Raises InputError where a model's embeddings have fewer rows than a tokenizer has subwords.

    Args:
        remedy: what would be right, the end of the message.
    """
    rows = loaded.model.config.vocabulary_size
    if tokenizer.vocabulary_size > rows:
        raise InputError(
            f"The tokenizer of {tokenizer.source} has {tokenizer.vocabulary_size} subwords and the "
            f"model's embeddings only {rows} rows: {remedy}."
        )


def load_model(
    name: str,
    revision: str = "main",
    task: Task | None = None,
    dtype: str = "float32",
    seed: int = 0,
    weights: bool = True,
) -> Loaded:
    """Read an encoder or a BiLSTM student from a folder or a hub id.

    With a `task` the model has a head for it: the folder's own if kind and labels agree (its
    classes are put in the task's order), otherwise a new one drawn with `seed`. Without a task the
    model keeps its head, if any. `dtype` is the type of the arithmetic; parameters are float32.
    With `weights` False the headers of the files are read and checked alone, and the parameters are
    zeros that take no memory.
    Raises InputError for a folder without a model, an unsupported model type, and a tensor that is
    missing, unknown, damaged or of another shape.
    """
    folder = find_folder(name, revision)
    config_file = folder / "config.json"
    raw = tensor_files.read_json(config_file)
    own = read_head(raw, config_file)
    notes = [described] if own and (described := describe_tags(raw, own)) else []
    task = task or own
    model = _build_model(raw, str(config_file), task, dtype)
    tensors = tensor_files.read_tensors(folder)
    found, more = _sort_tensors(tensors, raw["model_type"])
    notes += more
    model, more = _fit_vocabulary(model, found)
    notes += more

    if task and (own is None or (own.kind, own.labels) != (task.kind, task.labels)):
        found, more = _adapt_head(found, own, task)
        notes += more
    params, more = _fill(model, found, tensors.where, seed, weights)
    return Loaded(model, params, raw, notes + more, task)


def read_task(name: str, revision: str = "main") -> Task | None:
    """The task of the head in a folder or hub id, by its config.json; None: it has no head.

    Raises InputError where the config cannot be read, or the head predicts anything but classes.
    """
    config_file = find_folder(name, revision) / "config.json"
    raw = tensor_files.read_json(config_file)
    task = read_head(raw, config_file)
    if task is not None:
        check_problem(raw, task, name)
    return task


def save_model(
    folder: str | Path,
    model: Model,
    params: Params,
    task: Task | None,
    tokenizer: Tokenizer,
    extra: dict[str, Any],
) -> None:
    """Write a folder that `load_model` reads, and PyTorch `transformers` too if it is an encoder.

    `extra` are more keys of config.json. The folder appears, or is replaced, only when it is
    complete. Raises InputError if it cannot be written or would replace anything but a model
    folder.
    """
    folder = Path(folder)
    if folder.is_file() or (
        folder.exists() and any(folder.iterdir()) and not (folder / "config.json").exists()
    ):
        raise InputError(f"{folder} exists and is not a model folder; give another name.")
    new, old = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "old"))
    try:
        _settle(folder, new, old)
        new.mkdir(parents=True)
        tensors = _name_tensors(model, params)
        safetensors.numpy.save_file(tensors, new / tensor_files.WHOLE, metadata={"format": "pt"})
        save_tokenizer(tokenizer, new)
        # After the tokenizer, so that nothing it writes can replace the model's own config.
        write_json(new / "config.json", {**_write_config(model, task), **extra})
        # safetensors makes its files readable only by the owner.
        shutil.copymode(new / "config.json", new / tensor_files.WHOLE)
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"The model folder {folder} cannot be written: {error}.") from error
    finally:
        _settle(folder, new, old)


def _settle(folder: Path, new: Path, old: Path) -> None:
    """Remove what a replacement left, finished or interrupted between its two renames."""
    if old.exists() and not folder.exists():
        os.rename(old, folder)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)


def _build_model(raw: dict[str, Any], where: str, task: Task | None, dtype: str) -> Model:
    kind, classes = (task.kind, len(task.labels)) if task else ("", 0)
    model_type = raw.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        family = FAMILIES[model_type]
        return family.build(family.read_config(raw, where), kind, classes, dtype)
    known = ", ".join(FAMILIES)
    raise InputError(
        f"{where}: the model type {show(model_type)} is not supported; supported are {known}"
        " (docs/add_a_family.md explains how to add one)."
    )


def _sort_tensors(
    tensors: tensor_files.Tensors, model_type: str
) -> tuple[dict[LeafPath, tensor_files.Stored], list[str]]:
    """Tensors by the path of their leaf, in its layout; notes on pre-training heads left out."""
    table = FAMILIES[model_type].names
    found: dict[LeafPath, tensor_files.Stored] = {}
    heads: set[str] = set()
    for name, value in tensors.values.items():
        if tensor_names.BUFFERS.fullmatch(name):
            continue
        if match := tensor_names.PRETRAINING.match(name):
            heads.add(match.group(1))
            continue
        path = table.read_flax(name) if tensors.flax else table.read(name)
        if len(path) > 1 and table.is_transposed(path, tensors.flax):
            value = value.transposed()
        if path in found:
            raise InputError(
                f"{tensors.where}: {show_name(name)} is there twice, under two spellings."
            )
        found[path] = value
    return found, [f"Left out the pre-training head {head!r}." for head in sorted(heads)]


def _fit_vocabulary(
    model: Model, found: dict[LeafPath, tensor_files.Stored]
) -> tuple[Model, list[str]]:
    """The model with all rows of word embeddings that have more than its config says."""
    table = found.get(_WORD_EMBEDDINGS)
    said = model.config.vocabulary_size
    if table is None or len(table.shape) != 2 or not said < table.shape[0] <= LARGEST:
        return model, []
    rows = table.shape[0]
    config: Any = model.config
    model = model.clone(config=dataclasses.replace(config, vocabulary_size=rows))
    note = f"The word embeddings have {rows} rows where config.json says {said}; all are kept."
    return model, [note]


def _adapt_head(
    found: dict[LeafPath, tensor_files.Stored], own: Task | None, task: Task
) -> tuple[dict[LeafPath, tensor_files.Stored], list[str]]:
    """Put the classes of the folder's head in the task's order, or leave out a head of others."""
    if own and own.kind == task.kind and set(own.labels) == set(task.labels):
        order = [own.labels.index(label) for label in task.labels]

        def reorder(path: LeafPath, value: tensor_files.Stored) -> tensor_files.Stored:
            return value.take_last(order) if is_output(path) else value

        found = {path: reorder(path, value) for path, value in found.items()}
        return found, ["The classes of the head were put in the order of the task's labels."]
    rest = {path: value for path, value in found.items() if path[0] != "classifier"}
    if len(rest) == len(found):
        return found, []
    return rest, ["Left out the classification head, which was made for other labels."]


def _fill(
    model: Model,
    found: dict[LeafPath, tensor_files.Stored],
    where: Path,
    seed: int,
    weights: bool,
) -> tuple[Params, list[str]]:
    """Parameters with every leaf of the model, from what was found; a missing head is drawn."""
    if model.config.own_layers > len(found):
        raise InputError(
            f"{where} holds {len(found)} tensors; config.json asks for {model.config.own_layers}"
            " layers of several each."
        )
    expected = _shapes(model)
    notes = []
    new: set[LeafPath] = set()
    if _POSITIONS in found and _POSITIONS not in expected:  # DeBERTa's, of its pre-training
        found = {path: value for path, value in found.items() if path != _POSITIONS}
        notes.append("Left out the position embeddings, which this encoder does not use.")
    for part in _HEAD_PARTS:
        wanted = any(path[0] == part for path in expected)
        held = any(path[0] == part for path in found)
        if held and not wanted:
            found = {path: value for path, value in found.items() if path[0] != part}
            notes.append(f"Left out the {part}, which this task does not use.")
        if wanted and not held:
            new |= {path for path in expected if path[0] == part}
            notes.append(f"The {part} is new and not trained yet.")
    _refuse(where, "lacks", set(expected) - set(found) - new)
    _refuse(where, "holds tensors this model does not know:", set(found) - set(expected))
    for path, stored in found.items():
        if stored.shape != expected[path]:
            raise InputError(
                f"{where}: {'/'.join(path)} has the shape {_by(stored.shape)}; config.json"
                f" makes it {_by(expected[path])}."
            )
    if not weights:
        return make_hollow(model), notes
    # Values are read only here, when every shape is known to be right. Without a copy a transposed
    # kernel would keep its layout, which is slower to read.
    leaves = {path: np.ascontiguousarray(stored.read()) for path, stored in found.items()}
    if new:
        leaves |= {path: leaf for path, leaf in draw_head(model, seed).items() if path in new}
    return traverse_util.unflatten_dict(leaves), notes


def make_hollow(model: Model) -> Params:
    """Parameters of the right shapes, for a plan that reads no numbers: zeros without memory."""
    return jax.tree.map(lambda x: np.broadcast_to(np.float32(0), x.shape), trace_shapes(model))


def _shapes(model: Model) -> dict[LeafPath, tuple[int, ...]]:
    flat = traverse_util.flatten_dict(trace_shapes(model))
    return {path: leaf.shape for path, leaf in flat.items()}


def is_output(path: LeafPath) -> bool:
    """Whether the leaf at a path belongs to the last layer of a head: its last axis is classes."""
    return path[0] == "classifier" and path[1:2] != ("dense",)


def draw_head(model: Model, seed: int) -> dict[LeafPath, np.ndarray]:
    """A new pooler and classifier; compiled, so that no other parameters are drawn."""

    def draw(key: jax.Array) -> dict[LeafPath, jax.Array]:
        flat = traverse_util.flatten_dict(model.init_params(key))
        return {path: leaf for path, leaf in flat.items() if path[0] in _HEAD_PARTS}

    return jax.device_get(jax.jit(draw)(jax.random.key(seed)))


def _refuse(where: Path, verb: str, paths: set[LeafPath]) -> None:
    if paths:
        shown = ", ".join(show_name("/".join(path)) for path in sorted(paths)[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        raise InputError(f"{where} {verb} {shown}{more}.")


def _by(shape: tuple[int, ...]) -> str:
    return " by ".join(map(str, shape)) or "scalar"


def _name_tensors(model: Model, params: Params) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint; ValueError if the parameters are not the model's."""
    flat = {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(params).items()}
    if {path: leaf.shape for path, leaf in flat.items()} != _shapes(model):
        raise ValueError("the parameters to be saved are not those of the model")
    table = FAMILIES[model.config.model_type].names
    tensors = {}
    for path, leaf in flat.items():
        leaf = leaf.T if table.is_transposed(path, flax=False) else leaf
        name = table.write(path, headed=bool(model.classes))
        tensors[name] = np.ascontiguousarray(leaf, np.float32)
    return tensors


def _write_config(model: Model, task: Task | None) -> dict[str, Any]:
    family = FAMILIES[model.config.model_type]
    raw = family.write_config(model.config)
    raw["architectures"] = [family.class_name + (HEADS[task.kind] if task else "Model")]
    raw["dtype"] = "float32"
    if task:
        raw["id2label"] = {str(index): label for index, label in enumerate(task.labels)}
        raw["label2id"] = {label: index for index, label in enumerate(task.labels)}
        if task.multilabel:
            raw["problem_type"] = MULTILABEL
    return raw
