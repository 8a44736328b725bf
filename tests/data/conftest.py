"""Small tokenizers of three kinds, each with its special subwords."""

import pytest
from hypothesis import settings
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from xdistil.data.tokenizer import make_tokenizer

settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TEXT = "the tiny student reads what the large teacher read, and learns: unlabelled texts suffice."


def build_wordpiece() -> Tokenizer:
    """Lower case, no accents, CJK characters alone; some whole words, and letters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?-'中文字"
    words = ["berlin", "ber", "##lin", "##in", "new", "york", "teacher", "reads"]
    subwords = dict.fromkeys([*SPECIAL, *letters, *("##" + letter for letter in letters), *words])
    backend = Tokenizer(
        models.WordPiece({subword: i for i, subword in enumerate(subwords)}, unk_token="[UNK]")
    )
    backend.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def build_byte_bpe() -> Tokenizer:
    """Bytes: no text is unknown; two separators between the texts of a pair, all of one type."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def build_plain_unigram() -> Tokenizer:
    """Words by spaces, one score for every letter; no special subwords around a text."""
    subwords = [("[UNK]", 0.0), ("▁", -1.0), ("he", -1.5), ("▁the", -2.0)]
    subwords += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    backend = Tokenizer(models.Unigram(subwords, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend


BUILDERS = {
    "wordpiece": build_wordpiece,
    "byte_bpe": build_byte_bpe,
    "plain_unigram": build_plain_unigram,
}


def wrap(name: str):
    special = {"unk_token": "[UNK]"}
    if name != "plain_unigram":
        special |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return make_tokenizer(BUILDERS[name](), special)


@pytest.fixture(scope="session")
def wordpiece():
    return wrap("wordpiece")


@pytest.fixture(scope="session", params=BUILDERS)
def any_tokenizer(request):
    return wrap(request.param)
