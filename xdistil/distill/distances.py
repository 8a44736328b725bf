"""How far two arrays are apart: pure functions that return a (sum, count).

Sums are divided once, at the end, so that a loss is exact on any number of devices. Letters: B
rows, T row length, C classes, D width, H heads. All arithmetic here is float32, whatever the
precision of the arguments.
"""

import flax.struct
import jax
import jax.numpy as jnp

from xdistil.data.packing import Array

_LEAST = 1e-37  # a probability that float32 still holds to its full precision
_FAR = 1e30  # how far below zero a score vanishes; a number, for there is a row of nothing else


@flax.struct.dataclass
class Tally:
    """A sum and the number of things summed."""

    sum: Array  # f32[]
    count: Array  # f32[]; with weights, their sum

    def mean(self) -> Array:
        """sum / count as f32[]; 0 where nothing was counted (a batch of padding)."""
        return self.sum / jnp.where(self.count > 0, self.count, 1.0)


def _tally(values: Array, mask: Array) -> Tally:
    return Tally(jnp.sum(jnp.where(mask, values, 0.0)), jnp.sum(mask.astype(jnp.float32)))


def keep_where(values: Array, mask: Array) -> Array:
    """The values as float32, and zero where the mask is false; shapes broadcast."""
    # A padding position may hold anything, finite or not, and the gradient of a loss there is no
    # number even where its value is left out of the sum.
    return jnp.where(mask, values.astype(jnp.float32), 0.0)


def mean_squared_error(student: Array, teacher: Array, mask: Array) -> Tally:
    """Squared difference, mean over the last axis, summed where mask is true.

    Args:
        student, teacher: f[B,T,D] (hidden states) or f[B,T,C] (logits).
        mask: bool[B,T].
    """
    difference = keep_where(student, mask[..., None]) - keep_where(teacher, mask[..., None])
    return _tally(jnp.mean(jnp.square(difference), axis=-1), mask)


def cosine_distance(student: Array, teacher: Array, mask: Array) -> Tally:
    """1 - cosine of the angle between f[B,T,D] states, summed where mask bool[B,T] is true."""
    student, teacher = keep_where(student, mask[..., None]), keep_where(teacher, mask[..., None])
    # The bound sits under the root, since the gradient of a norm at zero is not a number.
    squares = jnp.sum(student**2, axis=-1) * jnp.sum(teacher**2, axis=-1)
    cosine = jnp.sum(student * teacher, axis=-1) / jnp.sqrt(jnp.maximum(squares, 1e-12))
    return _tally(1.0 - cosine, mask)


def kl_divergence(student: Array, teacher: Array, mask: Array, temperature: float = 1.0) -> Tally:
    """temperature^2 KL(softmax(teacher / temperature) || softmax(student / temperature)).

    Over the last axis of f[B,T,D] (hidden states, XtremeDistil section 3) or f[B,T,C] (logits,
    Hinton et al. 2015, whose factor temperature^2 keeps the gradient's scale), summed where mask
    bool[B,T] is true; in nats.
    """
    student, teacher = keep_where(student, mask[..., None]), keep_where(teacher, mask[..., None])
    teacher_log = jax.nn.log_softmax(teacher / temperature, axis=-1)
    student_log = jax.nn.log_softmax(student / temperature, axis=-1)
    divergence = jnp.sum(jnp.exp(teacher_log) * (teacher_log - student_log), axis=-1)
    return _tally(temperature**2 * divergence, mask)


def cross_entropy(
    logits: Array, labels: Array, mask: Array, weights: tuple[float, ...] = ()
) -> Tally:
    """-log softmax(logits)[label] in nats, summed where mask is true.

    Args:
        logits: f[B,T,C].
        labels: i32[B,T].
        mask: bool[B,T].
        weights: of the classes, a number for each; empty: equal. With weights the mean is
            weighted, as PyTorch's is.
    """
    log_probabilities = jax.nn.log_softmax(keep_where(logits, mask[..., None]), axis=-1)
    chosen = jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
    if not weights:
        return _tally(-chosen, mask)
    weight = jnp.where(mask, jnp.asarray(weights, jnp.float32)[labels], 0.0)
    return Tally(jnp.sum(-chosen * weight), jnp.sum(weight))


def soft_cross_entropy(logits: Array, targets: Array, weights: tuple[float, ...] = ()) -> Tally:
    """-sum of target times log softmax(logits) in nats, summed over all places.

    Where a target is a single 1 this is `cross_entropy`, with the same weights of classes.

    Args:
        logits: f[B,T,C].
        targets: f[B,T,C] probabilities of the labels; zeros where there are none. Those of a place
            sum to its weight in the mean.
        weights: of the classes, a number for each; empty: equal.
    """
    targets = targets.astype(jnp.float32)
    known = jnp.sum(targets, axis=-1, keepdims=True) > 0
    log_probabilities = jax.nn.log_softmax(keep_where(logits, known), axis=-1)
    if weights:
        targets = targets * jnp.asarray(weights, jnp.float32)
    return Tally(-jnp.sum(targets * log_probabilities), jnp.sum(targets))


