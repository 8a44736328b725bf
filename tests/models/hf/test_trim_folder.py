"""Model folders with fewer subwords, compared tensor by tensor and by their outputs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from tests.models.samples import (
    BERT,
    BILSTM,
    DEBERTA,
    ROBERTA,
    SPECIAL,
    make_encoder,
    make_params,
    make_wordpiece,
    run,
)
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch, pack
from xdistil.data.subwords import Cutting, Subwords, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.trim_tokenizer import choose_subwords, count_ids
from xdistil.errors import InputError
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.hf.folder import load_model, save_model
from xdistil.models.hf.trim_folder import measure_folder, open_whole, save_trimmed
from xdistil.models.types import Output

TASK = Task("tagging", ("O", "B-PER", "I-PER"))
TEXTS = ["the large teacher", "he reads thé", "the <mask>"]
BYTES = dataclasses.replace(ROBERTA, model_type="roberta", vocabulary_size=330, padding_id=1)
XLM = dataclasses.replace(ROBERTA, padding_id=1)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["the", "##each", "zz", "yy", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
SUBWORDS = [*SPECIAL, *WORDS]
PLAIN = dataclasses.replace(BERT, vocabulary_size=len(SUBWORDS), padding_id=0)
# The padding id is the last one: RoBERTa's positions, which begin after it, must move.
FAR_SUBWORDS = [*WORDS, *SPECIAL[1:], "[PAD]"]
FAR = dataclasses.replace(PLAIN, model_type="roberta", padding_id=FAR_SUBWORDS.index("[PAD]"))
CASES = {
    "wordpiece": PLAIN,
    "bytes": BYTES,
    "unigram": XLM,
    "deberta": dataclasses.replace(DEBERTA, padding_id=0),
    "far padding": FAR,
    "bilstm": dataclasses.replace(BILSTM, vocabulary_size=len(SUBWORDS), padding_id=0),
}


def make_tokenizer_of(case: str, folder: Path) -> Tokenizer:
    if case in ("wordpiece", "bilstm"):
        return make_wordpiece(SUBWORDS)
    if case == "far padding":
        return make_wordpiece(FAR_SUBWORDS)
    kind = "deberta-v2" if case == "deberta" else "xlm-roberta"
    (make_byte_bpe("roberta") if case == "bytes" else make_unigram(kind)).save_pretrained(folder)
    return load_tokenizer(str(folder))


def write_folder(case: str, folder: Path, task: Task | None = TASK) -> Path:
    """A model with random parameters, as it would come from the hub."""
    config = CASES[case]
    kind, classes = (task.kind, len(task.labels)) if task else ("", 0)
    is_bilstm = case == "bilstm"
    model: Any = BiLSTM(config, classes) if is_bilstm else make_encoder(config, kind, classes)
    tokenizer = make_tokenizer_of(case, folder.with_name("tokenizer"))
    save_model(folder, model, make_params(model), task, tokenizer, {})
    return folder


def cut(tokenizer: Tokenizer, texts: list[str]) -> Subwords:
    examples = [Example((text,), None, "und") for text in texts]
    return tokenize(examples, Task("classification", ()), tokenizer, Cutting(16))


def trim(folder: Path, output: Path, texts: list[str] | None = None) -> np.ndarray:
    """Writes the folder with the subwords of texts; returns the ids that were kept."""
    tokenizer = load_tokenizer(str(folder))
    whole = open_whole(folder, tokenizer)
    examples = [Example((text,), None, "und") for text in texts or TEXTS]
    counts = count_ids(examples, Task("classification", ()), tokenizer)
    kept = choose_subwords(tokenizer, counts, also=whole.special)
    save_trimmed(whole, kept, output)
    return kept


def answer(folder: Path) -> tuple[np.ndarray, Output]:
    """The subwords of TEXTS and the output of the folder's model."""
    loaded, tokenizer = load_model(str(folder)), load_tokenizer(str(folder))
    subwords = cut(tokenizer, TEXTS)
    rows = pack(subwords, 16, None)
    batch = fill_batch(subwords, rows, np.arange(len(rows.subword)), loaded.model.config.padding_id)
    return subwords.tokens, run(loaded.model, loaded.params, batch)


