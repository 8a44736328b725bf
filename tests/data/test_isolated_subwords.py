"""Texts of one subword: what a tokenizer makes of the subword alone."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.test_tokenizer import make_unigram
from tests.models.samples import make_tiny_tokenizer
from xdistil.data.isolated_subwords import isolate_subwords
from xdistil.data.tokenizer import Template, Tokenizer, load_tokenizer, read_template


def open_tokenizer(kind: str, folder: Path) -> Tokenizer:
    if kind == "bert":
        return make_tiny_tokenizer()
    make_unigram(kind).save_pretrained(folder)
    return load_tokenizer(str(folder))


@pytest.mark.parametrize(("kind", "whole"), [("bert", 24), ("xlm-roberta", 1)])
def test_a_text_is_what_the_tokenizer_makes_of_its_subword(
    kind: str, whole: int, tmp_path: Path
) -> None:
    """Of the subwords that a text can consist of: letters, and the word `the`."""
    tokenizer = open_tokenizer(kind, tmp_path)
    texts = isolate_subwords(read_template(tokenizer, pair=False), tokenizer.vocabulary_size)
    assert texts.example.tolist() == list(range(tokenizer.vocabulary_size))
    found = 0
    for id in range(tokenizer.vocabulary_size):
        encoding = tokenizer.backend.encode(tokenizer.backend.decode([id]))
        segment = slice(*texts.start[id : id + 2])
        if len(encoding.ids) == 3 and encoding.ids[1] == id:
            assert texts.tokens[segment].tolist() == encoding.ids
            assert texts.token_type[segment].tolist() == encoding.type_ids
            found += 1
        assert id in texts.tokens[segment]
    assert found == whole


def test_without_special_subwords_each_is_a_whole_text() -> None:
    none = np.zeros(0, np.int32)
    texts = isolate_subwords(Template((none, none), (none, none), (0,)), 4)
    assert texts.tokens.tolist() == [0, 1, 2, 3]
    assert texts.start.tolist() == [0, 1, 2, 3, 4]
    assert not texts.label_mask.any()
    assert (texts.word == -1).all()
