"""A teacher learns its labels with the subwords of its texts alone.

The word embeddings of subwords that no labelled text holds have no gradient, yet in a multilingual
encoder they would be most of what the optimizer reads and writes in every step, and of a
checkpoint. Here they stay as they are. In the whole table weight decay alone would move them; all
other parameters, losses and gradients are the same.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from xdistil.data.subwords import Subwords
from xdistil.data.trim_tokenizer import renumber
from xdistil.distill.course import Leg, Source
from xdistil.experiment.build import Texts, find_texts
from xdistil.experiment.courses import make_course, run_course, score_texts, without_signals
from xdistil.experiment.evaluate import warn_if_below_floor
from xdistil.experiment.setting import Setting
from xdistil.models.hf.folder import Transformer
from xdistil.models.trim import put_back, trim_model
from xdistil.models.types import Params
from xdistil.runtime.mesh import shard_params


def finetune(setting: Setting, model: Transformer, params: Params) -> Params:
    """The teacher's parameters after its plan, host arrays; `params` are those before."""
    prepared, dev = setting.prepared, setting.prepared.teacher_texts["dev"]
    texts = [
        find_texts(setting.experiment, prepared, "teacher", planned.stage)
        for planned in prepared.teacher_stages
    ]
    kept = find_subwords(model, [each.subwords for each in (dev, *texts)])
    small, trained = trim_model(model, params, kept)

    def narrow(texts: Texts) -> Source:
        return without_signals(replace(texts, subwords=renumber(texts.subwords, kept)))

    def evaluate(on_devices: Params) -> dict[str, Any]:
        # The whole model's program is compiled for its predictions anyway.
        whole = put_back(params, jax.device_get(on_devices), kept)
        return score_texts(setting, model, dev, shard_params(setting.mesh, whole))

    held_out = narrow(dev)
    legs = tuple(
        Leg(replace(planned, recipe=replace(planned.recipe, model=small)), narrow(train), held_out)
        for planned, train in zip(prepared.teacher_stages, texts, strict=True)
    )
    course = make_course(setting, "teacher", legs, evaluate, small.config.padding_id, None)
    for outcome in run_course(setting, course, trained):
        trained = outcome.params
    warn_if_below_floor(setting, outcome.records[-1]["dev"])
    return put_back(params, trained, kept)


def find_subwords(model: Transformer, texts: list[Subwords]) -> np.ndarray:
    """The ids that a model trains on these texts: theirs and that of padding, ascending, i32[v]."""
    occurs = np.zeros(model.config.vocabulary_size, bool)
    occurs[model.config.padding_id] = True
    occurs[: model.config.first_position] = True  # RoBERTa counts positions from padding on
    for subwords in texts:
        occurs[subwords.tokens] = True
    return np.flatnonzero(occurs).astype(np.int32)
