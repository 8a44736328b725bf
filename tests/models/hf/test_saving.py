"""Model folders that are saved: the same bits, whole or not at all."""

import dataclasses
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.models.hf.rewritten_folder import assert_same
from tests.models.samples import (
    BERT,
    BILSTM,
    CONFIGS,
    DEBERTA,
    ELECTRA,
    ROBERTA,
    make_encoder,
    make_params,
    make_tiny_tokenizer,
)
from xdistil.data.examples import Task
from xdistil.data.tokenizer import load_tokenizer
from xdistil.errors import InputError
from xdistil.models.families.bert import Encoder
from xdistil.models.families.bilstm import BiLSTM
from xdistil.models.families.deberta import Deberta
from xdistil.models.hf.folder import load_model, save_model

TASK = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
TOPICS = Task("classification", TASK.labels)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (Encoder(BERT, "tagging", 5), TASK),
        (Encoder(BERT, "classification", 5), TOPICS),
        (Encoder(ELECTRA, "tagging", 5), TASK),
        (Encoder(ELECTRA, "classification", 5), TOPICS),
        (Encoder(ELECTRA), None),
        (Encoder(ROBERTA, "tagging", 5), TASK),
        (Encoder(ROBERTA, "classification", 5), TOPICS),
        (Deberta(DEBERTA, "tagging", 5), TASK),
        (Deberta(DEBERTA, "classification", 5), TOPICS),
        *((make_encoder(config, "classification", 5), TOPICS) for config in CONFIGS[4:]),
        (BiLSTM(BILSTM, 5), TASK),
        (BiLSTM(BILSTM, 5), TOPICS),
        (BiLSTM(dataclasses.replace(BILSTM, layers=2), 5), TASK),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_saved_is_loaded_bit_by_bit(model, task: Task | None, tmp_path: Path) -> None:
    params = make_params(model)
    folder = tmp_path / "new" / "student"
    save_model(folder, model, params, task, make_tiny_tokenizer(), {"split": "spaces"})
    loaded = load_model(str(folder))
    assert loaded.model == model
    assert loaded.task == task
    assert loaded.notes == []
    assert loaded.config["split"] == "spaces"
    assert_same(loaded.params, params)
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.backend.get_vocab() == make_tiny_tokenizer().backend.get_vocab()
    assert [path.name for path in folder.parent.iterdir()] == ["student"]


@pytest.mark.parametrize("model", [BiLSTM(BILSTM, 5), make_encoder(BERT, "tagging", 5)])
def test_the_layout_of_arrays_in_memory_does_not_matter(model, tmp_path: Path) -> None:
    """A transposed view holds its numbers in another order; the file has them in the array's."""
    params = make_params(model)
    views = jax.tree.map(np.asfortranarray, params)
    save_model(tmp_path / "model", model, views, TASK, make_tiny_tokenizer(), {})
    assert_same(load_model(str(tmp_path / "model")).params, params)


def test_saving_replaces_a_model_folder_and_nothing_else(tmp_path: Path) -> None:
    model = BiLSTM(BILSTM, 5)
    tokenizer = make_tiny_tokenizer()
    for seed in (1, 2):
        save_model(tmp_path / "student", model, make_params(model, seed), TASK, tokenizer, {})
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model, 2))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(InputError, match="not a model folder"):
        save_model(tmp_path / "letters", model, make_params(model), TASK, tokenizer, {})
    with pytest.raises(InputError, match="not a model folder"):
        save_model(
            tmp_path / "letters" / "dear.txt", model, make_params(model), TASK, tokenizer, {}
        )
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_a_write_that_fails_leaves_the_old_folder_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = BiLSTM(BILSTM, 5), make_tiny_tokenizer()
    save_model(tmp_path / "student", model, make_params(model), TASK, tokenizer, {})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xdistil.models.hf.folder.save_tokenizer", fail)
    with pytest.raises(InputError, match="No space left"):
        save_model(tmp_path / "student", model, make_params(model, 9), TASK, tokenizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model))


def test_a_replacement_cut_short_between_its_renames_loses_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = BiLSTM(BILSTM, 5), make_tiny_tokenizer()
    save_model(tmp_path / "student", model, make_params(model), TASK, tokenizer, {})
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if source.name == ".student.new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(InputError, match="Input/output error"):
        save_model(tmp_path / "student", model, make_params(model, 9), TASK, tokenizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert_same(load_model(str(tmp_path / "student")).params, make_params(model))


def test_weights_can_be_read_by_whoever_reads_the_config(tmp_path: Path) -> None:
    model = Encoder(BERT, "tagging", 5)
    save_model(tmp_path / "m", model, make_params(model), TASK, make_tiny_tokenizer(), {})
    modes = {
        (tmp_path / "m" / name).stat().st_mode for name in ("config.json", "model.safetensors")
    }
    assert len(modes) == 1


def test_parameters_of_another_shape_are_not_saved(tmp_path: Path) -> None:
    params = make_params(Encoder(BERT, "tagging", 4))
    with pytest.raises(ValueError, match="not those of the model"):
        save_model(
            tmp_path / "x", Encoder(BERT, "tagging", 5), params, TASK, make_tiny_tokenizer(), {}
        )
    assert list(tmp_path.iterdir()) == []
