"""JSON objects in files, such as a model folder's config.json."""

import json
from pathlib import Path
from typing import Any

from xdistil.errors import InputError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in UTF-8; InputError where it is missing, damaged or no object."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(value).__name__}.")
    return value
