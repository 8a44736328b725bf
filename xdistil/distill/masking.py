"""Words hidden from the student while it trains; the teacher reads all of them.

The student sees a mask token instead and learns what the teacher makes of the whole text, from the
words around it.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from xdistil.config import Stage
from xdistil.data.packing import Batch
from xdistil.data.tokenizer import Tokenizer, read_template
from xdistil.errors import InputError


@dataclass(frozen=True)
class Masking:
    """How a stage hides words; hashable."""

    share: float  # probability of a word to be hidden
    subword: int  # the id that hidden subwords become
    special: tuple[int, ...]  # ids around texts, which are never hidden
    whole_words: bool  # false: every subword for itself, where batches know no words


def choose_masking(
    stage: Stage, place: str, tokenizer: Tokenizer | None, whole_words: bool
) -> Masking | None:
    """How a stage at a place of the config hides words; None: it hides none.

    Args:
        tokenizer: of the model that is trained; None for a stage that hides nothing.

    Raises:
        InputError: the tokenizer has neither a mask token nor an unknown token.
    """
    if not stage.mask:
        return None
    assert tokenizer is not None  # the student's: no other plan hides words
    subword = tokenizer.unk if tokenizer.mask is None else tokenizer.mask
    if subword is None:
        raise InputError(
            f"{place}.mask is {stage.mask:g}, but the student's tokenizer {tokenizer.source!r} has "
            f"neither a mask token nor an unknown token: set {place}.mask=0."
        )
    around = (read_template(tokenizer, pair).special for pair in (False, True))
    special = {int(id) for each in around for part in each for id in part}
    return Masking(float(stage.mask), subword, tuple(sorted(special)), whole_words)


def hide_words(masking: Masking, batch: Batch, key: jax.Array) -> Batch:
    """The batch with some words hidden: all subwords of each become `masking.subword`.

    Units without a label of their own belong to the word before them. Special subwords and padding
    stay, and so does everything but `tokens`.

    Args:
        key: PRNG key that decides which words.
    """
    tokens = jnp.asarray(batch.tokens)
    special = (tokens[..., None] == jnp.array(masking.special, jnp.int32)).any(axis=-1)
    hidden = jax.random.bernoulli(key, masking.share, tokens.shape)
    if masking.whole_words:
        # The first subword of a word decides for all of them.
        begins = batch.label_mask | (batch.position == 0)
        places = jnp.where(begins, jnp.arange(tokens.shape[1]), 0)
        hidden = jnp.take_along_axis(hidden, jax.lax.cummax(places, axis=1), axis=1)
    hidden &= (batch.segment > 0) & ~special
    return batch._replace(tokens=jnp.where(hidden, jnp.int32(masking.subword), tokens))
