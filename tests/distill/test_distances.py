"""Distances against numbers computed by hand and against NumPy in float64."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xdistil.data.label_sets import pack_labels
from xdistil.distill import distances as operations
from xdistil.distill.distances import Tally

# Compiled as in a step: operation by operation, each shape of each would be compiled alone.
distances = SimpleNamespace(
    mean_squared_error=jax.jit(operations.mean_squared_error),
    cosine_distance=jax.jit(operations.cosine_distance),
    kl_divergence=jax.jit(operations.kl_divergence),
    cross_entropy=jax.jit(operations.cross_entropy, static_argnames="weights"),
    soft_cross_entropy=jax.jit(operations.soft_cross_entropy, static_argnames="weights"),
    binary_cross_entropy=jax.jit(operations.binary_cross_entropy, static_argnames="weights"),
    binary_divergence=jax.jit(operations.binary_divergence),
    attention_error=jax.jit(operations.attention_error),
    attention_divergence=jax.jit(operations.attention_divergence),
    relation_divergence=jax.jit(operations.relation_divergence, static_argnames="heads"),
)
ELEMENTWISE = {
    "mse": distances.mean_squared_error,
    "cosine": distances.cosine_distance,
    "kl": distances.kl_divergence,
}


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def twin(name: str, student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0):
    """f64[B,T] the loss at every position."""
    student, teacher = student.astype(np.float64), teacher.astype(np.float64)
    if name == "mse":
        return ((student - teacher) ** 2).mean(axis=-1)
    if name == "cosine":
        lengths = np.linalg.norm(student, axis=-1) * np.linalg.norm(teacher, axis=-1)
        return 1 - (student * teacher).sum(axis=-1) / lengths
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return temperature**2 * (p * np.log(p / q)).sum(axis=-1)


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 2


MASK = np.array([[True, True, False, True], [False, True, False, False]])


def test_mean_squared_error_by_hand():
    student = np.array([[[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]])
    teacher = np.array([[[0.0, 4.0], [3.0, 1.0], [0.0, 0.0]]])
    tally = distances.mean_squared_error(student, teacher, np.array([[True, True, False]]))
    assert tally.sum == pytest.approx((1 + 4) / 2 + (9 + 1) / 2)
    assert tally.count == 2
    assert tally.mean() == pytest.approx(3.75)


def test_cosine_distance_by_hand():
    student = np.array([[[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]])
    teacher = np.array([[[0.0, 5.0], [3.0, 3.0], [0.0, -1.0]]])
    mask = np.ones((1, 3), bool)
    assert distances.cosine_distance(student, teacher, mask).sum == pytest.approx(
        1 + 0 + 2, abs=1e-6
    )


def test_kl_by_hand_at_two_temperatures():
    """Teacher (3/4, 1/4), student (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2) nats."""
    teacher, student = np.array([[[np.log(3.0), 0.0]]]), np.zeros((1, 1, 2))
    mask = np.ones((1, 1), bool)
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert distances.kl_divergence(student, teacher, mask).sum == pytest.approx(expected, rel=1e-5)
    # Logits twice as far apart at temperature 2 are the same distributions; the factor is 4.
    doubled = distances.kl_divergence(student, 2 * teacher, mask, temperature=2.0)
    assert doubled.sum == pytest.approx(4 * expected, rel=1e-5)


def test_kl_is_of_the_teacher_from_the_student():
    """It is not symmetric: the other direction is 1/2 ln(2/3) + 1/2 ln 2."""
    teacher, student = np.zeros((1, 1, 2)), np.array([[[np.log(3.0), 0.0]]])
    tally = distances.kl_divergence(student, teacher, np.ones((1, 1), bool))
    assert tally.sum == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2), rel=1e-5)


def test_cross_entropy_by_hand():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    labels, mask = np.array([[1, 2, 0]]), np.array([[True, True, False]])
    tally = distances.cross_entropy(logits, labels, mask)
    assert tally.sum == pytest.approx(-np.log(0.25) - np.log(0.8), rel=1e-5)
    assert tally.count == 2


def test_soft_cross_entropy_by_hand():
    """The second place has half of a weight, and the third none, whatever its logits are."""
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    logits[0, 2] = np.nan
    targets = np.array([[[0.25, 0.75, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]])
    tally = distances.soft_cross_entropy(logits, targets)
    first = -0.25 * np.log(0.5) - 0.75 * np.log(0.25)
    assert tally.sum == pytest.approx(first - 0.5 * np.log(0.8), rel=1e-5)
    assert tally.count == 1.5
    tally = distances.soft_cross_entropy(logits, targets, weights=(4.0, 1.0, 2.0))
    first = -4 * 0.25 * np.log(0.5) - 0.75 * np.log(0.25)
    assert tally.sum == pytest.approx(first - 2 * 0.5 * np.log(0.8), rel=1e-5)
    assert tally.count == 1 + 0.75 + 1


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 3.0)])
def test_targets_of_one_label_are_that_label(weights):
    logits, mask = draw((2, 5, 3), 0), draw((2, 5), 1) > 0
    labels = np.arange(10).reshape(2, 5) % 3
    hard = distances.cross_entropy(logits, labels, mask, weights=weights)
    targets = np.eye(3)[labels] * mask[..., None]
    soft = distances.soft_cross_entropy(logits, targets, weights=weights)
    assert soft.sum == pytest.approx(float(hard.sum), rel=1e-6)
    assert soft.count == pytest.approx(float(hard.count), rel=1e-6)


def test_attention_error_by_hand():
    """Only pairs within a segment of real subwords are summed, in every head."""
    segment = np.array([[1, 1, 2, 0]])
    difference = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    tally = distances.attention_error(np.zeros((1, 1, 4, 4)), difference, segment)
    assert tally.sum == 1**2 + 2**2 + 5**2 + 6**2 + 11**2
    assert tally.count == 2 * 2 + 1 * 1


def test_attention_count_is_heads_times_squared_lengths():
    segment = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
    maps = draw((2, 3, 6, 6), 0)
    tally = distances.attention_error(maps, maps + 1, segment)
    assert tally.count == 3 * (3**2 + 2**2 + 6**2)
    assert tally.mean() == pytest.approx(1.0, rel=1e-5)


def test_attention_error_equals_numpy():
    segment = np.array([[1, 1, 2, 2, 2, 0], [1, 2, 3, 3, 0, 0]])
    student, teacher = draw((2, 2, 6, 6), 1), draw((2, 2, 6, 6), 2)
    expected = 0.0
    for row in range(2):
        for query in range(6):
            for key in range(6):
                if segment[row, query] == segment[row, key] > 0:
                    expected += ((student - teacher)[row, :, query, key] ** 2).sum()
    tally = distances.attention_error(student, teacher, segment)
    assert tally.sum == pytest.approx(expected, rel=1e-5)


def test_attention_divergence_by_hand():
    """Two queries of a segment of two, one that has itself alone; the fourth is padding."""
    teacher = np.array([[0.75, 0.25, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    student = np.array([[0.5, 0.5, 0, 0], [0.1, 0.9, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    tally = distances.attention_divergence(
        student[None, None], teacher[None, None], np.array([[1, 1, 2, 0]])
    )
    first = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    second = 0.5 * np.log(5) + 0.5 * np.log(5 / 9)
    assert tally.sum == pytest.approx(first + second, rel=1e-5)
    assert tally.count == 3


def test_a_probability_of_zero_is_a_small_one():
    """The student's certainty against the teacher's doubt costs much, but no infinity."""
    teacher = np.array([[[[0.5, 0.5], [0.0, 1.0]]]])
    student = np.array([[[[1.0, 0.0], [0.0, 1.0]]]])
    value, gradient = jax.value_and_grad(
        lambda x: distances.attention_divergence(x, teacher, np.array([[1, 1]])).sum
    )(student)
    assert value == pytest.approx(-np.log(2) - 0.5 * np.log(1e-37), rel=1e-5)
    assert np.isfinite(gradient).all()


def test_relation_divergence_by_hand():
    """Vectors 1 and -1 relate as softmax(1, -1), and zeros all alike; a subword alone as 1."""
    teacher = np.array([[[1.0], [-1.0], [5.0], [7.0]]])
    student = np.zeros((1, 4, 3))  # another width
    tally = distances.relation_divergence(student, teacher, np.array([[1, 1, 2, 0]]), 1)
    p = 1 / (1 + np.exp(-2.0))
    assert tally.sum == pytest.approx(2 * (p * np.log(2 * p) + (1 - p) * np.log(2 - 2 * p)))
    assert tally.count == 3


def relation_twin(student: np.ndarray, teacher: np.ndarray, segment: np.ndarray, heads: int):
    """(sum, count), segment by segment and head by head, in float64."""

    def relate(vectors: np.ndarray) -> list[np.ndarray]:
        parts = np.split(vectors.astype(np.float64), heads, axis=1)
        return [softmax(part @ part.T / np.sqrt(part.shape[1])) for part in parts]

    total, count = 0.0, 0
    for row in range(len(segment)):
        for number in set(segment[row]) - {0}:
            own = segment[row] == number
            for p, q in zip(relate(teacher[row, own]), relate(student[row, own]), strict=True):
                total += (p * np.log(p / q)).sum()
                count += len(p)
    return total, count


RELATED = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 2, 3]])


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_relation_divergence_equals_numpy(heads):
    """Of 6 against 12 numbers a subword, in as many parts."""
    student, teacher = draw((2, 6, 6), 23), draw((2, 6, 12), 24)
    tally = distances.relation_divergence(student, teacher, RELATED, heads)
    total, count = relation_twin(student, teacher, RELATED, heads)
    assert tally.sum == pytest.approx(total, rel=1e-4)
    assert tally.count == count == heads * 11


def divide(maps: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Scores -> probabilities within segments."""
    same = segment[:, None, :, None] == segment[:, None, None, :]
    return softmax(np.where(same, maps, -1e9)).astype(np.float32)


