"""Task folders without labelled training sentences, with the task of a teacher."""

from pathlib import Path

import pytest

from xdistil.config import Data
from xdistil.data.examples import Example, Task
from xdistil.data.unlabelled import lacks_labels, read_unlabelled
from xdistil.errors import InputError

CLASSES = Task("classification", ("neg", "pos"))


def write(folder: Path, **files: str) -> Data:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return Data(folder=str(folder), dev_fraction=0.5)


def test_texts_are_divided_and_gold_files_are_read_for_their_scores(tmp_path):
    data = write(tmp_path, transfer_txt="a\nb\nc\nd\n", test_tsv="e\t1\n", labels_tsv="pos\nneg\n")
    corpus = read_unlabelled(data, CLASSES, seed=0)
    assert not corpus.gold
    assert (corpus.task, corpus.train, corpus.gold_dev) == (CLASSES, [], None)
    assert (len(corpus.dev), len(corpus.transfer)) == (2, 2)
    texts = sorted(each.inputs[0] for each in (*corpus.dev, *corpus.transfer))
    assert texts == ["a", "b", "c", "d"]
    # labels.tsv numbers the classes of the file, the teacher those of its predictions.
    assert corpus.test == [Example(("e",), ("neg",), "und")]


def test_gold_tags_may_be_any_that_legal_predictions_have(tmp_path):
    data = write(tmp_path, transfer_txt="a\nb\n", dev_tsv="c d\tB-PER I-PER\n")
    corpus = read_unlabelled(data, Task("tagging", ("I-PER", "O")), seed=0)
    assert corpus.gold_dev == [Example(("c", "d"), ("B-PER", "I-PER"), "und")]


def test_gold_labels_that_the_teacher_does_not_have_are_refused(tmp_path):
    data = write(tmp_path, transfer_txt="a\nb\n", dev_tsv="c\todd\n")
    with pytest.raises(InputError, match=r"dev\.tsv:1: label 'odd' is not among"):
        read_unlabelled(data, CLASSES, seed=0)
    (tmp_path / "labels.tsv").write_text("neg\nodd\n")
    with pytest.raises(InputError, match=r"labels\.tsv names 'odd', .* classes are 'neg', 'pos'"):
        read_unlabelled(data, CLASSES, seed=0)


def test_a_folder_lacks_labels_where_it_has_no_train_file(tmp_path):
    data = write(tmp_path, transfer_txt="a\n")
    assert lacks_labels(data)
    assert lacks_labels(Data())
    assert not lacks_labels(Data(generate=100))
    write(tmp_path, train_tsv="a\tpos\n")
    assert not lacks_labels(data)
