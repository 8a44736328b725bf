"""A model's name, which is a folder or an id on the Hugging Face hub -> its local folder."""

import os
from pathlib import Path

from xdistil.errors import InputError

# Other frameworks' large files are not downloaded, and pickles only if there is nothing else.
_FILES = ["config.json", "model*.safetensors", "model.safetensors.index.json"]
_TOKENIZER = ["*token*.json", "vocab.*", "merges.txt", "*.model"]
_CARD = "README.md"
_FLAX = "flax_model.msgpack"
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def find_folder(name: str, revision: str = "main") -> Path:
    """The folder of a model; a hub id is downloaded into the hub's cache, or found there offline.

    Raises InputError when `name` is neither a folder nor an id that the hub (or, offline, its
    cache) knows at `revision`.
    """
    if _is_folder(name):
        return Path(name)
    folder = _download(name, revision, _FILES + _TOKENIZER)
    if not any(folder.glob("model*.safetensors")):
        folder = _download(name, revision, [*_FILES, *_TOKENIZER, _FLAX])
        if not (folder / _FLAX).exists():
            folder = _download(name, revision, [*_FILES, *_TOKENIZER, *_PICKLES])
    return folder


def find_exported(name: str, revision: str, file: str) -> Path:
    """As `find_folder`, for a model that is an exported file, such as onnx/model.onnx."""
    if _is_folder(name):
        return Path(name)
    return _download(name, revision, ["config.json", *_TOKENIZER, file])


def find_card(name: str, revision: str = "main") -> Path | None:
    """The README.md of a folder or hub id; None if there is none or it cannot be downloaded."""
    try:
        folder = Path(name) if _is_folder(name) else _download(name, revision, [_CARD])
    except InputError:
        return None
    return folder / _CARD if (folder / _CARD).is_file() else None


def _is_folder(name: str) -> bool:
    if os.path.isdir(name):
        return True
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"There is no folder {name!r} to read a model from.")
    return False


def _download(name: str, revision: str, patterns: list[str]) -> Path:
    import huggingface_hub  # not needed for a folder

    try:
        return Path(
            huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
        )
    except Exception as error:  # The client raises a dozen unrelated types, httpx's among them.
        reason = type(error).__name__
        raise InputError(
            f"{name!r} is neither a folder nor a model that the hub or its local cache holds at"
            f" revision {revision!r} ({reason}); check the spelling and the connection."
        ) from error
