"""Tokenizers of all families against AutoTokenizer."""

import json
import os
import sys
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from tests.data.conftest import SPECIAL as BRACKETS
from tests.data.conftest import TEXT
from xdistil.data import tokenizer as tokenizer_module
from xdistil.data.examples import Example, Task
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer, save_tokenizer, tell_damage
from xdistil.errors import InputError, StoppedError

TAGGING = Task("tagging", ("O",))
CLASSES = Task("classification", ("no", "yes"))
LETTERS = "abcdefghijklmnopqrstuvwxyzé中."
# The model type that a folder may name beside a tokenizer; Multilingual-MiniLM is a BERT.
KINDS = (
    *("roberta", "xlm-roberta", "xlm-roberta in a bert", "deberta-v2", "rembert"),
    *("gpt2", "modernbert", "gemma in a modernbert"),
)
SPECIAL = {  # subwords around and between two texts
    "roberta": ["<s>", "</s>", "</s>", "</s>"],
    "xlm-roberta": ["<s>", "</s>", "</s>", "</s>"],
    "deberta-v2": ["[CLS]", "[SEP]", "[SEP]"],
    "rembert": ["[CLS]", "[SEP]", "[SEP]"],
    "gpt2": [],
    "modernbert": ["[CLS]", "[SEP]", "[SEP]"],
    "gemma": ["<bos>", "<eos>", "<eos>"],
}


