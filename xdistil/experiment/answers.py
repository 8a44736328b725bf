"""What models answer, and a teacher's answers in place of labels where a run has none."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from xdistil.data.examples import Example
from xdistil.data.packing import collect_predictions
from xdistil.experiment.build import Texts
from xdistil.experiment.setting import Setting
from xdistil.models.forward import predict_rows
from xdistil.models.hf.folder import Model
from xdistil.models.types import Params
from xdistil.teacher.model_teacher import Reader

log = logging.getLogger("xdistil")


def answer(setting: Setting, model: Model, params: Params, texts: Texts) -> list[tuple[str, ...]]:
    """The labels that a model gives to texts in its subwords; `params` lie on the devices."""
    predicted = predict_rows(
        model,
        params,
        texts.subwords,
        texts.rows,
        setting.prediction_rows,
        model.config.padding_id,
        setting.mesh,
        setting.stop.raise_if_requested,
    )
    task = setting.prepared.corpus.task
    return collect_predictions(texts.subwords, texts.rows, predicted, texts.examples, task)


def with_labels(examples: Sequence[Example], answers: Sequence[tuple[str, ...]]) -> list[Example]:
    """The examples with these answers as their labels."""
    return [replace(each, labels=labels) for each, labels in zip(examples, answers, strict=True)]


def pseudo_label_dev(setting: Setting, teacher: Reader) -> Setting:
    """The setting of a run without labels, its held-out texts labelled by the teacher.

    A teacher that answers all of them alike is told, for agreeing with it means nothing.
    """
    prepared = setting.prepared
    texts = prepared.teacher_texts["dev"]
    answers = answer(setting, teacher.model, teacher.params, texts)
    if len({label for labels in answers for label in labels}) == 1:
        log.warning(
            "The teacher answers %r everywhere in the held-out texts: agreement with it means "
            "little. Are the texts of its kind, and is its tokenizer its own?",
            answers[0][0],
        )
    labelled = with_labels(texts.examples, answers)

    def put(texts: dict[str, Texts]) -> dict[str, Texts]:
        return {**texts, "dev": replace(texts["dev"], examples=labelled)}

    prepared = replace(
        prepared,
        corpus=replace(prepared.corpus, dev=labelled),
        teacher_texts=put(prepared.teacher_texts),
        student_texts=put(prepared.student_texts),
    )
    return replace(setting, prepared=prepared)
