"""Texts of one subword each."""

import numpy as np

from xdistil.data.subwords import Subwords
from xdistil.data.tokenizer import Template


def isolate_subwords(template: Template, count: int) -> Subwords:
    """A text for each of the ids 0..count-1: the subword, between the special ones of a text.

    The texts have no words and no labels.

    Args:
        template: of one text.
    """
    before, after = template.special
    length = template.count + 1
    tokens = np.empty((count, length), np.int32)
    tokens[:, : len(before)] = before
    tokens[:, len(before)] = np.arange(count)
    tokens[:, len(before) + 1 :] = after
    token_type = np.concatenate(
        [template.special_type[0], template.text_type, template.special_type[1]]
    )
    size = tokens.size
    return Subwords(
        tokens=tokens.reshape(-1),
        token_type=np.tile(token_type.astype(np.int8), count),
        labels=np.zeros(size, np.int32),
        label_mask=np.zeros(size, bool),
        word=np.full(size, -1, np.int32),
        start=np.arange(0, size + 1, length),
        example=np.arange(count, dtype=np.int32),
    )
