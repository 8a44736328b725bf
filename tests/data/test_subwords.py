"""Subwords against the tokenizer's output for whole sentences, and greedy windows."""

import json
import logging
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from xdistil.data.examples import Example, Task
from xdistil.data.segmentation import SPACES, UNITS, cut_units, find_sentence_ends
from xdistil.data.subword_counts import LanguageCount, count_subwords
from xdistil.data.subwords import Cutting, subwords_fingerprint, take_segments, tokenize
from xdistil.data.tokenizer import load_tokenizer, read_template, save_tokenizer
from xdistil.errors import InputError

TAGGING = Task("tagging", ("B-PER", "I-PER", "O"))
CLASSES = Task("classification", ("neg", "neutral", "pos"))

# Letters the tokenizers know, marks that one of them drops, scripts that none knows.
characters = st.one_of(
    st.sampled_from("abertlinθé文.-'\u0301\u0e38\u200d😀"),
    st.characters(exclude_characters=" \t\n\r", exclude_categories=["Cs"]),
)
words = st.text(characters, min_size=1, max_size=6)
sentences = st.lists(st.lists(words, min_size=1, max_size=7).map(tuple), min_size=1, max_size=5)
texts = st.text(st.one_of(characters, st.just(" ")), min_size=1, max_size=20)


def tag_words(found):
    return [
        Example(inputs, tuple(TAGGING.labels[i % 3] for i in range(len(inputs))), "xx")
        for inputs in found
    ]


def segments_of(subwords):
    """(example, tokens, token types, words, labels) of each segment, as lists."""
    return [
        (
            int(owner),
            *(v[a:b].tolist() for v in (subwords.tokens, subwords.token_type, subwords.word)),
            subwords.labels[a:b].tolist(),
        )
        for owner, a, b in zip(
            subwords.example, subwords.start[:-1], subwords.start[1:], strict=True
        )
    ]


def cut_greedily(inputs, tokenizer, max_length):
    """Windows of one sentence, from one call of the tokenizer a word: [(tokens, words)]."""
    around = tokenizer.backend.encode(["x"], is_pretokenized=True)
    special = [i for i, own in zip(around.ids, around.special_tokens_mask, strict=True) if own]
    room = max_length - len(special)
    windows = [([], [])]
    for index, word in enumerate(inputs):
        encoding = tokenizer.backend.encode([word], is_pretokenized=True, add_special_tokens=False)
        ids = encoding.ids[:room]
        if len(windows[-1][0]) + len(ids) > room:
            windows.append(([], []))
        windows[-1][0].extend(ids)
        windows[-1][1].extend([index, *[-1] * (len(ids) - 1)] if ids else [])
    if not special:
        fallback = [tokenizer.unk]
        return [(ids or fallback, own or [-1]) for ids, own in windows]
    return [([special[0], *ids, special[1]], [-1, *own, -1]) for ids, own in windows]


@given(found=sentences)
def test_a_sentence_has_the_subwords_of_the_tokenizer(any_tokenizer, found):
    subwords = tokenize(tag_words(found), TAGGING, any_tokenizer, Cutting(512))
    for inputs, (_, tokens, types, own, _) in zip(found, segments_of(subwords), strict=True):
        encoding = any_tokenizer.backend.encode(inputs, is_pretokenized=True)
        assert tokens == (encoding.ids or [any_tokenizer.unk])
        assert types == [0] * len(tokens)
        firsts = [
            at
            for at, word in enumerate(encoding.word_ids)
            if word is not None and word not in encoding.word_ids[:at]
        ]
        assert [at for at, word in enumerate(own) if word >= 0] == firsts
        assert [own[at] for at in firsts] == [encoding.word_ids[at] for at in firsts]


