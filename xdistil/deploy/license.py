"""Under which license a run's models stand: what was said for them, or for what they come from.

Nothing is guessed: where nobody says it, it stays open.
"""

import re

import huggingface_hub

from xdistil.config import LICENSE, Experiment
from xdistil.models.hf.hub import find_card

_KEYS = ("license", "license_name", "license_link")  # of a card's YAML


def find_license(experiment: Experiment, which: str) -> dict[str, str]:
    """The license of a run's "teacher" or "student", as environment.json keeps it.

    It is that of the config; else that of the models it comes from, the teacher and a student's
    checkpoint, if their cards agree.

    Returns:
        `said_by` and the keys of a card's YAML; or `unknown`, which says why there is none.
    """
    if experiment.license:
        return {"license": experiment.license, "said_by": "who made it"}
    models = [(experiment.teacher.model, experiment.teacher.revision)]
    if which == "student":
        models.append((experiment.student.checkpoint, "main"))
    found = {name: read_license(name, revision) for name, revision in models if name}
    if not found or experiment.teacher.signals:
        return {"unknown": "the run was given none, and it comes from no model that has a card"}
    silent = [name for name, license in found.items() if not license]
    if silent:
        return {"unknown": f"the run was given none, and no card of {_list(silent)} states one"}
    first, *others = found.values()
    if any(other != first for other in others):
        told = f"the cards of {_list(list(found))} state different ones"
        return {"unknown": f"the run was given none, and {told}"}
    return {**first, "said_by": f"the card of {_list(list(found))}"}


def read_license(name: str, revision: str) -> dict[str, str]:
    """What the card of a folder or hub id states under `license` and the keys that belong to it.

    Empty where it has no card, or one that states no single license.
    """
    card = find_card(name, revision)
    if card is None:
        return {}
    try:
        metadata = huggingface_hub.metadata_load(card) or {}
    except Exception:  # YAML's own errors: a card that cannot be read states nothing
        return {}
    stated = {key: metadata[key] for key in _KEYS if isinstance(metadata.get(key), str)}
    if not re.fullmatch(LICENSE, stated.get("license", "")):
        return {}
    if not stated.get("license_link", "https:").startswith("https:"):
        del stated["license_link"]  # a file of that folder
    return stated


def _list(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
