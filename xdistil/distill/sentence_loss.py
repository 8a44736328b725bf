"""The cross-entropy of the tags of whole sentences, among all legal ones.

It is the loss of a conditional random field (Lafferty et al. 2001) whose transitions are fixed: 0
between tags that may follow one another, and no way between others. So what is learned is the
probability of what is predicted, the best of all legal tags of a sentence.
"""

import jax
import jax.numpy as jnp
import numpy as np

from xdistil.data.packing import Array
from xdistil.distill.distances import Tally

_LEAST = 1e-37  # of what reaches a tag, beside the most probable: float32 still holds it


def sentence_cross_entropy(
    logits: Array, labels: Array, mask: Array, segment: Array, legal: tuple[tuple[bool, ...], ...]
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
        legal: C + 1 rows of C, whether a tag may follow another; the last row is the start.
    """
    allowed = jnp.asarray(np.array(legal))
    scores = jnp.where(mask[..., None], logits.astype(jnp.float32), 0.0)
    continues = _find_continued(labels, mask, segment, allowed)
    may_begin = allowed[-1] | ~allowed[-1][labels][..., None]
    start = jnp.where(may_begin, scores, scores + jnp.log(_LEAST))
    following = allowed[:-1].astype(jnp.float32)

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

    rows, classes = scores.shape[0], scores.shape[-1]
    nothing = jnp.zeros(rows), jnp.full((rows, classes), -jnp.log(float(classes)))  # a sum of 1
    places = tuple(jnp.moveaxis(each, 1, 0) for each in (mask, scores, start, continues))
    (total, reached), _ = jax.lax.scan(advance, nothing, places)
    total += jax.nn.logsumexp(reached, axis=-1)
    gold = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    gold = jnp.where(mask, gold, 0.0)
    return Tally(total.sum() - gold.sum(), mask.astype(jnp.float32).sum())


def _find_continued(labels: Array, mask: Array, segment: Array, allowed: jax.Array) -> Array:
    """bool[B,T] where a tag legally follows the tag before it in its sentence."""
    places = jnp.where(mask, jnp.arange(mask.shape[1]), -1)
    before = jnp.pad(jax.lax.cummax(places, axis=1)[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    there = jnp.maximum(before, 0)
    same = jnp.take_along_axis(jnp.asarray(segment), there, axis=1) == segment
    old = jnp.take_along_axis(jnp.asarray(labels), there, axis=1)
    return mask & (before >= 0) & same & allowed[old, labels]
