"""Trimmed folders in PyTorch: hidden states stay, and of the outputs the subwords that are left."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.data.test_tokenizer import make_byte_bpe, make_unigram
from tests.models.hf.test_trim_folder import SUBWORDS, TEXTS, trim
from tests.models.samples import make_wordpiece
from xdistil.data.tokenizer import save_tokenizer

SHAPE = {
    "hidden_size": 18,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 25,
    "max_position_embeddings": 20,
}
# The model type -> the tokenizer's kind.
KINDS = {
    "bert": "wordpiece",
    "electra": "wordpiece",
    "distilbert": "wordpiece",
    "mpnet": "wordpiece",
    "albert": "deberta",
    "rembert": "deberta",
    "modernbert": "bytes",
    "roberta": "bytes",
    "xlm-roberta": "unigram",
    "deberta-v2": "deberta",
}


def write_folder(model_type: str, folder: Path, pickled: bool) -> Path:
    """A random model that predicts masked subwords, with its tokenizer."""
    kind = KINDS[model_type]
    if kind == "wordpiece":
        save_tokenizer(make_wordpiece(SUBWORDS), folder)
    elif kind == "bytes":
        make_byte_bpe("roberta").save_pretrained(folder)
    else:
        make_unigram("deberta-v2" if kind == "deberta" else "xlm-roberta").save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    shape: dict[str, Any] = {**SHAPE, "vocab_size": len(tokenizer) + 3}
    shape["pad_token_id"] = tokenizer.pad_token_id
    if model_type == "distilbert":
        shape |= {"dim": 18, "hidden_dim": 25, "n_layers": 2, "n_heads": 3}
    if model_type in ("modernbert", "rembert"):
        names = ("bos", "eos", "cls", "sep")
        shape |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names}
    config = transformers.AutoConfig.for_model(model_type, **shape)
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def answer(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subwords, the last hidden state and the outputs, of TEXTS."""
    model, report = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(report.values())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**batch, output_hidden_states=True)
    real = batch["attention_mask"].numpy() > 0
    return (
        batch["input_ids"].numpy()[real],
        output.hidden_states[-1].numpy()[real],
        output.logits.numpy()[real],
    )


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("model_type", KINDS)
def test_masked_language_models_answer_the_same(
    model_type: str, pickled: bool, tmp_path: Path
) -> None:
    whole = write_folder(model_type, tmp_path / "whole", pickled)
    kept = trim(whole, tmp_path / "small")
    tokens, hidden, logits = answer(whole)
    small_tokens, small_hidden, small_logits = answer(tmp_path / "small")
    np.testing.assert_array_equal(kept[small_tokens], tokens)
    np.testing.assert_array_equal(small_hidden, hidden)
    assert small_logits.shape[1] == len(kept) < logits.shape[1]
    np.testing.assert_allclose(small_logits, logits[:, kept], rtol=0, atol=1e-5)
    raw = json.loads((tmp_path / "small" / "config.json").read_text())
    assert raw["vocab_size"] == len(kept)
