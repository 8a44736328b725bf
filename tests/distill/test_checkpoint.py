"""Checkpoints: what is saved comes back bit by bit, and what is damaged does not come back."""

import re
import resource
import threading
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.distill.small import init_params, make_bilstm, same
from xdistil.distill import checkpoint as module
from xdistil.distill.checkpoint import Checkpoint, Checkpoints, checksum
from xdistil.distill.losses import LossConfig
from xdistil.distill.progress import Progress
from xdistil.distill.step import StepConfig, TrainState, init_state
from xdistil.distill.unfreezing import split_params

# So many word embeddings that Orbax keeps them as plain bytes, which it does not check itself.
MODEL = make_bilstm(vocabulary_size=3000)
CONFIG = StepConfig(LossConfig(MODEL, (("labels", 1.0),)), clip=1.0, weight_decay=0.1)


def make_state(seed: int, groups: tuple[str, ...] = ("head", "projection")) -> TrainState:
    """A state whose every number is its own, optimizer moments and counter too."""
    trainable, frozen = split_params(init_params(MODEL, seed), groups)
    state = init_state(CONFIG, trainable, frozen, jax.random.key(0))
    generator = np.random.default_rng(seed)
    optimizer = jax.tree.map(
        lambda x: np.asarray(generator.integers(1, 9, x.shape), x.dtype), state.optimizer
    )
    return jax.device_put(state._replace(step=np.int32(seed), optimizer=optimizer))


@pytest.fixture
def checkpoints(tmp_path) -> Any:
    opened = Checkpoints(tmp_path / "checkpoints")
    yield opened
    opened.close()


def save(checkpoints: Checkpoints, step: int, seed: int, stage: int = 0) -> TrainState:
    state = make_state(seed)
    progress = Progress(stage=stage, total_step=step)
    checkpoints.save(Checkpoint(state, init_params(MODEL, seed + 100), progress))
    checkpoints.wait()
    return state


def restore(checkpoints: Checkpoints, step: int) -> Checkpoint | None:
    def make(stage: int) -> Any:
        return make_state(56), jax.device_put(init_params(MODEL, 55))

    return checkpoints.restore(step, make)


def drop_key(state: TrainState) -> Any:
    return state._replace(key=None)


def test_state_best_and_progress_come_back(checkpoints):
    """For the stage that the progress names, whose shapes may be its own."""
    scores: Any = {"macro_f1": 0.25, "per_language": {"de": None}}
    progress = Progress(stage=3, total_step=12, scores=scores)
    saved = make_state(1)
    checkpoints.save(Checkpoint(saved, init_params(MODEL, 101), progress))
    asked = []

    def make(stage: int) -> Any:
        asked.append(stage)
        return make_state(56), jax.device_put(init_params(MODEL, 55))

    state, best, found = checkpoints.restore(12, make)
    assert asked == [3]
    assert same(drop_key(state), drop_key(saved))
    assert same(best, init_params(MODEL, 101))
    assert found == Progress(stage=3, total_step=12, scores=scores, begun=True)


def test_the_key_is_that_of_the_state_that_is_made(checkpoints):
    save(checkpoints, 2, 1)
    made = make_state(56)._replace(key=jax.random.key(17))
    found = checkpoints.restore(2, lambda stage: (made, init_params(MODEL, 55)))
    assert found.state.key == jax.random.key(17)


def test_a_state_without_frozen_groups_comes_back(checkpoints):
    everything = ("head", "projection", "bilstm", "embeddings")
    saved = make_state(1, everything)
    checkpoints.save(Checkpoint(saved, init_params(MODEL, 2), Progress(stage=0, total_step=1)))
    blank = make_state(9, everything)
    found = checkpoints.restore(1, lambda stage: (blank, init_params(MODEL, 3)))
    assert same(drop_key(found.state), drop_key(saved))
    assert found.state.frozen == {}


def test_the_newest_two_are_kept_and_listed_newest_first(checkpoints, tmp_path):
    for step in (2, 4, 6, 10):
        save(checkpoints, step, step)
    assert checkpoints.list_steps() == [10, 6]
    again = Checkpoints(tmp_path / "checkpoints")
    assert again.list_steps() == [10, 6]
    again.close()


