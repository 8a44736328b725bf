"""Fewer subwords: which ones a vocabulary keeps, and the tokenizer that is left.

A text whose subwords are all kept is cut as before, into the same subwords:

- WordPiece takes the longest subword that fits, and the longest is still there. A word stays
unknown
  for the character that made it so, as long as the characters of all subwords are subwords
  themselves, which trainers see to.
- Unigram takes the way through a text with the best sum of scores. Fewer subwords leave fewer ways,
  none of them new, so that the best is still the best. What an unknown character costs hangs on the
  lowest score of all: a subword that has it stays.
- BPE joins neighbours in the order of its merges. Inside of a subword it joins the same ones
whatever
  stands around it, so that these merges and what they build on the way stay with it.

Other texts fall back to shorter subwords, down to characters or bytes.
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
from xdistil.data.subwords import Subwords, tokenize
from xdistil.data.tokenizer import Tokenizer, make_tokenizer
from xdistil.errors import InputError, show

_UNLIMITED = 1 << 30  # subwords: longer than any text
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # what stands for a byte of a character that is no subword
# What transformers' object around a tokenizer knows beside its special subwords.
_SETTINGS = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces")


@dataclass(frozen=True)
class _Vocabulary:
    # What a tokenizer.json says of its subwords.
    spec: dict[str, Any]
    ids: dict[str, int]  # of the model; added tokens may stand behind
    special: frozenset[int]  # added tokens, the subword for unknown text, those around texts
    characters: frozenset[int]  # every character alone, and what stands for a byte


def count_ids(examples: Sequence[Example], task: Task, tokenizer: Tokenizer) -> np.ndarray:
    """How often each subword id of the tokenizer occurs in the examples: i64[vocabulary_size].

    The texts are counted whole, whatever their length: where a text is cut to a maximum length,
    subwords behind the cut still decide where it is.
    """
    subwords = tokenize(examples, task, tokenizer, max_length=_UNLIMITED)
    return np.bincount(subwords.tokens, minlength=tokenizer.vocabulary_size)


def renumber(subwords: Subwords, kept: np.ndarray) -> Subwords:
    """The same subwords, each by its place among `kept` i32[v], ascending ids that hold them
    all."""
    return replace(subwords, tokens=np.searchsorted(kept, subwords.tokens).astype(np.int32))


def choose_subwords(
    tokenizer: Tokenizer,
    counts: np.ndarray,
    least_count: int = 1,
    limit: int = 0,
    also: Sequence[int] = (),
    field: str = "the limit",
) -> np.ndarray:
    """The ids that a trimmed vocabulary keeps, the place of each being its new id: i32[v].

    Always kept are special subwords and single characters (WordPiece: at the start and within a
    word; byte-level BPE: the symbols of the 256 bytes). Special subwords keep their ids if these
    are below v; the others follow in their old order.

    Args:
        counts: i64[vocabulary_size] how often each subword occurs.
        least_count: subwords that occur less often are not kept.
        limit: how many subwords are kept at most, the most frequent ones; 0: any number. A subword
        of
            BPE for which there is no room with all that it is built of gives way to the next.
        also: ids that are kept as special subwords are.
        field: the name of the limit in an error.

    Raises:
        InputError: a tokenizer of another kind than WordPiece, Unigram and BPE, one without its
            unknown subword, an id of `also` that is none of a subword, or a limit below what always
            stays.
    """
    vocabulary = _read_vocabulary(tokenizer)
    known = set(tokenizer.backend.get_vocab(with_added_tokens=True).values())
    for id in also:
        if id not in known:
            raise InputError(
                f"The model of {tokenizer.source!r} names {id} as the id of a special subword, "
                "which is none of its tokenizer: correct its config.json."
            )
    special = vocabulary.special | set(also)
    find_needed = _find_needed(vocabulary)
    kept: set[int] = set()
    for id in special | vocabulary.characters:
        kept |= find_needed(id)
    if limit and limit < len(kept):
        raise InputError(
            f"{field} is {limit}, but {len(kept)} subwords of the tokenizer of "
            f"{tokenizer.source!r} always stay, the special ones and single characters: "
            f"make it {len(kept)} or more."
        )
    for id in np.argsort(-counts, kind="stable").tolist():
        if counts[id] < max(1, least_count) or len(kept) == limit:
            break
        if id not in kept:
            needed = find_needed(id) - kept
            if not limit or len(kept) + len(needed) <= limit:
                kept |= needed
    return _arrange(kept, special, set(vocabulary.ids.values()))


def trim_tokenizer(tokenizer: Tokenizer, kept: np.ndarray) -> Tokenizer:
    """The same tokenizer with the subwords `kept` i32[v] alone, numbered 0 to v-1 in that order.

    Raises:
        InputError: ids under which the library does not open its added tokens again.
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
            "be kept when subwords are dropped: give them the ids behind its other subwords."
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
            f"The tokenizer of {tokenizer.source!r} is {kind}: a vocabulary of WordPiece, Unigram "
            "or BPE can be trimmed; keep all of it."
        )
    affixes = ("continuing_subword_prefix", "end_of_word_suffix")
    if kind == "BPE" and any(model[name] for name in affixes):
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} is BPE with marks inside or at the end of a "
            f"word ({', '.join(show(model[name]) for name in affixes if model[name])}), of which a "
            "vocabulary cannot be trimmed; keep all of it."
        )
    if unknown is None and kind != "BPE":  # a BPE of bytes needs none
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} has no subword for unknown text: name one "
            "in its tokenizer.json that is in its vocabulary."
        )
    special = {token["id"] for token in spec["added_tokens"]} | _list_around(spec["post_processor"])
    special |= set(tokenizer.wrapper.all_special_ids)
    prefix = model["continuing_subword_prefix"] if kind == "WordPiece" else ""
    characters = {id for subword, id in ids.items() if len(subword.removeprefix(prefix)) == 1}
    if model.get("byte_fallback"):
        characters |= {id for subword, id in ids.items() if _BYTE.fullmatch(subword)}
    if kind == "Unigram":
        characters.add(min(range(len(ids)), key=lambda id: model["vocab"][id][1]))
    return _Vocabulary(
        spec,
        ids,
        frozenset(special if unknown is None else special | {unknown}),
        frozenset(characters),
    )


def _find_needed(vocabulary: _Vocabulary) -> Callable[[int], set[int]]:
    # A function from a subword to the subwords that it cannot be without, itself among them.
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
    # What the merges build of a subword's characters, in that order; the subword itself at the end,
    # unless no way leads to it: then it stands only for itself, as added tokens do.
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
    # Special ids stay where there is room, and added tokens behind the model's own subwords, for
    # the library numbers them so.
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
