"""The license of a run's models: that of the config, or that of the models they start from.

Nothing is guessed: without such a statement there is no license.
"""

import re

import huggingface_hub

from xdistil.config import LICENSE, Experiment, find_stored
from xdistil.models.hf.hub import find_card

_KEYS = ("license", "license_name", "license_link")  # of a card's YAML


def find_license(experiment: Experiment, which: str) -> dict[str, str]:
    """The license of a run's "teacher" or "student", as environment.json stores it.

    It is the license of the config, or else the one that the cards of the teacher and of the
    student's checkpoint agree on.

    Returns:
        `said_by` and the license keys of a card's YAML; or `unknown`, the reason why there is none.
    """
    if experiment.license:
        return {"license": experiment.license, "said_by": "the config of the run"}
    models = [(experiment.teacher.model, experiment.teacher.revision)]
    if which == "student":
        models.append((experiment.student.checkpoint, "main"))
    found = {name: read_license(name, revision) for name, revision in models if name}
    if not found or find_stored(experiment.teacher):
        return {"unknown": "the config names none, and no model with a card is used"}
    silent = [name for name, license in found.items() if not license]
    if silent:
        return {"unknown": f"the config names none, and neither does the card of {_list(silent)}"}
    first, *others = found.values()
    if any(other != first for other in others):
        cards = f"the cards of {_list(list(found))}"
        return {"unknown": f"the config names none, and {cards} state different ones"}
    return {**first, "said_by": f"the card of {_list(list(found))}"}


def read_license(name: str, revision: str) -> dict[str, str]:
    """The `license` keys in the card of a folder or hub id.

    Empty if there is no card, or the card does not state exactly one license.
    """
    card = find_card(name, revision)
    if card is None:
        return {}
    try:
        metadata = huggingface_hub.metadata_load(card) or {}
    except Exception:  # of YAML: an unreadable card states nothing
        return {}
    stated = {key: metadata[key] for key in _KEYS if isinstance(metadata.get(key), str)}
    if not re.fullmatch(LICENSE, stated.get("license", "")):
        return {}
    if not stated.get("license_link", "https:").startswith("https:"):
        del stated["license_link"]  # a file in that folder
    return stated


def _list(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