def test_a_step_is_saved_again_over_a_damaged_one(checkpoints, tmp_path):
    save(checkpoints, 2, 1)
    save(checkpoints, 4, 2)
    damage_numbers(tmp_path / "checkpoints" / "4", flip)
    assert restore(checkpoints, 4) is None
    saved = save(checkpoints, 4, 3)
    assert same(drop_key(restore(checkpoints, 4).state), drop_key(saved))
    assert checkpoints.list_steps() == [4, 2]


def test_training_goes_on_beside_the_writing_and_changes_nothing_in_it(checkpoints, monkeypatch):
    """Steps donate the state while the checksums wait; the next save waits for the writing."""
    trained, going = threading.Event(), []

    def wait_and_sum(tree: Any) -> str:
        going.append(trained.wait(30))
        return checksum(tree)

    monkeypatch.setattr(module, "checksum", wait_and_sum)
    saved, state = make_state(1), make_state(1)
    checkpoints.save(Checkpoint(state, init_params(MODEL, 101), Progress(stage=0, total_step=2)))
    step = jax.jit(
        lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0, keep_unused=True
    )
    tree = state._replace(key=None)
    for _ in range(3):
        tree = step(tree)
    jax.block_until_ready(tree)
    trained.set()
    checkpoints.save(Checkpoint(saved, init_params(MODEL, 7), Progress(stage=0, total_step=4)))
    assert len(going) >= 2
    assert all(going)
    found = restore(checkpoints, 2)
    assert same(drop_key(found.state), drop_key(saved))
    assert same(found.best, init_params(MODEL, 101))