BETWEEN_SUBWORDS = {
    "attention": lambda x, y, segment: distances.attention_divergence(
        divide(x, segment) if isinstance(x, np.ndarray) else x, divide(y, segment), segment
    ),
    "relations": lambda x, y, segment: distances.relation_divergence(
        x.reshape(len(x), 6, -1), y.reshape(len(x), 6, -1), segment, 4
    ),
}


@pytest.mark.parametrize("name", BETWEEN_SUBWORDS)
def test_divergences_between_subwords_add_up_over_rows_and_are_zero_of_equals(name):
    compare = BETWEEN_SUBWORDS[name]
    student, teacher = draw((2, 2, 6, 6), 25), draw((2, 2, 6, 6), 26)
    whole = compare(student, teacher, RELATED)
    rows = [compare(student[[i]], teacher[[i]], RELATED[[i]]) for i in (0, 1)]
    assert sum(float(row.sum) for row in rows) == pytest.approx(float(whole.sum), rel=1e-5)
    assert sum(row.count for row in rows) == whole.count
    assert compare(teacher, teacher, RELATED).sum == pytest.approx(0.0, abs=1e-4)
    assert whole.sum > 0.1


@pytest.mark.parametrize("garbage", [np.inf, np.nan, 1e30])
def test_padding_and_other_segments_leak_into_no_divergence_between_subwords(garbage):
    student, teacher = draw((2, 6, 8), 27), draw((2, 6, 8), 28)
    maps = divide(draw((2, 2, 6, 6), 29), RELATED), divide(draw((2, 2, 6, 6), 30), RELATED)
    same = (RELATED[:, None, :, None] == RELATED[:, None, None, :]) & (
        RELATED[:, None, :, None] > 0
    )
    checks = [
        (lambda x, y: distances.relation_divergence(x, y, RELATED, 2).sum, student, teacher,
         (RELATED > 0)[..., None]),
        (lambda x, y: distances.attention_divergence(x, y, RELATED).sum, *maps, same),
    ]  # fmt: skip
    for loss, ours, theirs, where in checks:
        value, gradient = jax.value_and_grad(loss)(ours, theirs)
        spoilt = [np.where(where, x, garbage).astype(np.float32) for x in (ours, theirs)]
        again = jax.value_and_grad(loss)(*spoilt)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)
        assert np.isfinite(gradient).all()
        assert np.any(gradient)
        assert not np.any(np.where(where, 0.0, gradient))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_losses_equal_numpy(name):
    student, teacher = draw((2, 4, 7), 3), draw((2, 4, 7), 4)
    tally = ELEMENTWISE[name](student, teacher, MASK)
    assert tally.sum == pytest.approx(twin(name, student, teacher)[MASK].sum(), rel=1e-5)
    assert tally.count == 4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_kl_equals_numpy_at_a_temperature(temperature):
    student, teacher = draw((2, 4, 7), 5), draw((2, 4, 7), 6)
    expected = twin("kl", student, teacher, temperature)[MASK].sum()
    tally = distances.kl_divergence(student, teacher, MASK, temperature)
    assert tally.sum == pytest.approx(expected, rel=1e-5)