@given(found=sentences, max_length=st.integers(3, 12))
def test_windows_have_whole_words_and_as_many_as_fit(any_tokenizer, found, max_length):
    segments = segments_of(tokenize(tag_words(found), TAGGING, any_tokenizer, Cutting(max_length)))
    expected = [
        (example, *window)
        for example, inputs in enumerate(found)
        for window in cut_greedily(inputs, any_tokenizer, max_length)
    ]
    assert [(example, tokens, own) for example, tokens, _, own, _ in segments] == expected


@given(found=sentences, max_length=st.integers(3, 12))
def test_every_word_with_a_subword_is_labelled_once_with_its_own_tag(
    any_tokenizer, found, max_length
):
    examples = tag_words(found)
    subwords = tokenize(examples, TAGGING, any_tokenizer, Cutting(max_length))
    seen = Counter()
    for example, _, _, own, labels in segments_of(subwords):
        for word, label in zip(own, labels, strict=True):
            if word >= 0:
                assert TAGGING.labels[label] == examples[example].labels[word]
                seen[example, word] += 1
            else:
                assert label == 0
    encode = any_tokenizer.backend.encode
    spoken = {
        (i, j): 1
        for i, inputs in enumerate(found)
        for j, word in enumerate(inputs)
        if encode([word], is_pretokenized=True, add_special_tokens=False).ids
    }
    assert seen == spoken
    assert subwords.label_mask.tolist() == (subwords.word >= 0).tolist()


def test_a_word_without_a_subword_shifts_nothing(wordpiece):
    example = Example(("new", "\u0301", "york"), ("B-PER", "I-PER", "O"), "xx")
    subwords = tokenize([example], TAGGING, wordpiece, Cutting(8))
    assert subwords.word.tolist() == [-1, 0, 2, -1]
    assert subwords.labels.tolist() == [0, 0, 2, 0]


def test_a_word_longer_than_a_window_keeps_its_first_subwords(wordpiece):
    subwords = tokenize(tag_words([("a", "bxyz", "c")]), TAGGING, wordpiece, Cutting(4))
    tokens = [wordpiece.backend.id_to_token(i) for i in subwords.tokens]
    assert " ".join(tokens) == "[CLS] a [SEP] [CLS] b ##x [SEP] [CLS] c [SEP]"
    assert subwords.word.tolist() == [-1, 0, -1, -1, 1, -1, -1, -1, 2, -1]
    assert subwords.start.tolist() == [0, 3, 7, 10]
    assert subwords.example.tolist() == [0, 0, 0]


def test_every_unit_of_a_word_has_a_label_and_the_word_that_of_its_first(wordpiece):
    inputs = ("berlin-berlin,", "(", "ber.ber", "\u200b", "x")
    example = Example(inputs, ("B-PER", "O", "I-PER", "O", "B-PER"), "xx")
    whole = tokenize([example], TAGGING, wordpiece, Cutting(64))
    subwords = tokenize([example], TAGGING, wordpiece, Cutting(64, UNITS))
    np.testing.assert_array_equal(subwords.tokens, whole.tokens)
    np.testing.assert_array_equal(subwords.word, whole.word)
    units = [unit for word in inputs for unit in cut_units(word)]
    apart = tokenize([Example(tuple(units), None, "xx")], TAGGING, wordpiece, Cutting(64))
    np.testing.assert_array_equal(subwords.label_mask, apart.label_mask)
    tags = [TAGGING.labels[label] for label in subwords.labels[subwords.label_mask]]
    expected = "B-PER I-PER I-PER I-PER O I-PER I-PER I-PER B-PER"
    assert list(zip(units, tags, strict=True)) == list(zip(units, expected.split(), strict=True))
    unlabelled = tokenize([replace(example, labels=None)], TAGGING, wordpiece, Cutting(64, UNITS))
    np.testing.assert_array_equal(unlabelled.label_mask, apart.label_mask)
    assert not unlabelled.labels.any()


def test_units_have_no_label_that_the_task_does_not_have(wordpiece):
    short = Task("tagging", ("B-LOC", "B-PER", "I-PER", "O"))
    example = Example(("ber.ber", "ber.ber"), ("B-LOC", "O"), "xx")
    subwords = tokenize([example], short, wordpiece, Cutting(64, UNITS))
    assert subwords.labels[subwords.label_mask].tolist() == [0, 3, 3, 3]
    assert subwords.word[subwords.label_mask].tolist() == [0, 1, -1, -1]


