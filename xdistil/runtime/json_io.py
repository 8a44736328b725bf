"""JSON objects in files, such as a model folder's config.json."""

import json
import math
import os
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


def write_json(path: Path, content: Any) -> None:
    """Writes JSON whole or not at all; NaN and infinities become null."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def finite(content: Any) -> Any:
    """The same JSON value with every NaN and infinity replaced by None."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
