"""What a frozen encoder makes of the texts of a stage, computed once for all of its epochs."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from xdistil.data.packing import PackedTexts
from xdistil.distill.stages import StageRun
from xdistil.distill.unfreezing import HEAD, PROJECTION, split_params
from xdistil.errors import InputError
from xdistil.models.types import Params
from xdistil.runtime.mesh import fetch
from xdistil.runtime.session import Session
from xdistil.teacher.cache import open_cache
from xdistil.teacher.signals import PlacedModel, SignalSpec, params_fingerprint, signal_names
from xdistil.teacher.storage import Signal

log = logging.getLogger("xdistil")


def cache_features(
    stage: StageRun, params: Params, session: Session, padding_id: int, batch_rows: int
) -> tuple[Signal, Signal] | None:
    """(features of the training texts, of dev), as batches read them.

    Those of an encoder that is frozen no more are removed.

    Args:
        params: the student's, on the devices.
        batch_rows: rows of a batch of the pass that computes them.

    Returns:
        None: the steps compute them, because nothing is gained by a cache, or the disk has no room.

    Raises:
        StoppedError: a signal came meanwhile; what is computed by then is kept.
    """
    folder = session.workdir / "cache" / "features"
    if not stage.step.encoder_frozen:
        shutil.rmtree(folder, ignore_errors=True)
    if not stage.caches_features:
        return None
    model = stage.step.losses.model
    _, encoder = split_params(fetch(params), (HEAD, PROJECTION))
    placed = PlacedModel(
        model=model,
        params=params,
        padding_id=padding_id,
        remap=None,
        fingerprint=params_fingerprint(encoder),
        mesh=session.mesh,
    )
    try:
        train, dev = (
            _read(folder, placed, texts, session, batch_rows) for texts in (stage.train, stage.dev)
        )
    except InputError as error:  # no room on the disk
        log.info("%s Until then the frozen encoder runs in every step.", error)
        return None
    return train, dev


def _read(
    folder: Path, model: PlacedModel, texts: PackedTexts, session: Session, batch_rows: int
) -> Signal:
    spec = SignalSpec(hidden=(model.model.features,))
    check = session.preemption.raise_if_requested
    opened: Mapping[str, Signal] = open_cache(
        folder, model, texts.subwords, texts.rows, spec, batch_rows, check
    )
    (name,) = signal_names(spec)
    return opened[name]