@pytest.mark.parametrize("call", ["save", "wait", "close", "list_steps"])
def test_what_cannot_be_written_is_told_at_the_next_call(tmp_path, call):
    """On a disk that is full: once, and the checkpoint before is whole."""
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder)
    saved = save(checkpoints, 2, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    later = Checkpoint(make_state(2), init_params(MODEL, 3), Progress(stage=0, total_step=4))
    try:
        checkpoints.save(later)
        with pytest.raises(OSError, match=r"checkpoints: checkpoint 4 cannot be written \(.*large"):
            getattr(checkpoints, call)(*[later] * (call == "save"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    checkpoints.close()
    again = Checkpoints(folder)
    assert again.list_steps() == [2]
    assert same(drop_key(restore(again, 2).state), drop_key(saved))
    again.close()


def flip(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4
    return bytes(changed)


def damage_numbers(folder: Path, damage: Any) -> None:
    """Damages the largest of the files that hold numbers, which Orbax keeps in folders named d."""
    files = [path for path in folder.rglob("d/*") if path.is_file()]
    path = max(files, key=lambda path: path.stat().st_size)
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize("part", ["state", "best"])
@pytest.mark.parametrize(
    "damage", [flip, lambda x: x[: len(x) // 3], lambda x: b""], ids=["flip", "cut", "empty"]
)
def test_a_damaged_file_of_numbers_gives_none(checkpoints, tmp_path, part, damage):
    save(checkpoints, 2, 1)
    damage_numbers(tmp_path / "checkpoints" / "2" / part, damage)
    assert restore(checkpoints, 2) is None


def test_a_missing_file_of_numbers_gives_none(checkpoints, tmp_path):
    save(checkpoints, 2, 1)
    for path in (tmp_path / "checkpoints" / "2" / "best").rglob("d/*"):
        path.unlink()
    assert restore(checkpoints, 2) is None


@pytest.mark.parametrize("damage", [flip, lambda x: x[: len(x) // 3]], ids=["flip", "cut"])
def test_whatever_file_is_damaged_the_checkpoint_is_whole_or_none(checkpoints, tmp_path, damage):
    """Never an exception, never other numbers."""
    saved = save(checkpoints, 2, 1, stage=3)
    files = [path for path in (tmp_path / "checkpoints" / "2").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        path.write_bytes(damage(content) if content else b"x")
        found = restore(checkpoints, 2)
        if found is not None:
            assert found.progress == Progress(stage=3, total_step=2, begun=True)
            assert same(drop_key(found.state), drop_key(saved)), path
            assert same(found.best, init_params(MODEL, 101)), path
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("old", "new"), [(rb'("leg":\s*)3', rb"\g<1>2"), (rb"^{", b"["), (rb'"leg"', b'"l\xff"')]
)
def test_a_damaged_cursor_gives_none(checkpoints, tmp_path, old, new):
    """A digit that changed is as bad as text that cannot be read."""
    save(checkpoints, 2, 1, stage=3)
    files = [p for p in (tmp_path / "checkpoints/2/cursor").rglob("*") if p.is_file()]
    (path,) = (p for p in files if b'"leg"' in p.read_bytes())
    content = path.read_bytes()
    assert re.sub(old, new, content) != content
    path.write_bytes(re.sub(old, new, content))
    assert restore(checkpoints, 2) is None


def test_the_checksum_sees_every_bit_and_the_order():
    tree = {"a": np.arange(4, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    assert checksum(tree) == checksum(jax.tree.map(np.copy, tree))
    swapped = {"a": np.ones(4, np.float32), "b": np.arange(4, dtype=np.float32).reshape(2, 2)}
    assert checksum(swapped) != checksum(tree)
    for index in range(16):
        changed = jax.tree.map(np.copy, tree)
        changed["a"].view(np.uint8)[index] ^= 1
        assert checksum(changed) != checksum(tree)


class Shards:
    """An array of which a process holds columns, as JAX shows it."""

    is_fully_addressable = is_fully_replicated = False

    def __init__(self, whole: np.ndarray, held: dict[tuple[int, int], int]) -> None:
        """`held`: from and to which column, and the number of the replica."""
        self.shape, self.dtype = whole.shape, whole.dtype
        self.addressable_shards = [
            Shard((slice(None), slice(*columns)), replica, whole[:, slice(*columns)])
            for columns, replica in held.items()
        ]


class Shard(NamedTuple):
    """A part of an array on a device."""

    index: tuple[slice, slice]
    replica_id: int
    data: np.ndarray


@pytest.mark.parametrize("count", [2, 3])
def test_the_checksum_does_not_depend_on_the_processes(monkeypatch, count):
    """Whose shards lie across the rows; a shard that two of them hold counts once."""
    generator = np.random.default_rng(1)
    first, second, shared = (generator.normal(size=(5, 6)).astype(np.float32) for _ in range(3))
    held = [
        {(0, 1): 0, (1, 3): 0},
        {(3, 6): 0, (1, 3): 1},
        {(0, 1): 1},  # a process that holds nothing alone
    ][:count]
    monkeypatch.setattr(module, "is_on_one_host", lambda leaf: not isinstance(leaf, Shards))
    told: list[np.uint32] = []
    for process in range(count):
        tree = [Shards(first, held[process]), shared, Shards(second, held[process])]
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)

        def gather(value: np.uint32) -> np.ndarray:
            told.append(value)
            return np.array(told)

        monkeypatch.setattr(module, "gather_all", gather)
        found = checksum(tree)
    assert len(told) == count
    assert found == checksum([first, shared, second])


def test_what_a_killed_write_left_is_deleted_by_the_next_start(checkpoints, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    save(checkpoints, 2, 2)

    async def stop(*given: Any, **named: Any) -> None:
        raise OSError("before the folder has its name")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.path.atomicity.AtomicRenameTemporaryPath, "finalize", stop)
        with pytest.raises(OSError, match="cannot be written"):
            save(checkpoints, 4, 4)
    left = [path.name for path in folder.iterdir() if path.name != "2"]
    assert len(left) == 1
    assert left[0].startswith("4.orbax-checkpoint-tmp")
    again = Checkpoints(folder)
    save(again, 6, 6)  # Orbax deletes in the background, and a save waits for it
    again.close()
    assert {path.name for path in folder.iterdir()} == {"2", "6"}
