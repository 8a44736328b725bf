"""Pieces of the tokenizers of RoBERTa, XLM-RoBERTa and DeBERTa against AutoTokenizer's answer."""

import json
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from tests.data.conftest import TEXT
from xdistil.data.examples import Example, Task
from xdistil.data.pieces import Tokenizer, cut_pieces, load_tokenizer, save_tokenizer
from xdistil.errors import InputError

TAGGING = Task("tagging", ("O",))
CLASSES = Task("classification", ("no", "yes"))
LETTERS = "abcdefghijklmnopqrstuvwxyzé中."
# The model type that a folder may name beside a tokenizer; Multilingual-MiniLM is a BERT.
KINDS = ("roberta", "xlm-roberta", "xlm-roberta in a bert", "deberta-v2")


def make_byte_bpe() -> transformers.PreTrainedTokenizerBase:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges)


def make_unigram(kind: str) -> transformers.PreTrainedTokenizerBase:
    pieces = [("▁", -1.0), ("he", -1.5), ("▁the", -2.0), *((letter, -3.0) for letter in LETTERS)]
    if kind == "deberta-v2":
        special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
        vocabulary = [(piece, 0.0) for piece in special] + pieces
        return transformers.DebertaV2Tokenizer(vocab=vocabulary, unk_id=3)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [*((piece, 0.0) for piece in special), *pieces, ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=vocabulary)


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder such as those on the hub: tokenizer files and the model's config.json."""
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer = make_byte_bpe() if request.param == "roberta" else make_unigram(request.param)
    tokenizer.save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": request.param.split()[-1]}))
    return path


def assert_cut_as_auto(tokenizer: Tokenizer, folder: Path, words: bool) -> None:
    """Sentences of words, or texts and pairs, are cut as AutoTokenizer cuts them."""
    # Told to, RoBERTa's puts a space before each word; the others always do.
    auto = AutoTokenizer.from_pretrained(folder, **({"add_prefix_space": True} if words else {}))
    sentences = [("the", "teacher", "read", "中", "thé"), ("new", "york.")]
    if words:
        found = sentences
        expected = [auto(list(each), is_split_into_words=True) for each in sentences]
    else:
        found = [("the large  teacher", "read the"), ("中 reads", "é.")]
        expected = [auto(*each) for each in found]
        found += [(" ".join(each),) for each in sentences]
        expected += [auto(*each) for each in found[2:]]
    for inputs, theirs in zip(found, expected, strict=True):
        task = TAGGING if words else CLASSES
        pieces = cut_pieces([Example(inputs, None, "und")], task, tokenizer, 99)
        assert pieces.tokens.tolist() == theirs["input_ids"]
        types = theirs.get("token_type_ids", [0] * len(pieces.tokens))
        assert pieces.token_type.tolist() == types


@pytest.mark.parametrize("words", [True, False])
def test_pieces_are_those_of_autotokenizer(folder: Path, words: bool) -> None:
    assert_cut_as_auto(load_tokenizer(str(folder), words=words), folder, words)


@pytest.mark.parametrize("words", [True, False])
def test_a_saved_tokenizer_cuts_as_it_did(folder: Path, words: bool, tmp_path: Path) -> None:
    save_tokenizer(load_tokenizer(str(folder), words=words), tmp_path)
    # A student is a BERT whatever its tokenizer.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert_cut_as_auto(load_tokenizer(str(tmp_path), words=words), folder, words)
    text = "the teacher reads"
    ours, theirs = (
        AutoTokenizer.from_pretrained(path, **settings)(text)["input_ids"]
        for path, settings in (
            (tmp_path, {}),
            (folder, {"add_prefix_space": True} if words else {}),
        )
    )
    assert ours == theirs


@pytest.mark.parametrize("packages", [True, False])
def test_a_sentencepiece_model_that_cannot_be_converted_is_refused(
    packages: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"no model")
    for name in ("is_sentencepiece_available", "is_protobuf_available"):
        monkeypatch.setattr(f"xdistil.data.pieces.{name}", lambda: packages)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    ending = "is damaged." if packages else "pip install 'xdistil[sentencepiece]'."
    assert str(caught.value).startswith(f"'{tmp_path}' has its tokenizer as a SentencePiece model")
    assert str(caught.value).endswith(ending)


def test_the_specials_of_robertas_are_theirs(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    pieces = cut_pieces([Example(("the", "the"), None, "und")], CLASSES, tokenizer, 99)
    names = [tokenizer.backend.id_to_token(piece) for piece in pieces.tokens.tolist()]
    special = [name for name in names if name[0] in "<["]
    if "[CLS]" in special:
        assert special == ["[CLS]", "[SEP]", "[SEP]"]
    else:
        assert special == ["<s>", "</s>", "</s>", "</s>"]
        assert (tokenizer.cls, tokenizer.pad, tokenizer.sep, tokenizer.unk) == (0, 1, 2, 3)
