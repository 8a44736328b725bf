"""Trimmed vocabularies of all three kinds against the whole ones."""

import json
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import AutoTokenizer

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from tests.models.samples import SPECIAL, make_wordpiece
from xdistil.data.examples import Example, Task
from xdistil.data.tokenizer import Tokenizer, load_tokenizer, make_tokenizer, save_tokenizer
from xdistil.data.trim_tokenizer import (
    choose_subwords,
    count_by_language,
    count_ids,
    trim_tokenizer,
)
from xdistil.errors import InputError

UNKNOWN = {"unk_token": "[UNK]", "pad_token": "[PAD]"}


def count(tokenizer: Tokenizer, *texts: str) -> np.ndarray:
    """How often each id occurs in texts."""
    examples = [Example((text,), None, "und") for text in texts]
    return count_ids(examples, Task("classification", ()), tokenizer)


def keep(tokenizer: Tokenizer, *texts: str, **options: int) -> tuple[np.ndarray, Tokenizer]:
    """The ids that these texts keep, and the tokenizer that is left."""
    kept = choose_subwords(tokenizer, count(tokenizer, *texts), **options)
    return kept, trim_tokenizer(tokenizer, kept)


def list_subwords(tokenizer: Tokenizer) -> set[str]:
    return set(tokenizer.backend.get_vocab())


def make_unigram_of(subwords: dict[str, float]) -> Tokenizer:
    """A Unigram of these subwords that takes a text as it is."""
    backend = Backend(models.Unigram([("[UNK]", 0.0), ("[PAD]", 0.0), *subwords.items()], unk_id=0))
    backend.add_special_tokens(["[UNK]", "[PAD]"])
    return make_tokenizer(backend, UNKNOWN)


def make_bpe_of(merges: list[tuple[str, str]], characters: str = "abcd", **more) -> Tokenizer:
    """A BPE of these merges that takes a text as it is."""
    subwords = ["[PAD]", "[UNK]", *characters, *more.pop("others", ())]
    subwords = list(dict.fromkeys([*subwords, *(first + second for first, second in merges)]))
    vocabulary = {subword: id for id, subword in enumerate(subwords)}
    backend = Backend(models.BPE(vocabulary, merges, unk_token="[UNK]", **more))
    backend.add_special_tokens(["[UNK]", "[PAD]"])
    return make_tokenizer(backend, UNKNOWN)


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    """Words of four letters; special subwords in the middle."""
    words = ["ab", "abc", "##bc", "##cd", "##abcd", "dab", "bad", "##da", "cab", "##ba"]
    letters = "abcd"
    return make_wordpiece([*words, *letters, *SPECIAL, *("##" + letter for letter in letters)])


@pytest.fixture(scope="module")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """RoBERTa's: 256 symbols and 59 merges."""
    folder = tmp_path_factory.mktemp("bpe")
    make_byte_bpe("roberta").save_pretrained(folder)
    return load_tokenizer(str(folder))


TEXTS = st.lists(st.text("abcde ", min_size=1, max_size=25), min_size=1, max_size=4)


