"""What the PyTorch example writes is what our own encoder says of the same texts."""

from pathlib import Path

import numpy as np
import pytest

from docs.examples.torch_signals import write_signals
from tests.deploy.folders import CLASSES, TAGGING, WORDS, draw_params, make_model, train_tokenizer
from xdistil.data.examples import Example, Task
from xdistil.data.packing import fill_batch, pack
from xdistil.data.subwords import Cutting, tokenize
from xdistil.models.hf.folder import save_model
from xdistil.teacher.signal_file import open_signals

SENTENCES = [("Anna", "went", "to", "New", "York"), ("Bob",), tuple(WORDS), ("slept", "and", "in")]
PAIRS = [("Anna went", "Bob slept"), ("to New York", "while Lee stayed in Berlin")]


@pytest.mark.parametrize("kind", ["bert", "electra"])
@pytest.mark.parametrize("task", [TAGGING, CLASSES], ids=lambda task: task.kind)
def test_pytorch_writes_what_our_encoder_says(tmp_path: Path, kind: str, task: Task) -> None:
    """In float32 to 1e-4; the labels of the data stand in another order than the model's."""
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    model = make_model(kind, task, tokenizer.vocabulary_size)
    params = draw_params(model)
    save_model(tmp_path / "model", model, params, task, tokenizer, {})
    inputs = SENTENCES if task.kind == "tagging" else PAIRS
    examples = [Example(each, None, "und") for each in inputs]
    write_signals(
        str(tmp_path / "model"), examples, task, (0, 2), tmp_path / "out", 48, dtype="float32"
    )
    turned = Task(task.kind, task.labels[::-1])
    signals = open_signals(tmp_path / "out", turned)
    assert (signals.layers, signals.width) == (2, 8)
    subwords = tokenize(examples, task, tokenizer, Cutting(48))
    rows = pack(subwords, 48, None)
    batch = fill_batch(subwords, rows, np.arange(len(rows.subword)), tokenizer.pad)
    output = model.apply({"params": params}, batch)
    mask = batch.label_mask
    place = signals.locate(examples, turned, "dev")
    assert len(place) == mask.sum() == (24 if task.kind == "tagging" else 2)
    ours = {
        "logits": np.asarray(output.logits)[..., ::-1],
        "hidden-0": np.asarray(output.hidden[0]),
        "hidden-2": np.asarray(output.hidden[2]),
    }
    assert signals.values.keys() == ours.keys()
    for name, values in ours.items():
        theirs = signals.values[name][place]
        np.testing.assert_allclose(theirs, values[mask], rtol=0, atol=1e-4, err_msg=name)


def test_words_that_were_cut_off_have_no_value(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    model = make_model("bert", TAGGING, tokenizer.vocabulary_size)
    save_model(tmp_path / "model", model, draw_params(model), TAGGING, tokenizer, {})
    examples = [Example(each, None, "und") for each in SENTENCES]
    write_signals(str(tmp_path / "model"), examples, TAGGING, (), tmp_path / "out", max_length=6)
    place = open_signals(tmp_path / "out", TAGGING).locate(examples, TAGGING, "dev")
    subwords = [
        len(tokenizer.backend.encode([word], is_pretokenized=True, add_special_tokens=False).ids)
        for word in WORDS
    ]
    before = np.cumsum([0, *subwords[:-1]])  # subwords of the words before; four are read
    found = place[6 : 6 + len(WORDS)] >= 0
    assert found.tolist() == (before < 4).tolist()
    assert found[0]
    assert not found[-1]
