"""The order of batches: a permutation per epoch, the same on any processes and from any step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_packing import make_subwords
from xdistil.data.batches import make_batches, rows_per_batch, steps_per_epoch
from xdistil.data.packing import pack


def collect(count=10, batch_rows=4, epochs=2, **options):
    """The row that each row of each batch is (its only subword), -1 for an empty one: [steps,
    B]."""
    subwords = make_subwords([1] * count)
    rows = pack(subwords, 1, seed=None)
    options = {"seed": 0, "padding_id": 99} | options
    numbers_of_rows = np.arange(count, dtype=np.float32) + 1

    def columns(indices):
        return {"number": np.where(indices >= 0, numbers_of_rows[rows.subword[indices, 0]], 0)}

    batches = make_batches(subwords, rows, columns, batch_rows, epochs, **options)
    numbers = []
    for batch, gathered in batches:
        own = np.where(batch.segment > 0, batch.tokens - 100, -1)
        assert gathered["number"].tolist() == (own[:, 0] + 1).tolist()
        assert (batch.tokens[own < 0] == 99).all()
        numbers.append(own[:, 0])
    return np.array(numbers)


def test_every_epoch_has_every_row_once_and_empty_rows_at_its_end():
    steps = collect()
    assert steps.shape == (6, 4)
    for epoch in (steps[:3].ravel(), steps[3:].ravel()):
        assert sorted(epoch[:10]) == list(range(10))
        assert epoch[10:].tolist() == [-1, -1]
    assert steps[:3].tolist() != steps[3:].tolist()


def test_the_seed_decides_the_order():
    assert collect().tolist() == collect().tolist()
    assert collect().tolist() != collect(seed=1).tolist()


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(1, 3), st.data())
def test_batches_resume_at_any_step(count, batch_rows, data):
    whole = collect(count, batch_rows)
    first = data.draw(st.integers(0, len(whole)))
    rest = collect(count, batch_rows, first_step=first)
    assert rest.tolist() == whole[first:].tolist()


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_get_contiguous_blocks_of_the_same_global_batches(processes):
    shares = [collect(process_index=p, process_count=processes) for p in range(processes)]
    assert np.concatenate(shares, axis=1).tolist() == collect().tolist()


def test_devices_that_do_not_divide_among_processes_are_refused():
    with pytest.raises(ValueError, match="1 devices do not divide among 3"):
        collect(process_count=3)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 3), (0.5, 2), (2.1, 7), (1 / 3, 1)])
def test_a_part_of_an_epoch_is_rounded_up(epochs, steps):
    assert len(collect(epochs=epochs)) == steps


def test_a_batch_has_about_batch_size_sentences():
    subwords = make_subwords([6, 2, 4])  # four subwords a sentence on average
    assert rows_per_batch(subwords, 8, 32) == 16
    assert rows_per_batch(subwords, 8, 3) == 2  # 1.5, to even
    assert rows_per_batch(subwords, 64, 4) == 1


def test_devices_and_processes_change_neither_the_order_nor_the_steps():
    """Empty rows fill up a batch; the blocks of all processes together are the same rows."""
    subwords = make_subwords([4] * 23)
    rows = pack(subwords, 8, 0)
    alone = [
        batch.tokens for batch, _ in make_batches(subwords, rows, lambda indices: {}, 5, 2.0, 0, 0)
    ]
    shares = [
        make_batches(
            subwords,
            rows,
            lambda indices: {},
            5,
            2.0,
            0,
            0,
            devices=4,
            process_index=p,
            process_count=2,
        )
        for p in (0, 1)
    ]
    together = [
        np.concatenate([batch.tokens for batch, _ in each]) for each in zip(*shares, strict=True)
    ]
    assert [each.shape for each in together] == [(8, 8)] * len(alone)
    for whole, parts in zip(alone, together, strict=True):
        np.testing.assert_array_equal(parts[:5], whole)
        assert not parts[5:].any()


def test_windows_of_one_sentence_count_as_one_sentence():
    subwords = make_subwords([6, 2, 4])
    subwords.example[:] = [0, 0, 1]
    assert rows_per_batch(subwords, 8, 32) == 24


def test_an_epoch_sees_every_row():
    rows = pack(make_subwords([1] * 10), 1, None)
    assert [steps_per_epoch(rows, n) for n in (1, 3, 5, 10, 11)] == [10, 4, 2, 1, 1]
