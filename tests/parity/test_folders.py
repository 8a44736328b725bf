"""Folders that save_model wrote, opened by PyTorch: same logits, no missing or unexpected key."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.models.samples import (
    BERT,
    BILSTM,
    DEBERTA,
    ELECTRA,
    ROBERTA,
    make_encoder,
    make_params,
    make_segments,
    make_tiny_tokenizer,
    run,
)
from tests.parity.witness import AUTO, LABELS
from xdistil.data.examples import Task
from xdistil.models.bert import Encoder, EncoderConfig
from xdistil.models.bilstm import BiLSTM
from xdistil.models.folders import save_model


@pytest.mark.parametrize("config", [BERT, ELECTRA, ROBERTA, DEBERTA], ids=lambda c: c.model_type)
@pytest.mark.parametrize("kind", ["tagging", "classification"])
def test_pytorch_opens_what_was_saved(config: EncoderConfig, kind: str, tmp_path: Path) -> None:
    model = make_encoder(config, kind, len(LABELS))
    params = make_params(model)
    task = Task(kind, LABELS)
    save_model(tmp_path / "model", model, params, task, make_tiny_tokenizer(), {"words": "split"})
    opened, report = AUTO[kind].from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values())
    assert opened.config.id2label == dict(enumerate(LABELS))
    assert opened.config.words == "split"
    for segment in make_segments()[1:3]:
        # Within a text PyTorch takes the padding piece for padding, and one type is all there is.
        tokens = np.where(segment.tokens == config.padding_id, 0, segment.tokens)
        token_type = np.minimum(segment.token_type, max(0, config.token_types - 1))
        segment = segment._replace(tokens=tokens)
        with torch.no_grad():
            theirs = opened.eval()(
                input_ids=torch.tensor(tokens),
                token_type_ids=torch.tensor(token_type),
            ).logits.numpy()
        ours = run(model, params, segment).logits
        ours = ours[:, 0] if kind == "classification" else ours
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def test_pytorch_opens_an_encoder_without_head(tmp_path: Path) -> None:
    model = Encoder(BERT)
    save_model(tmp_path / "model", model, make_params(model), None, make_tiny_tokenizer(), {})
    _, report = transformers.AutoModel.from_pretrained(
        tmp_path / "model", add_pooling_layer=False, output_loading_info=True
    )
    assert not any(report.values())


def test_automodel_refuses_a_bilstm_whose_tokenizer_opens(tmp_path: Path) -> None:
    model = BiLSTM(BILSTM, len(LABELS))
    task = Task("tagging", LABELS)
    save_model(tmp_path / "model", model, make_params(model), task, make_tiny_tokenizer(), {})
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("ab")["input_ids"] == make_tiny_tokenizer().backend.encode("ab").ids
    with pytest.raises(ValueError, match="xdistil_bilstm"):
        transformers.AutoModel.from_pretrained(tmp_path / "model")
