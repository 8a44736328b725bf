"""Values of words on the subwords of any tokenizer, in any windows and rows."""

import hashlib
import random

import numpy as np
import pytest

from tests.data.conftest import wrap
from xdistil.data.examples import Example, Task
from xdistil.data.packing import pack
from xdistil.data.subwords import Cutting, Subwords, tokenize
from xdistil.data.word_alignment import align_words, name_classes
from xdistil.teacher.storage import MASK, gather_signal, place_signals

TAGGING, CLASSES = Task("tagging", ("O", "B-X")), Task("classification", ("no", "yes"))
MARK = "\u0301"  # a lone accent: no subword where accents are stripped


def tell(text: str) -> list[int]:
    """Two numbers from a text, different for every text."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[0] * 256 + digest[1], digest[2] * 256 + digest[3]]


@pytest.fixture(scope="module")
def sentences() -> list[Example]:
    """Of 1 to 40 words, lone accents among them; longer than a window, many of them."""
    draw = random.Random(0)
    words = ["Berlin", "the", "teacher", "reads", "xylophone", MARK, "Ångström", "ab", "中文"]
    return [
        Example(tuple(draw.choice(words) for _ in range(draw.randint(1, 40))), None, "und")
        for _ in range(60)
    ]


def read_by_word(subwords: Subwords, examples: list[Example], task: Task) -> tuple[np.ndarray, ...]:
    """What a teacher with these subwords would write: values i64[W,2], and their places i64[W]."""
    words = align_words(subwords, examples, task)
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    values = np.full((words.count, 2), -1)
    for subword in np.flatnonzero(subwords.label_mask):
        inputs = examples[owner[subword]].inputs
        text = inputs[subwords.word[subword]] if task.kind == "tagging" else "|".join(inputs)
        values[words.number[subword]] = tell(text)
    return values, np.where(words.spoken, np.arange(words.count), -1)


def test_every_word_has_its_value_with_any_subwords(sentences, any_tokenizer):
    """The teacher reads windows of 20 WordPiece subwords, the student 9 subwords of any kind."""
    values, place = read_by_word(
        tokenize(sentences, TAGGING, wrap("wordpiece"), Cutting(20)), sentences, TAGGING
    )
    subwords = tokenize(sentences, TAGGING, any_tokenizer, Cutting(9))
    signals = place_signals({"logits": values}, place, align_words(subwords, sentences, TAGGING))
    rows = pack(subwords, 16, seed=3)
    indices = np.array([*range(len(rows.subword)), -1])
    found = gather_signal(signals["logits"], rows, indices)
    present = gather_signal(signals[MASK], rows, indices)
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    seen = set()
    for row, where in np.ndindex(rows.subword.shape):
        subword = rows.subword[row, where]
        number = int(subwords.word[subword]) if subword >= 0 else -1
        word = sentences[owner[subword]].inputs[number] if number >= 0 else MARK
        assert present[row, where] == (word != MARK)
        assert found[row, where].tolist() == (tell(word) if word != MARK else [0, 0])
        if word != MARK:
            seen.add((owner[subword], number))
    assert not present[-1].any()
    told = {
        (e, w) for e, s in enumerate(sentences) for w, word in enumerate(s.inputs) if word != MARK
    }
    assert seen == told


def test_every_text_has_its_value_with_any_subwords(any_tokenizer):
    texts = [Example((f"the text {i}", f"reads {i}"), None, "und") for i in range(12)]
    values, place = read_by_word(
        tokenize(texts, CLASSES, wrap("wordpiece"), Cutting(12)), texts, CLASSES
    )
    if any_tokenizer.cls is None:
        texts_ = [Example(("|".join(each.inputs),), None, "und") for each in texts]
    else:
        texts_ = texts
    subwords = tokenize(texts_, CLASSES, any_tokenizer, Cutting(30))
    signals = place_signals({"logits": values}, place, align_words(subwords, texts_, CLASSES))
    rows = pack(subwords, 40, seed=1)
    found = gather_signal(signals["logits"], rows, np.arange(len(rows.subword)))
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    first = (rows.subword >= 0) & (rows.position == 0)
    for row, where in np.argwhere(first):
        text = "|".join(texts[owner[rows.subword[row, where]]].inputs)
        assert found[row, where].tolist() == tell(text)
    assert first.sum() == len(texts)
    assert not found[~first].any()


def test_entities_continue_over_words_without_a_class_where_they_may():
    task = Task("tagging", ("O", "B-X", "I-X", "B-Y", "I-Y"))
    classes = np.array([1, -1, -1, 2, -1, 0, -1, 2, -1, 4, -1, 1])
    examples = [Example(("w",) * 5, None, "und"), Example(("w",) * 7, None, "und")]
    held = name_classes(classes, examples, task, joins=True)
    assert held == [
        ("B-X", "I-X", "I-X", "I-X", "O"),
        ("O", "O", "B-X", "O", "B-Y", "O", "B-X"),
    ]
    apart = name_classes(classes, examples, task)
    assert apart == [("B-X", "O", "O", "B-X", "O"), held[1]]
