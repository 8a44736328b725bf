"""The preprocessing of the training texts, in config.json: prediction cuts texts the same way, and
decodes tags as the scores of the run do."""

from typing import Any

from xdistil.config import Data
from xdistil.data.decoding import ARGMAX
from xdistil.data.segmentation import SPACES, UNITS
from xdistil.data.tag_notation import NOTATIONS
from xdistil.errors import InputError, show
from xdistil.models.config_fields import check_size
from xdistil.models.hf.record import RECORD, read_decoding, read_record

_LONGEST = 512  # subwords in a row if the folder does not say it
OVERLAP = 0.25  # share of max_length that the windows of a long sentence have in common
_RECORDED = {SPACES: "str.split", UNITS: "units"}  # segmentations as config.json names them


def write_preprocessing(data: Data, joined: str = "", decoding: str = ARGMAX) -> dict[str, Any]:
    """The preprocessing as config.json stores it, for the `extra` of `save_model`.

    A segmentation that is still open (`auto`) is that of a new run.

    Args:
        joined: marks inside the words of the training data, as from `find_joined`.
        decoding: of the model's tags, as in `label_words`.
    """
    segmentation = SPACES if data.segmentation == SPACES else UNITS
    return {
        RECORD: {
            "words": _RECORDED[segmentation],  # how text and words are cut
            "joined": joined,  # marks that join units to words of text
            "row_length": data.row_length,
            "max_length": data.max_length or data.row_length,
            "overlap": OVERLAP if segmentation == UNITS else 0.0,  # share of max_length
            "scheme": "iob2" if data.scheme == "auto" else data.scheme,  # of the gold tags
            "repair": data.repair,
            "decoding": decoding,
        }
    }


def choose_overlap(max_length: int, segmentation: str) -> int:
    """How many subwords the windows of a long sentence share where labels are predicted.

    Models that were trained without units predict as they did when they were made: without overlap.
    """
    return round(OVERLAP * max_length) if segmentation == UNITS else 0


def read_preprocessing(raw: dict[str, Any], longest: int | None, where: str) -> dict[str, Any]:
    """The preprocessing of a config.json, by the names of the fields of JaxBackend.

    Values that are missing get defaults, as in folders from elsewhere.

    Args:
        raw: the content of config.json.
        longest: the number of positions of the model; None: no limit.

    Raises:
        InputError: a value is invalid.
    """
    recorded = read_record(raw, where)
    row_length = recorded.get("row_length", min(longest or _LONGEST, _LONGEST))
    row_length = check_size(row_length, f"{RECORD}.row_length", where)
    most = min(row_length, longest or row_length)
    max_length = check_size(recorded.get("max_length", most), f"{RECORD}.max_length", where)
    if max_length > most:
        raise InputError(
            f"{where}: {RECORD}.max_length is {max_length}; rows and positions hold {most} "
            "subwords."
        )
    overlap = recorded.get("overlap", 0.0)
    if not isinstance(overlap, float | int) or not 0 <= overlap <= 0.5:
        raise InputError(
            f"{where}: {RECORD}.overlap is {show(overlap)}; it must be a share of "
            "max_length from 0 to 0.5."
        )
    joined = recorded.get("joined", "")
    if not isinstance(joined, str):
        raise InputError(f"{where}: {RECORD}.joined is {show(joined)}; it must be a text.")
    scheme, repair = recorded.get("scheme", "iob2"), recorded.get("repair", False)
    if not isinstance(scheme, str) or scheme not in NOTATIONS:
        raise InputError(
            f"{where}: {RECORD}.scheme is {show(scheme)}; it must be {', '.join(NOTATIONS)}."
        )
    if not isinstance(repair, bool):
        raise InputError(f"{where}: {RECORD}.repair is {show(repair)}; it must be true or false.")
    return {
        "row_length": row_length,
        "max_length": max_length,
        "segmentation": read_segmentation(raw, where),
        "joined": joined,
        "overlap": round(overlap * max_length),
        "scheme": scheme,
        "repair": repair,
        "decoding": read_decoding(raw, where),
    }


def read_segmentation(raw: dict[str, Any], where: str) -> str:
    """How the model of a config.json cuts text and words; without a record at white space.

    Raises:
        InputError: it is none of those known here.
    """
    words = read_record(raw, where).get("words", _RECORDED[SPACES])
    named = {name: segmentation for segmentation, name in _RECORDED.items()}
    if not isinstance(words, str) or words not in named:
        raise InputError(
            f"{where}: {RECORD}.words is {show(words)}; it must be {' or '.join(named)}: a "
            "newer version of xdistil may read this folder."
        )
    return named[words]
