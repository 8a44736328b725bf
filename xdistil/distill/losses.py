"""Losses as pure (sum, count): divided once, at the end, and so exact on any number of devices.

Letters: B rows, T row length, C classes, D width, H heads. All arithmetic here is float32, whatever
the precision of the arrays that come in.
"""

import flax.struct
import jax
import jax.numpy as jnp

from xdistil.models.structs import Array


@flax.struct.dataclass
class Tally:
    """A sum and the number of things summed."""

    sum: Array  # f32[]
    count: Array  # f32[]

    def mean(self) -> Array:
        """sum / count as f32[]; 0 where nothing was counted (a batch of padding)."""
        return self.sum / jnp.maximum(self.count, 1.0)


def _tally(values: Array, mask: Array) -> Tally:
    return Tally(jnp.sum(jnp.where(mask, values, 0.0)), jnp.sum(mask.astype(jnp.float32)))


def _keep(values: Array, mask: Array) -> Array:
    # float32, and zero where mask is false. A padding position may hold anything, finite or not,
    # and the gradient of a loss there is no number even where its value is left out of the sum.
    return jnp.where(mask, values.astype(jnp.float32), 0.0)


def mean_squared_error(student: Array, teacher: Array, mask: Array) -> Tally:
    """Squared difference, mean over the last axis, summed where mask is true.

    Args:
        student, teacher: f[B,T,D] (hidden states) or f[B,T,C] (logits).
        mask: bool[B,T].
    """
    difference = _keep(student, mask[..., None]) - _keep(teacher, mask[..., None])
    return _tally(jnp.mean(jnp.square(difference), axis=-1), mask)


def cosine_distance(student: Array, teacher: Array, mask: Array) -> Tally:
    """1 - cosine of the angle between f[B,T,D] states, summed where mask bool[B,T] is true."""
    student, teacher = _keep(student, mask[..., None]), _keep(teacher, mask[..., None])
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
    student, teacher = _keep(student, mask[..., None]), _keep(teacher, mask[..., None])
    teacher_log = jax.nn.log_softmax(teacher / temperature, axis=-1)
    student_log = jax.nn.log_softmax(student / temperature, axis=-1)
    divergence = jnp.sum(jnp.exp(teacher_log) * (teacher_log - student_log), axis=-1)
    return _tally(temperature**2 * divergence, mask)


def cross_entropy(logits: Array, labels: Array, mask: Array) -> Tally:
    """-log softmax(logits)[label] in nats, summed where mask is true.

    Args:
        logits: f[B,T,C].
        labels: i32[B,T].
        mask: bool[B,T].
    """
    log_probabilities = jax.nn.log_softmax(_keep(logits, mask[..., None]), axis=-1)
    chosen = jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
    return _tally(-chosen, mask)


def attention_error(student: Array, teacher: Array, segment: Array) -> Tally:
    """Squared difference of attention probabilities over (query, key) pairs of one segment.

    Args:
        student, teacher: f[B,H,T,T], the same number of heads.
        segment: i32[B,T], 0 is padding.

    Returns:
        Tally whose count is heads times the sum of squared segment lengths.
    """
    same = (segment[:, None, :, None] == segment[:, None, None, :]) & (
        segment[:, None, :, None] > 0
    )
    difference = _keep(student, same) - _keep(teacher, same)
    return _tally(jnp.square(difference), jnp.broadcast_to(same, difference.shape))
