"""Hypothesis strategies: words, sentences and texts of any characters."""

from hypothesis import settings
from hypothesis import strategies as st
from seqeval.scheme import IOB2, Entities

from xdistil.data.examples import Example, Task
from xdistil.data.tag_schemes import make_legal

TAGGING = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
CLASSES = Task("classification", ("neg", "pos"))

hostile = settings(derandomize=True, deadline=None, max_examples=60)

# Marks, right to left, without width, joined emoji, flags, NUL, line ends of Unicode, byte order
# mark, the last code point, a full-width form; and subwords that tokenizers treat as their own.
ODD = [
    *("e\u0301", "\u0301", "\u0915\u094d\u0937", "\u05e9\u05dc", "\u202eab\u202c", "\u200b"),
    *("\u200d", "👩\u200d👩\u200d👧", "🇩🇪", "\x00", "\u2028", "\x85", "\x0b", "\x1c", "\ufeff"),
    *("\U0010ffff", "ｆｕｌｌ", "文", "ß", "İ", "[SEP]", "[UNK]", "##lin", "▁the", "ab", "1", "#"),
]
characters = st.one_of(
    st.sampled_from(ODD), st.characters(exclude_characters=" \t\n\r", exclude_categories=["Cs"])
)
words = st.lists(characters, min_size=1, max_size=6).map("".join)
sentences = st.lists(words, min_size=1, max_size=6).map(tuple)
texts = st.lists(st.one_of(characters, st.sampled_from(" \r")), min_size=1, max_size=9).map("".join)


def tag(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Legal tags of every kind, by index and word."""
    return make_legal([TAGGING.labels[(i + len(word)) % 5] for i, word in enumerate(inputs)])


tagged = st.lists(sentences.map(lambda inputs: Example(inputs, tag(inputs), "und")), max_size=4)


def is_legal(tags) -> bool:
    """Whether seqeval, which leaves out a tag that continues nothing, finds every tagged word."""
    (entities,) = Entities([list(tags)], IOB2).entities
    return sum(each.end - each.start for each in entities) == sum(tag != "O" for tag in tags)