def make_byte_bpe(kind: str) -> transformers.PreTrainedTokenizerBase:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens={"roberta": special, "gpt2": ["<|endoftext|>"]}.get(kind, BRACKETS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    if kind == "modernbert":
        return wrap(backend, "[CLS]", "[SEP]", "[PAD]", "[UNK]")
    make = transformers.RobertaTokenizer if kind == "roberta" else transformers.GPT2Tokenizer
    return make(vocab=model["vocab"], merges=merges)


def make_gemma() -> transformers.PreTrainedTokenizerBase:
    """Gemma's kind: spaces are characters of the text, and none is put before a word."""
    vocabulary = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS, "th", "he", "the", "▁the"]
    merges = [("t", "h"), ("h", "e"), ("th", "e"), ("▁", "the")]
    ids = {subword: index for index, subword in enumerate(vocabulary)}
    backend = Backend(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return wrap(backend, "<bos>", "<eos>", "<pad>", "<unk>")


def wrap(
    backend: Backend, begin: str, end: str, pad: str, unk: str
) -> transformers.PreTrainedTokenizerBase:
    backend.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B {end}",
        special_tokens=[(subword, backend.token_to_id(subword)) for subword in (begin, end)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        cls_token=begin,
        sep_token=end,
        pad_token=pad,
        unk_token=unk,
        model_input_names=["input_ids", "attention_mask"],
    )


def make_unigram(kind: str) -> transformers.PreTrainedTokenizerBase:
    subwords = [("▁", -1.0), ("he", -1.5), ("▁the", -2.0), *((letter, -3.0) for letter in LETTERS)]
    if kind == "deberta-v2":
        special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
        vocabulary = [(subword, 0.0) for subword in special] + subwords
        return transformers.DebertaV2Tokenizer(vocab=vocabulary, unk_id=3)
    if kind == "rembert":
        special = ["<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
        return transformers.RemBertTokenizer(
            vocab=[*((subword, 0.0) for subword in special), *subwords]
        )
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [*((subword, 0.0) for subword in special), *subwords, ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=vocabulary)


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as those on the hub: tokenizer files and the model's config.json."""
    kind = request.param.split()[0]
    path = tmp_path_factory.mktemp(kind)
    if kind == "gemma":
        tokenizer = make_gemma()
    elif kind in ("roberta", "gpt2", "modernbert"):
        tokenizer = make_byte_bpe(kind)
    else:
        tokenizer = make_unigram(kind)
    tokenizer.save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": request.param.split()[-1]}))
    return path


def name_kind(folder: Path) -> str:
    """The kind of a folder's tokenizer: the folder's name without the number at its end."""
    return folder.name[:-1]


def cannot_prefix_spaces(folder: Path) -> bool:
    """Whether AutoTokenizer cannot put a space before each word, but only read it in a text."""
    return name_kind(folder) in ("modernbert", "gemma")


def assert_equal_to_auto(tokenizer: Tokenizer, folder: Path, words: bool) -> None:
    """Sentences of words, or texts and pairs, have the subwords of AutoTokenizer."""
    # Told to, RoBERTa's puts a space before each word; the others always do.
    auto = AutoTokenizer.from_pretrained(folder, **({"add_prefix_space": True} if words else {}))
    sentences = [("the", "teacher", "read", "中", "thé"), ("new", "york.")]
    if words:
        found = sentences
        if cannot_prefix_spaces(folder):
            expected = [auto(" " + " ".join(each)) for each in sentences]
        else:
            expected = [auto(list(each), is_split_into_words=True) for each in sentences]
    else:
        found = [("the large  teacher", "read the"), ("中 reads", "é.")]
        expected = [auto(*each) for each in found]
        found += [(" ".join(each),) for each in sentences]
        expected += [auto(*each) for each in found[2:]]
    for inputs, theirs in zip(found, expected, strict=True):
        task = TAGGING if words else CLASSES
        subwords = tokenize([Example(inputs, None, "und")], task, tokenizer, Cutting(99))
        assert subwords.tokens.tolist() == theirs["input_ids"]
        types = theirs.get("token_type_ids", [0] * len(subwords.tokens))
        assert subwords.token_type.tolist() == types


@pytest.mark.parametrize("words", [True, False])
def test_subwords_are_those_of_autotokenizer(folder: Path, words: bool) -> None:
    assert_equal_to_auto(load_tokenizer(str(folder), words=words), folder, words)


@pytest.mark.parametrize("words", [True, False])
def test_a_saved_tokenizer_gives_the_same_subwords(
    folder: Path, words: bool, tmp_path: Path
) -> None:
    save_tokenizer(load_tokenizer(str(folder), words=words), tmp_path)
    # A student is a BERT whatever its tokenizer.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert_equal_to_auto(load_tokenizer(str(tmp_path), words=words), folder, words)
    text = "the teacher reads"
    ours, theirs = (
        AutoTokenizer.from_pretrained(path, **settings)(text)["input_ids"]
        for path, settings in (
            (tmp_path, {}),
            (folder, {"add_prefix_space": True} if words else {}),
        )
    )
    if words and cannot_prefix_spaces(folder):
        theirs = AutoTokenizer.from_pretrained(folder)(f" {text}")["input_ids"]
    assert ours == theirs


@pytest.mark.parametrize("packages", [True, False])
def test_a_sentencepiece_model_that_cannot_be_converted_is_refused(
    packages: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"no model")
    for name in ("is_sentencepiece_available", "is_protobuf_available"):
        monkeypatch.setattr(f"transformers.utils.{name}", lambda: packages)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    ending = "is damaged." if packages else "pip install 'xdistil[sentencepiece]'."
    assert str(caught.value).startswith(f"'{tmp_path}' has its tokenizer as a SentencePiece model")
    assert str(caught.value).endswith(ending)


def test_a_signal_while_a_tokenizer_is_opened_is_no_damage() -> None:
    with pytest.raises(StoppedError), tell_damage("folder"):
        raise StoppedError("SIGTERM")
    with pytest.raises(InputError, match="'folder' has no tokenizer"), tell_damage("folder"):
        raise RuntimeError("broken")


def test_the_subwords_around_two_texts_are_those_of_the_family(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    subwords = tokenize([Example(("the", "the"), None, "und")], CLASSES, tokenizer, Cutting(99))
    names = [tokenizer.backend.id_to_token(subword) for subword in subwords.tokens.tolist()]
    kind = name_kind(folder)
    assert [name for name in names if name[0] in "<["] == SPECIAL[kind]
    if "roberta" in kind:
        assert (tokenizer.cls, tokenizer.pad, tokenizer.sep, tokenizer.unk) == (0, 1, 2, 3)


def test_transformers_does_not_report_at_its_import_that_pytorch_is_missing(monkeypatch):
    said = []

    def import_module(name):
        said.append(os.environ["TRANSFORMERS_VERBOSITY"])
        return transformers

    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    monkeypatch.delitem(sys.modules, "transformers")
    monkeypatch.setattr(tokenizer_module.importlib, "import_module", import_module)
    tokenizer_module._import_transformers()
    assert said == ["error"]
    assert "TRANSFORMERS_VERBOSITY" not in os.environ