def assert_one_to_one(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Texts whose subwords are kept have the same subwords, with new ids."""
    kept, small = keep(tokenizer, *texts)
    assert small.vocabulary_size == len(kept) == len(set(kept.tolist()))
    for text in texts:
        ids = small.backend.encode(text).ids
        assert kept[ids].tolist() == tokenizer.backend.encode(text).ids


@given(texts=TEXTS)
def test_wordpiece_maps_one_to_one(wordpiece: Tokenizer, texts: list[str]) -> None:
    assert_one_to_one(wordpiece, texts)


@given(
    # Few scores, so that many ways through a text are equally good; some characters are no
    # subwords.
    subwords=st.dictionaries(
        st.text("abcd", min_size=1, max_size=4), st.sampled_from([-1.0, -2, -3, -9]), min_size=1
    ),
    texts=TEXTS,
)
def test_unigram_maps_one_to_one(subwords: dict[str, float], texts: list[str]) -> None:
    assert_one_to_one(make_unigram_of(subwords), texts)


@given(
    joins=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40),
    texts=TEXTS,
)
def test_bpe_maps_one_to_one(joins: list[tuple[int, int]], texts: list[str]) -> None:
    subwords, merges = list("abcd"), []
    for first, second in joins:  # several may make the same subword, and some be of no use
        pair = (subwords[first % len(subwords)], subwords[second % len(subwords)])
        if len("".join(pair)) <= 8 and pair not in merges:
            merges.append(pair)
            subwords.append("".join(pair))
    assert_one_to_one(make_bpe_of(merges), texts)


@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_bytes_map_one_to_one(byte_bpe: Tokenizer, texts: list[str]) -> None:
    assert_one_to_one(byte_bpe, [f"{text} the large teacher" for text in texts])


def test_whole_texts_are_counted_however_long(wordpiece: Tokenizer) -> None:
    examples = [Example(("dab " * 3000 + "cab",), None, "und"), Example(("cab",), None, "und")]
    counts = count_ids(examples, Task("classification", ("a",)), wordpiece)
    vocabulary = wordpiece.backend.get_vocab()
    expected = {"dab": 3000, "cab": 2, "[CLS]": 2, "[SEP]": 2}
    assert {subword: counts[vocabulary[subword]] for subword in expected} == expected
    assert (counts.sum(), len(counts)) == (3006, wordpiece.vocabulary_size)
    assert count_ids([], Task("tagging", ("O",)), wordpiece).tolist() == [0] * len(counts)


def test_wordpiece_keeps_what_occurs_specials_and_characters(wordpiece: Tokenizer) -> None:
    # "abc" is one subword, "dabcd" is "dab" and "##cd", "zzz" is unknown.
    kept, small = keep(wordpiece, "abc", "dabcd", "zzz")
    singles = {*"abcd", *("##" + letter for letter in "abcd")}
    assert list_subwords(small) == {"abc", "dab", "##cd", *SPECIAL, *singles}
    assert kept.dtype == np.int32
    assert small.backend.encode("cabba").tokens == [
        "[CLS]", "c", "##a", "##b", "##b", "##a", "[SEP]",
    ]  # fmt: skip


def test_unigram_keeps_what_occurs_specials_and_characters() -> None:
    scores = {"▁": -1.0, "the": -2.0, "eat": -2.5, **dict.fromkeys("theax", -5.0)}
    _, small = keep(make_unigram_of(scores), "the")
    assert list_subwords(small) == {"[UNK]", "[PAD]", "▁", "the", *"theax"}


def test_unigram_keeps_a_lowest_score() -> None:
    # By hand: "u" is unknown, at 10 below the lowest score. With "qq" at -50 the best way through
    # "xuyz" is xuy z (-38), for x u yz costs -62; with -20 as the lowest it would cost -32.
    scores = {"xuy": -19.0, "z": -19.0, "x": -1.0, "yz": -1.0, "y": -20.0, "qq": -50.0}
    tokenizer = make_unigram_of(scores)
    assert tokenizer.backend.encode("xuyz").tokens == ["xuy", "z"]
    _, small = keep(tokenizer, "xuyz", "yz")
    assert small.backend.encode("xuyz").tokens == ["xuy", "z"]
    assert "qq" in list_subwords(small)


def test_bpe_keeps_what_a_subword_is_built_of_and_no_other_merge() -> None:
    merges = [("a", "b"), ("c", "d"), ("b", "c"), ("ab", "cd"), ("a", "bc"), ("d", "d")]
    _, small = keep(make_bpe_of(merges), "abcd")
    # "ab" and "cd" stand nowhere, but "abcd" is built of them.
    assert list_subwords(small) == {"[PAD]", "[UNK]", *"abcd", "ab", "cd", "abcd"}
    model = json.loads(small.backend.to_str())["model"]
    assert model["merges"] == [["a", "b"], ["c", "d"], ["ab", "cd"]]
    assert small.backend.encode("abcd").tokens == ["abcd"]


def test_byte_level_keeps_all_256_symbols(byte_bpe: Tokenizer) -> None:
    kept, small = keep(byte_bpe, "the")
    assert set(pre_tokenizers.ByteLevel.alphabet()) < list_subwords(small)
    assert len(kept) < byte_bpe.vocabulary_size
    unseen = "teacher größer 中文 \x07"
    assert small.backend.decode(small.backend.encode(unseen).ids) == unseen


def test_characters_that_fall_back_to_bytes_still_do() -> None:
    others = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = make_bpe_of([("a", "b")], others=others, byte_fallback=True)
    _, small = keep(tokenizer, "ab")
    assert set(others) < list_subwords(small)
    assert small.backend.encode("é").tokens == ["<0xC3>", "<0xA9>"]
    assert_one_to_one(tokenizer, ["abéab"])


def test_special_ids_stay_where_there_is_room() -> None:
    # As in BERT: unused places between [PAD] and the other special subwords.
    unused = [f"[unused{i}]" for i in range(6)]
    words = ["tea", "##cher", "zzzz", "yyyy"]
    letters = string.ascii_lowercase
    subwords = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters]
    tokenizer = make_wordpiece([*subwords, *(f"##{letter}" for letter in letters)])
    kept, small = keep(tokenizer, "teacher")
    before, after = tokenizer.backend.get_vocab(), small.backend.get_vocab()
    assert {subword: after[subword] for subword in SPECIAL} == {
        subword: before[subword] for subword in SPECIAL
    }
    assert sorted(after.values()) == list(range(len(kept))) == list(range(5 + 2 + 2 * 26))
    assert (small.pad, small.unk, small.cls, small.sep) == (0, 7, 8, 9)
    others = [id for id in kept.tolist() if id not in (0, 7, 8, 9, 10)]
    assert others == sorted(others)


def test_special_ids_without_room_follow_and_pairs_keep_their_template() -> None:
    words = [f"{a}{b}" for a in "abcd" for b in "abcd"]
    letters = [*"abcd", *(f"##{letter}" for letter in "abcd")]
    tokenizer = make_wordpiece([*words, *letters, *SPECIAL])
    _, small = keep(tokenizer, "ab")
    vocabulary = small.backend.get_vocab()
    assert sorted(vocabulary.values()) == list(range(14))
    assert (small.cls, small.sep) == (vocabulary["[CLS]"], vocabulary["[SEP]"])
    assert (small.pad, small.unk) == (vocabulary["[PAD]"], vocabulary["[UNK]"])
    encoding = small.backend.encode("ab", "a")
    assert encoding.ids == [vocabulary[t] for t in ("[CLS]", "ab", "[SEP]", "a", "[SEP]")]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "template",
    [
        processors.BertProcessing(("[SEP]", 17), ("[CLS]", 16)),
        processors.Sequence(
            [processors.RobertaProcessing(("[SEP]", 17), ("[CLS]", 16), trim_offsets=False)]
        ),
    ],
)
def test_every_template_is_renumbered(template) -> None:
    words = [*"abcd", *(f"##{letter}" for letter in "abcd"), "ab", "bb", "cc", "dd", "da", "ca"]
    tokenizer = make_wordpiece([*words, *SPECIAL])
    assert tokenizer.backend.token_to_id("[SEP]") == 17
    tokenizer.backend.post_processor = template
    kept, small = keep(tokenizer, "ab")
    assert small.backend.encode("ab").tokens == ["[CLS]", "ab", "[SEP]"]
    assert kept[small.backend.encode("ab").ids].tolist() == [16, 8, 17]


def test_added_tokens_after_the_vocabulary_stay_after_it() -> None:
    # As [MASK] of DeBERTa-v3. "bc" is special too, and its old id 10 is one of those behind.
    tokenizer = make_bpe_of([("a", "b"), ("a", "c"), ("a", "d"), ("b", "b"), ("b", "c")])
    tokenizer.backend.add_special_tokens(["bc", "<mask>", "<more>"])
    tokenizer.backend.add_tokens(["dddd"])
    tokenizer = make_tokenizer(tokenizer.backend, {**UNKNOWN, "mask_token": "<mask>"})
    assert tokenizer.backend.get_vocab_size() == 14
    kept, small = keep(tokenizer, "ab")
    assert kept.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13]
    assert small.backend.encode("adddddd<mask>a").tokens == ["a", "dddd", "d", "d", "<mask>", "a"]
    assert_one_to_one(tokenizer, ["cddddd<mask>abc"])


def test_rare_subwords_are_removed(wordpiece: Tokenizer) -> None:
    texts = ["dab"] * 3 + ["bad"] * 2 + ["cab"]
    assert {"dab", "bad"} <= list_subwords(keep(wordpiece, *texts, least_count=2)[1])
    assert "cab" not in list_subwords(keep(wordpiece, *texts, least_count=2)[1])
    assert not {"bad", "cab"} & list_subwords(keep(wordpiece, *texts, least_count=3)[1])


def test_a_limit_takes_the_most_frequent(wordpiece: Tokenizer) -> None:
    texts = ["cab"] * 3 + ["dab"] * 2 + ["bad"] * 2 + ["abc"]
    for limit, words in ((13, ()), (14, ("cab",)), (16, ("cab", "dab", "bad"))):
        kept, small = keep(wordpiece, *texts, limit=limit)
        assert len(kept) == limit
        assert {
            subword for subword in list_subwords(small) if subword.isalpha() and subword[1:]
        } == {*words}


def test_a_limit_by_language_takes_shares_and_the_characters_of_the_texts() -> None:
    words = ["aa", "ab", "ba", "bb", "da", "ad"]
    letters = [*"abcd", *(f"##{letter}" for letter in "abcd")]
    tokenizer = make_wordpiece([*words, *letters, *SPECIAL])
    task, texts = Task("classification", ()), {"de": ["aa"] * 6 + ["ab"] * 4, "fi": ["da", "ba"]}
    examples = [Example((text,), None, name) for name, each in texts.items() for text in each]
    counts = count_by_language(examples, task, tokenizer)
    ids = tokenizer.backend.get_vocab()
    assert counts[:, [ids[word] for word in ("aa", "ab", "da", "ba", "[SEP]")]].tolist() == [
        [6, 4, 0, 0, 10],
        [0, 0, 1, 1, 2],
    ]
    assert counts.sum(axis=0).tolist() == count_ids(examples, task, tokenizer).tolist()

    def list_words(limit: int, **options: bool) -> set[str]:
        kept = choose_subwords(tokenizer, counts, limit=limit, **options)
        assert len(kept) == limit
        return {subword for subword, id in ids.items() if id in kept} - {*SPECIAL}

    # By hand: shares of the texts, special subwords included, are 6/30, 4/30, 1/6 and 1/6.
    of_texts = {*"abd", *(f"##{letter}" for letter in "abd")}
    assert list_words(11, by_language=True) == of_texts
    assert list_words(12, by_language=True) == {*of_texts, "aa"}
    assert list_words(14, by_language=True) == {*of_texts, "aa", "da", "ba"}
    assert list_words(15, by_language=True) == {*of_texts, "aa", "da", "ba", "ab"}
    assert list_words(16, by_language=True) == {*of_texts, "aa", "da", "ba", "ab", "c"}
    assert list_words(15) == {*letters, "aa", "ab"}  # the other language has none


def test_a_limit_by_language_keeps_what_texts_fall_back_to() -> None:
    scores = {"the": -2.0, **dict.fromkeys("theax", -5.0), "qq": -9.0}
    tokenizer = make_unigram_of(scores)
    counts = count(tokenizer, "the")
    kept = choose_subwords(tokenizer, counts, limit=7, by_language=True)
    left = list_subwords(trim_tokenizer(tokenizer, kept))
    assert left == {"[UNK]", "[PAD]", "the", *"the", "qq"}  # the last has the lowest score
    others = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = make_bpe_of([("a", "b")], others=others, byte_fallback=True)
    kept = choose_subwords(tokenizer, count(tokenizer, "ab"), limit=263, by_language=True)
    assert list_subwords(trim_tokenizer(tokenizer, kept)) == list_subwords(tokenizer)


def test_a_subword_whose_parts_exceed_the_limit_is_skipped() -> None:
    merges = [("a", "b"), ("c", "d"), ("ab", "cd"), ("d", "d")]
    tokenizer = make_bpe_of(merges)
    texts = ["abcd"] * 3 + ["dd"]
    for limit, subwords in ((6, set()), (8, {"dd"}), (9, {"ab", "cd", "abcd"})):
        _, small = keep(tokenizer, *texts, limit=limit)
        assert list_subwords(small) == {"[PAD]", "[UNK]", *"abcd", *subwords}


def test_a_limit_below_the_subwords_always_kept_is_refused(wordpiece: Tokenizer) -> None:
    counts = count(wordpiece, "abc")
    with pytest.raises(
        InputError, match=r"^student\.limit is 12, but 13 subwords .* 13 or more\.$"
    ):
        choose_subwords(wordpiece, counts, limit=12, field="student.limit")


def test_an_id_of_a_model_without_a_subword_is_refused(wordpiece: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"names 99 as the id of a special subword"):
        choose_subwords(wordpiece, count(wordpiece, "abc"), also=(99,))


def test_ids_that_a_model_names_are_kept(wordpiece: Tokenizer) -> None:
    id = wordpiece.backend.token_to_id("##abcd")
    assert id in choose_subwords(wordpiece, count(wordpiece, "abc"), also=(id,))


def make_other(kind: str) -> Tokenizer:
    if kind == "words":
        backend = Backend(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    elif kind == "marks":
        subwords = {"a</w>": 0, "[UNK]": 1}
        backend = Backend(models.BPE(subwords, [], unk_token="[UNK]", end_of_word_suffix="</w>"))
    elif kind == "wordpiece":
        backend = Backend(models.WordPiece({"a": 0, "[PAD]": 1}, unk_token="[UNK]"))
    else:
        backend = Backend(models.Unigram([("a", -1.0), ("[PAD]", 0.0)]))
    return make_tokenizer(backend, {})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("words", "is WordLevel: only a vocabulary of WordPiece, Unigram or BPE can be trimmed"),
        ("marks", r"is BPE with marks inside or at the end of a word \('</w>'\)"),
        ("wordpiece", "has no subword for unknown text"),
        ("unigram", "has no subword for unknown text"),
    ],
)
def test_a_tokenizer_that_cannot_be_trimmed_is_refused(kind: str, words: str) -> None:
    other = make_other(kind)
    with pytest.raises(InputError, match=words):
        choose_subwords(other, np.ones(other.vocabulary_size, np.int64))


def test_trimming_does_not_change_its_input(wordpiece: Tokenizer) -> None:
    before = wordpiece.backend.to_str()
    keep(wordpiece, "abc")
    assert wordpiece.backend.to_str() == before


def make_folder(kind: str, folder: Path) -> Path:
    """A tokenizer's folder such as those on the hub, with the config.json of its family."""
    tokenizer = make_byte_bpe("roberta") if kind == "roberta" else make_unigram(kind)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return folder


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "deberta-v2"])
def test_autotokenizer_opens_what_is_left(kind: str, words: bool, tmp_path: Path) -> None:
    whole = load_tokenizer(str(make_folder(kind, tmp_path / "whole")), words=words)
    texts = ["the large teacher", "read é <mask> the"]
    kept, small = keep(whole, *texts)
    save_tokenizer(small, tmp_path / "small")
    (tmp_path / "small" / "config.json").write_text(json.dumps({"model_type": kind}))
    opened = AutoTokenizer.from_pretrained(tmp_path / "small")
    assert opened.vocab_size == len(kept)
    for text in (*texts, "unseen words, çà"):
        assert opened(text, texts[0])["input_ids"] == small.backend.encode(text, texts[0]).ids
    for text in texts:
        assert kept[opened(text)["input_ids"]].tolist() == whole.backend.encode(text).ids
    for role in ("pad", "cls", "sep", "unk", "mask"):
        before = getattr(whole.wrapper, f"{role}_token_id")
        assert kept[getattr(opened, f"{role}_token_id")] == before
    assert opened.model_input_names == whole.wrapper.model_input_names


def test_the_maximum_length_of_a_tokenizer_is_kept(wordpiece: Tokenizer) -> None:
    tokenizer = make_tokenizer(wordpiece.backend, UNKNOWN, model_max_length=77)
    assert keep(tokenizer, "abc")[1].wrapper.model_max_length == 77
