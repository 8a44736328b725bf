"""A finished model folder -> a model repository of the Hugging Face hub."""

import re
from pathlib import Path

from xdistil.deploy.model_card import read_card
from xdistil.deploy.onnx_export import FOLDER, QUANTIZED, WHOLE, check_packages
from xdistil.deploy.predictor import load
from xdistil.errors import InputError, show
from xdistil.models.hf.tensor_files import WHOLE as MODEL

# Hidden files are what a write that was cut off left behind, or other programs' own.
_HIDDEN = [".*", "*/.*"]
# Of an earlier push, where this one brings none: they would be another model's.
_STALE = [f"{FOLDER}/*", "*.safetensors", "*.safetensors.index.json"]
_NAME = re.compile(r"[^/\s]+/[^/\s]+")


def check_name(name: str) -> None:
    """Raises InputError where a name is not of the form that a hub takes, org/name."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        huggingface_hub.utils.validate_repo_id(name)
    except HFValidationError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"--push={show(name)} is no name of a repository: {reason}.") from None
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--push={show(name)} is no name of a repository: it must be ORG/NAME, the user or "
            "organization and the model's own name."
        )


def check_token() -> None:
    """Raises InputError where this machine has no token of the hub."""
    import huggingface_hub

    if not huggingface_hub.get_token():
        raise InputError(
            "--push needs a token that may write to the hub: set HF_TOKEN, or log in with "
            "`hf auth login`."
        )


def check_folder(folder: Path) -> None:
    """Whether all that a hub's visitors need is there and opens.

    Raises:
        InputError: model, tokenizer, config or card are missing or damaged, or an ONNX file cannot
            be run with them.
    """
    if not (folder / MODEL).is_file():
        raise InputError(f"{folder} lacks {MODEL}: name the folder of a finished model.")
    card = folder / "README.md"
    if not card.is_file() or not card.read_bytes().startswith(b"---\n"):
        raise InputError(
            f"{folder} has no model card (README.md that begins with YAML between lines of ---): "
            "a run writes one at its end."
        )
    read_card(folder)
    load(str(folder))
    exported = {"onnx": folder / FOLDER / WHOLE, "int8": folder / FOLDER / QUANTIZED}
    for backend, path in exported.items():
        if path.exists():
            check_packages()
            load(str(folder), backend=backend)


def push_folder(folder: Path, name: str, private: bool = False) -> str:
    """Uploads a model folder, in one commit, and returns the repository's address.

    The repository is made where there is none. Files that hubs keep beside the model stay; an
    earlier push's weights and ONNX files that this folder lacks go. Hidden files are not uploaded.

    Args:
        name: org/name.
        private: of a repository that is made here.

    Raises:
        InputError: as `check_name`, `check_token` and `check_folder`, all before the hub is asked
            anything; or the hub cannot be reached or refuses.
    """
    import huggingface_hub

    check_name(name)
    check_token()
    check_folder(folder)
    hub = huggingface_hub.HfApi()
    try:
        address = hub.create_repo(name, private=private or None, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message="Upload model with xdistil",
            ignore_patterns=list(_HIDDEN),
            delete_patterns=list(_STALE),
        )
    except Exception as error:  # The client raises a dozen unrelated types, its transport's too.
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"{folder} could not be pushed as {name} to {hub.endpoint} ({type(error).__name__}: "
            f"{reason}); check the connection, and that the token may write there."
        ) from error
    return str(address)
