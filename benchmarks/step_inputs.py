"""Random sentences, batches of one segment per row, and plans on given texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xdistil.config import Stage
from xdistil.data.packing import Batch, PackedTexts, Rows, fill_batch
from xdistil.data.subwords import Subwords
from xdistil.distill.stages import StageRun, plan_stages, texts_name
from xdistil.models.encoder_config import EncoderConfig
from xdistil.models.types import Model
from xdistil.teacher.interface import NoTeacher, Teacher


def draw_sentences(
    generator: np.random.Generator, lengths: np.ndarray, vocabulary: int, classes: int
) -> Subwords:
    """Random subwords in sentences of these lengths i64[S]; the id of a subword gives its class."""
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = generator.integers(1, vocabulary, start[-1], np.int32)
    return Subwords(
        tokens=tokens,
        token_type=np.zeros(len(tokens), np.int8),
        labels=tokens % classes,
        label_mask=np.ones(len(tokens), bool),
        word=(np.arange(start[-1]) - np.repeat(start[:-1], lengths)).astype(np.int32),
        start=start,
        example=np.arange(len(lengths), dtype=np.int32),
    )


def pad_segments(
    subwords: Subwords, segments: Sequence[int], padding_id: int, length: int = 0, multiple: int = 1
) -> Batch:
    """One segment per row, padded or cut to a length.

    Args:
        length: of every row; 0: that of the longest segment.
        multiple: the length is rounded up to a multiple of it.
    """
    start = subwords.start[list(segments)][:, None]
    end = subwords.start[1:][list(segments)][:, None]
    length = -(-(length or int((end - start).max())) // multiple) * multiple
    within = np.arange(length)
    real = start + within < end
    rows = Rows(np.where(real, start + within, -1), real, np.where(real, within, 0))
    return fill_batch(subwords, rows, np.arange(len(segments)), padding_id)


@dataclass(frozen=True, kw_only=True)
class ShapeOnly(NoTeacher):
    """A teacher that has a shape, for plans: the benchmarks compute or draw its signals."""

    config: EncoderConfig

    def shape(self, where: str) -> EncoderConfig:
        """Its layers and widths."""
        return self.config


def plan_on(
    texts: PackedTexts, plan: Sequence[Stage], model: Model, teacher: EncoderConfig | None
) -> tuple[StageRun, ...]:
    """The stage runs of a plan, all of them on the same texts."""
    source: Teacher = NoTeacher() if teacher is None else ShapeOnly(config=teacher)
    named = dict.fromkeys(("dev", *map(texts_name, plan)), texts)
    return plan_stages(plan, "plan", model, source, named)
