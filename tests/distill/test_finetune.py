"""A teacher is fine-tuned with the subwords of its texts alone, and learns what it would with
all."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.experiment.tiny_run import arguments, read_lines, write_run
from tests.models.samples import ROBERTA, make_encoder
from xdistil.cli.overrides import parse_command
from xdistil.distill.finetune import find_subwords
from xdistil.experiment.build import Run
from xdistil.experiment.run import run
from xdistil.experiment.training import train_teacher
from xdistil.runtime.session import Session

TABLE = ("embeddings", "word_embeddings", "embedding")


class _EnoughError(Exception):
    pass


def finetune(config: Path, data: Path, workdir: Path) -> tuple[Run, dict[Any, np.ndarray]]:
    """A run up to its fine-tuned teacher: the run as it was built, and the teacher's parameters."""
    found: list[Any] = []

    def train_and_stop(built: Run, session: Session) -> None:
        found.extend((built, flatten_dict(train_teacher(built, session).params)))
        raise _EnoughError

    command = parse_command(arguments(config, data, workdir))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xdistil.experiment.run.train_teacher", train_and_stop)
        with pytest.raises(_EnoughError):
            run(command.experiment, workdir)
    built, params = found
    return built, params


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, Any]:
    """The same fine-tuning with the subwords that occur, and with those of the whole table."""
    base = tmp_path_factory.mktemp("finetuning")
    config, data = write_run(base)
    found = {"occurring": finetune(config, data, base / "occurring")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xdistil.distill.finetune.renumber", lambda subwords, kept: subwords)
        patch.setattr(
            "xdistil.distill.finetune.find_subwords",
            lambda model, texts: np.arange(model.config.vocabulary_size, dtype=np.int32),
        )
        found["whole"] = finetune(config, data, base / "whole")
    lines = {name: read_lines(base / name) for name in found}
    return {"found": found, "lines": lines}


def test_losses_and_norms_are_those_of_the_whole_table(both):
    def numbers(name: str) -> np.ndarray:
        steps = [line for line in both["lines"][name] if line["event"] == "train"]
        return np.array([(line["loss_labels"], line["gradient_norm"]) for line in steps])

    assert len(numbers("whole")) > 10
    np.testing.assert_allclose(numbers("occurring"), numbers("whole"), rtol=1e-4)


def test_what_is_learnt_is_that_of_the_whole_table(both):
    built, occurring = both["found"]["occurring"]
    _, whole = both["found"]["whole"]
    texts = [built.teacher_texts[name].subwords.tokens for name in ("train", "dev")]
    seen = np.unique(np.concatenate(texts))
    for name, values in occurring.items():
        if name[-2:] == ("key", "bias"):
            # It moves all scores of a query alike, so its gradient is zero but for rounding.
            assert max(np.abs(values).max(), np.abs(whole[name]).max()) < 1e-4
            continue
        rows = seen if name == TABLE else ...
        np.testing.assert_allclose(values[rows], whole[name][rows], rtol=1e-3, atol=1e-5)


def test_subwords_that_no_text_holds_stay_as_they_were(both):
    built, occurring = both["found"]["occurring"]
    before = flatten_dict(built.teacher.params)[TABLE]
    texts = [built.teacher_texts[name].subwords.tokens for name in ("train", "dev")]
    others = np.setdiff1d(np.arange(len(before)), [0, *np.concatenate(texts)])
    assert len(others) > 5
    np.testing.assert_array_equal(occurring[TABLE][others], before[others])
    train = np.unique(texts[0])
    assert (occurring[TABLE][train] != before[train]).any(axis=1).all()


def test_a_roberta_keeps_the_rows_that_its_positions_are_counted_from():
    """Positions begin behind padding's id: without the subwords before it, they would move."""
    model = make_encoder(dataclasses.replace(ROBERTA, padding_id=4), "tagging", 3)
    assert find_subwords(model, []).tolist() == [0, 1, 2, 3, 4]
