"""Trims a tokenizer: chooses the subwords that a vocabulary keeps, and removes the others.

A text whose subwords are all kept is still split into the same subwords:

- WordPiece takes the longest subword that matches, and it is still there. An unknown word stays
  unknown because of the same character, provided that every character of a subword is a subword
  itself, which trainers ensure.
- Unigram takes the segmentation of a text with the best sum of scores. Fewer subwords allow fewer
  segmentations and no new ones, so the best one is still the best. The cost of an unknown character
  depends on the lowest score of all, so a subword with that score is kept.
- BPE merges neighbours in the order of its merges. Inside a subword these do not depend on the
  text around it, so they are kept together with the subwords that they build on the way.

Other texts are split into shorter subwords, down to characters or bytes.
"""

import copy
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import tokenizers

from xdistil.data.examples import Example, Task
from xdistil.data.segmentation import SPACES
from xdistil.data.streamed import number_languages
from xdistil.data.subwords import Cutting, Subwords, tokenize_blocks
from xdistil.data.tokenizer import Tokenizer, make_tokenizer
from xdistil.errors import InputError, show

_UNLIMITED = 1 << 30  # subwords: longer than any text
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a byte of a character that is not a subword
# Settings of transformers' object around a tokenizer, other than its special subwords.
_SETTINGS = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces")


@dataclass(frozen=True)
class _Vocabulary:
    # The subwords of a tokenizer.json.
    spec: dict[str, Any]
    ids: dict[str, int]  # of the model; added tokens may follow it
    special: frozenset[int]  # added tokens, the unknown subword, the subwords around texts
    characters: dict[int, str]  # single characters by id; inside a word and at its start alike
    needed: frozenset[int]  # bytes, all characters of BPE, and the subword with the lowest score


def count_ids(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, segmentation: str = SPACES
) -> np.ndarray:
    """How often each subword id of the tokenizer occurs in the examples: i64[vocabulary_size].

    The texts are counted whole, whatever their length: where a text is cut to a maximum length,
    subwords behind the cut still decide where it is.
    """
    counts = np.zeros(tokenizer.vocabulary_size, np.int64)
    for part in tokenize_blocks(examples, task, tokenizer, Cutting(_UNLIMITED, segmentation)):
        counts += np.bincount(part.tokens, minlength=len(counts))
    return counts


def count_by_language(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer, segmentation: str = SPACES
) -> np.ndarray:
    """The same for each language, in the order of `number_languages`: i64[L,vocabulary_size]."""
    names, codes = number_languages(examples)
    counts = np.zeros((len(names), tokenizer.vocabulary_size), np.int64)
    for part in tokenize_blocks(examples, task, tokenizer, Cutting(_UNLIMITED, segmentation)):
        owner = np.repeat(codes[part.example], np.diff(part.start))
        np.add.at(counts, (owner, part.tokens), 1)
    return counts


def renumber(subwords: Subwords, kept: np.ndarray) -> Subwords:
    """The same subwords by their index in `kept` i32[v], ascending ids that include them all."""
    return replace(subwords, tokens=np.searchsorted(kept, subwords.tokens).astype(np.int32))


