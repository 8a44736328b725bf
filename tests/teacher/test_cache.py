"""The cache of the teacher's signals: right, never another's, checked, and computed once."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    init_params,
    make_encoder,
    make_plan,
    make_rows,
    make_session,
    make_subwords,
    make_teacher,
    run_plan,
)
from tests.models.samples import run
from xdistil.config import Stage
from xdistil.data.packing import fill_batch, pack
from xdistil.data.word_alignment import WordAlignment
from xdistil.teacher import cache as cache_module
from xdistil.teacher import signals as signals_module
from xdistil.teacher.cache import open_cache
from xdistil.teacher.signals import (
    PlacedModel,
    SignalSpec,
    name_signals,
    params_fingerprint,
    signal_names,
)
from xdistil.teacher.storage import gather_signal, read_stored, store

SUBWORDS = make_subwords(20, 1)
ROWS = make_rows(SUBWORDS)
SPEC = SignalSpec(logits=True, hidden=(0, 2))
INDICES = np.arange(len(ROWS.subword))


def place_teacher(*arguments: Any, **settings: Any) -> PlacedModel:
    """A small teacher on the devices."""
    return make_teacher(*arguments, **settings).place(make_session(Path()))


@pytest.fixture(scope="module")
def teacher() -> PlacedModel:
    return place_teacher()


def direct(teacher: PlacedModel, rows: Any = ROWS) -> dict[str, np.ndarray]:
    """float32[R,T, width] by name, straight from the model."""
    batch = fill_batch(SUBWORDS, rows, np.arange(len(rows.subword)), 0)
    if teacher.remap is not None:
        batch = batch._replace(tokens=teacher.remap[batch.tokens])
    output = run(teacher.model, jax.device_get(teacher.params), batch)
    return {
        "logits": np.asarray(output.logits),
        "hidden-0": np.asarray(output.hidden[0]),
        "hidden-2": np.asarray(output.hidden[2]),
    }


def count_files(folder: Path) -> int:
    return len(list(folder.glob("*.npy")))


def refuse(*arguments: Any) -> Any:
    raise AssertionError("computed again")


@pytest.mark.parametrize("batch_rows", [1, 3, 64])
def test_cached_signals_equal_the_forward_pass_to_float16(tmp_path, teacher, batch_rows):
    """Relative to float16's 2^-11, with the last batch full, in parts or nearly empty."""
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, batch_rows)
    assert set(cached) == set(signal_names(SPEC)) == {"logits", "hidden-0", "hidden-2"}
    filled = ROWS.subword >= 0
    for name, expected in direct(teacher).items():
        assert cached[name].dtype == np.float16
        assert len(cached[name]) == len(SUBWORDS.tokens)
        found = gather_signal(cached[name], ROWS, INDICES)
        np.testing.assert_allclose(
            found[filled], expected[filled], rtol=2**-10, atol=1e-5, err_msg=name
        )


def test_another_packing_reads_the_same_signals(tmp_path, teacher):
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 4)
    other = pack(SUBWORDS, 9, seed=5)
    filled = other.subword >= 0
    for name, expected in direct(teacher, other).items():
        found = gather_signal(cached[name], other, np.arange(len(other.subword)))
        np.testing.assert_allclose(found[filled], expected[filled], rtol=2**-9, atol=1e-4)


def test_a_cache_of_words_holds_what_stands_on_their_first_subwords(tmp_path, teacher):
    """Cut off and gone on with, beside the cache of subwords; the words stand in any order."""
    count = int(SUBWORDS.label_mask.sum())
    number = np.full(len(SUBWORDS.tokens), -1, np.int32)
    number[SUBWORDS.label_mask] = np.random.default_rng(0).permutation(count + 2)[:count]
    words = WordAlignment(number, count + 2)
    by_subword = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 2)
    with pytest.raises(CutError):
        open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 2, cut_after(3), words)
    by_word = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 2, words=words)
    assert count_files(tmp_path) == 6
    for name, values in by_word.items():
        assert values.shape == (count + 2, by_subword[name].shape[1])
        found = values[number[SUBWORDS.label_mask]]
        assert np.array_equal(found, by_subword[name][SUBWORDS.label_mask])


