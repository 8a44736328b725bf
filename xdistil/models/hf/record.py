"""What only xdistil reads of a model folder: an object in its config.json."""

from typing import Any

from xdistil.data.decoding import ARGMAX, DECODINGS
from xdistil.errors import InputError, show

RECORD = "xdistil"  # the key of config.json


def read_record(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """The object of a config.json; empty in folders from elsewhere.

    Raises:
        InputError: it is no object.
    """
    record = raw.get(RECORD, {})
    if not isinstance(record, dict):
        raise InputError(f"{where}: {RECORD} is {show(record)}; it must be an object.")
    return record


def read_decoding(raw: dict[str, Any], where: str) -> str:
    """How the tags of a model are decoded, as in `label_words`.

    Without a record that is `argmax`: a model from elsewhere may have learned the tags of another
    scheme under the same names, and one of an earlier version predicts as it did when it was made.

    Raises:
        InputError: it is none of those known here.
    """
    decoding = read_record(raw, where).get("decoding", ARGMAX)
    if decoding not in DECODINGS:
        raise InputError(
            f"{where}: {RECORD}.decoding is {show(decoding)}; it must be {' or '.join(DECODINGS)}: "
            "a newer version of xdistil may read this folder."
        )
    return str(decoding)