def choose_subwords(
    tokenizer: Tokenizer,
    counts: np.ndarray,
    least_count: int = 1,
    limit: int = 0,
    also: Sequence[int] = (),
    field: str = "the limit",
    by_language: bool = False,
) -> np.ndarray:
    """The ids that a trimmed vocabulary keeps, in the order of their new ids: i32[v].

    Special subwords and single characters are always kept (WordPiece: at the start of and within a
    word; byte-level BPE: the symbols of the 256 bytes). Special subwords keep their ids if these
    are below v; the others follow in their old order.

    Args:
        counts: i64[L,vocabulary_size] how often each subword occurs in texts of L languages, or
            i64[vocabulary_size] in all texts.
        least_count: subwords that occur less often are not kept.
        limit: the largest number of subwords, the most frequent ones; 0: no limit. A BPE subword
            that does not fit together with the subwords it is built of is skipped.
        also: ids to keep like special subwords.
        field: name of the limit in errors.
        by_language: what the limit keeps is most frequent in languages of the same weight: a
            subword's share of the texts of each language counts. Characters that the texts do not
            have come last, unless the tokenizer is BPE.

    Raises:
        InputError: a tokenizer that is not WordPiece, Unigram or BPE, one without its unknown
            subword, an id in `also` without a subword, or a limit below the number that is always
            kept.
    """
    vocabulary = _read_vocabulary(tokenizer)
    languages = np.atleast_2d(counts)
    counts = languages.sum(axis=0)
    known = set(tokenizer.backend.get_vocab(with_added_tokens=True).values())
    for id in also:
        if id not in known:
            raise InputError(
                f"The model of {tokenizer.source!r} names {id} as the id of a special subword, but "
                "its tokenizer has no such id: correct its config.json."
            )
    special = vocabulary.special | set(also)
    find_needed = _find_needed(vocabulary)
    ranks, characters = counts, set(vocabulary.characters)
    if by_language:
        texts = languages.sum(axis=1, keepdims=True)
        ranks = (languages / np.maximum(texts, 1)).sum(axis=0)
        characters = _list_characters(vocabulary, counts)
    later = sorted(vocabulary.characters.keys() - characters)
    kept: set[int] = set()
    for id in special | characters | vocabulary.needed:
        kept |= find_needed(id)
    if limit and limit < len(kept):
        raise InputError(
            f"{field} is {limit}, but {len(kept)} subwords of the tokenizer of "
            f"{tokenizer.source!r} are always kept, special ones and single characters: make it "
            f"{len(kept)} or more."
        )
    found = np.flatnonzero(counts >= max(1, least_count))
    order = found[np.argsort(-ranks[found], kind="stable")].tolist()
    for id in (*order, *later):
        if len(kept) == limit:
            break
        if id not in kept:
            needed = find_needed(id) - kept
            if not limit or len(kept) + len(needed) <= limit:
                kept |= needed
    return _arrange(kept, special, set(vocabulary.ids.values()))


def trim_tokenizer(tokenizer: Tokenizer, kept: np.ndarray) -> Tokenizer:
    """The tokenizer with only the subwords `kept` i32[v], numbered 0 to v-1 in this order.

    Raises:
        InputError: added tokens with ids that the library cannot represent after trimming.
    """
    spec = copy.deepcopy(_read_vocabulary(tokenizer).spec)
    new = {int(old): place for place, old in enumerate(kept)}
    _trim_model(spec["model"], new)
    for token in spec["added_tokens"]:
        token["id"] = new[token["id"]]
    spec["added_tokens"].sort(key=lambda token: token["id"])
    _renumber_around(spec["post_processor"], new)
    backend = tokenizers.Tokenizer.from_str(json.dumps(spec))
    before = tokenizer.backend.get_vocab(with_added_tokens=True)
    expected = {subword: new[id] for subword, id in before.items() if id in new}
    if backend.get_vocab(with_added_tokens=True) != expected:
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} numbers its added tokens in a way that cannot "
            "be kept when subwords are removed: give them the ids after its other subwords."
        )
    wrapper = tokenizer.wrapper
    special = {
        role: subword
        for role, subword in wrapper.special_tokens_map.items()
        if isinstance(subword, str)
    }
    settings = {name: getattr(wrapper, name) for name in _SETTINGS if hasattr(wrapper, name)}
    trimmed = make_tokenizer(backend, special, wrapper.model_input_names, **settings)
    return replace(trimmed, source=tokenizer.source)


def _read_vocabulary(tokenizer: Tokenizer) -> _Vocabulary:
    spec = json.loads(tokenizer.backend.to_str())
    model = spec["model"]
    kind = model["type"]
    if kind == "Unigram":
        ids = {subword: id for id, (subword, _) in enumerate(model["vocab"])}
        unknown = model["unk_id"]
    elif kind in ("WordPiece", "BPE"):
        ids, unknown = model["vocab"], model["vocab"].get(model["unk_token"])
    else:
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} is {kind}: only a vocabulary of WordPiece, "
            "Unigram or BPE can be trimmed; keep all of it."
        )
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if kind == "BPE" and any(model[name] for name in affixes):
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} is BPE with marks inside or at the end of a "
            f"word ({', '.join(show(model[name]) for name in affixes if model[name])}): such a "
            "vocabulary cannot be trimmed; keep all of it."
        )
    if unknown is None and kind != "BPE":  # byte-level BPE needs none
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} has no subword for unknown text: name a "
            "subword of its vocabulary in its tokenizer.json."
        )
    special = {token["id"] for token in spec["added_tokens"]} | _list_around(spec["post_processor"])
    special |= set(tokenizer.wrapper.all_special_ids)
    prefix = model["continuing_subword_prefix"] if kind == "WordPiece" else ""
    characters = {
        id: bare for subword, id in ids.items() if len(bare := subword.removeprefix(prefix)) == 1
    }
    needed = set(characters) if kind == "BPE" else set()
    if model.get("byte_fallback"):
        needed |= {id for subword, id in ids.items() if _BYTE.fullmatch(subword)}
    if kind == "Unigram":
        needed.add(min(range(len(ids)), key=lambda id: model["vocab"][id][1]))
    return _Vocabulary(
        spec,
        ids,
        frozenset(special if unknown is None else special | {unknown}),
        characters,
        frozenset(needed),
    )