@pytest.mark.parametrize("case", CASES)
def test_a_trimmed_folder_has_the_same_output(case: str, tmp_path: Path) -> None:
    whole = write_folder(case, tmp_path / "whole")
    kept = trim(whole, tmp_path / "small")
    (tokens, expected), (small_tokens, got) = answer(whole), answer(tmp_path / "small")
    np.testing.assert_array_equal(kept[small_tokens], tokens)
    np.testing.assert_array_equal(got.logits, expected.logits)
    for one, other in zip(got.hidden, expected.hidden, strict=True):
        np.testing.assert_array_equal(one, other)
    before, after = (load_model(str(tmp_path / name)).model.config for name in ("whole", "small"))
    assert after.vocabulary_size == len(kept) < before.vocabulary_size
    padding = {"padding_id": kept.tolist().index(before.padding_id), "vocabulary_size": len(kept)}
    assert after == dataclasses.replace(before, **padding)
    assert (after.padding_id == before.padding_id) == (case != "far padding")


def rewrite(folder: Path, tensors: dict[str, np.ndarray], **config: Any) -> dict[str, np.ndarray]:
    """Adds tensors and keys of config.json; returns all tensors."""
    own = safetensors.numpy.load_file(folder / "model.safetensors")
    safetensors.numpy.save_file({**own, **tensors}, folder / "model.safetensors")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, **config}))
    return {**own, **tensors}


