"""What a teacher predicts is computed once by runs that share a folder."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import TASK, make_session, make_subwords, make_teacher, make_texts
from xdistil.data.decoding import ARGMAX, VITERBI
from xdistil.data.examples import Example
from xdistil.experiment import shared_predictions
from xdistil.experiment.shared_predictions import predict_once

LABELS = [("O", "B-PER"), ()]


@pytest.fixture
def predicted(monkeypatch) -> list[Any]:
    """The texts that a model has read."""
    read = []

    def predict(session: Any, task: Any, model: Any, params: Any, texts: Any, decoding: str) -> Any:
        read.append(texts)
        return LABELS

    monkeypatch.setattr(shared_predictions, "predict_labels", predict)
    return read


def test_the_first_run_predicts_and_the_others_read(tmp_path, predicted, caplog):
    teacher: Any = make_teacher()
    examples = [Example(("a", "b"), ("O", "O"), "en"), Example((), (), "en")]
    texts = replace(make_texts()["dev"], examples=examples)
    shifted = jax.tree.map(lambda x: x + np.float32(1), teacher.params)
    other_gold = [Example(("a", "b"), ("O", "B-PER"), "en"), examples[1]]

    def predict(
        params: Any = teacher.params, texts: Any = texts, task: Any = TASK, decoding: str = VITERBI
    ) -> Any:
        (tmp_path / "run").mkdir(exist_ok=True)
        loaded: Any = SimpleNamespace(model=teacher.model, params=params)
        session = make_session(tmp_path / "run")
        return predict_once(tmp_path / "shared", session, task, loaded, params, texts, decoding)

    assert predict() == predict() == LABELS
    assert len(predicted) == 1
    # Cut short, of another number of texts, or no labels: predicted again, and whole afterwards.
    (path,) = (tmp_path / "shared").glob("predictions-*/labels.json")
    whole = path.read_text()
    for damage in ('[["O", "B-', '[["O", "B-PER"]]', "[1, 2]", "{}", ""):
        path.write_text(damage)
        caplog.clear()
        assert predict() == LABELS
        assert [str(path) in message for message in caplog.messages] == [True]
        assert path.read_text() == whole
    assert len(predicted) == 6
    predicted.clear()
    predict(params=shifted)
    predict(texts=replace(texts, examples=other_gold))
    predict(texts=replace(texts, subwords=make_subwords(16, 9)))
    predict(task=replace(TASK, labels=(*TASK.labels, "B-NEW")))
    predict(decoding=ARGMAX)
    assert len(predicted) == 5
    assert predict() == LABELS
    assert len(predicted) == 5
