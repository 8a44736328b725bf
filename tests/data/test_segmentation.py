"""Units of text, against values worked out by hand, BERT's pre-tokenizer, and the text itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from tests.data.strategies import hostile, texts, words
from xdistil.data.segmentation import (
    count_units,
    cut_units,
    cut_words,
    find_joined,
    find_sentence_ends,
    find_units,
    join_units,
    trim_span,
)

DROPPED = "\u200b\u200e\u200f\u202a\u2066\u00ad\ufeff\u2060\x00"


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Anna went to New  York.", "Anna went to New York ."),
        ("U.S., p13-p16 (d'Avignon)", "U . S . , p13 - p16 ( d ' Avignon )"),
        ("5€ + $3_x", "5 € + $ 3 _ x"),
        ("海林在村庄。Ａbc", "海 林 在 村 庄 。 Ａbc"),
        ("サンtoロ ひ", "サ ン to ロ ひ"),
        ("กำ2560", "ก ำ 2560"),
        ("ခ်ေ ភា", "ခ ် ေ ភ ា"),
        ("\u0ea5\u0eb2\u0ea7x", "\u0ea5 \u0eb2 \u0ea7 x"),
        ("है।다.", "है । 다 ."),  # marks of other scripts belong to their letter
        ("Jose\u0301s \u0301a", "Jose\u0301s \u0301a"),
        ("❤\ufe0f👩\u200d👧", "❤\ufe0f 👩 👧"),  # a mark belongs to a symbol too
        ("葛\U000e0100城", "葛\U000e0100 城"),
        ("می\u200cخواهم\u200c", "می\u200cخواهم"),  # inside a word, and not at its end
        ("Anna \u200e Lee", "Anna Lee"),
        ("\u202bRome\u202c", "Rome"),
        ("a\u00a0b\u2028c\x85d\u3000e", "a b c d e"),
        (" \u200b \ufeff", ""),
    ],
)
def test_units_by_hand(text, units):
    assert [text[start:end] for start, end in find_units(text)] == units.split()


@hostile
@given(text=texts)
def test_units_are_slices_and_nothing_but_blanks_and_dropped_characters_is_between(text):
    spans = find_units(text)
    rebuilt, at = "", 0
    for start, end in spans:
        assert at <= start < end
        rebuilt += text[at:start] + text[start:end]
        assert not cut_units(text[at:start])
        at = end
    assert rebuilt + text[at:] == text
    assert not cut_units(text[at:])
    # A unit has no other units, and no blank or dropped character at its ends.
    for start, end in spans:
        assert find_units(text[start:end]) == [(0, end - start)]
        assert trim_span(text, start, end) == (start, end)


@hostile
@given(found=st.lists(words, min_size=1, max_size=6).map(tuple))
def test_words_have_the_units_of_their_text(found):
    units = cut_words(found)
    assert len(units) == count_units(found)
    in_text = tuple(unit for word in " ".join(found).split() for unit in cut_units(word))
    assert units == (in_text or found)
    assert cut_words(units) == units


@hostile
@given(text=texts, data=st.data())
def test_dropped_characters_beside_units_change_none(text, data):
    spans = find_units(text)
    rest, at = "", 0
    for start, end in spans:
        before, after = (data.draw(st.text(DROPPED, max_size=2)) for _ in range(2))
        rest += f"{text[at:start]}{before} {before}{text[start:end]}{after} "
        at = end
    moved = find_units(rest)
    assert [rest[a:b] for a, b in moved] == [text[a:b] for a, b in spans]
    if spans:
        start, end = moved[0][0], moved[-1][1]
        assert trim_span(rest, max(0, start - 1), end) == (start, end)


@hostile
@given(text=st.text(st.characters(max_codepoint=0x5FF, categories=["L", "Nd", "P", "Zs"])))
def test_punctuation_is_that_of_bert(text):
    expected = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)
    assert find_units(text) == [span for _, span in expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Saint-Paul-de-X, a- -b c--d x-", "Saint-Paul-de-X , a - - b c - - d x -"),
        ("Bob's e-mail-", "Bob ' s e-mail -"),
        ("文-b b-文 Jose\u0301-b", "文 - b b - 文 Jose\u0301-b"),
    ],
)
def test_marks_between_letters_join_units(text, words):
    joined = join_units(text, find_units(text), "-")
    assert [text[start:end] for start, end in joined] == words.split()
    assert join_units(text, find_units(text), "") == find_units(text)


def test_marks_are_joined_that_mostly_stand_inside_words():
    sentences = ["a-b - c-d Bob 's don't x.y . x+=y", "O'N l' 1\u20132 文・文 क्षे/a"]
    assert find_joined(each.split(" ") for each in sentences) == "-/\u2013"


def test_every_ascii_mark_stands_alone():
    marks = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum())
    assert cut_units(marks) == tuple(marks)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("He came home . She left .", [4]),
        ("He came home. She left!", [3]),
        ("Dr . Smith met J . R . Lee in No . 5 etc . and left .", []),
        ('He said : " Stay there ! " And left .', [8]),
        ("am 28 . Oktober 1999 . Danach", []),
        ("ends here . but not a sentence .", []),
        ("海 来 。 林 走 。", [3]),
        ("왔다 . 갔다 . 봤다", [2, 4]),
        ("है । था", [2]),
        (". Anna", []),
    ],
)
def test_sentences_end_at_stops_that_are_no_abbreviations(text, ends):
    assert find_sentence_ends(text.split(" ")) == ends


def test_an_empty_word_ends_no_sentence():
    assert find_sentence_ends(("", "Anna", "!", "", "x")) == [3]
