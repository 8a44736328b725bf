"""Transfer texts made of training texts: other mentions, two halves, or other words.

The teacher answers them like any transfer text, so they need no labels and have none. They are
drawn with the seed of the run alone: a run that resumes makes the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from xdistil import config
from xdistil.data.corpus import Corpus
from xdistil.data.examples import Example
from xdistil.data.segmentation import find_units
from xdistil.data.spans import find_spans
from xdistil.data.streamed import list_in_memory, number_languages
from xdistil.errors import InputError

# Beside the seed; epochs have smaller numbers.
_SWAPPED, _SPLICED, _REPLACED = range(1 << 30, (1 << 30) + 3)
_SHARE = 0.3  # of the words of a sentence that are replaced

_Mention = tuple[str, ...]  # its words


def add_made_texts(corpus: Corpus, data: config.Data, seed: int) -> Corpus:
    """The corpus with as many made texts as `data` says, and a line that tells their numbers.

    Mentions are those of the training sentences. Sentences that are spliced, or whose words are
    replaced, are the training sentences, and the transfer texts that are in memory: those in
    languages outside `data.train_languages`.

    Raises:
        InputError: mentions or splices are wanted and the task has no tags, there are no training
            sentences, or no text can be made.
    """
    wanted = {name: getattr(data, name) for name in config.MADE if getattr(data, name)}
    if not wanted:
        return corpus
    kind = corpus.task.kind
    tagged = {name: count for name, count in wanted.items() if name in config.MADE_OF_TAGGED}
    if tagged and kind != "tagging":
        said, none = _name_fields(tagged)
        raise InputError(
            f"{said}, but the task is {corpus.task.name}, and such texts are made of tagged "
            f"sentences alone: set {none}."
        )
    if not corpus.train:
        said, none = _name_fields(wanted)
        raise InputError(
            f"{said}, but there is no labelled training text to make texts of: set {none}."
        )
    sentences = list(corpus.train)
    known = {(each.inputs, each.language) for each in sentences}
    sentences += (
        each
        for each in list_in_memory(corpus.transfer)
        if (each.inputs, each.language) not in known
    )
    swapped = swap_mentions(corpus.train, data.swapped, seed)
    spliced = splice_sentences(sentences, data.spliced, seed)
    replaced = replace_words(sentences, data.replaced, kind, seed)
    told = {
        "with swapped mentions": len(swapped),
        "spliced": len(spliced),
        "with replaced words": len(replaced),
    }
    line = "made texts, among the transfer texts: " + ", ".join(
        f"{count:,} {what}" for what, count in told.items() if count
    )
    reading = replace(corpus.reading, lines=(*corpus.reading.lines, line))
    return replace(corpus, made=[*swapped, *spliced, *replaced], reading=reading)


def _name_fields(wanted: Mapping[str, int]) -> tuple[str, str]:
    """What the fields are, and how to set them to 0, for a sentence."""
    said = " and ".join(f"data.{name} is {count}" for name, count in wanted.items())
    return said, " and ".join(f"data.{name}=0" for name in wanted)


def swap_mentions(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Sentences in which every mention is another one of its type and language, without labels.

    A mention that is the only one of its type in its language stays. Others are drawn from the
    different ones, rare or not. Each language has as large a share of the texts as of the sentences
    in which a mention can change, and no sentence is used again before all others of its language.

    Args:
        examples: tagged sentences with legal IOB2 tags.

    Raises:
        InputError: texts are wanted, and no mention can change.
    """
    if not count:
        return []
    spans = [find_spans(example.labels or ()) for example in examples]
    places: dict[tuple[str, str], dict[_Mention, int]] = {}  # by language and type
    for example, here in zip(examples, spans, strict=True):
        for first, after, type_ in here:
            of_type = places.setdefault((example.language, type_), {})
            of_type.setdefault(example.inputs[first:after], len(of_type))
    mentions = {key: list(of_type) for key, of_type in places.items()}
    usable = [
        index
        for index, (example, here) in enumerate(zip(examples, spans, strict=True))
        if any(len(mentions[example.language, type_]) > 1 for *_, type_ in here)
    ]
    if not usable:
        raise InputError(
            f"data.swapped is {count}, but the training sentences have no two different mentions "
            "of one type and language: set data.swapped=0."
        )
    generator = np.random.default_rng([seed, _SWAPPED])
    made = []
    for index in _draw_evenly(examples, usable, count, generator):
        example, words, at = examples[index], list[str](), 0
        for first, after, type_ in spans[index]:
            key = (example.language, type_)
            own = places[key][example.inputs[first:after]]
            other = _draw_other(own, len(mentions[key]), generator)
            words += (*example.inputs[at:first], *mentions[key][other])
            at = after
        made.append(Example((*words, *example.inputs[at:]), None, example.language))
    return made