@given(found=sentences, overlap=st.integers(1, 5), segmentation=st.sampled_from([UNITS, SPACES]))
def test_words_are_labelled_where_they_are_furthest_from_an_edge(
    any_tokenizer, found, overlap, segmentation
):
    max_length = 12
    examples = tag_words([inputs * 5 for inputs in found])
    whole = tokenize(examples, TAGGING, any_tokenizer, Cutting(4096, segmentation))
    subwords = tokenize(
        examples, TAGGING, any_tokenizer, Cutting(max_length, segmentation, overlap)
    )
    around = [len(part) for part in read_template(any_tokenizer, pair=False).special]
    room = max_length - sum(around)

    def list_labels(cut):
        owner = np.repeat(cut.example, np.diff(cut.start))
        places = np.flatnonzero(cut.word >= 0)
        return sorted(
            (int(owner[at]), int(cut.word[at]), int(cut.labels[at]), int(cut.tokens[at]))
            for at in places
        )

    assert list_labels(subwords) == list_labels(whole)
    assert np.diff(subwords.start).max() <= max_length
    for index, example in enumerate(examples):
        segments = np.flatnonzero(subwords.example == index)
        if len(segments) == 1:
            continue
        words, distance = cut_by_hand(example.inputs, any_tokenizer, segmentation, room, overlap)
        chosen = [
            [word for word in subwords.word[subwords.start[s] : subwords.start[s + 1]] if word >= 0]
            for s in segments
        ]
        assert len(chosen) == len(words)
        for window, (here, inside) in enumerate(zip(chosen, words, strict=True)):
            assert set(here) <= set(inside)
            for word in here:
                others = [distance[other].get(word, -1) for other in range(len(words))]
                assert distance[window][word] == max(others)


def cut_by_hand(inputs, tokenizer, segmentation, room, overlap):
    """The words of each window, and by word how far its first subword is from an edge."""
    cut = [cut_units(word) if segmentation == UNITS else (word,) for word in inputs]
    ids = [
        tokenizer.backend.encode(
            units or (word,), is_pretokenized=True, add_special_tokens=False
        ).ids[:room]
        for word, units in zip(inputs, cut, strict=True)
    ]
    sizes = [len(each) for each in ids]
    windows, distances = [], []
    borders = [0, *find_sentence_ends(inputs), len(inputs)]
    for first, last in pairwise(borders):
        at = first
        while True:
            end = at
            while end < last and sum(sizes[at : end + 1]) <= room:
                end += 1
            before = np.cumsum([0, *sizes[at:end]])
            distance = {}
            for word in range(at, end):
                left = float("inf") if at == first else before[word - at]
                right = float("inf") if end == last else before[-1] - 1 - before[word - at]
                distance[word] = min(left, right)
            windows.append(range(at, end))
            distances.append(distance)
            if end == last:
                break
            start = end
            while start > at + 1 and sum(sizes[start - 1 : end]) <= overlap:
                if sum(sizes[start - 1 : end + 1]) > room:
                    break
                start -= 1
            at = start
    return windows, distances


def test_unlabelled_sentences_have_a_mask_and_zero_labels(wordpiece):
    subwords = tokenize([Example(("new", "york"), None, "xx")], TAGGING, wordpiece, Cutting(8))
    assert subwords.label_mask.tolist() == [False, True, True, False]
    assert subwords.labels.tolist() == [0, 0, 0, 0]


def truncating(tokenizer, max_length):
    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.enable_truncation(max_length, strategy="longest_first")
    return backend


