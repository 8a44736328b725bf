"""Spans of characters: the tags of words that stand for them."""

from hypothesis import given
from hypothesis import strategies as st

from xdistil.data.json_spans import tag_words
from xdistil.data.segmentation import cut_spans, find_units


@given(st.data())
def test_spans_come_back_from_the_tags_of_words(data):
    """Whatever a text is, the words are cut so that each span begins and ends with a word."""
    text = data.draw(st.text(st.sampled_from("aB. ,\u3000中é"), min_size=1, max_size=20))
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        (start, end, "X")
        for start, end in zip(borders[::2], borders[1::2], strict=False)
        if text[start:end].strip()
    ]
    row = tag_words(text, spans)
    borders = [border for start, end, _ in spans for border in (start, end)]
    cuts = cut_spans(find_units(text), borders)
    found = []
    for (start, end), tag in zip(cuts, row["tags"], strict=True):
        assert not any(letter.isspace() for letter in text[start:end])
        if tag.startswith("B-"):
            found.append([start, end])
        elif tag != "O":
            found[-1][1] = end
    expected = []
    for start, end, _ in spans:
        inside = text[start:end]
        left, right = len(inside) - len(inside.lstrip()), len(inside) - len(inside.rstrip())
        expected.append([start + left, end - right])
    assert found == expected
    assert "".join(row["tokens"]) == "".join(text.split())
