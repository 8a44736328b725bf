"""A reader of signals: those that are stored, and the others computed."""

from typing import Any

import numpy as np
import pytest

from tests.distill.small import make_batch, make_session, make_texts
from xdistil.data.packing import Batch
from xdistil.errors import InputError
from xdistil.models.types import QKV
from xdistil.teacher.interface import NoTeacher, SignalReader, Unit
from xdistil.teacher.signals import Request, Signals, SignalSpec
from xdistil.teacher.storage import MASK

BATCH = make_batch(2)
SPEC = SignalSpec(logits=True, hidden=(2, 0))
# What is stored of four subwords, by name; the embeddings are 0, the second layer 2.
STORED: dict[str, Any] = {
    name: np.full((4, 3), number, np.float32)
    for name, number in (("hidden-0", 0), ("hidden-1", 1), ("hidden-2", 2), ("logits", 9))
}
PRESENT = np.array([True, False, True, True])


class Computer:
    """Computes nothing; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Batch, SignalSpec]] = []

    def __call__(self, batch: Batch, spec: SignalSpec) -> Signals:
        self.asked.append((batch, spec))
        return Signals(None, (), ())


def load(reader: SignalReader, texts: str, spec: SignalSpec) -> dict[str, Any]:
    """The columns of the first two subwords."""
    return {name: values[:2] for name, values in reader.columns(texts, spec).items()}


def test_stored_signals_are_arranged_in_the_order_of_the_spec():
    compute = Computer()
    reader = SignalReader({"transfer": STORED}, compute)
    assert list(reader.columns("transfer", SPEC)) == ["logits", "hidden-2", "hidden-0"]
    signals = reader.signals(BATCH, load(reader, "transfer", SPEC), SPEC)
    assert np.array_equal(signals.logits, STORED["logits"][:2])
    assert [each[0, 0] for each in signals.hidden] == [2, 0]
    assert (signals.attention, signals.vectors) == ((), ())
    assert signals.features is signals.present is None
    assert not compute.asked


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"dev": STORED},
        {"transfer": {"hidden-1": STORED["hidden-1"]}},
        {"transfer": {"logits": STORED["logits"], MASK: PRESENT}},
    ],
    ids=["nothing", "other texts", "other signals", "a mask"],
)
def test_where_nothing_is_stored_all_is_computed(stored):
    compute = Computer()
    reader = SignalReader(stored, compute)
    assert reader.columns("transfer", SPEC) == {}
    signals = reader.signals(BATCH, {}, SPEC)
    assert compute.asked == [(BATCH, SPEC)]
    assert signals.present is None


def test_what_is_not_stored_is_computed_beside_what_is():
    """Of three signals one is stored; the others come in the order of the spec."""
    spec = SignalSpec(logits=True, hidden=(2, 0), vectors=(1,))
    asked = []

    def compute(batch: Batch, missing: SignalSpec) -> Signals:
        asked.append(missing)
        parts = [np.full((2, 3), number) for number in range(5)]
        return Signals(None, tuple(parts[:1]), (), vectors=(QKV(*parts[1:4]),))

    stored = {name: STORED[name] for name in ("logits", "hidden-2")}
    stored["keys-2"] = np.full((4, 3), 7.0)  # one of three parts, which come together
    reader = SignalReader({"transfer": stored}, compute)
    loaded = load(reader, "transfer", spec)
    assert list(loaded) == ["logits", "hidden-2", "keys-2"]
    signals = reader.signals(BATCH, loaded, spec)
    assert asked == [SignalSpec(hidden=(0,), vectors=(1,))]
    assert np.array_equal(signals.logits, STORED["logits"][:2])
    assert [each[0, 0] for each in signals.hidden] == [2, 0]
    assert [part[0, 0] for part in signals.vectors[0]] == [1, 7, 3]
    assert signals.present is None


def test_the_mask_comes_with_stored_signals():
    """A stage that reads fewer of them reads it as well."""
    reader = SignalReader({"transfer": {**STORED, MASK: PRESENT}})
    spec = SignalSpec(hidden=(1,))
    assert list(reader.columns("transfer", spec)) == ["hidden-1", MASK]
    signals = reader.signals(BATCH, load(reader, "transfer", spec), spec)
    assert signals.logits is None
    assert np.array_equal(signals.present, PRESENT[:2])
    assert np.array_equal(signals.hidden[0], STORED["hidden-1"][:2])


def test_a_stage_that_reads_nothing_gets_nothing():
    """Neither a column, not even the mask, nor a computation."""
    compute = Computer()
    reader = SignalReader({"train": {**STORED, MASK: PRESENT}}, compute)
    assert reader.columns("train", SignalSpec()) == {}
    assert reader.signals(BATCH, {}, SignalSpec()) == Signals(None, (), ())
    assert not compute.asked


def test_a_reader_of_nothing_gives_nothing_and_hides_no_mistake():
    reader = SignalReader()
    assert reader.columns("train", SPEC) == {}
    assert reader.signals(BATCH, {}, SignalSpec()) == Signals(None, (), ())
    with pytest.raises(LookupError, match="hidden-2"):
        reader.signals(BATCH, {}, SPEC)


def test_no_teacher_refuses_and_reads_nothing(tmp_path):
    nobody, texts = NoTeacher(), make_texts()["train"]
    assert nobody.unit is Unit.NOTHING
    with pytest.raises(InputError, match=r"^plan\[1\] learns logits, which needs a teacher"):
        nobody.shape("plan[1] learns logits")
    request = Request("plan[0]", "train", SignalSpec(), 1.0, texts, texts)
    nobody.check(request)
    assert nobody.plan([request]) == ()
    assert nobody.fingerprints() == {}
    assert nobody.reader([request], make_session(tmp_path)).stored == {}