# Three labels of which the texts have the first; the last two; and, outside the mask, all.
SEVERAL = np.array([[[True, False, False], [False, True, True], [True, True, True]]])


def test_binary_cross_entropy_by_hand():
    """Probabilities 0.8, 0.5, 0.2 of each text's labels; PyTorch's weights are on labels it has."""
    logits = np.log(np.array([[[4, 1, 0.25]] * 3]))
    mask = np.array([[True, True, False]])
    labels = pack_labels(SEVERAL)
    first = -(np.log(0.8) + np.log(0.5) + np.log(0.8)) / 3
    second = -(np.log(0.2) + np.log(0.5) + np.log(0.2)) / 3
    tally = distances.binary_cross_entropy(logits, labels, mask)
    assert tally.mean() == pytest.approx((first + second) / 2, rel=1e-5)
    assert tally.count == 2
    tally = distances.binary_cross_entropy(logits, labels, mask, weights=(2.0, 1.0, 4.0))
    first -= np.log(0.8) / 3
    second -= 3 * np.log(0.2) / 3
    assert tally.mean() == pytest.approx((first + second) / 2, rel=1e-5)


def test_binary_losses_equal_numpy():
    """Of 11 labels, so that their bits do not fill the last byte."""
    student, teacher = draw((2, 4, 11), 1), draw((2, 4, 11), 2)
    has = draw((2, 4, 11), 3) > 0
    weights = tuple(np.linspace(0.5, 3, 11).tolist())
    p = 1 / (1 + np.exp(-student.astype(np.float64)))
    elements = -(has * weights * np.log(p) + ~has * np.log(1 - p))
    tally = distances.binary_cross_entropy(student, pack_labels(has), MASK, weights=weights)
    assert tally.mean() == pytest.approx(elements[MASK].mean(), rel=1e-5)
    temperature = 2.5
    p, q = (1 / (1 + np.exp(-x.astype(np.float64) / temperature)) for x in (teacher, student))
    elements = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    tally = distances.binary_divergence(student, teacher, MASK, temperature)
    assert tally.sum == pytest.approx(temperature**2 * elements[MASK].sum(), rel=1e-5)
    assert tally.count == MASK.sum()


