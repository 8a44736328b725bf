"""What a teacher predicts, shared by several runs: computed once, by whichever run comes first."""

import hashlib
import json
import logging
from pathlib import Path

from xdistil.data.examples import Task
from xdistil.data.packing import PackedTexts
from xdistil.evaluation.predict import predict_labels
from xdistil.experiment.shared_teacher import digest_gold, digest_texts
from xdistil.models.hf.folder import Loaded
from xdistil.models.types import Params
from xdistil.runtime.json_io import write_json
from xdistil.runtime.session import Session
from xdistil.teacher.cache import hold_folder
from xdistil.teacher.signals import params_fingerprint

log = logging.getLogger("xdistil")

_DIGITS = 16  # of a fingerprint in the name of a folder


def predict_once(
    shared: Path,
    session: Session,
    task: Task,
    loaded: Loaded,
    params: Params,
    texts: PackedTexts,
    decoding: str,
) -> list[tuple[str, ...]]:
    """The labels of texts, from the shared folder if another run has predicted them.

    Args:
        shared: `teacher.shared_folder`.
        loaded: the model that predicts.
        params: its parameters, on the devices.
        texts: in the model's subwords.
        decoding: of the model's tags.

    Raises:
        StoppedError: a signal came.
    """
    content = [
        params_fingerprint(loaded.params),
        str(loaded.model),
        [task.name, task.labels],
        digest_texts(texts),
        digest_gold(texts),
        texts.segmentation,
        decoding,
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    folder = shared / f"predictions-{digest[:_DIGITS]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.json"
    with hold_folder(folder, session.preemption.raise_if_requested, work="predicts"):
        if found := _read_labels(path, len(texts.examples)):
            return found
        labels = predict_labels(session, task, loaded.model, params, texts, decoding)
        if session.writes:
            write_json(path, labels)
    return labels


def _read_labels(path: Path, count: int) -> list[tuple[str, ...]]:
    """The labels of so many texts in a file; empty if there is none, or it is damaged."""
    try:
        labels = [tuple(each) for each in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        labels = []
    if len(labels) != count:
        log.warning("%s is damaged: the texts are predicted again", path)
        return []
    return labels
