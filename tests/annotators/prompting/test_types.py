"""Files of types: names, definitions and other names."""

import pytest

from xdistil.annotators.prompting.types import Type, read_types
from xdistil.errors import InputError


def write(folder, content):
    path = folder / "types.tsv"
    path.write_text(content, encoding="utf-8")
    return path


def test_types_and_what_answers_may_call_them(tmp_path):
    path = write(tmp_path, "PER\tpeople\tperson, human being\n\nNEW LOC\n")
    types = read_types(path, "tagging")
    assert types.types == (
        Type("PER", "people", ("person", "human being")),
        Type("NEW_LOC", "", ()),
    )
    assert types.task.labels == ("O", "B-PER", "I-PER", "B-NEW_LOC", "I-NEW_LOC")
    for said in ("PER", "per", " Per. ", "persons", "Human-Being", "B-PER", "I_per", ["PER"]):
        assert types.find(said) == "PER"
    assert types.find("new loc") == "NEW_LOC"
    for said in ("LOC", "", "...", None, 1, ["PER", "PER"], {}):
        assert types.find(said) is None
    classes = read_types(write(tmp_path, "+\n-\n1\nB-1\n"), "classification")
    assert [classes.find(said) for said in ("+", " - ", 1, "B-1", True)] == [
        "+",
        "-",
        "1",
        "B-1",
        None,
    ]


def test_names_that_differ_in_case_alone_are_told_apart(tmp_path):
    types = read_types(write(tmp_path, "us\nUS\n"), "tagging")
    assert [types.find(said) for said in ("us", "US", "Us")] == ["us", "US", None]


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (
            "PER\tpeople\nPER\tothers\n",
            "tagging",
            r"types.tsv:2: 'PER' stands in line 1 too: a name",
        ),
        ("PER\tpeople\tx\nLOC\tplaces\tx\n", "tagging", "types.tsv:2: 'x' stands in line 1 too"),
        ("PER: people\n", "tagging", "types.tsv:1: 'PER: people' has no tab: write one between"),
        ("B-PER\n", "tagging", "types.tsv:1: 'B-PER' is a tag: name the types of entities alone"),
        ("\tpeople\n", "tagging", "types.tsv:1: there is no name before the tab"),
        ("a\tb\tc\td\n", "tagging", "types.tsv:1: 4 columns where there are at most three"),
        ("\n\n", "tagging", "types.tsv is empty"),
        ("good\n", "classification", "names one class, 'good': there must be two"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, content, kind, sentence):
    with pytest.raises(InputError, match=sentence) as raised:
        read_types(write(tmp_path, content), kind)
    assert str(raised.value).count(".") <= 3
