"""Packing against a naive first-fit; predictions belong to their words in any packing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import BUILDERS, wrap
from tests.data.strategies import CLASSES, hostile, sentences, tagged, texts
from tests.data.strategies import TAGGING as TAGS
from xdistil.data.decoding import ARGMAX
from xdistil.data.examples import Example, Task
from xdistil.data.label_sets import unpack_labels
from xdistil.data.packing import fill_batch, load_packed, pack, save_packed
from xdistil.data.subwords import Cutting, Subwords, first_examples, tokenize
from xdistil.data.tag_schemes import make_legal
from xdistil.data.word_alignment import label_subwords
from xdistil.errors import InputError
from xdistil.teacher.storage import gather_signal

TAGGING = Task("tagging", ("I-PER", "O", "B-PER"))
TOKENIZERS = {name: wrap(name) for name in BUILDERS}
lengths_of_segments = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def make_subwords(lengths):
    """Subwords of segments of these lengths; the values of every subword are different."""
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    count = int(start[-1])
    first = np.isin(np.arange(count), start[:-1])
    return Subwords(
        tokens=np.arange(count, dtype=np.int32) + 100,
        token_type=(np.arange(count) % 2).astype(np.int8),
        labels=np.where(first, np.arange(count) % 3, 0).astype(np.int32),
        label_mask=first,
        word=np.where(first, 0, -1).astype(np.int32),
        start=start,
        example=np.arange(len(lengths), dtype=np.int32),
    )


def pack_naively(lengths, row_length):
    """Segments of each row, each segment in the first row that has room."""
    rows = []
    for segment, length in enumerate(lengths):
        for row in rows:
            if sum(lengths[other] for other in row) + length <= row_length:
                row.append(segment)
                break
        else:
            rows.append([segment])
    return rows


def segments_of(subwords, rows):
    """The segments in each row, by their first subwords."""
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    starts = (rows.subword >= 0) & (rows.position == 0)
    return [owner[row[first]].tolist() for row, first in zip(rows.subword, starts, strict=True)]


@given(lengths_of_segments, st.integers(9, 24))
def test_each_segment_goes_into_the_first_row_with_room(lengths, row_length):
    subwords = make_subwords(lengths)
    rows = pack(subwords, row_length, seed=None)
    assert segments_of(subwords, rows) == pack_naively(lengths, row_length)


@given(lengths_of_segments, st.integers(9, 24), st.integers(0, 5) | st.none())
def test_a_row_has_whole_segments_end_to_end(lengths, row_length, seed):
    subwords = make_subwords(lengths)
    rows = pack(subwords, row_length, seed)
    placed = segments_of(subwords, rows)
    for row, owners in enumerate(placed):
        expected = [
            (subwords.start[owner] + i, number, i)
            for number, owner in enumerate(owners, 1)
            for i in range(lengths[owner])
        ]
        expected += [(-1, 0, 0)] * (row_length - len(expected))
        arrays = (rows.subword[row], rows.segment[row], rows.position[row])
        assert list(zip(*arrays, strict=True)) == expected
    assert sorted(owner for owners in placed for owner in owners) == list(range(len(lengths)))


def test_the_seed_alone_decides_the_order():
    subwords = make_subwords([3] * 50)
    rows = [pack(subwords, 8, seed).subword.tolist() for seed in (1, 1, 2, None)]
    assert rows[0] == rows[1]
    assert len({str(row) for row in rows}) == 3


def test_a_segment_longer_than_a_row_is_refused():
    with pytest.raises(InputError, match=r"data\.row_length 8 is less than a segment of 9"):
        pack(make_subwords([3, 9]), 8, None)


def test_a_batch_gathers_rows_and_an_index_of_minus_one_is_an_empty_row():
    subwords = make_subwords([3, 2, 4])
    rows = pack(subwords, 6, seed=None)
    batch = fill_batch(subwords, rows, np.array([1, -1, 0]), padding_id=7)
    assert batch.tokens.tolist() == [
        [105, 106, 107, 108, 7, 7],
        [7] * 6,
        [100, 101, 102, 103, 104, 7],
    ]
    assert batch.segment.tolist() == [[1, 1, 1, 1, 0, 0], [0] * 6, [1, 1, 1, 2, 2, 0]]
    assert batch.position.tolist() == [[0, 1, 2, 3, 0, 0], [0] * 6, [0, 1, 2, 0, 1, 0]]
    assert batch.token_type.tolist() == [[1, 0, 1, 0, 0, 0], [0] * 6, [0, 1, 0, 1, 0, 0]]
    assert batch.labels.tolist() == [[2, 0, 0, 0, 0, 0], [0] * 6, [0] * 6]
    assert batch.label_mask.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0] * 6,
        [1, 0, 0, 1, 0, 0],
    ]
    assert {values.dtype for values in batch[:5]} == {np.dtype(np.int32)}
    assert batch.label_mask.dtype == bool


def test_a_signal_follows_its_subwords_and_is_zero_at_padding(tmp_path):
    subwords = make_subwords([3, 2, 4])
    rows = pack(subwords, 6, seed=None)
    np.save(tmp_path / "values.npy", np.arange(1, 19, dtype=np.float16).reshape(9, 2))
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    gathered = gather_signal(values, rows, np.array([1, -1]))
    assert gathered.dtype == np.float16
    assert gathered[0].tolist() == [[11, 12], [13, 14], [15, 16], [17, 18], [0, 0], [0, 0]]
    assert not gathered[1].any()


short_sentences = st.lists(
    st.lists(st.sampled_from(["a", "new", "bxy", "\u0301", "θ"]), min_size=1, max_size=9),
    min_size=1,
    max_size=8,
)


def collect(subwords, rows, predicted, examples, task):
    """The labels of examples, from classes i32[R,T] or packed labels u8[R,T,W] in rows."""
    filled = rows.subword >= 0
    classes = np.zeros((len(subwords.tokens), *predicted.shape[2:]), predicted.dtype)
    classes[rows.subword[filled]] = predicted[filled]
    carried = classes[subwords.word >= 0]
    count = len(task.labels)
    logits = unpack_labels(carried, count) - 0.5 if task.multilabel else np.eye(count)[carried]
    return label_subwords(subwords, logits, examples, task, ARGMAX)


@given(found=short_sentences, seed=st.integers(0, 3), data=st.data())
def test_every_word_gets_its_own_prediction_back(wordpiece, found, seed, data):
    examples = [Example(tuple(words), None, "xx") for words in found]
    subwords = tokenize(examples, TAGGING, wordpiece, Cutting(6))
    rows = pack(subwords, 8, seed)
    # A legal tag for each word, laid where the word's first subword is; noise everywhere else.
    tags = [[data.draw(st.sampled_from(["O", "B-PER"])) for _ in words] for words in found]
    predicted = np.zeros(rows.subword.shape, np.int32)
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    for row, column in zip(*np.nonzero(rows.subword >= 0), strict=True):
        subword = rows.subword[row, column]
        if subwords.word[subword] >= 0:
            tag = tags[owner[subword]][subwords.word[subword]]
            predicted[row, column] = TAGGING.labels.index(tag)
    expected = [
        tuple("O" if word == "\u0301" else tag for word, tag in zip(words, its_tags, strict=True))
        for words, its_tags in zip(found, tags, strict=True)
    ]
    assert collect(subwords, rows, predicted, examples, TAGGING) == expected


def test_predicted_tags_are_made_legal_across_windows(wordpiece):
    examples = [Example(("a", "b", "c", "d"), None, "xx"), Example(("a",), None, "xx")]
    subwords = tokenize(examples, TAGGING, wordpiece, Cutting(4))
    rows = pack(subwords, 4, seed=3)
    inside = np.zeros(rows.subword.shape, np.int32)  # I-PER everywhere
    assert collect(subwords, rows, inside, examples, TAGGING) == [
        ("B-PER", "I-PER", "I-PER", "I-PER"),
        ("B-PER",),
    ]


def test_each_text_gets_the_class_of_its_first_subword(wordpiece):
    task = Task("classification", ("no", "yes"))
    examples = [Example(("a b c", "d"), None, "xx"), Example(("a", "b"), None, "xx")]
    subwords = tokenize(examples, task, wordpiece, Cutting(16))
    rows = pack(subwords, 16, seed=None)
    predicted = np.zeros((1, 16), np.int32)
    predicted[0, 7] = 1  # where the second pair begins: [CLS] a b c [SEP] d [SEP]
    predicted[0, 1:7] = 1
    labels = collect(subwords, rows, predicted, examples, task)
    assert labels == [("no",), ("yes",)]


def test_stored_rows_open_memory_mapped_and_equal(tmp_path):
    subwords = make_subwords([3, 2, 4])
    rows = pack(subwords, 6, seed=0)
    folder = tmp_path / "deep" / "packed"
    save_packed(folder, [make_subwords([1])], lambda each, where: pack(each, 6, None, where))
    rest = {
        name: getattr(subwords, name)[5:]
        for name in ("tokens", "token_type", "labels", "label_mask", "word")
    }
    last = Subwords(**rest, start=np.array([0, 4]), example=subwords.example[2:])
    parts = [first_examples(subwords, 2), last]
    save_packed(folder, parts, lambda each, where: pack(each, 6, 0, where))
    assert [path.name for path in folder.parent.iterdir()] == ["packed"]
    loaded_subwords, loaded_rows = load_packed(folder)
    for ours, theirs in ((subwords, loaded_subwords), (rows, loaded_rows)):
        for name, values in vars(ours).items():
            loaded = getattr(theirs, name)
            assert isinstance(loaded, np.memmap)
            assert loaded.dtype == values.dtype
            assert loaded.tolist() == values.tolist()
    batch = fill_batch(loaded_subwords, loaded_rows, np.array([0, -1]), 7)
    expected = fill_batch(subwords, rows, np.array([0, -1]), 7)
    assert [values.tolist() for values in batch] == [values.tolist() for values in expected]


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"\x93NUMPY")])
def test_a_damaged_folder_is_refused_with_the_file(tmp_path, damage):
    subwords = make_subwords([3])
    save_packed(tmp_path / "packed", [subwords], lambda each, where: pack(each, 6, None, where))
    damage(tmp_path / "packed" / "row_subword.npy")
    with pytest.raises(InputError, match=r"row_subword\.npy is missing or damaged"):
        load_packed(tmp_path / "packed")


def test_many_segments_are_packed_tightly():
    lengths = np.random.default_rng(0).integers(3, 40, 20_000)
    rows = pack(make_subwords(lengths), 64, seed=0)
    assert (rows.subword >= 0).mean() > 0.97


# Predictions of words of any characters


def predict(subwords, rows, task: Task) -> np.ndarray:
    """A fake model, i32[R,T]: it tags each subword by its id, a text by all of its subwords."""
    tokens = np.where(rows.subword >= 0, subwords.tokens[rows.subword], 0)
    if task.kind == "classification":
        segment = rows.segment + np.arange(len(rows.segment))[:, None] * (rows.segment.max() + 1)
        tokens = np.bincount(segment.ravel(), tokens.ravel()).astype(np.int64)[segment]
    return (tokens * 7 // 3 % len(task.labels)).astype(np.int32)


def predict_labels(inputs, tokenizer, task, seed, max_length=12, row_length=16):
    unlabelled = [Example(each, None, "und") for each in inputs]
    subwords = tokenize(unlabelled, task, tokenizer, Cutting(max_length))
    rows = pack(subwords, row_length, seed)
    predicted = predict(subwords, rows, task)
    return collect(subwords, rows, predicted, unlabelled, task)


def expect(inputs, tokenizer) -> tuple[str, ...]:
    """The predictions of `predict`, from the subwords of each word alone."""
    tags = []
    for word in inputs:
        ids = tokenizer.backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids
        tags.append(TAGS.labels[ids[0] * 7 // 3 % 5] if ids else "O")
    return make_legal(tags)


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(found=st.lists(sentences, min_size=1, max_size=6), seed=st.none() | st.integers(0, 9))
def test_a_prediction_belongs_to_its_word_with_any_neighbours(name, found, seed):
    tokenizer = TOKENIZERS[name]
    together = predict_labels(found, tokenizer, TAGS, seed)
    assert together == [expect(inputs, tokenizer) for inputs in found]
    assert together == [predict_labels([inputs], tokenizer, TAGS, None)[0] for inputs in found]


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(found=st.lists(texts, min_size=1, max_size=6), seed=st.none() | st.integers(0, 9))
def test_a_text_has_the_same_prediction_alone_and_among_others(name, found, seed):
    tokenizer = TOKENIZERS[name]
    for inputs in ([(text,) for text in found], [(text, text[::-1]) for text in found]):
        together = predict_labels(inputs, tokenizer, CLASSES, seed)
        assert [len(labels) for labels in together] == [1] * len(inputs)
        assert together == [predict_labels([each], tokenizer, CLASSES, None)[0] for each in inputs]


@pytest.mark.parametrize("name", BUILDERS)
@hostile
@given(examples=tagged.filter(bool), seed=st.none() | st.integers(0, 9))
def test_every_gold_word_that_has_a_subword_is_scored_exactly_once(name, examples, seed):
    tokenizer = TOKENIZERS[name]
    subwords = tokenize(examples, TAGS, tokenizer, Cutting(12))
    rows = pack(subwords, 16, seed)
    at = rows.subword[rows.subword >= 0]
    assert sorted(at) == list(range(len(subwords.tokens)))
    owner = np.repeat(subwords.example, np.diff(subwords.start))
    scored = [
        (int(owner[i]), int(subwords.word[i]), TAGS.labels[subwords.labels[i]])
        for i in at
        if subwords.label_mask[i]
    ]
    backend = tokenizer.backend
    assert sorted(scored) == [
        (i, j, label)
        for i, each in enumerate(examples)
        for j, (word, label) in enumerate(zip(each.inputs, each.labels, strict=True))
        if backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids
    ]


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("character", ["a", "文", "\u0301", "\x00"])
def test_a_word_of_a_hundred_thousand_characters_shifts_nothing(name, character):
    tokenizer = TOKENIZERS[name]
    long = character * 100_000
    inputs = ("the", long, "ab", "the")
    assert predict_labels([inputs], tokenizer, TAGS, None)[0] == expect(inputs, tokenizer)


def test_sets_of_labels_go_through_files_rows_and_batches(tmp_path):
    """Of nine labels, which take two bytes."""
    task = Task("classification", tuple("abcdefghi"), multilabel=True)
    sets = ("ci", "", "a", "bi", "abcdefghi", "", "h")
    texts = [Example((f"text {i}",), tuple(each), "en") for i, each in enumerate(sets)]
    texts.append(Example(("no gold",), None, "en"))
    tokenizer = next(iter(TOKENIZERS.values()))
    parts = [tokenize(part, task, tokenizer, Cutting(8)) for part in (texts[:3], texts[3:])]
    parts[1] = replace(parts[1], example=parts[1].example + 3)
    save_packed(tmp_path / "packed", iter(parts), lambda subwords, _: pack(subwords, 16, 0))
    subwords, rows = load_packed(tmp_path / "packed")
    batch = fill_batch(subwords, rows, np.array([*range(len(rows.subword)), -1]), 0)
    assert batch.labels.shape == (*batch.tokens.shape, 2)
    assert not batch.labels[~batch.label_mask].any()
    labels = collect(subwords, rows, batch.labels[:-1], texts, task)
    assert labels == [*map(tuple, sets), ()]
