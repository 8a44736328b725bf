"""An HF folder with fewer subwords: rows of its tensors, ids in its config.json, its tokenizer.

Unlike `folder`, this only knows which tensors have a row for each subword: the word embeddings and
the output layer of pre-training. So it accepts families that have no modules here, and keeps every
other tensor as it is, in name and type.
"""

import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from transformers import CONFIG_MAPPING, AutoConfig

from xdistil.data.tokenizer import Tokenizer, save_tokenizer
from xdistil.data.trim_tokenizer import trim_tokenizer
from xdistil.errors import InputError, show, show_name
from xdistil.models import tensor_names
from xdistil.models.encoder_config import ROBERTAS, EncoderConfig
from xdistil.models.families.registry import FAMILIES
from xdistil.models.hf import tensor_files
from xdistil.runtime.json_io import write_json

# Word embeddings [V,E] in the families' names, and outputs with a row for each subword.
_TABLE = re.compile(
    r"(.+\.)?(word_embeddings|tok_embeddings|embed_tokens|wte|shared)\.(weight|embedding)"
)
_OUTPUT = re.compile(
    r"(.+\.)?((decoder|lm_head|generator_lm_head|vocab_projector)\.(weight|bias)|predictions\.bias)"
)
_POSITIONS = re.compile(r"(.+\.)?position_embeddings\.weight")
_SUBWORD_ID = re.compile(r"\w+_token_id|padding_id")  # keys of config.json
_TOKENIZER_FILES = ("*token*.json", "vocab.*", "merges.txt", "*.model")
_ACCOMPANYING = ("README.md", "LICENSE*")  # files copied to a trimmed folder


@dataclass(frozen=True)
class Whole:
    """A model folder before its vocabulary is trimmed."""

    folder: Path
    tokenizer: Tokenizer
    config: dict[str, Any]
    tensors: dict[str, tensor_files.Stored]
    rows: int  # of the word embeddings
    special: tuple[int, ...]  # ids of subwords in config.json


@dataclass(frozen=True)
class Size:
    """The size of a model folder."""

    subwords: int  # rows of the word embeddings
    parameters: int
    model_bytes: int
    tokenizer_bytes: int


def open_whole(folder: Path, tokenizer: Tokenizer) -> Whole:
    """A folder in safetensors or PyTorch's own format; values are not read yet.

    Raises:
        InputError: no model, one in Flax's format, no word embeddings under a known name, or fewer
            of them than the tokenizer has subwords.
    """
    config = tensor_files.read_json(folder / "config.json")
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InputError(
            f"{folder / 'config.json'}: model_type is {show(model_type)}; it must be a name."
        )
    config = _fill_ids(config, tokenizer.vocabulary_size)
    read = tensor_files.read_tensors(folder)
    if read.flax:
        raise InputError(
            f"{read.where} is in Flax's format: only safetensors and PyTorch's format can be "
            "trimmed; convert the model first."
        )
    tensors = {
        name: stored
        for name, stored in read.values.items()
        if not tensor_names.BUFFERS.fullmatch(name)
    }
    tables = [stored.shape for name, stored in tensors.items() if _TABLE.fullmatch(name)]
    if not tables or any(shape != tables[0] or len(shape) != 2 for shape in tables):
        raise InputError(
            f"{read.where} holds no word embeddings, one row for each subword, under a known "
            "name (word_embeddings, tok_embeddings, embed_tokens, wte, shared)."
        )
    rows = tables[0][0]
    if tokenizer.vocabulary_size > rows:
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} has {tokenizer.vocabulary_size} subwords and "
            f"{read.where} word embeddings for {rows}: give the model its own tokenizer."
        )
    if model_type not in FAMILIES:
        for name, stored in tensors.items():
            if stored.shape in (tables[0], (rows,)) and not _has_rows(name, stored, rows):
                raise InputError(
                    f"{read.where}: {show_name(name)} may have a row for each subword, under a "
                    f"name that is not known for the model type {show(model_type)}."
                )
    return Whole(folder, tokenizer, config, tensors, rows, tuple(_list_ids(config)))


