"""Rows for another tokenizer's subwords: worked out by hand from a teacher of a dozen subwords."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from xdistil.data import tokenizer
from xdistil.student.vocabulary_transfer import count_shared, transfer_vocabulary

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
TEACHER = [*SPECIAL.values(), "oslo", "in", "##in", "new", "##er", "b", "##s"]
ROWS = np.random.default_rng(0).normal(size=(len(TEACHER), 3)).astype(np.float32)
# A text, whether it begins a word, and the teacher's subwords of which its row is the mean.
EXPECTED = [
    ("oslo", True, ("oslo",)),
    ("Oslo", True, ("oslo",)),  # cased here, uncased there
    ("in", True, ("in",)),
    ("in", False, ("##in",)),
    ("IN", False, ("##in",)),
    ("newer", True, ("new", "##er")),  # cut by the teacher
    ("ins", False, ("in", "##s")),
    ("zz", True, ("[UNK]",)),
]


@pytest.fixture(scope="module")
def teacher() -> tokenizer.Tokenizer:
    """Uncased WordPiece."""
    return make_wordpiece(TEACHER, lowercase=True)


def make_wordpiece(names: list[str], lowercase: bool) -> tokenizer.Tokenizer:
    vocabulary = {subword: i for i, subword in enumerate(names)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(list(SPECIAL.values()))
    return tokenizer.make_tokenizer(backend, SPECIAL)


def make_unigram(names: list[str]) -> tokenizer.Tokenizer:
    backend = Tokenizer(models.Unigram([(name, -1.0) for name in names], unk_id=3))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    backend.add_special_tokens(list(special.values()))
    return tokenizer.make_tokenizer(backend, special)


def make_bytes(names: list[str]) -> tokenizer.Tokenizer:
    backend = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.decoder = decoders.ByteLevel()
    special = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    backend.add_special_tokens(list(special.values()))
    return tokenizer.make_tokenizer(backend, special)


@pytest.mark.parametrize("make", ["wordpiece", "unigram", "bytes"])
def test_a_subword_gets_its_row_or_the_mean_of_its_parts(teacher, make):
    others = ["<s>", "</s>", "<pad>", "<unk>"]
    written = {
        "wordpiece": [text if begins else f"##{text}" for text, begins, _ in EXPECTED],
        "unigram": [f"▁{text}" if begins else text for text, begins, _ in EXPECTED],
        "bytes": [f"Ġ{text}" if begins else text for text, begins, _ in EXPECTED],
    }[make]
    if make == "wordpiece":
        student = make_wordpiece([*written, *SPECIAL.values()], lowercase=False)
        others = [SPECIAL[f"{role}_token"] for role in ("cls", "sep", "pad", "unk")]
    else:
        student = (make_unigram if make == "unigram" else make_bytes)([*others, *written])
    rows = transfer_vocabulary(student, teacher, ROWS)
    assert rows.dtype == np.float32
    assert len(rows) == student.vocabulary_size
    roles = zip(others, ("[CLS]", "[SEP]", "[PAD]", "[UNK]"), strict=True)
    wanted = [*roles, *((p, names) for p, (_, _, names) in zip(written, EXPECTED, strict=True))]
    for subword, names in wanted:
        mean = np.mean([ROWS[TEACHER.index(n)] for n in np.atleast_1d(names)], axis=0)
        row = rows[student.backend.token_to_id(subword)]
        np.testing.assert_allclose(row, mean, rtol=1e-5, atol=1e-7, err_msg=subword)
    assert count_shared(student, teacher) == 3  # oslo, in, ##in
