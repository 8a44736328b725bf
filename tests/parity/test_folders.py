"""The folder of a BiLSTM student, opened by `transformers`; those of encoders are in
test_encoder.py."""

from pathlib import Path

import pytest
import transformers

from tests.models.samples import BILSTM, make_params, make_tiny_tokenizer
from tests.parity.reference import LABELS
from xdistil.data.examples import Task
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.hf.folder import save_model


def test_automodel_refuses_a_bilstm_whose_tokenizer_opens(tmp_path: Path) -> None:
    model = BiLSTM(BILSTM, len(LABELS))
    task = Task("tagging", LABELS)
    save_model(tmp_path / "model", model, make_params(model), task, make_tiny_tokenizer(), {})
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer("ab")["input_ids"] == make_tiny_tokenizer().backend.encode("ab").ids
    with pytest.raises(ValueError, match="xdistil_bilstm"):
        transformers.AutoModel.from_pretrained(tmp_path / "model")
