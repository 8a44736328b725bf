"""The labels that a model predicts for texts, and their scores."""

from collections.abc import Sequence
from dataclasses import replace

from xdistil.data.examples import Example, Task
from xdistil.data.packing import PackedTexts
from xdistil.data.segmentation import UNITS
from xdistil.data.word_alignment import label_subwords
from xdistil.evaluation import metrics
from xdistil.evaluation.results import Scores
from xdistil.models.forward import predict_rows, prediction_rows
from xdistil.models.types import Model, Params
from xdistil.runtime.session import Session


def predict_labels(
    session: Session, task: Task, model: Model, params: Params, texts: PackedTexts, decoding: str
) -> list[tuple[str, ...]]:
    """The labels of texts in the model's subwords; `params` lie on the devices.

    Args:
        decoding: of the model's tags, as in `label_words`.
    """
    predicted = predict_rows(
        model,
        params,
        texts.subwords,
        texts.rows,
        prediction_rows(texts.rows, session.mesh.size),
        model.config.padding_id,
        session.mesh,
        session.preemption.raise_if_requested,
    )
    joins = texts.segmentation == UNITS
    return label_subwords(texts.subwords, predicted, texts.examples, task, decoding, joins)


def score_texts(
    session: Session, task: Task, model: Model, texts: PackedTexts, decoding: str, params: Params
) -> Scores:
    """The scores of a model whose parameters lie on the devices."""
    labels = predict_labels(session, task, model, params, texts, decoding)
    return metrics.score(task, texts.examples, labels)


def with_labels(examples: Sequence[Example], labels: Sequence[tuple[str, ...]]) -> list[Example]:
    """The examples with these labels."""
    return [replace(each, labels=own) for each, own in zip(examples, labels, strict=True)]