@given(found=st.lists(texts, min_size=1, max_size=4), max_length=st.integers(5, 14))
def test_a_text_is_truncated_as_the_tokenizer_does(any_tokenizer, found, max_length):
    examples = [Example((text,), ("pos",), "xx") for text in found]
    subwords = tokenize(examples, CLASSES, any_tokenizer, Cutting(max_length))
    backend = truncating(any_tokenizer, max_length)
    for text, (_, tokens, types, own, labels) in zip(found, segments_of(subwords), strict=True):
        encoding = backend.encode(text)
        assert tokens == (encoding.ids or [any_tokenizer.unk])
        assert types == (encoding.type_ids or [0])
        assert own == [0] + [-1] * (len(tokens) - 1)
        assert labels == [2] + [0] * (len(tokens) - 1)


@given(found=st.lists(st.tuples(texts, texts), min_size=1, max_size=4), room=st.integers(3, 15))
def test_pairs_lose_the_end_of_the_longer_text_first(any_tokenizer, found, room):
    count = any_tokenizer.backend.num_special_tokens_to_add(True)
    examples = [Example(pair, None, "xx") for pair in found]
    subwords = tokenize(examples, CLASSES, any_tokenizer, Cutting(room + count))
    backend = truncating(any_tokenizer, room + count)
    for pair, (_, tokens, types, _, _) in zip(found, segments_of(subwords), strict=True):
        encoding = backend.encode(*pair)
        assert tokens == (encoding.ids or [any_tokenizer.unk])
        if count:
            assert types == encoding.type_ids


def test_the_number_of_truncated_texts_is_logged(wordpiece, caplog):
    caplog.set_level(logging.INFO, "xdistil")
    examples = [Example((text,), None, "xx") for text in ("a b c d", "a b", "a b c d e")]
    tokenize(examples, CLASSES, wordpiece, Cutting(5))
    assert "2 of 3 texts are longer than 5 subwords" in caplog.text
    caplog.clear()
    tokenize(examples, CLASSES, wordpiece, Cutting(7))
    assert not caplog.records


@pytest.mark.parametrize(("task", "inputs", "least"), [(TAGGING, 1, 3), (CLASSES, 2, 5)])
def test_a_length_without_room_is_refused(wordpiece, task, inputs, least):
    examples = [Example(("a",) * inputs, None, "xx")]
    assert len(tokenize(examples, task, wordpiece, Cutting(least)).tokens) == least
    with pytest.raises(InputError, match=f"data.max_length {least - 1} leaves no room"):
        tokenize(examples, task, wordpiece, Cutting(least - 1))


def test_a_label_outside_the_task_is_refused(wordpiece):
    with pytest.raises(InputError, match="'B-LOC' is not among"):
        tokenize([Example(("a",), ("B-LOC",), "xx")], TAGGING, wordpiece, Cutting(8))


def test_words_and_unknown_words_are_counted_by_language(wordpiece):
    tagged = [
        Example(("new", "θ", "\u0301"), None, "b"),
        Example(("aθ", "文", "a", "b", "c", "d"), None, "a"),
        Example(("θ", "berlin"), None, "b"),
    ]
    subwords = tokenize(tagged, TAGGING, wordpiece, Cutting(5))
    counts = count_subwords(tagged, TAGGING, subwords, wordpiece)
    assert counts == {
        "a": LanguageCount(1, 6, 10, pytest.approx(1 / 6)),  # two windows
        "b": LanguageCount(2, 5, 8, pytest.approx(2 / 5)),
    }
    assert list(counts) == ["a", "b"]
    # The tokenizer takes 文 for a word of its own, and so it does punctuation.
    pairs = [Example(("new 文θ!", "θ"), None, "a"), Example(("a", "θθ a"), None, "a")]
    subwords = tokenize(pairs, CLASSES, wordpiece, Cutting(32))
    assert count_subwords(pairs, CLASSES, subwords, wordpiece) == {
        "a": LanguageCount(2, 8, 14, pytest.approx(3 / 8))
    }


