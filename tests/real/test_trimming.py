"""On manylang, 69 languages: texts are cut the same by what is left of a vocabulary, and answered
the same by a model with its rows alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from tests.models.samples import ROBERTA, make_encoder, make_params, run
from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch, pack
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids, trim_tokenizer
from xdistil.models.trim import trim_model

TAGGING = Task("tagging", ("O",))
TEXTS = Task("classification", ("O",))
LANGUAGES = ("ar", "de", "en", "ml", "th", "zh")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
ROWS = 4


@pytest.fixture(scope="module")
def sentences(data_folder: Path) -> list[Example]:
    corpus = read_corpus(Data(folder=str(data_folder / "manylang")), seed=0)
    return [Example(each.inputs, None, each.language) for each in corpus.dev]


def train(kind: str, sentences: list[Example]) -> Tokenizer:
    """4,000 subwords, in the way of XLM-R or RoBERTa."""
    common = {"vocab_size": 4000, "special_tokens": SPECIAL, "show_progress": False}
    if kind == "unigram":
        backend = tokenizers.Tokenizer(models.Unigram())
        backend.normalizer = normalizers.NFKC()
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **common)
    else:
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **common)
    backend.train_from_iterator([" ".join(each.inputs) for each in sentences[::4]], trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = zip(("bos", "pad", "eos", "unk"), SPECIAL, strict=True)
    special = {f"{role}_token": subword for role, subword in names}
    return make_tokenizer(backend, {**special, "cls_token": "<s>", "sep_token": "</s>"})


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "bytes"])
def tokenizer(
    request: pytest.FixtureRequest, model_folder: Path, sentences: list[Example]
) -> Tokenizer:
    """MiniLM's, or one that is trained on some of the sentences."""
    if request.param == "wordpiece":
        return load_tokenizer(str(model_folder))
    return train(request.param, sentences)


@pytest.mark.parametrize("task", [TAGGING, TEXTS], ids=["words", "texts"])
@pytest.mark.parametrize("languages", [("ml",), LANGUAGES, ()], ids=["one", "six", "all"])
def test_texts_are_cut_and_answered_the_same(
    tokenizer: Tokenizer, sentences: list[Example], languages: tuple[str, ...], task: Task
) -> None:
    wanted = [each for each in sentences if not languages or each.language in languages]
    if task is TEXTS:
        wanted = [replace(each, inputs=(" ".join(each.inputs),)) for each in wanted]
    subwords = tokenize(wanted, task, tokenizer, Cutting(1 << 30))
    kept = choose_subwords(tokenizer, count_ids(wanted, task, tokenizer))
    small = trim_tokenizer(tokenizer, kept)
    again = tokenize(wanted, task, small, Cutting(1 << 30))
    assert small.vocabulary_size == len(kept) <= tokenizer.vocabulary_size
    assert len(kept) < tokenizer.vocabulary_size or not languages
    np.testing.assert_array_equal(kept[again.tokens], subwords.tokens)
    np.testing.assert_array_equal(again.start, subwords.start)

    shape = replace(
        ROBERTA,
        vocabulary_size=tokenizer.vocabulary_size,
        positions=64,
        padding_id=tokenizer.pad,
    )
    model = make_encoder(shape, "tagging", 3)
    params = make_params(model)
    small_model, small_params = trim_model(model, params, kept)
    answers = []
    for its_model, its_params, its_tokenizer in (
        (model, params, tokenizer),
        (small_model, small_params, small),
    ):
        cut = tokenize(wanted[:40], task, its_tokenizer, Cutting(64))
        batch = fill_batch(cut, pack(cut, 64, None), np.arange(ROWS), its_tokenizer.pad)
        answers.append(run(its_model, its_params, batch).logits)
    np.testing.assert_array_equal(*answers)
