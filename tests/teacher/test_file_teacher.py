"""A file of signals as the teacher: what it refuses, what a student reads, what it predicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distill.small import TASK, make_session
from tests.teacher.test_model_teacher import EXAMPLES, cut
from xdistil.data.examples import Example, Task
from xdistil.data.packing import PackedTexts, fill_batch
from xdistil.errors import InputError
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.interface import Unit
from xdistil.teacher.signal_file import SignalWriter, open_signals
from xdistil.teacher.signals import Request, SignalSpec
from xdistil.teacher.storage import gather_signals

STUDENT = cut([1, 3], [2, 1])
# Of O, B-PER and I-PER. The largest of Anna, slept, in and Rome: I-PER, B-PER, I-PER, B-PER.
LOGITS = np.array([[0.5, 0.2, 1.0], [0.0, 1.0, 0.9], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
HIDDEN = np.arange(20.0).reshape(4, 5)


def make(folder: Path, present: tuple[bool, ...] = (True,) * 4, **changes: Any) -> FileTeacher:
    """A folder of EXAMPLES: their logits, unless `labels` is empty, and hidden state 2 of 3."""
    settings: dict[str, Any] = {"labels": TASK.labels, "layers": 3, "width": 5, "hidden": [2]}
    settings |= changes
    with SignalWriter(folder, "tagging", **settings) as writer:
        for number, example in enumerate(EXAMPLES):
            at = slice(2 * number, 2 * number + 2)
            logits = LOGITS[at] if settings["labels"] else None
            writer.add(example.inputs, logits, {2: HIDDEN[at]}, present[at])
    return FileTeacher(open_signals(folder, TASK), TASK)


def request(spec: SignalSpec, student: PackedTexts = STUDENT) -> Request:
    return Request("plan[1]", "train", spec, 1.0, student, student)


def test_its_shape_is_that_of_the_model_behind_it(tmp_path):
    teacher = make(tmp_path / "signals", teacher="GPT")
    shape = teacher.shape("plan[1]")
    assert (shape.layers, shape.hidden_size) == (3, 5)
    assert teacher.unit is Unit.WORD
    assert teacher.name == f"signals of GPT from {tmp_path / 'signals'}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SignalSpec(attention=(0,)), r"^plan\[1\].loss has attention, .* pairs of subwords"),
        (SignalSpec(vectors=(0,)), r"^plan\[1\].loss has relations, .* pairs of subwords"),
        (SignalSpec(hidden=(2, 1)), r"^plan\[1\] learns hidden-1, .* they are hidden-2, logits"),
    ],
)
def test_signals_that_it_does_not_hold_are_refused(tmp_path, spec, message):
    teacher = make(tmp_path / "signals")
    teacher.check(request(SignalSpec(logits=True, hidden=(2,))))
    with pytest.raises(InputError, match=message):
        teacher.check(request(spec))


def test_texts_that_it_does_not_hold_are_refused(tmp_path):
    others = [*EXAMPLES, Example(("Bob",), None, "und")]
    texts = PackedTexts(others, STUDENT.subwords, STUDENT.rows)
    with pytest.raises(InputError, match=r"1 of the 3 texts of train .* 'Bob'"):
        make(tmp_path / "signals").check(request(SignalSpec(logits=True), texts))


def test_a_student_reads_its_values_on_the_first_subwords_of_words(tmp_path):
    """All but those of a word that has none, and of the signals those that it asks for."""
    teacher = make(tmp_path / "signals", present=(True, False, True, True))
    spec = SignalSpec(hidden=(2,))
    reader = teacher.reader([request(spec)], make_session(tmp_path))
    assert teacher.plan([request(spec)]) == ()
    rows = np.arange(1)
    loaded = gather_signals(reader.columns("train", spec), STUDENT.rows, rows)
    batch = fill_batch(STUDENT.subwords, STUDENT.rows, rows, 0)
    signals = reader.signals(batch, loaded, spec)
    assert signals.logits is None
    assert batch.label_mask.sum() - signals.present.sum() == 1
    assert np.array_equal(signals.hidden[0][signals.present], HIDDEN[[0, 2, 3]])
    assert not signals.hidden[0][~signals.present].any()


def test_its_logits_predict_labels(tmp_path):
    """The best legal tags: O and B-PER with 1.5, two B-PER have 1.2. O without logits."""
    teacher = make(tmp_path / "signals", present=(True, True, False, True))
    assert teacher.predict(EXAMPLES) == [("O", "B-PER"), ("O", "B-PER")]


def test_why_there_are_no_predictions(tmp_path):
    assert make(tmp_path / "none", labels=()).predict(EXAMPLES) == "it holds no logits"
    other = [Example(("Bob",), None, "und")]
    assert make(tmp_path / "some").predict(other) == "it does not hold all of the texts"


def test_a_text_without_a_class_is_no_prediction(tmp_path):
    """Of classification: there is no class that means nothing."""
    task = Task("classification", ("no", "yes"))
    texts = [Example((text,), None, "und") for text in ("one", "two")]
    for name, present in (("all", True), ("part", False)):
        with SignalWriter(tmp_path / name, "classification", task.labels, 3, 5) as writer:
            writer.add(("one",), logits=[0.0, 1.0])
            writer.add(("two",), logits=[1.0, 0.0], present=[present])
    whole, part = (
        FileTeacher(open_signals(tmp_path / name, task), task).predict(texts)
        for name in ("all", "part")
    )
    assert whole == [("yes",), ("no",)]
    assert part == "it holds no values for some of the texts"


def test_logits_of_several_labels_predict_those_above_zero(tmp_path):
    task = Task("classification", ("a", "b", "c"), multilabel=True)
    texts = [Example((text,), None, "und") for text in ("one", "two")]
    with SignalWriter(tmp_path / "many", "classification", ("c", "a", "b"), 3, 5) as writer:
        writer.add(("two",), logits=[-3.0, -2.0, -1.0])
        writer.add(("one",), logits=[0.5, 2.0, -1.0])
    teacher = FileTeacher(open_signals(tmp_path / "many", task), task)
    assert teacher.predict(texts) == [("a", "c"), ()]


def test_every_file_of_the_folder_has_a_fingerprint(tmp_path):
    found = make(tmp_path / "signals").fingerprints()
    names = {path.name for path in (tmp_path / "signals").iterdir()}
    assert found.keys() == {f"teacher.signals/{name}" for name in names}
    assert {Path(path).name for path, _ in found.values()} == names
    again = make(tmp_path / "again").fingerprints()
    assert {name: digest for name, (_, digest) in again.items()} == {
        name: digest for name, (_, digest) in found.items()
    }