def binary_divergence(
    student: Array, teacher: Array, mask: Array, temperature: float = 1.0
) -> Tally:
    """temperature^2 KL(Bernoulli(teacher / temperature) || Bernoulli(student / temperature)).

    Each label has a probability of its own, the sigmoid of its logit, and the divergences of all
    labels are summed: that of the labels together where they are independent (the loss on logits of
    Yang et al. 2023, arXiv:2308.06453). The temperature divides logits and its square keeps the
    gradient's scale, as in `kl_divergence`.

    Args:
        student, teacher: logits f[B,T,C].
        mask: bool[B,T], where the divergence is summed; in nats.
    """
    student, teacher = (
        keep_where(each, mask[..., None]) / temperature for each in (student, teacher)
    )
    yes = jax.nn.log_sigmoid(teacher) - jax.nn.log_sigmoid(student)
    no = jax.nn.log_sigmoid(-teacher) - jax.nn.log_sigmoid(-student)
    probability = jax.nn.sigmoid(teacher)
    divergence = jnp.sum(probability * yes + (1 - probability) * no, axis=-1)
    return _tally(temperature**2 * divergence, mask)


def binary_cross_entropy(
    logits: Array, labels: Array, mask: Array, weights: tuple[float, ...] = ()
) -> Tally:
    """-log of the probability of having or lacking each label, in nats, summed where mask is true.

    The mean over labels, so that the mean of the tally is that of PyTorch's BCEWithLogitsLoss over
    texts and labels.

    Args:
        logits: f[B,T,C].
        labels: u8[B,T,W] packed labels.
        mask: bool[B,T].
        weights: of the labels where a text has them, a number for each, as PyTorch's pos_weight;
            empty: 1.
    """
    logits = keep_where(logits, mask[..., None])
    has = jnp.unpackbits(labels, axis=-1, count=logits.shape[-1], bitorder="little") > 0
    weight = jnp.asarray(weights, jnp.float32) if weights else 1.0
    yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return _tally(-jnp.mean(jnp.where(has, weight * yes, no), axis=-1), mask)


def attention_error(student: Array, teacher: Array, segment: Array) -> Tally:
    """Squared difference of attention probabilities over (query, key) pairs of one segment.

    Args:
        student, teacher: f[B,H,T,T], the same number of heads.
        segment: i32[B,T], 0 is padding.

    Returns:
        Tally whose count is heads times the sum of squared segment lengths.
    """
    same = _same_segment(segment)
    difference = keep_where(student, same) - keep_where(teacher, same)
    return _tally(jnp.square(difference), jnp.broadcast_to(same, difference.shape))


def attention_divergence(student: Array, teacher: Array, segment: Array) -> Tally:
    """KL(teacher || student) of attention probabilities, in nats, over the keys of every query.

    MiniLM, Wang et al. 2020 (arXiv 2002.10957). Probabilities too small for float32 count as the
    smallest that it holds.

    Args:
        student, teacher: f[B,H,T,T], the same number of heads.
        segment: i32[B,T], 0 is padding.

    Returns:
        Tally whose count is heads times real subwords.
    """
    same = _same_segment(segment)
    student, teacher = keep_where(student, same), keep_where(teacher, same)
    student_log, teacher_log = (jnp.log(jnp.maximum(x, _LEAST)) for x in (student, teacher))
    return _sum_over_keys(teacher * (teacher_log - student_log), segment)


def relation_divergence(student: Array, teacher: Array, segment: Array, heads: int) -> Tally:
    """KL(teacher || student) of the relations between the subwords of a segment, in nats.

    MiniLMv2, Wang et al. 2021 (arXiv 2012.15828): the vectors of all heads are split again into
    `heads` parts of width d, and the relation of a subword to those of its segment is
    softmax(x x^T / sqrt(d)). Widths and heads of the two models may differ.

    Args:
        student, teacher: f[B,T,D] queries, or keys, or values; `heads` divides both widths.
        segment: i32[B,T], 0 is padding.

    Returns:
        Tally whose count is `heads` times real subwords.
    """
    same = _same_segment(segment)

    def relate(vectors: Array) -> Array:  # f[B,T,D] -> the logarithm of relations f[B,H,T,T]
        kept = keep_where(vectors, (segment > 0)[..., None])
        parts = jnp.swapaxes(kept.reshape(*segment.shape, heads, -1), 1, 2)
        scores = parts @ jnp.swapaxes(parts, -1, -2) / parts.shape[-1] ** 0.5
        return jax.nn.log_softmax(jnp.where(same, scores, -_FAR), axis=-1)

    student_log, teacher_log = relate(student), relate(teacher)
    # Outside a segment both are equally far, so that the difference is zero, as its gradient is.
    return _sum_over_keys(jnp.exp(teacher_log) * (teacher_log - student_log), segment)


def _same_segment(segment: Array) -> Array:
    """bool[B,1,T,T]: whether query and key are real subwords of one segment."""
    query, key = segment[:, None, :, None], segment[:, None, None, :]
    return (query == key) & (query > 0)


def _sum_over_keys(values: Array, segment: Array) -> Tally:
    """The sum of f[B,H,T,T], zero outside segments; the count is that of queries in all heads."""
    return Tally(jnp.sum(values), values.shape[1] * jnp.sum((segment > 0).astype(jnp.float32)))
