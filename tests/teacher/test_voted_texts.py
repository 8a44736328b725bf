"""Votes as a teacher: which value each word has, and what a student reads of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.distill.small import TASK, make_session
from tests.teacher.test_model_teacher import EXAMPLES, cut
from xdistil.annotators.calibration import SMOOTHING
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch
from xdistil.errors import InputError
from xdistil.teacher.file_teacher import FileTeacher
from xdistil.teacher.signals import Request, SignalSpec
from xdistil.teacher.storage import MASK, gather_signals
from xdistil.teacher.voted_texts import open_votes

TAGS = Task("tagging", ("O", "B-PER", "I-PER"))
LEE = {"start": 0, "end": 8, "label": "PER"}


def write(folder, *rows):
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def smooth(*probabilities):
    return np.log((1 - SMOOTHING) * np.array(probabilities) + SMOOTHING / 3)


def test_the_value_of_a_word_is_that_of_its_first_unit(tmp_path):
    path = write(
        tmp_path,
        {"text": "Anna Lee-Smith ran.", "annotators": {"a": [LEE], "b": [LEE], "c": []}},
        {"text": "So it is", "annotators": {"a": None}},
    )
    voted = open_votes([path], "share", TAGS)
    sentence = Example(("Anna", "Lee-Smith", "r", "an", ".", "\u200b"), None, "und")
    unknown = Example(("Who", "knows"), None, "und")
    silent = Example(("So", "it", "is"), None, "und")
    place = voted.locate([unknown, sentence, silent], TAGS, "transfer")
    assert place.tolist() == [-1, -1, 0, 1, 4, -1, 5, -1, -1, -1, -1]
    expected = smooth([1 / 3, 2 / 3, 0], [1 / 3, 0, 2 / 3], [1, 0, 0])
    assert voted.values["logits"][[0, 1, 4]] == pytest.approx(expected, abs=1e-6)


def test_gold_of_dev_is_what_the_loss_on_dev_is_measured_against(tmp_path):
    voted = open_votes([write(tmp_path, {"text": "Anna Lee", "spans": []})], "learned", TAGS)
    dev = [Example(("Bo", "Li"), ("B-PER", "I-PER"), "en"), Example(("So",), ("O",), "en")]
    place = voted.locate(dev, TAGS, "dev")
    found = np.exp(voted.values["logits"][place])
    assert found.argmax(axis=1).tolist() == [1, 2, 0]
    assert found.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    with pytest.raises(
        InputError, match=r"none of the 2 texts of train has an answer in teacher.l"
    ):
        voted.locate(dev, TAGS, "train")


def test_classes_of_texts(tmp_path):
    task = Task("classification", ("bad", "good"))
    path = write(tmp_path, {"text": "Fine .", "scores": {"good": 0.75, "bad": 0.25}})
    voted = open_votes([path], "majority", task)
    teacher = FileTeacher(voted, task)
    texts = [Example(("Fine .",), None, "en")]
    assert voted.locate(texts, task, "transfer").tolist() == [0]
    assert teacher.predict(texts) == [("good",)]
    assert teacher.predict([Example(("No",), None, "en")]) == "it does not hold all of the texts"


def test_a_student_reads_log_probabilities_at_the_first_subwords_of_words(tmp_path):
    text = " ".join(EXAMPLES[0].inputs)
    type_ = TASK.labels[1][2:]
    span = {"start": 0, "end": len(EXAMPLES[0].inputs[0]), "label": type_}
    path = write(tmp_path, {"text": text, "spans": [span]})
    teacher = FileTeacher(open_votes([path], "learned", TASK), TASK)
    student = cut([1, 3], [2, 1])
    request = Request("plan[0]", "transfer", SignalSpec(logits=True), 1.0, student, student)
    teacher.check(request)
    with pytest.raises(InputError, match=r"plan\[0\] learns hidden-2, .* they are logits"):
        teacher.check(
            Request("plan[0]", "transfer", SignalSpec(hidden=(2,)), 1.0, student, student)
        )
    reader = teacher.reader([request], make_session(tmp_path))
    columns = reader.columns("transfer", request.spec)
    found = gather_signals(columns, student.rows, np.arange(len(student.rows.subword)))
    batch = fill_batch(student.subwords, student.rows, np.arange(len(student.rows.subword)), 0)
    assert found[MASK].sum() == len(EXAMPLES[0].inputs)  # nobody answered the other text
    assert np.all(batch.label_mask[found[MASK]])
    labels = [TASK.labels[each] for each in found["logits"][found[MASK]].argmax(axis=-1)]
    assert labels == [f"B-{type_}", *["O"] * (len(EXAMPLES[0].inputs) - 1)]


def test_its_name_files_and_what_is_told(tmp_path, caplog):
    path = write(
        tmp_path, {"text": "Anna Lee", "annotators": {"a": [LEE], "b": [{**LEE, "end": 6}]}}
    )
    voted = open_votes([path], "majority", TAGS)
    assert FileTeacher(voted, TAGS).name == f"majority votes of 2 annotators in {path}"
    assert list(FileTeacher(voted, TAGS).fingerprints()) == ["teacher.labels[0]"]
    texts = [Example(("Anna", "Lee"), None, "und"), Example(("So",), None, "und")]
    with caplog.at_level("INFO", logger="xdistil"):
        voted.tell([*texts, texts[0]], TAGS)
    assert [record.message for record in caplog.records] == [
        "teacher.labels: logits of 1 texts (2 units) of a, b",
        "teacher.labels: of 2 spans 1 are moved to the edges of units and 0 rejected (moved 1)",
        "  moved: 'Anna L' of b, at 0 in 'Anna Lee'",
        "teacher.labels: 1 of the 2 different texts to learn from have answers; in 0 texts nobody "
        "marked anything",
    ]


def test_units_of_little_agreement_teach_nothing(tmp_path):
    rows = [
        {"text": "Anna Lee ran", "annotators": {"a": [LEE], "b": [LEE], "c": [{**LEE, "end": 4}]}},
        {"text": "So it is", "annotators": {"a": None}},
        {"text": "Lee", "annotators": {"a": [{**LEE, "end": 3}], "b": []}},
    ]
    path = write(tmp_path, *rows)
    voted = open_votes([path], "share", TAGS, min_agreement=0.7)
    # Anna has three of three votes, Lee two of three, and Lee alone one of two.
    assert voted.left_out == (2, 2)
    (example,) = voted.make_examples(TAGS, "units")
    assert example == Example(("Anna", "Lee", "ran"), ("B-PER", "O", "O"), "und")
    assert voted.locate([example], TAGS, "silver").tolist() == [0, -1, 2]
    assert voted.describe() == [
        "annotators: teacher.min_agreement=0.7 leaves out 2 of the 4 units with votes, in 2 of 3 "
        "texts"
    ]
    # The scores of the votes are those of all of them.
    assert FileTeacher(voted, TAGS).predict([example]) == [("B-PER", "I-PER", "O")]
    exact = open_votes([path], "share", TAGS, min_agreement=2 / 3)
    assert exact.left_out == (1, 1)


def test_silver_texts_have_the_words_of_their_segmentation(tmp_path):
    path = write(tmp_path, {"text": "Anna Lee-Smith ran.", "spans": [{**LEE, "end": 14}]})
    voted = open_votes([path], "majority", TAGS)
    (units,) = voted.make_examples(TAGS, "units")
    assert units.inputs == ("Anna", "Lee", "-", "Smith", "ran", ".")
    assert units.labels == ("B-PER", "I-PER", "I-PER", "I-PER", "O", "O")
    (words,) = voted.make_examples(TAGS, "spaces")
    assert words == Example(("Anna", "Lee-Smith", "ran."), ("B-PER", "I-PER", "O"), "und")


def test_soft_labels_are_the_targets_of_first_subwords(tmp_path):
    text = " ".join(EXAMPLES[0].inputs)
    span = {"start": 0, "end": len(EXAMPLES[0].inputs[0]), "label": TASK.labels[1][2:]}
    path = write(tmp_path, {"text": text, "annotators": {"a": [span], "b": [span], "c": []}})
    student = cut([1, 3], [2, 1])
    soft = open_votes([path], "share", TASK).label_softly(student, TASK)
    assert (soft.place >= 0).sum() == len(EXAMPLES[0].inputs)  # nobody answered the other text
    assert student.subwords.label_mask[soft.place >= 0].all()
    first, *others = soft.values[soft.place[soft.place >= 0]]
    assert first == pytest.approx(np.array([1, 2, *[0] * (len(TASK.labels) - 2)]) / 3)
    assert np.all(others == np.eye(len(TASK.labels), dtype=np.float32)[0])


def test_votes_that_nobody_chose_say_why(tmp_path):
    path = write(tmp_path, {"text": "Anna Lee", "spans": [LEE]})
    voted = open_votes([path], "auto", TAGS)
    assert (voted.votes, voted.describe()) == (
        "learned",
        [
            "annotators: their votes are combined as learned, because the answers contain fewer "
            "than 50 gold entities of dev"
        ],
    )


def write_named(folder: Path, count: int) -> tuple[Path, list[Example]]:
    """Texts with a name that one of three annotators knows, and the gold of dev."""
    rows = []
    for number in range(count):
        spans = {name: [] for name in "abc"} | {"abc"[number % 3]: [LEE]}
        rows.append({"text": f"Anna Lee ran {number}", "annotators": spans})
    words = [tuple(row["text"].split()) for row in rows]
    return write(folder, *rows), [Example(w, ("B-PER", "I-PER", "O", "O"), "en") for w in words]


def test_calibrated_votes_are_the_targets_and_are_told(tmp_path):
    path, gold = write_named(tmp_path, 52)
    plain = open_votes([path], "share", TAGS, gold)
    voted = open_votes([path], "share", TAGS, gold, calibrate=True)
    assert plain.calibration is None
    units = len(voted.starts)
    wanted = voted.calibration.apply(plain.targets[:units].astype(float))
    assert voted.targets[:units] == pytest.approx(wanted, abs=1e-6)
    assert np.array_equal(voted.targets[units:], np.eye(3))  # gold of dev stays gold
    assert plain.targets[:units].argmax(axis=1)[:2].tolist() == [0, 0]
    assert voted.targets[:units].argmax(axis=1)[:2].tolist() == [1, 2]
    assert voted.values["logits"] == pytest.approx(smooth(*voted.targets), abs=1e-5)
    (line,) = voted.describe()
    assert line.startswith(
        "annotators: their votes are calibrated on 208 units of dev, whose mean negative "
        "log-likelihood falls from 0."
    )
    assert line.endswith(")")
    assert "(temperatures: O " in line
    assert voted.name.startswith("calibrated share votes of 3 annotators in ")


def test_votes_are_calibrated_on_enough_gold_only(tmp_path):
    path, gold = write_named(tmp_path, 52)
    with pytest.raises(InputError, match=r"contain 49 gold entities of dev, fewer than 50: add an"):
        open_votes([path], "learned", TAGS, gold[:49], calibrate=True)
    with pytest.raises(InputError, match=r"contain 0 gold entities of dev"):
        open_votes([path], "auto", TAGS, calibrate=True)
