"""Fine-tuning of a teacher, with the subwords of its texts alone.

The word embeddings of subwords that no labelled text holds have no gradient, yet in a multilingual
encoder they would be most of what the optimizer reads and writes in every step, and of a
checkpoint. Here they keep their values. In the whole table weight decay alone would move them; all
other parameters, losses and gradients are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from xdistil.data.packing import PackedTexts
from xdistil.data.subwords import Subwords
from xdistil.data.trim_tokenizer import renumber
from xdistil.distill.loop import fit
from xdistil.distill.stages import StageRun, with_model
from xdistil.distill.trainer import Trainer
from xdistil.evaluation.results import ScoreName, Scores
from xdistil.models.encoder import Transformer
from xdistil.models.trim import put_back, trim_model
from xdistil.models.types import Params
from xdistil.runtime.mesh import fetch, shard_params
from xdistil.runtime.session import Session
from xdistil.teacher.interface import SignalReader


def finetune(
    stages: Sequence[StageRun],
    model: Transformer,
    params: Params,
    session: Session,
    evaluate: Callable[[Params], Scores],
    metric: ScoreName,
) -> tuple[Params, Scores]:
    """(the model's parameters after its plan, host arrays; its scores on dev).

    Args:
        params: those before.
        evaluate: the scores on dev of the whole model's parameters, on the devices or the host.
        metric: the key of those scores that is monitored.
    """
    texts = [stages[0].dev.subwords, *(stage.train.subwords for stage in stages)]
    kept = find_subwords(model, texts)
    small, trained = trim_model(model, params, kept)

    def narrow(texts: PackedTexts) -> PackedTexts:
        return replace(texts, subwords=renumber(texts.subwords, kept))

    def evaluate_whole(on_devices: Params) -> Scores:
        # The whole model's program is compiled for its predictions anyway.
        embeddings = on_devices["embeddings"]
        rows = fetch(embeddings["word_embeddings"])
        trained = {**on_devices, "embeddings": {**embeddings, "word_embeddings": rows}}
        return evaluate(put_back(params, trained, kept))

    dev = narrow(stages[0].dev)
    narrowed = [with_model(stage, small, narrow(stage.train), dev) for stage in stages]
    trainer = Trainer(
        name="teacher",
        session=session,
        reader=SignalReader(),
        evaluate=evaluate_whole,
        metric=metric,
        place=shard_params,
        padding_id=small.config.padding_id,
    )
    for outcome in fit(trainer, narrowed, trained):
        trained, scores = outcome.params, outcome.stages[-1]["dev"]
    return put_back(params, trained, kept), scores


def find_subwords(model: Transformer, texts: list[Subwords]) -> np.ndarray:
    """The ids that a model trains on these texts: theirs and that of padding, ascending, i32[v]."""
    occurs = np.zeros(model.config.vocabulary_size, bool)
    occurs[model.config.padding_id] = True
    occurs[: model.config.first_position] = True  # RoBERTa counts positions from padding on
    for subwords in texts:
        occurs[subwords.tokens] = True
    return np.flatnonzero(occurs).astype(np.int32)
