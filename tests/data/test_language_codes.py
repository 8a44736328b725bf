"""Languages before labels: which names are codes, and how they are spelt."""

import pytest

from xdistil.data.language_codes import fold_language, is_language


@pytest.mark.parametrize(
    "name", ["en", "EN", "zh-Hans", "pt_BR", "deu", "ger", "yue", "ace_Arab", "simple", "be-x-old"]
)
def test_codes_of_iso_639_and_of_corpora_are_languages(name):
    assert is_language(name)


@pytest.mark.parametrize("name", ["", "neg", "pos", "topic", "x", "english", "e n", "en-", "12"])
def test_other_names_are_none(name):
    assert not is_language(name)


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("EN", "en"),
        ("zh-hans", "zh-Hans"),
        ("pt-br", "pt-BR"),
        ("ACE_arab", "ace_Arab"),
        ("sr-LATN-rs", "sr-Latn-RS"),
        ("be-x-old", "be-x-old"),
        ("English", "English"),
        ("und", "und"),
    ],
)
def test_every_code_has_one_spelling(name, folded):
    assert fold_language(name) == folded
    assert fold_language(folded) == folded