def test_binary_divergence_is_that_of_two_classes():
    """A label with the logit x is a class with the logits x and 0."""
    student, teacher = draw((2, 4, 1), 4), draw((2, 4, 1), 5)
    pair = [np.concatenate([x, np.zeros_like(x)], axis=-1) for x in (student, teacher)]
    found = distances.binary_divergence(student, teacher, MASK, 3.0)
    expected = distances.kl_divergence(*pair, MASK, 3.0)
    assert found.sum == pytest.approx(float(expected.sum), rel=1e-4)


def test_binary_losses_are_finite_far_out_and_in_padding():
    far = np.array([[[300.0, -300.0, 0.0], [np.nan, np.inf, -np.inf]]], np.float32)
    mask, labels = np.array([[True, False]]), pack_labels(~SEVERAL[:, :2])

    def total(logits):
        return (
            distances.binary_cross_entropy(logits, labels, mask).sum
            + distances.binary_divergence(logits, -logits, mask).sum
        )

    value, gradient = jax.value_and_grad(total)(far)
    assert value == pytest.approx(200 + np.log(2) / 3 + 600, rel=1e-4)
    assert np.isfinite(gradient).all()
    assert not gradient[0, 1].any()


def test_cross_entropy_equals_numpy():
    logits, labels = draw((2, 4, 5), 7), np.array([[0, 4, 2, 1], [3, 3, 0, 2]])
    rows, columns = np.indices(labels.shape)
    expected = -np.log(softmax(logits.astype(np.float64)))[rows, columns, labels][MASK].sum()
    assert distances.cross_entropy(logits, labels, MASK).sum == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_loss_of_equals_is_zero_and_otherwise_positive(name):
    states = draw((2, 4, 7), 8)
    compare = ELEMENTWISE[name]
    assert compare(states, states, MASK).sum == pytest.approx(0.0, abs=1e-5)
    assert compare(states, draw((2, 4, 7), 9), MASK).sum > 0.1


@pytest.mark.parametrize("garbage", [np.inf, -np.inf, np.nan, 1e30])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_padding_leaks_into_neither_a_loss_nor_its_gradient(name, garbage):
    student, teacher = draw((2, 4, 7), 10), draw((2, 4, 7), 11)
    compare = ELEMENTWISE[name]
    value, gradient = jax.value_and_grad(lambda x: compare(x, teacher, MASK).sum)(student)
    spoilt = [np.where(MASK[..., None], x, garbage) for x in (student, teacher)]
    for ours, theirs in ((spoilt[0], teacher), (student, spoilt[1]), spoilt):
        again = jax.value_and_grad(lambda x, y: compare(x, y, MASK).sum)(ours, theirs)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)
    assert not np.any(np.asarray(gradient)[~MASK])


