"""Fast tokenizers: opened, made and saved, and the template of special subwords around texts."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
from tokenizers import normalizers, pre_tokenizers, processors

from xdistil.errors import InputError
from xdistil.runtime.json_io import read_json, write_json, write_text

if TYPE_CHECKING:  # imported where it is used: folders with a tokenizer.json open without it
    from transformers import PreTrainedTokenizerBase

_TYPES = "token_type_ids"
_ROLES = ("cls", "sep", "pad", "unk", "mask")
_UNKNOWN = "\u2603\U000e0fff \U000f1234\U000f1235"  # not likely to be in a vocabulary


@dataclass(frozen=True)
class Tokenizer:
    """A fast tokenizer that neither truncates nor pads."""

    backend: tokenizers.Tokenizer
    # transformers' object around the backend, which can save it; None: opened without it
    wrapper: Any
    source: str  # folder or hub id it came from
    cls: int | None  # ids of the special subwords; None if the tokenizer has none
    sep: int | None
    pad: int  # 0 if the tokenizer has no padding subword
    unk: int | None
    mask: int | None
    vocabulary_size: int  # ids lie in 0..vocabulary_size-1
    typed: bool  # whether its models read token types


@dataclass(frozen=True)
class Template:
    """The special subwords of one text or two: before the first, (between,) after the last."""

    special: tuple[np.ndarray, ...]  # i32, possibly empty
    special_type: tuple[np.ndarray, ...]  # i8
    text_type: tuple[int, ...]  # of each text

    @property
    def count(self) -> int:
        """Special subwords in all."""
        return sum(map(len, self.special))


def load_tokenizer(name: str, revision: str = "main", words: bool = False) -> Tokenizer:
    """Opens the fast tokenizer of an HF folder or hub id.

    With `words` it is used on single words, not texts. Byte-level subwords (RoBERTa, GPT-2) and
    those of Gemma (mmBERT) are different after a space, so a space is put before every word, as
    `add_prefix_space=True` of HF does for the byte-level ones.

    If the folder has only a SentencePiece model, it is converted; `save_tokenizer` then writes a
    tokenizer.json.

    Raises:
        InputError: no such folder or hub id, no fast tokenizer, a SentencePiece model without the
            packages that convert it, or a tokenizer that fails on some texts.
    """
    transformers_log = _import_transformers().utils.logging
    verbosity = transformers_log.get_verbosity()
    transformers_log.set_verbosity_error()  # no warning about a student's model type
    try:
        with tell_damage(name):
            wrapper = _open_wrapper(name, revision)
    finally:
        transformers_log.set_verbosity(verbosity)
    if not wrapper.is_fast:
        raise InputError(
            f"{name!r} has no fast tokenizer: name a folder or hub id with a tokenizer.json in "
            "teacher.tokenizer."
        )
    with tell_damage(name):
        _surround_texts(wrapper)
        if words and _prefix_spaces(wrapper.backend_tokenizer):
            # Some classes rebuild their backend from this when the saved folder is opened.
            wrapper.add_prefix_space = True
        # transformers invents a tokenizer if a folder has no file of one.
        return _check(_wrap(wrapper, name), wrapper.all_special_tokens)


def open_tokenizer(folder: Path, words: bool = False) -> Tokenizer:
    """Opens the tokenizer.json of a folder without transformers; it cannot be saved.

    The folder is one that `save_tokenizer` wrote; see `load_tokenizer` for `words`.

    Raises:
        InputError: no such file, a damaged one, or a tokenizer that fails on some texts.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InputError(f"{folder} has no tokenizer.json.")
    settings = read_json(folder / "tokenizer_config.json")
    with tell_damage(str(folder)):
        backend = tokenizers.Tokenizer.from_file(str(path))
        _clear(backend)
        if words:
            _prefix_spaces(backend)
        tokens = {role: _read_special(settings, f"{role}_token") for role in _ROLES}
        ids = {role: token and backend.token_to_id(token) for role, token in tokens.items()}
        tokenizer = Tokenizer(
            backend=backend,
            wrapper=None,
            source=str(folder),
            cls=ids["cls"],
            sep=ids["sep"],
            pad=ids["pad"] or 0,
            unk=ids["unk"],
            mask=ids["mask"],
            vocabulary_size=_count_subwords(backend),
            typed=_TYPES in settings.get("model_input_names", [_TYPES]),
        )
        return _check(tokenizer, tokens.values())


