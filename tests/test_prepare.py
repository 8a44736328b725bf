"""What is made ready before the first step: the student's pieces beside the teacher's."""

import random

import numpy as np
import pytest

from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.prepare import Prepared, prepare

WORDS = ["apple", "river", "stone", "cloud", "green", "quiet", "seven", "light", "paper", "music"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Prepared:
    """Pairs cut to 13 pieces of text: `zebra` ends the first text and is always cut away.

    Whole it leaves the second text the longer one, which keeps the odd piece; fallen apart into
    letters it would make the first text the longer.
    """
    folder = tmp_path_factory.mktemp("pairs")
    draw = random.Random(0)

    def make(count: int, labelled: bool) -> str:
        lines = []
        for _ in range(count):
            first = [draw.choice(WORDS) for _ in range(8)]
            second = [draw.choice(WORDS) for _ in range(10)]
            text = f"{' '.join(first)} zebra\t{' '.join(second)}"
            lines.append(f"{text}\t{draw.choice(['yes', 'no'])}" if labelled else text)
        return "\n".join(lines) + "\n"

    for name, count in (("train", 30), ("dev", 6), ("test", 6)):
        (folder / f"{name}.tsv").write_text(make(count, True))
    (folder / "transfer.txt").write_text(make(20, False))
    (folder / "labels.tsv").write_text("yes\nno\n")
    experiment = Experiment(
        teacher=Teacher(hidden_size=8, layers=1, heads=2, vocabulary_size=200),
        student=Student(embedding_size=4, hidden_size=6, vocabulary="seen"),
        plan=(Stage(name="logits", loss="logits", data="all"),),
    )
    experiment.data.folder, experiment.data.row_length = str(folder), 16
    return prepare(experiment, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("split", ["train", "transfer"])
def test_a_trimmed_vocabulary_cuts_texts_where_the_teachers_does(pairs: Prepared, split: str):
    student = pairs.student_texts[split].pieces
    assert set(np.diff(student.start)) == {16}
    examples = pairs.student_texts[split].examples
    whole = pairs.tokenizer.backend.encode_batch(
        [example.inputs for example in examples], add_special_tokens=False
    )
    pieces = student.tokens.reshape(len(examples), 16)
    for row, encoding in zip(pairs.kept[pieces], whole, strict=True):
        assert len(encoding.ids) == 19
        first, second = encoding.ids[:9], encoding.ids[9:]
        assert row[1:7].tolist() == first[:6]
        assert row[8:15].tolist() == second[:7]


def test_all_texts_are_transfer_and_train_without_labels(pairs: Prepared):
    texts = {name: pairs.student_texts[name] for name in ("transfer", "train", "all")}
    tokens = [texts[name].pieces.tokens for name in ("transfer", "train")]
    np.testing.assert_array_equal(texts["all"].pieces.tokens, np.concatenate(tokens))
    assert all(example.labels is None for example in texts["all"].examples)
    assert set(pairs.counts) == {"train", "dev", "test", "transfer"}