def test_a_tokenizer_without_unknown_subword_knows_every_word(any_tokenizer):
    examples = [Example(("😀", "θ"), None, "a")]
    for task in (TAGGING, CLASSES):
        subwords = tokenize(examples, task, any_tokenizer, Cutting(32))
        (count,) = count_subwords(examples, task, subwords, any_tokenizer).values()
        assert (count.unknown > 0) == (any_tokenizer.unk in subwords.tokens)


def test_the_fingerprint_changes_with_any_subword(wordpiece):
    def fingerprint(word, tag):
        example = Example(("new", word), ("O", tag), "xx")
        return subwords_fingerprint(tokenize([example], TAGGING, wordpiece, Cutting(8)))

    prints = [fingerprint("a", "O"), fingerprint("b", "O"), fingerprint("a", "B-PER")]
    assert len(set(prints)) == 3
    assert prints[0] == fingerprint("a", "O")
    assert len(prints[0]) == 64


def test_a_saved_tokenizer_opens_and_neither_truncates_nor_pads(any_tokenizer, tmp_path):
    text = "berlin reads what the teacher reads in the town"
    expected = any_tokenizer.backend.encode(text).ids
    any_tokenizer.backend.enable_truncation(4)
    any_tokenizer.backend.enable_padding(length=9)
    save_tokenizer(any_tokenizer, tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.backend.encode(text).ids == expected
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == expected
    names = ("cls", "sep", "pad", "unk", "vocabulary_size")
    assert [getattr(loaded, n) for n in names] == [getattr(any_tokenizer, n) for n in names]
    assert loaded.source == str(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_ids_lie_below_the_vocabulary_size(wordpiece):
    assert wordpiece.vocabulary_size == max(wordpiece.backend.get_vocab().values()) + 1
    assert (wordpiece.pad, wordpiece.unk, wordpiece.cls, wordpiece.sep) == (0, 1, 2, 3)


def test_a_truncating_and_padding_tokenizer_is_cleared_at_loading(wordpiece, tmp_path):
    save_tokenizer(wordpiece, tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    backend = Backend.from_str(json.dumps(saved))
    backend.enable_truncation(3)
    backend.enable_padding(length=7)
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(str(tmp_path))
    assert len(loaded.backend.encode("a b c d").ids) == 6
    assert len(loaded.backend.encode("a").ids) == 3


def test_a_folder_without_a_valid_tokenizer_is_refused(wordpiece, tmp_path):
    with pytest.raises(InputError, match="has no tokenizer that can be used"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(InputError, match="has no tokenizer that can be used"):
        load_tokenizer(str(tmp_path / "nowhere"))
    save_tokenizer(wordpiece, tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_arrays_have_the_documented_types(wordpiece):
    for task, labels in ((TAGGING, ("O",)), (CLASSES, ("neg",))):
        subwords = tokenize([Example(("a",), labels, "xx")], task, wordpiece, Cutting(8))
        types = {name: values.dtype for name, values in vars(subwords).items()}
        assert types == {
            "tokens": np.int32,
            "token_type": np.int8,
            "labels": np.int32,
            "label_mask": bool,
            "word": np.int32,
            "start": np.int64,
            "example": np.int32,
        }


def test_segments_are_taken_in_the_given_order(wordpiece):
    texts = [["a", "lake"], ["the", "old", "stone"], ["a"]]
    examples = [Example(tuple(text), None, "en") for text in texts]
    subwords = tokenize(examples, TAGGING, wordpiece, Cutting(16))
    taken = take_segments(subwords, np.array([2, 1]))
    parts = [slice(*subwords.start[i : i + 2]) for i in (2, 1)]
    for name in ("tokens", "token_type", "labels", "label_mask", "word"):
        values = getattr(subwords, name)
        np.testing.assert_array_equal(
            getattr(taken, name), np.concatenate([values[part] for part in parts])
        )
    assert taken.example.tolist() == [2, 1]
    assert np.diff(taken.start).tolist() == [part.stop - part.start for part in parts]
    assert len(take_segments(subwords, np.zeros(0, np.int64)).tokens) == 0
