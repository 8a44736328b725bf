"""Mean states of subwords against sums by hand, with states that need no model."""

import numpy as np

from tests.distill.small import make_rows, make_subwords
from xdistil.data.packing import Batch, pack
from xdistil.data.subwords import Subwords
from xdistil.models.subword_means import SubwordMeans, average_states

PADDING = 0


def cut(*segments: list[int]) -> Subwords:
    tokens = np.concatenate(segments).astype(np.int32)
    nothing = np.zeros(len(tokens), np.int32)
    start = np.cumsum([0, *map(len, segments)])
    return Subwords(
        tokens=tokens,
        token_type=nothing.astype(np.int8),
        labels=nothing,
        label_mask=nothing > 0,
        word=nothing - 1,
        start=start,
        example=np.arange(len(segments), dtype=np.int32),
    )


def by_place(batch: Batch) -> np.ndarray:
    """A state that says where a subword stands: its position, and its segment's padding."""
    position = np.asarray(batch.position)
    return np.stack([position, 10 * position + 1], axis=-1).astype(np.float32)


def test_means_by_hand():
    # 7 stands at 0, 2 and 1; 5 at 1; 9 at 0. The padding after them would add zeros to id 0.
    subwords = cut([7, 5, 7], [9, 7])
    means = average_states(by_place, subwords, pack(subwords, 8, None), 2, PADDING, 2)
    assert means.subwords.tolist() == [5, 7, 9]
    np.testing.assert_array_equal(means.values, [[1, 11], [1, 11], [0, 1]])
    assert (means.subwords.dtype, means.values.dtype) == (np.int32, np.float32)


def test_a_padding_subword_in_a_text_is_one_of_its_subwords():
    subwords = cut([3, 0, 3, 0], [3])
    means = average_states(by_place, subwords, pack(subwords, 4, None), 1, PADDING, 2)
    assert means.subwords.tolist() == [0, 3]
    np.testing.assert_allclose(means.values[:, 0], [2, 2 / 3])


def average(batch_rows: int, seed: int = 0) -> SubwordMeans:
    def states(batch: Batch) -> np.ndarray:
        tokens, position = np.asarray(batch.tokens), np.asarray(batch.position)
        return np.sin(np.arange(6) + tokens[..., None] + 0.3 * position[..., None])

    subwords = make_subwords(200, 1)
    return average_states(states, subwords, make_rows(subwords, seed), batch_rows, PADDING, 6)


def test_the_same_texts_give_the_same_bits_and_batches_hardly_matter():
    once, again = average(4), average(4)
    np.testing.assert_array_equal(once.values, again.values)
    for other in (average(1), average(7, seed=3)):
        np.testing.assert_array_equal(other.subwords, once.subwords)
        np.testing.assert_allclose(other.values, once.values, atol=1e-6)