def _list_characters(vocabulary: _Vocabulary, counts: np.ndarray) -> set[int]:
    # The ids of single characters that stand in a subword that occurs.
    occur = {
        character for subword, id in vocabulary.ids.items() if counts[id] for character in subword
    }
    return {id for id, character in vocabulary.characters.items() if character in occur}


def _find_needed(vocabulary: _Vocabulary) -> Callable[[int], set[int]]:
    # A function from a subword to the subwords that must be kept with it, including itself.
    model, ids = vocabulary.spec["model"], vocabulary.ids
    if model["type"] != "BPE":
        return lambda id: {id}
    ranks = {(first, second): rank for rank, (first, second) in enumerate(model["merges"])}
    subwords = {id: subword for subword, id in ids.items()}

    def find(id: int) -> set[int]:
        if id not in subwords:  # an added token
            return {id}
        built = _build(subwords[id], ranks, ids)
        return {id, *(ids[subword] for subword in built)} if subwords[id] in built else {id}

    return find


def _build(subword: str, ranks: dict[tuple[str, str], int], ids: dict[str, int]) -> list[str]:
    # The subwords that the merges build from a subword's characters, in this order. The last one is
    # the subword itself, unless no merges lead to it: then it needs no others, like an added token.
    parts: list[str] = []
    for character in subword:
        in_bytes = [f"<0x{byte:02X}>" for byte in character.encode("utf-8", "surrogatepass")]
        parts += [character] if character in ids else in_bytes
    built = [subword] if parts == [subword] else []
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, math.inf), i) for i, pair in enumerate(pairwise(parts)))
        if rank == math.inf:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        built.append(parts[at])
    return built


def _arrange(kept: set[int], special: frozenset[int] | set[int], own: set[int]) -> np.ndarray:
    # Special ids below the new size stay. Added tokens follow the subwords of the model, as the
    # library numbers them.
    inside, behind = sorted(kept & own), sorted(kept - own)
    pinned = {id for id in inside if id in special and id < len(inside)}
    others = (id for id in inside if id not in pinned)
    places = [place if place in pinned else next(others) for place in range(len(inside))]
    return np.array(places + behind, np.int32)


def _trim_model(model: dict[str, Any], new: dict[int, int]) -> None:
    if model["type"] == "Unigram":
        kept = sorted((new[id], entry) for id, entry in enumerate(model["vocab"]) if id in new)
        model["vocab"] = [entry for _, entry in kept]
        model["unk_id"] = new[model["unk_id"]]
        return
    vocab = {subword: new[id] for subword, id in model["vocab"].items() if id in new}
    model["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    if model["type"] == "BPE":
        model["merges"] = [
            [first, second]
            for first, second in model["merges"]
            if first in vocab and second in vocab and first + second in vocab
        ]


def _list_around(processor: dict[str, Any] | None) -> set[int]:
    """The ids that a post-processor puts around texts."""
    ids: set[int] = set()
    if processor:
        for part in processor.get("processors", []):  # a Sequence of post-processors
            ids |= _list_around(part)
        for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
            ids |= set(token["ids"])
        ids |= {processor[name][1] for name in ("cls", "sep") if name in processor}  # BERT, RoBERTa
    return ids


def _renumber_around(processor: dict[str, Any] | None, new: dict[int, int]) -> None:
    if processor:
        for part in processor.get("processors", []):
            _renumber_around(part, new)
        for token in processor.get("special_tokens", {}).values():
            token["ids"] = [new[id] for id in token["ids"]]
        for name in ("cls", "sep"):
            if name in processor:
                subword, id = processor[name]
                processor[name] = [subword, new[id]]