def save_trimmed(whole: Whole, kept: np.ndarray, output: Path) -> None:
    """Write the folder with only the subwords `kept` i32[v], `whole.special` among them.

    It appears when it is complete. Raises InputError if it cannot be written or a tensor is
    damaged.
    """
    new = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        new.mkdir()
        tokenizer = trim_tokenizer(whole.tokenizer, kept)
        config, moved = _trim_config(whole, kept)
        tensors = dict(_trim_tensors(whole, kept, moved))
        safetensors.numpy.save_file(tensors, new / tensor_files.WHOLE, metadata={"format": "pt"})
        save_tokenizer(tokenizer, new)
        for pattern in _ACCOMPANYING:
            for path in whole.folder.glob(pattern):
                shutil.copyfile(path, new / path.name)
        write_json(new / "config.json", config)
        # safetensors makes its files readable only by the owner.
        shutil.copymode(new / "config.json", new / tensor_files.WHOLE)
        os.rename(new, output)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"The model folder {output} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def measure_folder(folder: Path) -> Size:
    """The size of a folder in safetensors or PyTorch's own format."""
    read = tensor_files.read_tensors(folder)
    shapes = {
        name: stored.shape
        for name, stored in read.values.items()
        if not tensor_names.BUFFERS.fullmatch(name)
    }
    files = {read.where.name}
    if read.where.suffix == ".json":  # the index of shards
        files = set(tensor_files.read_json(read.where)["weight_map"].values())
    own = {path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)}
    return Size(
        subwords=next(shape[0] for name, shape in shapes.items() if _TABLE.fullmatch(name)),
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        model_bytes=sum((folder / name).stat().st_size for name in files),
        tokenizer_bytes=sum(path.stat().st_size for path in own),
    )


def _has_rows(name: str, stored: tensor_files.Stored, rows: int) -> bool:
    known = _TABLE.fullmatch(name) or _OUTPUT.fullmatch(name)
    return bool(known) and stored.shape[:1] == (rows,)


def _fill_ids(config: dict[str, Any], subwords: int) -> dict[str, Any]:
    """The config.json with the ids of subwords that it leaves to the library's defaults."""
    if config["model_type"] not in CONFIG_MAPPING:
        return config
    defaults = AutoConfig.for_model(config["model_type"]).to_dict()
    ids = {key: value for key, value in defaults.items() if _SUBWORD_ID.fullmatch(key)}
    # Larger ids are those of another tokenizer.
    ids = {key: id for key, id in ids.items() if type(id) is int and id < subwords}
    return {**config, **{key: id for key, id in ids.items() if key not in config}}


def _list_ids(config: dict[str, Any]) -> Iterator[int]:
    for key, value in config.items():
        if _SUBWORD_ID.fullmatch(key):
            for id in value if isinstance(value, list) else [value]:
                if type(id) is int and id >= 0:
                    yield id


def _trim_config(whole: Whole, kept: np.ndarray) -> tuple[dict[str, Any], int]:
    """The new config.json, and how many rows earlier RoBERTa's positions begin."""
    config, new = dict(whole.config), {int(old): place for place, old in enumerate(kept)}
    for key, value in config.items():
        if _SUBWORD_ID.fullmatch(key):
            # None and negative numbers mean that there is no such subword.
            ids = value if isinstance(value, list) else [value]
            ids = [new.get(id, id) if type(id) is int else id for id in ids]
            config[key] = ids if isinstance(value, list) else ids[0]
    config["vocabulary_size" if "vocabulary_size" in config else "vocab_size"] = len(kept)
    before: Any = whole.config.get("pad_token_id")
    after: Any = config.get("pad_token_id")
    model_type = config.get("model_type")
    from_padding = model_type in ROBERTAS  # counts positions from its id
    if before == after or (model_type in FAMILIES and not from_padding):
        return config, 0
    if not from_padding:
        raise InputError(
            f"The padding subword {before} would become {after}, and it is not known whether the "
            f"model type {show(model_type)} counts positions from it: keep more subwords."
        )
    moved = before - after
    positions = config.get("max_position_embeddings", EncoderConfig.positions)
    config["max_position_embeddings"] = positions - moved
    return config, moved


def _trim_tensors(whole: Whole, kept: np.ndarray, moved: int) -> Iterator[tuple[str, np.ndarray]]:
    for name, stored in whole.tensors.items():
        value = stored.read_raw()
        if _has_rows(name, stored, whole.rows):
            value = value[kept]
        elif moved and _POSITIONS.fullmatch(name):
            value = value[moved:]
        yield name, np.ascontiguousarray(value)
