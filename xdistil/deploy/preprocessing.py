"""The preprocessing of the training texts, in config.json: prediction cuts texts the same way."""

from typing import Any

from xdistil.config import Data
from xdistil.data.tag_notation import NOTATIONS
from xdistil.errors import InputError, show
from xdistil.models.config_fields import check_size

_LONGEST = 512  # subwords in a row if the folder does not say it
PREPROCESSING = "xdistil"  # the key of config.json


def write_preprocessing(data: Data) -> dict[str, Any]:
    """The preprocessing as config.json stores it, for the `extra` of `save_model`."""
    return {
        PREPROCESSING: {
            "words": "str.split",  # splits raw text into words
            "row_length": data.row_length,
            "max_length": data.max_length or data.row_length,
            "scheme": "iob2" if data.scheme == "auto" else data.scheme,  # of the gold tags
            "repair": data.repair,
        }
    }


def read_preprocessing(raw: dict[str, Any], longest: int | None, where: str) -> dict[str, Any]:
    """The preprocessing of a config.json, by the names of the fields of JaxBackend.

    Values that are missing get defaults, as in folders from elsewhere.

    Args:
        raw: the content of config.json.
        longest: the number of positions of the model; None: no limit.

    Raises:
        InputError: a value is invalid.
    """
    recorded = raw.get(PREPROCESSING, {})
    if not isinstance(recorded, dict):
        raise InputError(f"{where}: {PREPROCESSING} is {show(recorded)}; it must be an object.")
    row_length = recorded.get("row_length", min(longest or _LONGEST, _LONGEST))
    row_length = check_size(row_length, f"{PREPROCESSING}.row_length", where)
    most = min(row_length, longest or row_length)
    max_length = check_size(recorded.get("max_length", most), f"{PREPROCESSING}.max_length", where)
    if max_length > most:
        raise InputError(
            f"{where}: {PREPROCESSING}.max_length is {max_length}; rows and positions hold {most} "
            "subwords."
        )
    scheme, repair = recorded.get("scheme", "iob2"), recorded.get("repair", False)
    if not isinstance(scheme, str) or scheme not in NOTATIONS:
        raise InputError(
            f"{where}: {PREPROCESSING}.scheme is {show(scheme)}; it must be {', '.join(NOTATIONS)}."
        )
    if not isinstance(repair, bool):
        raise InputError(
            f"{where}: {PREPROCESSING}.repair is {show(repair)}; it must be true or false."
        )
    return {"row_length": row_length, "max_length": max_length, "scheme": scheme, "repair": repair}