def draw(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def test_outputs_over_all_subwords_are_trimmed_and_types_stay(tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole", None)
    heads = {
        "cls.predictions.bias": draw(len(SUBWORDS)),
        "cls.predictions.decoder.bias": draw(len(SUBWORDS), dtype=np.float16),
        "cls.predictions.decoder.weight": draw(len(SUBWORDS), 18, dtype=ml_dtypes.bfloat16),
        "cls.predictions.transform.dense.weight": draw(18, 18),
    }
    numbers = {"embeddings.position_ids": np.arange(16)[None]}
    before = rewrite(whole, {**heads, **numbers, "step": np.array([3])})
    kept = trim(whole, tmp_path / "small")
    after = safetensors.numpy.load_file(tmp_path / "small" / "model.safetensors")
    assert set(before) - set(after) == {"embeddings.position_ids"}  # every library creates them
    trimmed = {*heads, "embeddings.word_embeddings.weight"} - {*list(heads)[-1:]}
    for name, value in after.items():
        expected = before[name][kept] if name in trimmed else before[name]
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)
    assert measure_folder(tmp_path / "small").subwords == len(kept)


def test_the_ids_in_the_config_are_those_of_the_same_subwords(tmp_path: Path) -> None:
    whole = write_folder("far padding", tmp_path / "whole")
    ids = {subword: FAR_SUBWORDS.index(subword) for subword in ("[CLS]", "[SEP]", "zz", "[MASK]")}
    rewrite(
        whole,
        {},
        bos_token_id=ids["[CLS]"],
        eos_token_id=[ids["[SEP]"], ids["zz"]],
        decoder_start_token_id=None,
        forced_token_id=-1,
        num_labels=3,
    )
    trim(whole, tmp_path / "small")
    raw = json.loads((tmp_path / "small" / "config.json").read_text())
    new = load_tokenizer(str(tmp_path / "small")).backend.get_vocab()
    assert raw["bos_token_id"] == new["[CLS]"]
    assert raw["eos_token_id"] == [new["[SEP]"], new["zz"]]
    assert raw["pad_token_id"] == new["[PAD]"]
    assert (raw["decoder_start_token_id"], raw["forced_token_id"]) == (None, -1)
    assert raw["num_labels"] == 3
    assert raw["id2label"] == {"0": "O", "1": "B-PER", "2": "I-PER"}
    moved = FAR.padding_id - new["[PAD]"]
    assert raw["max_position_embeddings"] == FAR.first_position + FAR.positions - moved


def test_ids_that_a_config_leaves_to_its_librarys_defaults_are_written(tmp_path: Path) -> None:
    whole = write_folder("unigram", tmp_path / "whole")
    raw = json.loads((whole / "config.json").read_text())
    del raw["pad_token_id"]
    (whole / "config.json").write_text(json.dumps({**raw, "bos_token_id": None}))
    trim(whole, tmp_path / "small")
    raw = json.loads((tmp_path / "small" / "config.json").read_text())
    assert (raw["pad_token_id"], raw["bos_token_id"], raw["eos_token_id"]) == (1, None, 2)


def test_files_of_the_whole_vocabulary_are_left_out(tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole")
    for name in ("vocab.txt", "merges.txt", "sentencepiece.bpe.model", "spm.model", "LICENSE"):
        (whole / name).write_text("a")
    trim(whole, tmp_path / "small")
    assert {path.name for path in (tmp_path / "small").iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "LICENSE")
    }
    assert [path.name for path in tmp_path.iterdir() if "small" in path.name] == ["small"]


def test_rows_without_a_subword_go(tmp_path: Path) -> None:
    # Tables are often wider than their vocabulary, for speed.
    whole = write_folder("unigram", tmp_path / "whole")
    assert load_tokenizer(str(whole)).vocabulary_size == 37
    kept = trim(whole, tmp_path / "small")
    assert len(kept) <= 37 < 53
    assert measure_folder(tmp_path / "small").subwords == len(kept)


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole")
    (whole / "vocab.txt").write_text("12345")
    size = measure_folder(whole)
    tokenizer = sum((whole / name).stat().st_size for name in ("tokenizer.json", "vocab.txt"))
    tokenizer += (whole / "tokenizer_config.json").stat().st_size
    tensors = safetensors.numpy.load_file(whole / "model.safetensors")
    assert dataclasses.astuple(size) == (
        len(SUBWORDS),
        sum(value.size for value in tensors.values()),
        (whole / "model.safetensors").stat().st_size,
        tokenizer,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (({}, {"pad_token_id": 99}), "names 99 as the id of a special subword"),
        (
            ({"lm_head.other": draw(len(SUBWORDS))}, {"model_type": "new"}),
            "'lm_head.other' may have a row",
        ),
        (({"embeddings.embed_tokens.weight": draw(7, 18)}, {}), "holds no word embeddings"),
        (({"bad": np.array([1, np.nan])}, {}), "bad holds numbers that are not finite"),
    ],
)
def test_a_folder_that_cannot_be_trimmed_is_refused(change, words: str, tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole")
    rewrite(whole, change[0], **change[1])
    with pytest.raises(InputError) as caught:
        trim(whole, tmp_path / "small")
    assert words.replace("'", "") in str(caught.value).replace("'", "")
    assert {path.name for path in tmp_path.iterdir()} == {"whole"}


def test_a_model_type_that_is_no_name_is_refused(tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole")
    rewrite(whole, {}, model_type=["bert"])
    with pytest.raises(
        InputError, match=r"config\.json: model_type is \['bert'\]; it must be a name"
    ):
        open_whole(whole, make_wordpiece(SUBWORDS))


def test_fewer_rows_than_subwords_are_refused(tmp_path: Path) -> None:
    whole = write_folder("wordpiece", tmp_path / "whole")
    wide = make_wordpiece([*SPECIAL, *(f"w{i}" for i in range(60))])
    with pytest.raises(InputError, match=r"has 65 subwords .* word embeddings for 61"):
        open_whole(whole, wide)


def test_a_padding_subword_that_moves_is_refused_where_positions_may_hang_on_it(
    tmp_path: Path,
) -> None:
    whole = write_folder("far padding", tmp_path / "whole")
    rewrite(whole, {}, model_type="longformer")
    with pytest.raises(InputError, match="not known whether the model type 'longformer' counts"):
        trim(whole, tmp_path / "small")
    assert not (tmp_path / "small").exists()
