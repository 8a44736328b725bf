"""Uploads a finished model folder to a model repository of the Hugging Face hub."""

import re
from pathlib import Path

from xdistil.deploy.model_card import read_card
from xdistil.deploy.onnx_export import FOLDER, QUANTIZED, WHOLE, check_packages
from xdistil.deploy.predictor import load
from xdistil.errors import InputError, show
from xdistil.models.hf.tensor_files import WHOLE as MODEL

# Hidden files are leftovers of interrupted writes, or belong to other programs.
_HIDDEN = [".*", "*/.*"]
# Files of an earlier upload, which may be of another model: deleted if this one has none.
_STALE = [f"{FOLDER}/*", "*.safetensors", "*.safetensors.index.json"]
_NAME = re.compile(r"[^/\s]+/[^/\s]+")


def check_name(name: str) -> None:
    """Raises InputError if a name is not a valid repository id, ORG/NAME."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        huggingface_hub.utils.validate_repo_id(name)
    except HFValidationError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"--push={show(name)} is not a valid repository id: {reason}.") from None
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--push={show(name)} is not a valid repository id: it must be ORG/NAME, the user or "
            "organization and the name of the model."
        )


def check_token() -> None:
    """Raises InputError if this machine has no token for the hub."""
    import huggingface_hub

    if not huggingface_hub.get_token():
        raise InputError(
            "--push needs a hub token with write access: set HF_TOKEN, or log in with "
            "`hf auth login`."
        )


def check_folder(folder: Path) -> None:
    """Checks that a folder can be uploaded: its files are complete and can be opened.

    Raises:
        InputError: the model, tokenizer, config or card is missing or damaged, or an ONNX file does
            not run with them.
    """
    if not (folder / MODEL).is_file():
        raise InputError(f"{folder} has no {MODEL}: name the folder of a finished model.")
    card = folder / "README.md"
    if not card.is_file() or not card.read_bytes().startswith(b"---\n"):
        raise InputError(
            f"{folder} has no model card: it needs a README.md that begins with YAML between lines "
            "of ---, which a run writes at its end."
        )
    read_card(folder)
    load(str(folder))
    exported = {"onnx": folder / FOLDER / WHOLE, "int8": folder / FOLDER / QUANTIZED}
    for backend, path in exported.items():
        if path.exists():
            check_packages()
            load(str(folder), backend=backend)


def push_folder(folder: Path, name: str, private: bool = False) -> str:
    """Uploads a model folder in one commit and returns the URL of the repository.

    The repository is created if it does not exist. Its other files stay, except weights and ONNX
    files of an earlier upload that this folder does not have. Hidden files are not uploaded.

    Args:
        name: ORG/NAME.
        private: whether a repository that is created here is private.

    Raises:
        InputError: as `check_name`, `check_token` and `check_folder`, before any request to the
            hub; or the hub cannot be reached or refuses the upload.
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
    except Exception as error:  # the client raises a dozen unrelated types
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"{folder} could not be uploaded to {name} at {hub.endpoint} ({type(error).__name__}: "
            f"{reason}): check the connection and the write access of the token."
        ) from error
    return str(address)
