"""Which subwords a student keeps, and whether its tokenizer splits the texts as before."""

import numpy as np
import pytest

from xdistil.student.vocabulary import splits_alike

COUNTS = np.array([3, 0, 1, 0, 5])


@pytest.mark.parametrize(
    ("kept", "alike"),
    [([0, 2, 4], True), ([4, 2, 1, 0], True), ([0, 4], False), ([0, 1, 3, 4], False)],
)
def test_texts_are_split_as_before_where_no_subword_of_theirs_is_missing(kept, alike):
    by_language = np.stack([COUNTS * [1, 1, 0, 1, 0], COUNTS * [0, 0, 1, 0, 1]])
    for counts in (COUNTS, by_language):
        before = counts.copy()
        assert splits_alike(counts, np.array(kept, np.int32)) is alike
        np.testing.assert_array_equal(counts, before)
