"""Notations of tags: recognised by the tags, read as those of BIOES, IOB1 or IOB2, or refused."""

import pytest

from xdistil.data.tag_notation import Notation, find_notation
from xdistil.data.tag_schemes import to_iob2
from xdistil.errors import InputError

# Two entities of one type side by side, the second of three words, and one of another type.
WRITTEN = {
    "iob2": "B-PER B-PER I-PER I-PER O B-LOC",
    "iob1": "I-PER B-PER I-PER I-PER O I-LOC",
    "bioes": "S-PER B-PER I-PER E-PER O S-LOC",
    "bilou": "U-PER B-PER I-PER L-PER O U-LOC",
    "bmes": "S-PER B-PER M-PER E-PER O S-LOC",
}
IOB2 = tuple(WRITTEN["iob2"].split())


def recognise(*cells: str, scheme: str = "auto", repair: bool = False) -> Notation:
    sequences = [cell.split() for cell in cells]
    return find_notation(set().union(*sequences), sequences, scheme, "train.tsv", repair)


def read(notation: Notation, cell: str) -> tuple[str, ...]:
    tags, illegal = to_iob2([notation.read(tag) for tag in cell.split()], notation.base)
    assert illegal is None
    return tags


@pytest.mark.parametrize("scheme", WRITTEN)
@pytest.mark.parametrize("said", [False, True])
def test_every_scheme_is_recognised_and_gives_the_same_entities(scheme, said):
    notation = recognise(WRITTEN[scheme], scheme=scheme if said else "auto")
    assert notation.scheme == scheme
    assert read(notation, WRITTEN[scheme]) == IOB2


@pytest.mark.parametrize("scheme", WRITTEN)
def test_prefixes_may_be_in_lower_case_joined_by_an_underscore_or_without_types(scheme):
    lower = " ".join(tag[0].lower() + tag[1:] for tag in WRITTEN[scheme].split())
    assert read(recognise(lower), lower) == IOB2
    joined = WRITTEN[scheme].replace("-", "_")
    assert read(recognise(joined), joined) == IOB2
    bare = " ".join(tag[0] for tag in WRITTEN[scheme].split())
    without = tuple(tag if tag == "O" else f"{tag[0]}-ENTITY" for tag in IOB2)
    assert read(recognise(bare), bare) == without
    assert "ENTITY" in recognise(bare).describe()


def test_types_without_a_prefix_are_entities_as_long_as_they_do_not_change():
    notation = recognise("PER PER O LOC PER")
    assert notation.scheme == "io"
    assert read(notation, "PER PER O LOC PER") == ("B-PER", "I-PER", "O", "B-LOC", "B-PER")
    assert "neighbours of one type are one entity" in notation.describe()
    assert read(recognise("per o"), "per o") == ("B-per", "O")


def test_iob1_is_recognised_only_where_iob2_is_violated_and_iob1_is_not():
    assert recognise("B-PER I-PER").scheme == "iob2"
    assert recognise("O O").scheme == "iob2"  # legal in both
    assert recognise("I-PER O", "O O").scheme == "iob1"
    assert recognise("I-PER O", "B-LOC O").scheme == "iob2"  # illegal, and reported as such
    assert recognise("I-PER O", repair=True).scheme == "iob2"


def test_a_few_odd_tags_are_left_to_the_reader():
    assert recognise("B-PER I-PER O B-LOC", "oops O").scheme == "iob2"


@pytest.mark.parametrize(
    ("cell", "scheme", "words"),
    [
        ("B-PER L-PER O", "iob2", "tag 'L-PER' is not a tag of iob2: set data.scheme=bilou"),
        ("B-PER E-PER O", "iob1", "tag 'E-PER' is not a tag of iob1: set data.scheme=bioes"),
        ("PER O", "iob2", "tag 'PER' is not a tag of iob2: set data.scheme=io"),
        ("B-PER O", "io", "tag 'B-PER' is not a tag of io: set data.scheme=iob2"),
        ("B-A L-A E-A", "auto", "prefixes B, E, L are of no scheme"),
        ("PER-B PER-I O", "auto", "'PER-B' have their prefix at the end: write it first"),
        ("B+PER I+PER O", "auto", "'B.PER' have another separator behind their prefix: write B-P"),
        ("B:PER O", "iob2", "another separator behind their prefix"),
        ("DET NOUN", "auto", "no word is O, .* set data.scheme=io if"),
        ("B-PER PER LOC ORG O", "auto", "'B-PER', and some have none, such as 'LOC'"),
    ],
)
def test_another_scheme_and_no_scheme_are_refused(cell, scheme, words):
    with pytest.raises(InputError, match=f"^train.tsv: .*{words}") as caught:
        recognise(cell, scheme=scheme)
    assert str(caught.value).endswith(".")


def test_words_that_are_no_tags_stay_as_they_are():
    assert recognise("B-PER O").read("mistake") == "mistake"
    assert Notation("bilou").read("E-PER") == "E-PER"  # no tag of BILOU, and reported as unknown