def _import_transformers() -> ModuleType:
    # At its import it reports that PyTorch is missing; only its tokenizers are used here.
    if "transformers" in sys.modules or "TRANSFORMERS_VERBOSITY" in os.environ:
        return importlib.import_module("transformers")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    try:
        transformers = importlib.import_module("transformers")
    finally:
        del os.environ["TRANSFORMERS_VERBOSITY"]
    transformers.utils.logging.set_verbosity_warning()  # its default
    return transformers


def make_tokenizer(
    backend: tokenizers.Tokenizer,
    special: dict[str, str],
    inputs: Sequence[str] = ("input_ids", _TYPES, "attention_mask"),
    **settings: Any,
) -> Tokenizer:
    """A tokenizer from a backend.

    Args:
        special: special subwords by role, such as {"unk_token": "[UNK]", "pad_token": ...}.
        inputs: the names of the model inputs.
        settings: further arguments of transformers' tokenizers, such as model_max_length.
    """
    wrapper = _import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=list(inputs), **special, **settings
    )
    return _wrap(wrapper, "")


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Writes tokenizer.json and its configuration so that AutoTokenizer opens the folder."""
    _clear(tokenizer.backend)
    tokenizer.wrapper.save_pretrained(str(folder))
    path = Path(folder) / "tokenizer_config.json"
    settings = read_json(path)
    for name in ("is_local", "local_files_only", "max_length", "pad_to_multiple_of"):
        settings.pop(name, None)  # they depend on where and how it was opened
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name every release knows
    write_json(path, settings)
    # On one line: a quarter of the file that the library writes is white space.
    write_text(path.with_name("tokenizer.json"), tokenizer.backend.to_str())


def read_template(tokenizer: Tokenizer, pair: bool) -> Template:
    """The special subwords that a tokenizer puts around one text, or around two.

    Raises:
        InputError: its output does not have each text once.
    """

    def candidates() -> Iterator[str]:
        yield from "a1"
        yield from tokenizer.backend.get_vocab()  # slower than tokenising a text, so only if needed

    encode = tokenizer.backend.encode
    probe = next((text for text in candidates() if encode(text, add_special_tokens=False).ids), "")
    encoding = tokenizer.backend.encode(probe, probe if pair else None)
    ids, types = np.array(encoding.ids, np.int32), np.array(encoding.type_ids, np.int8)
    if not tokenizer.typed:
        types = np.zeros_like(types)  # its models do not read them
    is_text = np.array(encoding.special_tokens_mask) == 0
    # Runs of text subwords, each as [first, end); the subwords around them are special.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_text, [False]]).astype(np.int8)))
    if pair and len(edges) == 2:  # nothing between the texts
        middle = edges.sum() // 2
        edges = np.array([edges[0], middle, middle, edges[1]])
    if len(edges) != 2 + 2 * pair:
        raise InputError(
            f"The tokenizer of {tokenizer.source!r} does not give each text once: correct its "
            "normalizer and its post_processor."
        )
    borders = [0, *edges.tolist(), len(ids)]
    spans = [slice(borders[i], borders[i + 1]) for i in range(0, len(borders), 2)]
    return Template(
        special=tuple(ids[span] for span in spans),
        special_type=tuple(types[span] for span in spans),
        text_type=tuple(int(types[edge]) for edge in edges[::2]),
    )


@contextlib.contextmanager
def tell_damage(source: str) -> Iterator[None]:
    """Raises InputError for any error of a tokenizer in the block.

    Damaged files cause errors anywhere in two libraries, one of which panics in Rust.
    """
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200].rstrip(".: ")
        raise InputError(f"{source!r} has no tokenizer that can be used: {reason}.") from None


def _read_special(settings: dict[str, Any], name: str) -> Any:
    # A special subword is a string, or an object with its string under `content`.
    value = settings.get(name)
    return value.get("content") if isinstance(value, dict) else value


def _open_wrapper(name: str, revision: str) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        # Explicit, because otherwise it may ask on the terminal whether to run a folder's code.
        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        # transformers tries tiktoken last, after SentencePiece failed.
        if "tiktoken" in str(error).split("\n")[0][:200]:
            raise InputError(_explain_sentencepiece(name)) from None
        raise


def _explain_sentencepiece(name: str) -> str:
    from transformers.utils import is_protobuf_available, is_sentencepiece_available

    subject = f"{name!r} has its tokenizer as a SentencePiece model only, which"
    if is_sentencepiece_available() and is_protobuf_available():
        return f"{subject} is damaged."
    return f"{subject} must be converted: pip install 'xdistil[sentencepiece]'."


def _surround_texts(wrapper: "PreTrainedTokenizerBase") -> None:
    from transformers import RemBertTokenizer

    backend = wrapper.backend_tokenizer
    if isinstance(wrapper, RemBertTokenizer) and not backend.num_special_tokens_to_add(False):
        # Converted from a SentencePiece model, transformers 5.23's tokenizer puts nothing around
        # texts, although it names the subwords; after it is saved and opened again it does.
        begin, end = wrapper.cls_token, wrapper.sep_token
        backend.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}",
            pair=f"{begin} $A {end} $B:1 {end}:1",
            special_tokens=[(subword, backend.token_to_id(subword)) for subword in (begin, end)],
        )


def _prefix_spaces(backend: tokenizers.Tokenizer) -> bool:
    # Puts a space before every word in steps that can; returns whether an option of one changed.
    changed = False
    step = backend.pre_tokenizer
    steps: Any = step if isinstance(step, pre_tokenizers.Sequence) else (step,)
    for each in steps:
        if isinstance(each, pre_tokenizers.ByteLevel) and not each.add_prefix_space:
            each.add_prefix_space = changed = True
    own = backend.normalizer
    if own is not None and [own.normalize_str(text) for text in ("a", " a")] == ["a", "▁a"]:
        # Gemma and mmBERT mark the spaces of a text, and put none before a single word.
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), own])
    return changed


def _clear(backend: tokenizers.Tokenizer) -> None:
    backend.no_truncation()
    backend.no_padding()


def _check(tokenizer: Tokenizer, special: Iterable[Any]) -> Tokenizer:
    # A tokenizer from a file must have subwords and tokenise any text.
    backend, source = tokenizer.backend, tokenizer.source
    if not set(backend.get_vocab()) - set(special):
        raise InputError(f"{source!r} has no tokenizer: it has no subword but special ones.")
    backend.encode(_UNKNOWN)
    for pair in (False, True):
        for ids in read_template(tokenizer, pair).special:
            if len(ids) and ids.max() >= tokenizer.vocabulary_size:
                raise InputError(
                    f"The tokenizer of {source!r} puts subword {ids.max()} around texts, but its "
                    f"vocabulary has {tokenizer.vocabulary_size}: correct its post_processor."
                )
    return tokenizer


def _wrap(wrapper: "PreTrainedTokenizerBase", source: str) -> Tokenizer:
    backend = wrapper.backend_tokenizer
    _clear(backend)
    return Tokenizer(
        backend=backend,
        wrapper=wrapper,
        source=source,
        cls=wrapper.cls_token_id,
        sep=wrapper.sep_token_id,
        pad=wrapper.pad_token_id or 0,
        unk=wrapper.unk_token_id,
        mask=wrapper.mask_token_id,
        vocabulary_size=_count_subwords(backend),
        typed=_TYPES in wrapper.model_input_names,
    )


def _count_subwords(backend: tokenizers.Tokenizer) -> int:
    return max(backend.get_vocab(with_added_tokens=True).values()) + 1
