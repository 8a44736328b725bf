"""A model's name, which is a folder or an id on the Hugging Face hub -> its local folder."""

import contextlib
import difflib
import logging
import os
import re
import socket
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from xdistil.errors import InputError, show
from xdistil.runtime.workdir import holds_run

# Other frameworks' large files are not downloaded, and pickles only if there is nothing else.
_FILES = ["config.json", "model*.safetensors", "model.safetensors.index.json"]
_TOKENIZER = ["*token*.json", "vocab.*", "merges.txt", "*.model"]
_CARD = "README.md"
_FLAX = "flax_model.msgpack"
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PATIENCE = 0.6  # seconds for a connection to the hub: a mistyped folder is reported at once
_log = logging.getLogger("xdistil")


def find_folder(name: str, revision: str = "main") -> Path:
    """The folder of a model; a hub id is downloaded into the hub's cache, or found there offline.

    A ~ at the beginning is the home folder.

    Raises InputError when `name` is neither a model folder nor an id that the hub (or, offline, its
    cache) knows at `revision`.
    """
    if (local := find_local(name)) is not None:
        if holds_run(local):
            raise InputError(
                f"{name} is the workdir of a run and not a model: name the student/ or teacher/ "
                "folder in it."
            )
        if not (local / "config.json").exists():
            raise InputError(f"{name} is no model folder: it has no config.json.")
        return local
    folder = _download(name, revision, _FILES + _TOKENIZER)
    if not any(folder.glob("model*.safetensors")):
        folder = _download(name, revision, [*_FILES, *_TOKENIZER, _FLAX])
        if not (folder / _FLAX).exists():
            folder = _download(name, revision, [*_FILES, *_TOKENIZER, *_PICKLES])
    return folder


def find_exported(name: str, revision: str, file: str) -> Path:
    """As `find_folder`, for a model that is an exported file, such as onnx/model.onnx."""
    if (local := find_local(name)) is not None:
        return local
    return _download(name, revision, ["config.json", *_TOKENIZER, file])


def find_card(name: str, revision: str = "main") -> Path | None:
    """The README.md of a folder or hub id; None if there is none or it cannot be downloaded."""
    try:
        folder = find_local(name) or _download(name, revision, [_CARD])
    except InputError:
        return None
    return folder / _CARD if (folder / _CARD).is_file() else None


def find_student(name: str) -> str:
    """The student's folder where `name` is the workdir of a run; else `name`, ~ expanded.

    A warning says that the student of an unfinished run is its best one so far.

    Raises:
        InputError: the run has no student yet.
    """
    folder = Path(os.path.expanduser(name))
    if not holds_run(folder):
        return str(folder) if name.startswith("~") else name
    student = folder / "student"
    finished = (folder / "results.json").exists()
    if not (student / "config.json").exists():
        state = "its student/ is gone" if finished else "it has no student yet"
        raise InputError(f"{name} is the workdir of a run, and {state}: name a model folder.")
    if not finished:
        _log.warning("the run in %s is not finished: this is its best student so far", name)
    return str(student)


def find_local(name: str) -> Path | None:
    """The folder that a name is, ~ expanded; None for an id of the hub.

    Raises:
        InputError: the name is a file, or a path at which there is no folder.
    """
    path = Path(os.path.expanduser(name))
    if name and path.is_dir():
        return path
    if path.is_file():
        raise InputError(f"{name} is a file: name the folder of a model.")
    above = path.parent
    # The owner of a hub id is no folder here: one that is makes the name a path.
    if not _ID.fullmatch(name) or ("/" in name and above.is_dir()):
        raise InputError(f"{show(name)}: no such folder{_name_near(path)}.")
    return None


def check_name(name: str) -> None:
    """Refuses a name that is no folder and, as far as is known without JAX, no id of the hub.

    Raises:
        InputError: there is no such folder, and the hub cannot be reached and its local cache
            does not hold such a model.
    """
    if find_local(name) is None and not _is_cached(name) and not _reaches_hub():
        raise InputError(_tell_unreached(name))


def _name_near(path: Path) -> str:
    # The folders beside one that does not exist, for the end of a message.
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [each.name for each in path.parent.iterdir() if each.is_dir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" (did you mean {path.with_name(near[0])}?)" if near else ""


def _download(name: str, revision: str, patterns: list[str]) -> Path:
    reached = _reaches_hub()
    import huggingface_hub  # not needed for a folder

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=patterns,
                local_files_only=not reached,
            )
        )
    except Exception as error:  # The client raises a dozen unrelated types, httpx's among them.
        if not reached or type(error).__name__ == "LocalEntryNotFoundError":  # it gave up
            raise InputError(_tell_unreached(name)) from error
        raise InputError(
            f"{show(name)}: no such folder, and the hub has no such model at revision "
            f"{show(revision)} ({type(error).__name__}): check the spelling, or your access."
        ) from error


def _tell_unreached(name: str) -> str:
    return (
        f"{show(name)}: no such folder, the hub cannot be reached, and its local cache does not "
        "hold a model of this name: check the spelling, or the connection."
    )


def _is_cached(name: str) -> bool:
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}").is_dir()


def _reaches_hub() -> bool:
    """Whether the hub, or the proxy in front of it, accepts a connection at once.

    The hub's client would wait and try again for up to a minute.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    proxy = urllib.request.getproxies().get(hub.scheme)
    bypassed = not proxy or urllib.request.proxy_bypass(hub.hostname or "")
    asked = hub if bypassed else urlsplit(str(proxy) if "//" in str(proxy) else f"//{proxy}")
    try:
        address = asked.hostname, asked.port or (443 if asked.scheme == "https" else 80)
    except ValueError:  # a port that is no number: the client tells it
        return True
    connected = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, _PATIENCE):
            connected.set()

    # In a thread, for the time that a name takes to be resolved has no limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return connected.is_set()
