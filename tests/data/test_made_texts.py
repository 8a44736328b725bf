"""Transfer texts made of labelled sentences: what changes, what stays, and how many of each."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from xdistil.config import Data
from xdistil.data.corpus import Corpus
from xdistil.data.examples import Example, Task
from xdistil.data.made_texts import (
    add_made_texts,
    replace_words,
    splice_sentences,
    swap_mentions,
)
from xdistil.data.streamed import JoinedExamples, stream_examples
from xdistil.errors import InputError

TAGGING = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))


def tag(text: str, language: str) -> Example:
    """`New_York/LOC is big` is a mention of two words and two words outside."""
    words, labels = list[str](), list[str]()
    for part in text.split():
        mention, _, type_ = part.partition("/")
        inside = mention.split("_")
        words += inside
        labels += [f"B-{type_}", *[f"I-{type_}"] * (len(inside) - 1)] if type_ else ["O"]
    return Example(tuple(words), tuple(labels), language)


TRAIN = [
    tag("Ann/PER met Bob_Lee/PER in New_York/LOC", "en"),
    tag("Cy/PER left Rome/LOC", "en"),
    tag("nobody came", "en"),
    tag("Rome/LOC Ann/PER", "en"),
    tag("Eva/PER mag Ulm/LOC", "de"),
    tag("Ulm/LOC liegt an der Donau/LOC", "de"),
    tag("Ana/PER vive", "es"),
]
NAMES = {
    ("en", "PER"): {"Ann", "Bob Lee", "Cy"},
    ("en", "LOC"): {"New York", "Rome"},
    ("de", "PER"): {"Eva"},
    ("de", "LOC"): {"Ulm", "Donau"},
}


# --- mentions -------------------------------------------------------------------------------------


def list_swaps(example: Example) -> set[tuple[str, str]]:
    """All texts that swapping may make of a sentence, written out by hand, with its language."""
    found = {""}
    at = 0
    tags = example.labels or ()
    while at < len(tags):
        end = at + 1
        while end < len(tags) and tags[end].startswith("I-"):
            end += 1
        word = " ".join(example.inputs[at:end])
        choices = {word}
        if tags[at] != "O":
            choices = NAMES[example.language, tags[at][2:]] - {word} or {word}
        found = {f"{text} {choice}".strip() for text in found for choice in choices}
        at = end
    return {(text, example.language) for text in found}


def test_every_mention_becomes_another_one_of_its_type_and_language():
    """The texts are exactly those that the names allow: all other words stay."""
    made = swap_mentions(TRAIN, 600, 3)
    assert {each.labels for each in made} == {None}
    usable = [each for index, each in enumerate(TRAIN) if index not in (2, 6)]
    possible = set().union(*map(list_swaps, usable))
    assert {(" ".join(each.inputs), each.language) for each in made} == possible
    assert ("Eva mag Donau", "de") in possible  # the only person stays


def test_languages_get_texts_in_proportion_to_what_can_change():
    """Three English sentences and two German ones; Spanish has a single name."""
    made = swap_mentions(TRAIN, 7, 0)
    # 7 * 3 / 5 = 4.2 and 2.8: the larger remainder gets the seventh.
    assert Counter(each.language for each in made) == {"en": 4, "de": 3}
    # No sentence is used again before all others; of the German ones one has "mag".
    many = swap_mentions(TRAIN, 50, 0)
    german = [each for each in many if each.language == "de"]
    assert sum("mag" in each.inputs for each in german) == 10
    english = [each for each in many if each.language == "en"]
    assert [sum(word in each.inputs for each in english) for word in ("met", "left")] == [10, 10]


def test_the_seed_alone_decides():
    def replace_tagged(examples, count, seed):
        return replace_words(examples, count, "tagging", seed)

    for make in (swap_mentions, splice_sentences, replace_tagged):
        first = make(TRAIN, 30, 5)
        assert make(TRAIN, 30, 5) == first
        assert make(TRAIN, 30, 6) != first
        assert make(TRAIN, 0, 5) == []


# --- splices --------------------------------------------------------------------------------------


def test_a_splice_is_a_beginning_and_an_end_of_two_sentences_of_one_language():
    texts = [Example(tuple(text.split()), None, "en") for text in ("a b c", "d", "e f")]
    texts += [Example(tuple("uvw"), None, "de"), Example(tuple("xyz"), None, "de")]
    made = splice_sentences(texts, 500, 1)
    assert {"".join(each.inputs) for each in made if each.language == "en"} == {
        *("ad", "abd", "af", "abf"),  # of a b c
        *("dc", "dbc", "df"),  # of d, which has no part of its own
        *("ec", "ebc", "ed"),
    }
    assert {"".join(each.inputs) for each in made if each.language == "de"} == {
        *("uz", "uyz", "uvz", "uvyz"),
        *("xw", "xvw", "xyw", "xyvw"),
    }
    assert Counter(each.language for each in made) == {"en": 300, "de": 200}
    assert {each.labels for each in made} == {None}
    begun = Counter(each.inputs[0] for each in made)
    assert begun == {"a": 100, "d": 100, "e": 100, "u": 100, "x": 100}


# --- words ----------------------------------------------------------------------------------------


def test_words_become_other_words_of_their_language():
    """All texts that can be made, and each as often as its replaced words are drawn."""
    texts = [Example(tuple("ab"), None, "en"), Example(("b",), None, "en")]
    texts += [Example(tuple("xyx"), None, "de"), Example(("allein",), None, "nn")]
    made = replace_words(texts, 9000, "tagging", 2)
    assert {each.labels for each in made} == {None}
    found = Counter((each.language, "".join(each.inputs)) for each in made)
    # Of a b: both with 0.3 * 0.3; the first alone with 0.3 * 0.7, and half of the 0.7 * 0.7 in
    # which none is drawn; likewise the second. "b" becomes "a". A language of one word has no text.
    english = {"bb": 0.455, "aa": 0.455, "ba": 0.09}
    expected = {("en", text): 3000 * share for text, share in english.items()}
    expected["en", "a"] = 3000
    # Of x y x: one alone with 0.3 * 0.49, and a third of 0.343; two with 0.063; three with 0.027.
    german = {"yyx": 1, "xxx": 1, "xyy": 1, "yxx": 2, "yyy": 2, "xxy": 2, "yxy": 3}
    shares = {1: 0.147 + 0.343 / 3, 2: 0.063, 3: 0.027}
    expected |= {("de", text): 3000 * shares[words] for text, words in german.items()}
    assert found.keys() == expected.keys()
    for key, count in expected.items():
        assert abs(found[key] - count) <= 4 * count**0.5, key
    assert Counter(each.language for each in made) == {"en": 6000, "de": 3000}


@pytest.mark.parametrize(
    ("inputs", "patterns", "words", "stays"),
    [
        # Of 5 words none is drawn with 0.7 ** 5, and then one of them is.
        (
            ("A dog,  it ran-off.", "it"),
            ("W W,  W W-off[.]", "W"),
            "A|dog|it|ran|rice",
            0.7 - 0.7**5 / 5,
        ),
        (("买10斤 fish!", "fish"), ("买10斤 W!", "W"), "fish|rice", 0.7 - 0.7**2 / 2),
    ],
)
def test_texts_that_are_classified_keep_what_stands_between_their_words(
    inputs, patterns, words, stays
):
    """A word begins behind a blank and joins no other: Chinese characters stay."""
    examples = [Example(inputs, ("yes",), "en"), Example(("rice",), ("no",), "en")]
    made = replace_words(examples, 2000, "classification", 0)
    made = [each for each in made if len(each.inputs) == 2]
    assert len(made) == 1000
    assert {(each.labels, each.language) for each in made} == {(None, "en")}
    assert inputs not in [each.inputs for each in made]
    for each in made:
        for text, pattern in zip(each.inputs, patterns, strict=True):
            assert re.fullmatch(pattern.replace("W", f"({words})"), text), text
    second = Counter(each.inputs[1] for each in made)
    assert second.keys() == set(words.split("|"))
    assert abs(second[inputs[1]] - 1000 * stays) < 60


# --- a corpus -------------------------------------------------------------------------------------


def make_corpus(**changes) -> Corpus:
    corpus = Corpus(TAGGING, TRAIN, TRAIN[:1], None, [replace(TRAIN[0], labels=None)])
    return replace(corpus, **changes)


def test_made_texts_follow_the_transfer_texts_and_are_told():
    corpus = add_made_texts(make_corpus(), Data(swapped=3, spliced=1200, replaced=5), 0)
    assert len(corpus.transfer) == 1
    assert list(corpus.all_transfer) == [*corpus.transfer, *corpus.made]
    assert list(corpus.made[:3]) == swap_mentions(TRAIN, 3, 0)
    assert len(corpus.made) == 1208
    assert corpus.reading.lines == (
        "made texts, among the transfer texts: 3 with swapped mentions, 1,200 spliced, 5 with "
        "replaced words",
    )
    assert add_made_texts(make_corpus(), Data(), 0) == make_corpus()


def test_words_are_replaced_in_texts_that_are_classified():
    texts = [Example(("so good", "no"), ("1",), "en"), Example(("bad", "so so"), ("0",), "en")]
    corpus = make_corpus(task=Task("classification", ("0", "1")), train=texts, transfer=[])
    made = add_made_texts(corpus, Data(replaced=20), 0).made
    assert list(made) == replace_words(texts, 20, "classification", 0)
    with pytest.raises(InputError) as caught:
        add_made_texts(corpus, Data(spliced=5, replaced=20), 0)
    assert str(caught.value) == (
        "data.spliced is 5, but the task is classification, and such texts are made of tagged "
        "sentences alone: set data.spliced=0."
    )


def test_transfer_texts_are_used_where_they_are_in_memory(tmp_path):
    """Texts of a language without labels are; those of a file, which may be large, are not."""
    words = ("unu doi", "trei patru")
    others = [Example(tuple(each.split()), None, "ro") for each in words]
    inside = add_made_texts(make_corpus(transfer=others), Data(spliced=200), 0)
    assert {each.language for each in inside.made} == {"en", "de", "ro"}
    # A text that is a training sentence too counts once: 8 texts, of which Spanish has but one.
    twice = [*others, replace(TRAIN[4], labels=None)]
    again = add_made_texts(make_corpus(transfer=twice), Data(spliced=200), 0)
    assert Counter(each.language for each in again.made) == {"en": 100, "de": 50, "ro": 50}
    path = tmp_path / "transfer.ro.txt"
    path.write_text("\n".join(words))
    streamed = stream_examples([(path, "ro")], "tagging", False, 0)
    outside = add_made_texts(make_corpus(transfer=streamed), Data(spliced=200), 0)
    assert {each.language for each in outside.made} == {"en", "de"}
    beside = add_made_texts(
        make_corpus(transfer=JoinedExamples(streamed, others)), Data(spliced=200), 0
    )
    assert beside.made == inside.made
    inside, outside = (
        add_made_texts(make_corpus(transfer=transfer), Data(replaced=90), 0)
        for transfer in (twice, streamed)
    )
    # 9 sentences, of which one is Spanish and two are Romanian.
    found = Counter(each.language for each in inside.made)
    assert found == {"en": 40, "de": 20, "es": 10, "ro": 20}
    assert {each.language for each in outside.made} == {"en", "de", "es"}


@pytest.mark.parametrize(
    ("corpus", "fields", "words"),
    [
        ({"task": Task("classification", ("a", "b"))}, {"swapped": 2}, "task is classification"),
        ({"task": Task("classification", ("a", "b"), True)}, {"spliced": 2}, "is multilabel"),
        ({"train": []}, {"swapped": 2, "spliced": 3}, "no labelled training text"),
        ({"train": TRAIN[2:3]}, {"swapped": 2}, "no two different mentions of one type"),
        ({"train": TRAIN[2:3], "transfer": []}, {"spliced": 2}, "no language has two sentences"),
        (
            {"train": [tag("Rome/LOC", "it")], "transfer": []},
            {"replaced": 2},
            "no language has two different words",
        ),
    ],
)
def test_what_no_text_can_be_made_of_is_refused(corpus, fields, words):
    with pytest.raises(InputError, match=words) as caught:
        add_made_texts(make_corpus(**corpus), Data(**fields), 0)
    said = " and ".join(f"data.{name} is {count}" for name, count in fields.items())
    assert str(caught.value).startswith(f"{said}, but ")
    none = " and ".join(f"data.{name}=0" for name in fields)
    assert str(caught.value).endswith(f"set {none}.")