def test_a_second_opening_computes_nothing(tmp_path, teacher, monkeypatch):
    first = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 4)
    monkeypatch.setattr(signals_module, "compute_signals", refuse)
    again = open_cache(tmp_path, teacher, SUBWORDS, pack(SUBWORDS, 9, seed=5), SPEC, 2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not again["logits"].flags.writeable


class CutError(Exception):
    """Stands for whatever ends a process."""


def cut_after(batches: int) -> Callable[[], None]:
    left = [batches]

    def check() -> None:
        if not left[0]:
            raise CutError
        left[0] -= 1

    return check


@pytest.mark.parametrize(
    ("packing", "computed"), [(ROWS, len(ROWS.subword) - 4), (pack(SUBWORDS, 12, seed=5), None)]
)
def test_a_cache_that_was_cut_off_goes_on_where_it_was(
    tmp_path, teacher, monkeypatch, packing, computed
):
    """Two batches of two rows are written when the third one is computed; with rows of another
    packing it restarts."""
    monkeypatch.setattr(cache_module, "SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(CutError):
        open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 2, cut_after(3))
    assert not list(tmp_path.glob("*.npy"))
    rows_read = []
    real = signals_module.compute_signals

    def spy(params: Any, batch: Any, **settings: Any) -> Any:
        rows_read.append(int((np.asarray(batch.segment) > 0).any(axis=1).sum()))
        return real(params, batch, **settings)

    monkeypatch.setattr(signals_module, "compute_signals", spy)
    found = open_cache(tmp_path, teacher, SUBWORDS, packing, SPEC, 2)
    assert sum(rows_read) == (len(packing.subword) if computed is None else computed)
    expected = open_cache(tmp_path / "whole", teacher, SUBWORDS, ROWS, SPEC, 2)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=2**-9, atol=1e-4)
        assert computed is None or np.array_equal(found[name], expected[name])
    assert {path.suffix for path in tmp_path.iterdir() if path.suffix} == {".npy", ".crc32"}


def test_only_what_is_missing_is_computed(tmp_path, teacher, monkeypatch):
    open_cache(tmp_path, teacher, SUBWORDS, ROWS, SignalSpec(logits=True), 4)
    asked = []
    real = signals_module.compute_signals

    def spy(*arguments: Any, spec: SignalSpec, **settings: Any) -> Any:
        asked.append(spec)
        return real(*arguments, spec=spec, **settings)

    monkeypatch.setattr(signals_module, "compute_signals", spy)
    open_cache(tmp_path, teacher, SUBWORDS, ROWS, SPEC, 64)
    assert asked == [SignalSpec(hidden=(0, 2))]
    assert count_files(tmp_path) == 3


def test_another_teacher_text_or_vocabulary_never_shares_a_file(tmp_path, teacher):
    spec = SignalSpec(logits=True)
    identity = np.arange(20, dtype=np.int32)
    kept = identity.copy()
    kept[[5, 6]] = 6, 5
    cases = [
        (teacher, SUBWORDS),
        (place_teacher(seed=8), SUBWORDS),
        (place_teacher(make_encoder(activation="relu")), SUBWORDS),
        (place_teacher(make_encoder(dtype="bfloat16")), SUBWORDS),
        (place_teacher(remap=identity), SUBWORDS),
        (place_teacher(remap=kept), SUBWORDS),
        (teacher, make_subwords(20, 2)),
        (teacher, make_subwords(21, 1)),
    ]
    for number, (its, subwords) in enumerate(cases, 1):
        open_cache(tmp_path, its, subwords, make_rows(subwords), spec, 64)
        assert count_files(tmp_path) == number


def test_the_fingerprint_sees_the_last_bit_of_a_parameter(teacher):
    """One changed parameter makes another teacher, however small the change."""
    params = jax.device_get(teacher.params)
    before = params_fingerprint(params)
    assert params_fingerprint(teacher.params) == before
    params["classifier"]["bias"] = np.nextafter(params["classifier"]["bias"], np.float32(9))
    assert params_fingerprint(params) != before


@pytest.mark.parametrize("damage", ["flip", "cut", "no seal", "no file"])
def test_a_damaged_file_is_computed_again(tmp_path, teacher, damage):
    spec = SignalSpec(logits=True, hidden=(2,))
    first = {
        k: np.array(v) for k, v in open_cache(tmp_path, teacher, SUBWORDS, ROWS, spec, 4).items()
    }
    (path,) = tmp_path.glob("logits-*.npy")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    if damage == "no file":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if damage == "cut" else content)
    if damage == "no seal":
        path.with_suffix(".crc32").unlink()
    (other,) = tmp_path.glob("hidden-2-*.npy")
    untouched = other.stat().st_mtime_ns
    again = open_cache(tmp_path, teacher, SUBWORDS, ROWS, spec, 4)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert other.stat().st_mtime_ns == untouched
    assert not list(tmp_path.glob("*.partial"))


