"""The paired bootstrap against probabilities computed by hand."""

import numpy as np
import pytest

from xdistil.evaluation.significance import paired_bootstrap

RIGHT, WRONG = (1, 1, 1), (0, 1, 1)  # one entity wanted, one found


def _p(first: list, second: list) -> float:
    return paired_bootstrap(np.array(first), np.array(second))


def test_p_is_the_probability_of_never_drawing_a_sentence_that_differs():
    # Two draws of two sentences, one of which differs: (1/2)^2.
    assert _p([RIGHT, RIGHT], [WRONG, RIGHT]) == pytest.approx(1 / 4, abs=0.02)
    # Fifty draws of fifty, five of which differ: (9/10)^50.
    first = [RIGHT] * 50
    assert _p(first, [WRONG] * 5 + [RIGHT] * 45) == pytest.approx(0.9**50, abs=0.003)


def test_differences_in_both_directions_are_balanced():
    # Three draws of three: the first is ahead where its sentence is drawn more often, 10/27.
    p = _p([RIGHT, WRONG, RIGHT], [WRONG, RIGHT, RIGHT])
    assert p == pytest.approx(17 / 27, abs=0.02)


def test_pairs_and_found_entities_count():
    # A wrong entity costs as much as a missed one: 2/3 is less than 1 whenever it is drawn.
    assert _p([(1, 1, 1)], [(1, 2, 1)]) == 0.0
    assert _p([(1, 2, 1)], [(1, 1, 1)]) == 1.0
    assert _p([(0, 0, 0)], [(0, 0, 0)]) == 1.0
