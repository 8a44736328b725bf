"""What is made ready before the first step: the student's pieces beside the teacher's."""

import random

import numpy as np
import pytest

from tests.results.folders import TAGGING, draw_params, make_folder, make_model, train_tokenizer
from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.errors import InputError
from xdistil.models.folders import save_model
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


@pytest.mark.parametrize("short", ["teacher", "student"])
def test_a_model_with_fewer_rows_than_its_tokenizer_has_pieces_is_refused(tmp_path, short: str):
    # Beyond the table a look-up answers with what is no number, and nothing says so.
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    for name in ("teacher", "student"):
        make_folder(tmp_path / name, "bert", TAGGING, tokenizer)
    model = make_model("bert", TAGGING, tokenizer.vocabulary_size - 1)
    save_model(tmp_path / short, model, draw_params(model), TAGGING, tokenizer, {})
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("Anna went to Berlin\tB-PER O O B-LOC\n")
    experiment = Experiment(
        teacher=Teacher(model=str(tmp_path / "teacher")),
        student=Student(kind="transformer", checkpoint=str(tmp_path / "student")),
        plan=(Stage(name="logits", loss="logits", data="all"),),
    )
    experiment.data.folder, experiment.data.row_length = str(tmp_path), 16
    with pytest.raises(InputError, match=f"embeddings only .* rows: .* {short}\\."):
        prepare(experiment, tmp_path / "cache")