def test_a_run_that_dies_while_it_writes_leaves_no_file_that_counts(tmp_path, teacher, monkeypatch):
    real = signals_module.compute_signals
    calls = []

    def dying(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(signals_module, "compute_signals", dying)
        with pytest.raises(KeyboardInterrupt):
            open_cache(tmp_path, teacher, SUBWORDS, ROWS, SignalSpec(logits=True), 2)
    assert count_files(tmp_path) == 0
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SignalSpec(logits=True), 2)
    filled = ROWS.subword >= 0
    found = gather_signal(cached["logits"], ROWS, INDICES)[filled]
    np.testing.assert_allclose(found, direct(teacher)["logits"][filled], rtol=2**-10, atol=1e-5)


def test_a_trimmed_students_subwords_are_read_as_the_teachers(tmp_path):
    """The teacher sees its own ids, cached or on the fly."""
    kept = np.random.default_rng(3).permutation(20).astype(np.int32)
    trimmed = place_teacher(remap=kept)
    cached = open_cache(tmp_path, trimmed, SUBWORDS, ROWS, SignalSpec(logits=True), 64)
    filled = ROWS.subword >= 0
    expected = direct(trimmed)["logits"][filled]
    found = gather_signal(cached["logits"], ROWS, INDICES)[filled]
    np.testing.assert_allclose(found, expected, rtol=2**-10, atol=1e-5)
    signals = trimmed.compute(fill_batch(SUBWORDS, ROWS, INDICES, 0), SignalSpec(logits=True))
    np.testing.assert_allclose(np.asarray(signals.logits)[filled], expected, rtol=1e-5, atol=1e-6)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, teacher, monkeypatch):
    from xdistil.errors import InputError

    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"has room for 0 MiB.*data\.transfer_limit"):
        open_cache(tmp_path, teacher, SUBWORDS, ROWS, SignalSpec(logits=True), 4)
    assert count_files(tmp_path) == 0


MAPS = SignalSpec(hidden=(1,), attention=(0, 1), vectors=(1,))


def compare(
    cached: Any, signals: Any, rows: Any, rtol: float, atol: float, steps: float = 0.0
) -> None:
    """What rows read of the cache equals the teacher's own signals, and is 0 between segments.

    Args:
        steps: beside the other tolerances, as a share of the largest number of each vector.
    """
    batch = fill_batch(SUBWORDS, rows, np.arange(len(rows.subword)), 0)
    real = batch.segment > 0
    same = (batch.segment[:, :, None] == batch.segment[:, None, :]) & real[:, :, None]
    for name, expected in zip(signal_names(MAPS), name_signals(signals), strict=True):
        found = gather_signal(cached[name], rows, np.arange(len(rows.subword)))
        expected = np.asarray(expected)
        if name.startswith("attention"):
            assert found.shape == expected.shape == (len(rows.subword), 2, *same.shape[1:])
            assert not np.moveaxis(found, 1, -1)[~same].any()
            found, expected = np.moveaxis(found, 1, -1)[same], np.moveaxis(expected, 1, -1)[same]
        else:
            found, expected = found[real], expected[real]
        allowed = atol + rtol * np.abs(expected)
        allowed = allowed + steps * np.abs(expected).max(axis=-1, keepdims=True)
        assert np.all(np.abs(found - expected) <= allowed), name


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("float32", {"rtol": 0, "atol": 0}),
        ("float16", {"rtol": 2**-11, "atol": 2**-25}),
        ("int8", {"rtol": 0, "atol": 1e-6, "steps": 1 / 254}),
    ],
)
def test_maps_queries_keys_and_values_equal_the_forward_pass(tmp_path, teacher, kind, tolerance):
    """Read in the packing that they were computed in, to half a step of the type's numbers."""
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, MAPS, len(ROWS.subword), kind=kind)
    batch = fill_batch(SUBWORDS, ROWS, INDICES, 0)
    compare(cached, teacher.compute(batch, MAPS), ROWS, **tolerance)


def test_another_packing_reads_the_same_maps(tmp_path, teacher):
    """Rows shorter than those of the pass, in batches of three with padding behind the last."""
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, MAPS, 3, kind="float32")
    other = pack(SUBWORDS, 9, seed=5)
    batch = fill_batch(SUBWORDS, other, np.arange(len(other.subword)), 0)
    compare(cached, teacher.compute(batch, MAPS), other, rtol=1e-4, atol=1e-5)


