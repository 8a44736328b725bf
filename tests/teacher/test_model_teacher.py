"""A model as the teacher: what it refuses, and what reaches a student of other subwords."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.distill.small import CLASSES, make_session, make_teacher, make_texts
from tests.models.samples import run
from xdistil.data.examples import Example
from xdistil.data.packing import PackedTexts, fill_batch, pack
from xdistil.data.subwords import Subwords
from xdistil.errors import InputError
from xdistil.teacher import cache_policy
from xdistil.teacher.interface import Unit
from xdistil.teacher.model_teacher import ModelTeacher, match_words
from xdistil.teacher.signals import Request, Signals, SignalSpec
from xdistil.teacher.storage import MASK, gather_signals

SPEC = SignalSpec(logits=True, hidden=(1,))
EXAMPLES = [Example(("Anna", "slept"), None, "und"), Example(("in", "Rome"), None, "und")]


def cut(*texts: list[int]) -> PackedTexts:
    """EXAMPLES in subwords; how many each word has, between two special ones. Every subword has an
    id of its own. Words behind the last number are cut off."""
    words = [
        np.concatenate([[-1], *([n] + [-1] * (size - 1) for n, size in enumerate(sizes)), [-1]])
        for sizes in texts
    ]
    word = np.concatenate(words).astype(np.int32)
    tokens = np.arange(4, 4 + len(word), dtype=np.int32)
    subwords = Subwords(
        tokens=tokens,
        token_type=np.zeros(len(word), np.int8),
        labels=np.where(word >= 0, tokens % CLASSES, 0).astype(np.int32),
        label_mask=word >= 0,
        word=word,
        start=np.cumsum([0, *map(len, words)]).astype(np.int64),
        example=np.arange(len(texts), dtype=np.int32),
    )
    return PackedTexts(EXAMPLES, subwords, pack(subwords, 16, None))


def request(spec: SignalSpec, student: PackedTexts, teacher: PackedTexts) -> Request:
    return Request("plan[1]", "transfer", spec, 1.0, student, teacher)


def by_word(shared: bool = False, **settings: Any) -> ModelTeacher:
    return match_words(make_teacher(cache_type="float32", **settings), shared)


@pytest.mark.parametrize("name", ["attention", "relations"])
def test_losses_of_pairs_of_subwords_need_the_teachers_subwords(name):
    texts = make_texts()["train"]
    spec = SignalSpec(attention=(0,)) if name == "attention" else SignalSpec(vectors=(0,))
    make_teacher().check(request(spec, texts, texts))
    by_word().check(request(SPEC, texts, texts))
    with pytest.raises(InputError, match=rf"^plan\[1\].loss has {name}, which compares pairs"):
        by_word().check(request(spec, texts, texts))


def test_a_student_of_other_subwords_needs_a_cache():
    with pytest.raises(InputError, match=r"^teacher.cache=never .* set teacher.cache=auto\.$"):
        by_word(cache="never")
    either = r"^teacher.cache=never .* set teacher.cache=auto or teacher.subwords=student\.$"
    with pytest.raises(InputError, match=either):
        by_word(shared=True, cache="never")


def test_signals_of_words_reach_the_subwords_that_carry_them(tmp_path):
    """The teacher's on its first subword of a word, on the student's first subword of that word;
    a word that the teacher cut off has none."""
    student, own = cut([1, 3], [2, 1]), cut([2, 1], [3])
    teacher = by_word()
    asked = request(SPEC, student, own)
    reader = teacher.reader([asked], make_session(tmp_path))
    columns = reader.columns("transfer", SPEC)
    assert columns.keys() == {"logits", "hidden-1", MASK}
    rows = np.arange(1)  # which hold both sentences
    loaded = gather_signals(columns, student.rows, rows)
    batch = fill_batch(student.subwords, student.rows, rows, 0)
    signals = reader.signals(batch, loaded, SPEC)
    expected_mask = batch.label_mask.copy()
    expected_mask[0, np.flatnonzero(batch.label_mask[0])[3]] = False  # Rome
    assert np.array_equal(signals.present, expected_mask)

    theirs = fill_batch(own.subwords, own.rows, rows, 0)
    output = run(teacher.model, teacher.params, theirs)
    for found, values in ((signals.logits, output.logits), (signals.hidden[0], output.hidden[1])):
        expected = np.asarray(values)[theirs.label_mask]
        assert expected.shape[0] == 3
        np.testing.assert_allclose(found[expected_mask], expected, rtol=1e-5, atol=1e-6)
        assert not found[~expected_mask].any()


def test_the_cache_of_a_set_of_texts_serves_every_stage(tmp_path):
    """One pass over the texts for what all stages read of them; each is given its own columns."""
    texts = make_texts()
    transfer, dev = texts["transfer"], texts["dev"]
    first = request(SignalSpec(hidden=(2,)), transfer, transfer)
    second = replace(first, spec=SignalSpec(logits=True))
    third = replace(second, texts="dev", student=dev, teacher=dev)
    reader = make_teacher().reader([first, second, third], make_session(tmp_path))
    assert {name: set(stored) for name, stored in reader.stored.items()} == {
        "transfer": {"logits", "hidden-2"},
        "dev": {"logits"},
    }
    assert set(reader.columns("transfer", first.spec)) == {"hidden-2"}
    folder = tmp_path / "cache/signals"
    assert len(list(folder.glob("*.npy"))) == 3


@pytest.fixture
def no_room_for_states(monkeypatch):
    """A disk without delay, and a bound that logits of three classes keep and states do not."""
    monkeypatch.setattr(cache_policy, "DISK_RATE", 1e15)
    monkeypatch.setattr(cache_policy, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(cache_policy, "MOST_BYTES", 4 * CLASSES * 200)


def test_a_mixed_reader_gives_what_a_cache_and_what_the_teacher_gives(tmp_path, no_room_for_states):
    """Float32 on disk: the cached half is a whole cache's bit by bit, the other the teacher's. A
    shared folder is filled before the steps."""
    texts = make_texts()["transfer"]
    requests = [
        replace(request(spec, texts, texts), readings=readings)
        for spec, readings in ((SPEC, 1.0), (SignalSpec(logits=True), 5.0))
    ]
    signals: dict[str, list[Signals]] = {}
    for choice in ("auto", "always", "never"):
        folder = str(tmp_path / f"{choice}-shared")
        teacher = make_teacher(cache=choice, cache_type="float32", cache_folder=folder)
        reader = teacher.reader(requests, make_session(tmp_path / choice))
        columns = reader.columns("transfer", SPEC)
        assert list(columns) == {"auto": ["logits"], "always": ["logits", "hidden-1"]}.get(
            choice, []
        )
        for first in range(0, len(texts.rows.subword), 4):
            rows = np.arange(first, first + 4)
            rows[rows >= len(texts.rows.subword)] = -1
            batch = fill_batch(texts.subwords, texts.rows, rows, 0)
            loaded = gather_signals(columns, texts.rows, rows)
            found = reader.signals(batch, loaded, SPEC)
            real = batch.segment > 0
            kept = Signals(np.asarray(found.logits)[real], (np.asarray(found.hidden[0])[real],), ())
            signals.setdefault(choice, []).append(kept)
    for mixed, cached, computed in zip(*signals.values(), strict=True):
        assert np.array_equal(mixed.logits, cached.logits)
        np.testing.assert_allclose(mixed.hidden[0], computed.hidden[0], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(mixed.logits, computed.logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mixed.hidden[0], cached.hidden[0], rtol=1e-5, atol=1e-6)


def test_the_steps_fill_the_cache_of_their_own_texts_in_one_process(
    no_room_for_states, monkeypatch
):
    """Not that of dev, of a folder that other runs fill, or of several processes."""
    texts = make_texts()["transfer"]
    first, second = (request(spec, texts, texts) for spec in (SPEC, SignalSpec(logits=True)))
    requests = [first, replace(second, readings=5.0)]

    def grows(requests: list[Request], **settings: Any) -> bool:
        computed, cached = make_teacher(cache="auto", **settings).plan(requests)
        assert (computed.cached, cached.cached) == (False, True)
        return cached.grows

    assert grows(requests)
    assert not grows(requests, cache_folder="there")
    assert not grows(requests, shared_folder="there")
    assert not grows([replace(each, texts="dev") for each in requests])
    monkeypatch.setattr("jax.process_count", lambda: 2)
    assert not grows(requests)


def test_runs_share_signals_that_are_computed_together(tmp_path):
    """Not those of another set: a program that computes more may round otherwise, and then it would
    matter which run comes first. Nor with texts in other rows."""
    texts = make_texts()["dev"]
    other = replace(texts, rows=pack(texts.subwords, 12, 5))
    logits = SignalSpec(logits=True)
    teacher = make_teacher(shared_folder=str(tmp_path / "shared"))
    for name, spec, read in (("a", SPEC, texts), ("b", SPEC, texts), ("c", logits, texts),
                             ("d", logits, other)):  # fmt: skip
        teacher.reader([request(spec, read, read)], make_session(tmp_path / name))
        assert not (tmp_path / name).exists()
    files = (tmp_path / "shared").glob("signals-*/*.npy")
    folders = [path.parent.name for path in files]
    assert sorted(map(folders.count, set(folders))) == [1, 1, 2]


def test_a_shared_cache_lies_in_its_own_folder(tmp_path):
    texts = make_texts()["dev"]
    teacher = make_teacher(cache_folder=str(tmp_path / "shared"))
    teacher.reader([request(SPEC, texts, texts)], make_session(tmp_path / "run"))
    assert len(list((tmp_path / "shared").glob("*.npy"))) == 2
    assert not (tmp_path / "run").exists()


def test_a_teacher_without_cache_computes_in_its_own_ids(tmp_path):
    """Of a student whose vocabulary is trimmed, in another order."""
    remap = np.random.default_rng(0).permutation(20).astype(np.int32)
    texts = make_texts()["dev"]
    teacher = make_teacher(remap=remap, cache="never")
    reader = teacher.reader([request(SPEC, texts, texts)], make_session(tmp_path))
    assert reader.stored == {}
    assert teacher.unit is Unit.SUBWORD
    batch = fill_batch(texts.subwords, texts.rows, np.arange(len(texts.rows.subword)), 0)
    signals = reader.signals(batch, {}, SPEC)
    output = run(teacher.model, teacher.params, batch._replace(tokens=remap[batch.tokens]))
    np.testing.assert_allclose(signals.logits, output.logits, rtol=1e-5, atol=1e-6)
    assert signals.present is None
