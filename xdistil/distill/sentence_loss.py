"""Losses on the tags of whole sentences, among all legal ones.

They are those of a conditional random field (Lafferty et al. 2001) whose transitions are fixed: 0
between tags that may follow one another, and no way between others. So what is learned is the
probability of what is predicted, the best of all legal tags of a sentence.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.data.packing import Array
from xdistil.distill.distances import Tally, keep_where

_LEAST = 1e-37  # of what reaches a tag, beside the most probable: float32 still holds it

Legal = tuple[tuple[bool, ...], ...]  # C + 1 rows of C: whether a tag may follow another; the last
# row is the start


def sentence_cross_entropy(
    logits: Array, labels: Array, mask: Array, segment: Array, legal: Legal
) -> Tally:
    """-log of the probability of the gold tags of sentences among their legal tags, in nats, summed
    over sentences. The count is that of tags, so that the mean is comparable to `cross_entropy`.

    Where gold tags are illegal, as in a window that begins inside an entity, the sentence is cut in
    two; a part may begin with the tag that it has.

    Args:
        logits: f[B,T,C].
        labels: i32[B,T].
        mask: bool[B,T] where labels stand.
        segment: i32[B,T] 1, 2, ... within a row; tags of one segment are a sentence.
    """
    allowed = jnp.asarray(np.array(legal))
    scores = keep_where(logits, mask[..., None])
    before, same = _find_before(mask, segment)
    old = jnp.take_along_axis(jnp.asarray(labels), before, axis=1)
    continues = same & allowed[old, labels]
    total = _sum_legal(scores, _Sentences(mask, continues, _list_starts(labels, allowed), allowed))
    gold = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    return Tally(total - jnp.where(mask, gold, 0.0).sum(), _count(mask))


def sentence_divergence(
    student: Array,
    teacher: Array,
    mask: Array,
    segment: Array,
    legal: Legal,
    temperature: float = 1.0,
) -> Tally:
    """temperature^2 KL(teacher || student) of the tags of sentences, in nats, summed over them.

    Both give each legal sequence of tags a share, as in `sentence_cross_entropy`, with logits
    divided by the temperature. The divergence is exact, over all sequences: the scores of tags are
    sums, so that the teacher's probabilities of single tags suffice (the factorised objective of
    Wang et al. 2021, arXiv:2010.05010). The count is that of tags, so that the mean is comparable
    to `kl_divergence`. Where the teacher's most probable first tag may not begin a sentence, as in
    a window inside an entity, any tag may.

    Args:
        student, teacher: logits f[B,T,C].
        mask: bool[B,T] where both have tags.
        segment: i32[B,T] 1, 2, ... within a row; tags of one segment are a sentence.
    """
    allowed = jnp.asarray(np.array(legal))
    own, target = (keep_where(each, mask[..., None]) / temperature for each in (student, teacher))
    starts = _list_starts(target.argmax(axis=-1), allowed)
    sentences = _Sentences(mask, _find_before(mask, segment)[1], starts, allowed)
    # The derivative of the logarithm of a sum is the share in it: the probability of each tag.
    normaliser, shares = jax.value_and_grad(_sum_legal)(target, sentences)
    divergence = jnp.sum(shares * (target - own)) - normaliser + _sum_legal(own, sentences)
    return Tally(temperature**2 * divergence, _count(mask))


class _Sentences(NamedTuple):
    """Which tags are one sentence, and which of them are legal."""

    mask: Array  # bool[B,T] where tags stand
    continues: Array  # bool[B,T] where a tag follows the one before in its sentence
    starts: Array  # bool[B,T,C] the tags that a sentence may begin with
    allowed: Array  # bool[C+1,C] as Legal


def _sum_legal(scores: Array, sentences: _Sentences) -> jax.Array:
    """The log of the sum over all legal tags of a sentence of exp(their scores), f32[], summed over
    sentences.

    Args:
        scores: f32[B,T,C]; zero where the mask is false.
    """
    start = jnp.where(sentences.starts, scores, scores + jnp.log(_LEAST))
    following = sentences.allowed[:-1].astype(jnp.float32)

    def advance(
        carry: tuple[jax.Array, jax.Array], place: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        total, reached = carry  # log-sums f32[B] of finished sentences, f32[B,C] by last tag
        here, own, first, goes_on = place
        most = reached.max(axis=-1, keepdims=True)
        sums = jnp.matmul(jnp.exp(reached - most), following, precision="highest")
        next_reached = jnp.log(jnp.maximum(sums, _LEAST)) + most + own
        begins = here & ~goes_on
        total += jnp.where(begins, jax.nn.logsumexp(reached, axis=-1), 0.0)
        moved = jnp.where(goes_on[:, None], next_reached, first)
        return (total, jnp.where(here[:, None], moved, reached)), None

    rows, _, classes = scores.shape
    nothing = jnp.zeros(rows), jnp.full((rows, classes), -jnp.log(float(classes)))  # a sum of 1
    arrays = sentences.mask, scores, start, sentences.continues
    places = tuple(jnp.moveaxis(each, 1, 0) for each in arrays)
    (total, reached), _ = jax.lax.scan(advance, nothing, places)
    return jnp.sum(total + jax.nn.logsumexp(reached, axis=-1))


def _find_before(mask: Array, segment: Array) -> tuple[jax.Array, jax.Array]:
    """(i32[B,T] the place of the tag before, bool[B,T] whether a tag has one in its sentence)."""
    places = jnp.where(mask, jnp.arange(mask.shape[1]), -1)
    before = jnp.pad(jax.lax.cummax(places, axis=1)[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    there = jnp.maximum(before, 0)
    same = jnp.take_along_axis(jnp.asarray(segment), there, axis=1) == segment
    return there, jnp.asarray(mask) & (before >= 0) & same


def _list_starts(tags: Array, allowed: jax.Array) -> jax.Array:
    """bool[B,T,C] the tags that a sentence may begin with: any where that of `tags` i32[B,T] may
    not."""
    return allowed[-1] | ~allowed[-1][tags][..., None]


def _count(mask: Array) -> jax.Array:
    return mask.astype(jnp.float32).sum()