def test_a_padding_row_reads_no_map(tmp_path, teacher):
    cached = open_cache(tmp_path, teacher, SUBWORDS, ROWS, SignalSpec(attention=(1,)), 4)
    found = gather_signal(cached["attention-2"], ROWS, np.array([-1, 0, -1]))
    assert found[1].any()
    assert not found[[0, 2]].any()


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_the_error_of_rounding_is_told(tmp_path, teacher, kind, caplog):
    """The root of the sum of squares of what is lost, over that of the values."""
    caplog.set_level("INFO")
    spec = SignalSpec(hidden=(1,))
    exact = open_cache(tmp_path, teacher, SUBWORDS, ROWS, spec, 4, kind="float32")["hidden-1"]
    assert "relative error hidden-1 0.0e+00" in caplog.text
    rounded = open_cache(tmp_path, teacher, SUBWORDS, ROWS, spec, 4, kind=kind)["hidden-1"]
    lost = rounded[np.arange(len(exact))].astype(np.float64) - exact
    error = np.linalg.norm(lost) / np.linalg.norm(exact)
    assert f"rounded to {kind}: relative error hidden-1 {error:.1e}" in caplog.text
    assert 0 < error < {"float16": 3e-4, "int8": 5e-3}[kind]


def test_numbers_of_one_vector_share_their_step():
    """-2 and 0.5 in steps of 2 / 127, worked out by hand; a vector of zeros stays one."""
    values = np.array([[-2.0, 0.5, 0.0], [0.0, 0.0, 0.0]], np.float32)
    stored = store(values, "int8")
    assert stored.shape == (2, 7)
    assert stored[0, :3].tolist() == [-127, 32, 0]
    read = read_stored(stored, "int8")[np.array([[0], [1]])]
    np.testing.assert_allclose(read, [[[-2.0, 32 * 2 / 127, 0.0]], [[0.0, 0.0, 0.0]]], rtol=1e-6)


def test_maps_that_were_cut_off_go_on_where_they_were(tmp_path, teacher, monkeypatch):
    monkeypatch.setattr(cache_module, "SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(CutError):
        open_cache(tmp_path, teacher, SUBWORDS, ROWS, MAPS, 2, cut_after(2))
    found = open_cache(tmp_path, teacher, SUBWORDS, ROWS, MAPS, 2)
    expected = open_cache(tmp_path / "whole", teacher, SUBWORDS, ROWS, MAPS, 2)
    for name in signal_names(MAPS):
        each, whole = (gather_signal(cached[name], ROWS, INDICES) for cached in (found, expected))
        assert np.array_equal(each, whole)


def test_runs_that_share_a_folder_compute_signals_once(tmp_path, teacher, monkeypatch):
    """Three at the same time: one writes, the others wait and read."""
    passes = []
    real = signals_module.compute_signals

    def spy(*arguments: Any, **settings: Any) -> Any:
        passes.append(threading.get_ident())
        return real(*arguments, **settings)

    monkeypatch.setattr(signals_module, "compute_signals", spy)
    spec = SignalSpec(logits=True)
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(open_cache, tmp_path, teacher, SUBWORDS, ROWS, spec, 4) for _ in range(3)
        ]
    first, *others = [run.result()["logits"] for run in runs]
    assert all(np.array_equal(first, other) for other in others)
    assert len(set(passes)) == 1
    assert len(passes) == -(-len(ROWS.subword) // 4)


PLANS = {
    "maps": Stage(
        name="m", loss="representation+attention", hidden_map="last", attention_map="last"
    ),
    "relations": Stage(name="r", loss="relations+logits"),
}


@pytest.mark.parametrize("name", PLANS)
def test_fifty_steps_from_the_cache_lose_what_steps_with_the_teacher_lose(tmp_path, name):
    """A student of one layer, dropout on; to 1e-4 with numbers in float32."""
    stage = replace(PLANS[name], hidden_loss="mse", epochs=17.0, lr=1e-3)
    losses = []
    for cache in ("always", "never"):
        student, teacher = make_encoder(layers=1), make_teacher(cache=cache, cache_type="float32")
        folder = tmp_path / cache
        folder.mkdir()
        plan = make_plan((stage,), folder, student, teacher, eval_every=100)
        assert bool(plan.trainer.reader.stored) == (cache == "always")
        run_plan(plan, init_params(student, 3))
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        names = [f"loss_{part}" for part in stage.loss.split("+")]
        steps = [line for line in lines if line["event"] == "train"]
        losses.append([[line[each] for each in names] for line in steps])
    assert len(losses[0]) == len(losses[1]) >= 50
    np.testing.assert_allclose(*losses, rtol=1e-4)
