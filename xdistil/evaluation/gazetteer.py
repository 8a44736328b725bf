"""The gazetteer baseline: tags the names of the training data wherever they occur, without a model.

A tagger's gain over it comes from context and from subwords, not from names it has seen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from xdistil.data.examples import Example
from xdistil.data.spans import find_spans

_Name = tuple[str, ...]  # the words of an entity, as written


def tag_with_names(train: Sequence[Example], texts: Sequence[Example]) -> list[tuple[str, ...]]:
    """IOB2 tags for each text, from the names in the labelled training sentences.

    A name gets its most frequent type in training; of equally frequent types, the alphabetically
    first. A name that occurs there more often outside an entity than as one is left out. Texts are
    read from left to right, and the longest name at a position wins. Languages are not
    distinguished.

    Args:
        train: tagging examples with legal IOB2 tags.
        texts: tagging examples; their labels are not used.
    """
    names = _learn_names(train)
    lengths = _group_lengths(names)
    return [_tag(example.inputs, names, lengths) for example in texts]


def _learn_names(train: Sequence[Example]) -> dict[_Name, str]:
    types: dict[_Name, Counter[str]] = {}
    for example in train:
        for first, end, type_ in find_spans(example.labels or ()):
            types.setdefault(example.inputs[first:end], Counter())[type_] += 1
    outside: Counter[_Name] = Counter()
    lengths = _group_lengths(types)
    for example in train:
        tags = example.labels or ()
        for first, word in enumerate(example.inputs):
            for length in lengths.get(word, ()):
                name = example.inputs[first : first + length]
                if len(name) < length:  # cut off by the end; that length is tried by itself
                    continue
                if name in types and all(tag == "O" for tag in tags[first : first + length]):
                    outside[name] += 1
    return {
        name: min(counts, key=lambda type_: (-counts[type_], type_))
        for name, counts in types.items()
        if outside[name] <= counts.total()
    }


def _group_lengths(names: Mapping[_Name, object]) -> dict[str, list[int]]:
    """The lengths of the names by their first word, longest first."""
    lengths: dict[str, set[int]] = {}
    for name in names:
        lengths.setdefault(name[0], set()).add(len(name))
    return {word: sorted(found, reverse=True) for word, found in lengths.items()}


def _tag(
    words: Sequence[str], names: dict[_Name, str], lengths: dict[str, list[int]]
) -> tuple[str, ...]:
    tags = ["O"] * len(words)
    first = 0
    while first < len(words):
        for length in lengths.get(words[first], ()):
            name = tuple(words[first : first + length])
            if name in names:  # the end may have cut it to a shorter name, which is valid too
                tags[first : first + len(name)] = ["B-" + names[name]] + ["I-" + names[name]] * (
                    len(name) - 1
                )
                first += len(name)
                break
        else:
            first += 1
    return tuple(tags)
