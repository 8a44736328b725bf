"""Tag schemes against spans of entities written by hand-made writers of each scheme."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdistil.data.tag_schemes import (
    allowed_tags,
    convert_labels,
    is_tag,
    make_legal,
    predictable_tags,
    to_iob2,
)

SCHEMES = ("iob2", "iob1", "bioes")


def write_spans(spans, length, scheme):
    """The tags of (first, end, type) spans, as the definition of each scheme says."""
    tags = ["O"] * length
    previous = None
    for first, end, kind in spans:
        if scheme == "bioes":
            tags[first:end] = [f"I-{kind}"] * (end - first)
            tags[end - 1] = f"E-{kind}"
            tags[first] = f"B-{kind}" if end - first > 1 else f"S-{kind}"
        else:
            tags[first:end] = [f"I-{kind}"] * (end - first)
            touches = previous is not None and previous == (first, kind)
            if scheme == "iob2" or touches:
                tags[first] = f"B-{kind}"
        previous = (end, kind)
    return tuple(tags)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_predictions_in_any_scheme_become_iob2_with_the_same_entities(scheme):
    spans = [(0, 1, "PER"), (1, 3, "PER"), (3, 4, "LOC"), (5, 8, "LOC"), (8, 9, "LOC")]
    assert make_legal(write_spans(spans, 10, scheme)) == write_spans(spans, 10, "iob2")


@pytest.mark.parametrize("labels", [("O", "I-A"), ("S-A", "O"), ("B-A", "I-A", "E-A", "S-A", "O")])
def test_predictable_tags_are_those_that_predictions_become(labels):
    answers = [(label, *rest) for label in labels for rest in [(), labels, labels[::-1]]]
    made = {tag for each in answers for tag in make_legal(each)}
    assert made == set(predictable_tags(labels))


def read_spans(tags):
    """The spans of legal IOB2 tags."""
    spans = []
    for i, tag in enumerate(tags):
        if tag[0] == "B":
            spans.append([i, i + 1, tag[2:]])
        elif tag[0] == "I":
            assert spans[-1][1:] == [i, tag[2:]]
            spans[-1][1] = i + 1
    return spans


@st.composite
def sentences_with_spans(draw):
    spans, at = [], 0
    for gap, size, kind in draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "B-x"])),
            max_size=6,
        )
    ):
        spans.append((at + gap, at + gap + size, kind))
        at += gap + size
    return spans, at + draw(st.integers(0, 2))


def tags_of(scheme):
    prefixes = "BIES" if scheme == "bioes" else "BI"
    shapes = [f"{prefix}-{kind}" for prefix in prefixes for kind in ("PER", "LOC")]
    return st.lists(st.sampled_from(["O", *shapes]), max_size=8)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentences_with_spans())
def test_every_scheme_becomes_iob2_with_the_same_entities(scheme, case):
    spans, length = case
    written = write_spans(spans, length, scheme)
    assert to_iob2(written, scheme) == (write_spans(spans, length, "iob2"), None)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.data())
def test_tags_are_legal_exactly_if_some_entities_are_written_so(scheme, data):
    tags = tuple(data.draw(tags_of(scheme)))
    converted, illegal = to_iob2(tags, scheme)
    rewritten = write_spans(read_spans(converted), len(tags), scheme)
    assert (illegal is None) == (rewritten == tags)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(st.data())
def test_repair_keeps_every_word_of_an_entity_and_its_type(scheme, data):
    tags = data.draw(tags_of(scheme))
    converted, _ = to_iob2(tags, scheme)
    assert [tag[1:] for tag in converted] == [tag[1:] for tag in tags]


@pytest.mark.parametrize(
    ("scheme", "tags", "at"),
    [
        ("iob2", "O I-PER", 1),
        ("iob2", "B-PER I-LOC", 1),
        ("iob2", "B-PER O I-PER", 2),
        ("iob1", "I-PER O B-PER", 2),
        ("bioes", "B-PER O", 1),
        ("bioes", "S-PER E-PER", 1),
        ("bioes", "O B-PER", 2),
    ],
)
def test_the_first_illegal_tag_is_named(scheme, tags, at):
    assert to_iob2(tags.split(), scheme)[1] == at


def test_an_inside_tag_without_its_entity_begins_one():
    tags = ("I-PER", "I-PER", "I-LOC", "O", "I-LOC")
    assert make_legal(tags) == ("B-PER", "I-PER", "B-LOC", "O", "B-LOC")


def test_tag_sets_turn_into_those_of_iob2_in_their_order():
    assert convert_labels(("O", "S-X", "B-X", "E-X", "I-X"), "bioes") == ("O", "B-X", "I-X")
    assert convert_labels(("I-X", "O"), "iob1") == ("I-X", "O", "B-X")
    bioes = {"O", "B-X", "I-X", "S-X", "E-X"}
    assert allowed_tags(("O", "B-X", "I-X"), "bioes") == bioes
    assert allowed_tags(("O", "B-X"), "iob2") == {"O", "B-X"}


@pytest.mark.parametrize("text", ["o", "B-", "B", "PER", "fr:O", "B-PER x", "", "OO", "1"])
def test_other_texts_are_not_tags(text):
    assert not is_tag(text)