@pytest.mark.parametrize("garbage", [np.inf, np.nan])
def test_padding_leaks_into_neither_cross_entropy_nor_attention(garbage):
    labels, segment = np.ones((2, 4), np.int32), MASK.astype(np.int32)
    logits, maps = draw((2, 4, 3), 12), draw((2, 2, 4, 4), 13)
    teacher = draw((2, 2, 4, 4), 14)
    pairs = (segment[:, None, :, None] > 0) & (segment[:, None, None, :] > 0)
    checks = [
        (lambda x: distances.cross_entropy(x, labels, MASK).sum, logits, MASK[..., None]),
        (lambda x: distances.attention_error(x, teacher, segment).sum, maps, pairs),
    ]
    for loss, clean, where in checks:
        value, gradient = jax.value_and_grad(loss)(clean)
        again = jax.value_and_grad(loss)(np.where(where, clean, garbage).astype(np.float32))
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("zero", ["student", "teacher", "both"])
def test_gradients_at_zero_vectors_are_finite(name, zero):
    student, teacher = draw((1, 2, 5), 15), draw((1, 2, 5), 16)
    student = student * (zero == "teacher")
    teacher = teacher * (zero == "student")
    mask = np.ones((1, 2), bool)
    value, gradient = jax.value_and_grad(lambda x: ELEMENTWISE[name](x, teacher, mask).sum)(student)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_far_logits_stay_finite():
    """A softmax that underflows is the teacher's certainty, not a missing number."""
    far = np.array([[[200.0, -200.0, 0.0]]])
    near, mask = np.array([[[-200.0, 200.0, 0.0]]]), np.ones((1, 1), bool)
    value, gradient = jax.value_and_grad(lambda x: distances.kl_divergence(x, near, mask).sum)(far)
    assert value == pytest.approx(400.0)
    assert np.isfinite(gradient).all()
    assert distances.cross_entropy(far, np.array([[1]]), mask).sum == pytest.approx(400.0)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "attention", "labels"])
def test_bfloat16_is_computed_in_float32(name):
    """The tally of rounded inputs is that of their exact values, to float32's precision."""
    student = jnp.asarray(draw((2, 2, 4, 4), 17), jnp.bfloat16)
    teacher = jnp.asarray(draw((2, 2, 4, 4), 18), jnp.bfloat16)
    exact = np.asarray(student, np.float32), np.asarray(teacher, np.float32)
    if name == "attention":
        tally = distances.attention_error(student, teacher, np.ones((2, 4), np.int32))
        expected = ((exact[0] - exact[1]) ** 2).sum()
    elif name == "labels":
        labels, mask = np.zeros((2, 4), np.int32), np.ones((2, 4), bool)
        tally = distances.cross_entropy(student[:, 0], labels, mask)
        expected = -np.log(softmax(exact[0][:, 0].astype(np.float64)))[..., 0].sum()
    else:
        tally = ELEMENTWISE[name](student[:, 0], teacher[:, 0], np.ones((2, 4), bool))
        expected = twin(name, exact[0][:, 0], exact[1][:, 0]).sum()
    assert tally.sum.dtype == tally.count.dtype == jnp.float32
    assert tally.sum == pytest.approx(expected, rel=1e-5)


def test_nothing_counted_means_zero():
    assert Tally(jnp.float32(0.0), jnp.float32(0.0)).mean() == 0.0
    nothing = distances.mean_squared_error(
        draw((1, 2, 3), 19), draw((1, 2, 3), 20), np.zeros((1, 2), bool)
    )
    assert (nothing.sum, nothing.count) == (0.0, 0.0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_tallies_of_parts_add_up(name):
    student, teacher = draw((4, 4, 6), 21), draw((4, 4, 6), 22)
    mask = np.random.default_rng(0).random((4, 4)) < 0.6
    whole = ELEMENTWISE[name](student, teacher, mask)
    halves = [ELEMENTWISE[name](student[p], teacher[p], mask[p]) for p in (slice(1), slice(1, 4))]
    assert sum(float(h.sum) for h in halves) == pytest.approx(float(whole.sum), rel=1e-5)
    assert sum(h.count for h in halves) == whole.count
