"""Tags of named entities: IOB2 inside the library; IOB1 and BIOES are converted when read.

A tag is `O`, or a prefix, a hyphen and an entity type: `B-PER`. In IOB2 every entity begins with
B- and continues with I-. In IOB1 an entity begins with I-, and with B- only right after another
entity of its type. In BIOES an entity of one word is S-, a longer one ends with E-.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

SCHEMES = {"iob2": "BI", "iob1": "BI", "bioes": "BIES"}
_TAG = re.compile(r"O|[BIES]-\S+")


def is_tag(text: str) -> bool:
    """Whether a text has the shape of a tag, in any of the schemes."""
    return _TAG.fullmatch(text) is not None


def to_iob2(tags: Sequence[str], scheme: str) -> tuple[tuple[str, ...], int | None]:
    """The same entities in IOB2, and the index of the first illegal tag (None: all are legal).

    A tag that continues no entity begins one, so an illegal sequence becomes legal and no word of
    an entity is lost. A BIOES entity that is not closed is illegal where it breaks off, or at index
    len(tags) if the sentence ends inside it.
    """
    converted = list(tags)
    illegal = None
    for i, (tag, legal) in enumerate(_walk(tags, scheme)):
        if i < len(tags):
            converted[i] = tag
        if not legal and illegal is None:
            illegal = i
    return tuple(converted), illegal


def make_legal(tags: Sequence[str]) -> tuple[str, ...]:
    """The IOB2 tags, with every I- that continues no entity of its type replaced by B-.

    Legal tags of IOB1 and BIOES keep their entities.
    """
    return to_iob2(tags, "iob2")[0]


def convert_labels(labels: Iterable[str], scheme: str) -> tuple[str, ...]:
    """A tag set in a scheme -> the IOB2 tags of its converted sentences, in the same order.

    A B- tag that is missing although its I- is there is appended.
    """
    to_prefix = {"S": "B", "E": "I"} if scheme == "bioes" else {}
    converted = dict.fromkeys(to_prefix.get(label[0], label[0]) + label[1:] for label in labels)
    implied = ("B" + label[1:] for label in list(converted) if label.startswith("I-"))
    return tuple(converted | dict.fromkeys(implied))


def predictable_tags(labels: Iterable[str]) -> tuple[str, ...]:
    """The IOB2 tags that `make_legal` can return for predictions in any scheme."""
    return convert_labels(labels, "bioes")


def allowed_tags(labels: Iterable[str], scheme: str) -> frozenset[str]:
    """The tags of a scheme that express the entities of an IOB2 tag set."""
    allowed = set(labels)
    if scheme == "bioes":
        allowed |= {"S" + label[1:] for label in allowed if label.startswith("B-")}
        allowed |= {"E" + label[1:] for label in allowed if label.startswith("I-")}
    elif scheme == "iob1":
        allowed |= {"I" + label[1:] for label in allowed if label.startswith("B-")}
    return frozenset(allowed)


def _walk(tags: Sequence[str], scheme: str) -> Iterator[tuple[str, bool]]:
    # (IOB2 tag, legal) for each tag; for BIOES one more for the end of the sentence.
    open_type = None  # type of the entity that the next tag may continue
    is_unclosed = False  # BIOES: the entity has no E- yet
    for tag in tags:
        prefix, kind = tag[0], tag[2:]
        continues = open_type is not None and kind == open_type and prefix in "IE"
        if prefix == "O":
            yield tag, not is_unclosed
        elif continues:
            yield "I-" + kind, True
        elif scheme == "iob1":
            yield "B-" + kind, prefix == "I" or open_type == kind
        else:
            yield "B-" + kind, prefix in "BS" and not is_unclosed
        closed = prefix == "O" or (scheme == "bioes" and prefix in "ES")
        open_type = None if closed else kind
        is_unclosed = scheme == "bioes" and not closed
    if scheme == "bioes":
        yield "O", not is_unclosed