def splice_sentences(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Sentences made of the beginning of one and the end of another, both of one language.

    Both are cut between words, at places that are equally probable, and neither is used whole
    unless it has a single word. Each language has as large a share of the texts as of the
    sentences, and no sentence begins a text again before all others of its language.

    Args:
        examples: sentences, with tags or without.

    Raises:
        InputError: texts are wanted, and no language has two sentences.
    """
    if not count:
        return []
    names, codes = number_languages(examples)
    members = [np.flatnonzero(codes == language) for language in range(len(names))]
    usable = [index for index, code in enumerate(codes) if len(members[code]) > 1]
    if not usable:
        raise InputError(
            f"data.spliced is {count}, but no language has two sentences: set data.spliced=0."
        )
    generator = np.random.default_rng([seed, _SPLICED])
    place = {int(index): at for here in members for at, index in enumerate(here)}
    made = []
    for index in _draw_evenly(examples, usable, count, generator):
        here = members[codes[index]]
        other = examples[here[_draw_other(place[index], len(here), generator)]].inputs
        begin = examples[index].inputs
        begin = begin[: _draw_cut(len(begin), generator)]
        end = other[_draw_cut(len(other), generator) :] if len(other) > 1 else other
        made.append(Example((*begin, *end), None, examples[index].language))
    return made


def replace_words(examples: Sequence[Example], count: int, kind: str, seed: int) -> list[Example]:
    """Texts in which words are other words of their language, wherever they stand.

    Each word is replaced with probability 0.3, and at least one of a text is. Others are drawn
    from the different words of the language, rare or not, as in the data augmentation of TinyBERT
    (Jiao et al. 2020), but without a language model that chooses them. Each language has as large
    a share of the texts as of those that are given, and none is used again before all others of
    its language.

    Args:
        examples: with labels or without.
        kind: of the task. The words of texts that are classified are their units with letters or
            digits that have a blank before them, or nothing, and no letter or digit behind them;
            the rest stays.

    Raises:
        InputError: texts are wanted, and no language has two words.
    """
    if not count:
        return []
    places: dict[str, dict[str, int]] = {}  # of the words of a language
    for example in examples:
        of_language = places.setdefault(example.language, {})
        for word in _list_words(example, kind):
            of_language.setdefault(word, len(of_language))
    words = {language: list(of_language) for language, of_language in places.items()}
    usable = [
        index
        for index, example in enumerate(examples)
        if len(words[example.language]) > 1 and _list_words(example, kind)
    ]
    if not usable:
        raise InputError(
            f"data.replaced is {count}, but no language has two different words, with blanks "
            "between words: set data.replaced=0."
        )
    generator = np.random.default_rng([seed, _REPLACED])
    made = []
    for index in _draw_evenly(examples, usable, count, generator):
        example, language = examples[index], examples[index].language
        here = _list_words(example, kind)
        replaced = generator.random(len(here)) < _SHARE
        replaced[generator.integers(len(here))] |= not replaced.any()
        for place in np.flatnonzero(replaced):
            own = places[language][here[place]]
            here[place] = words[language][_draw_other(own, len(words[language]), generator)]
        following = iter(here)
        inputs = tuple(_put_words(text, kind, following) for text in example.inputs)
        made.append(Example(inputs, None, language))
    return made


def _list_words(example: Example, kind: str) -> list[str]:
    """The words of all inputs."""
    return [text[start:end] for text in example.inputs for start, end in _cut_input(text, kind)]


def _put_words(text: str, kind: str, words: Iterator[str]) -> str:
    """An input with the next of `words` in the place of its own."""
    parts, at = list[str](), 0
    for start, end in _cut_input(text, kind):
        parts += (text[at:start], next(words))
        at = end
    return "".join((*parts, text[at:]))


def _cut_input(text: str, kind: str) -> list[tuple[int, int]]:
    """(start, end) of the words of an input: a word of a sentence is one, a text has several."""
    if kind == "tagging":
        return [(0, len(text))]
    # A tokenizer may cut a word otherwise where it does not begin behind a blank, and other words
    # would join what stands next to them.
    return [
        (start, end)
        for start, end in find_units(text)
        if any(map(str.isalnum, text[start:end]))
        and (start == 0 or text[start - 1].isspace())
        and not text[end : end + 1].isalnum()
    ]


def _draw_evenly(
    examples: Sequence[Example], usable: Sequence[int], count: int, generator: np.random.Generator
) -> list[int]:
    """`count` of the usable indices: languages in proportion to them, in laps within a language."""
    _, codes = number_languages([examples[index] for index in usable])
    sizes = np.bincount(codes)
    quota, rest = np.divmod(count * sizes, sizes.sum())
    # The largest remainders get the texts that are left, those of the first languages among equals.
    quota[np.argsort(-rest, kind="stable")[: count - quota.sum()]] += 1
    drawn: list[int] = []
    for language, wanted in enumerate(quota.tolist()):
        here = np.array(usable)[codes == language]
        for first in range(0, wanted, len(here)):
            drawn += generator.permutation(here)[: wanted - first].tolist()
    return drawn


def _draw_other(own: int, count: int, generator: np.random.Generator) -> int:
    """One of `count` places but the own one, unless there is no other."""
    if count == 1:
        return own
    drawn = int(generator.integers(count - 1))
    return drawn + (drawn >= own)


def _draw_cut(words: int, generator: np.random.Generator) -> int:
    """A place between two of so many words; behind the first one if there is no second."""
    return int(generator.integers(1, max(2, words)))
