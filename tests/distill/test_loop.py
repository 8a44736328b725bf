"""The loop: monitors, patience, what is handed on, and what a run leaves in its metrics."""

import json
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import pytest

from tests.distill.small import (
    init_params,
    make_bilstm,
    make_encoder,
    make_plan,
    make_teacher,
    run_plan,
    same,
)
from xdistil.config import Stage
from xdistil.distill import trainer as training
from xdistil.distill.losses import SIDE_PROJECTIONS
from xdistil.distill.unfreezing import split_params

# --- monitors and patience ------------------------------------------------------------------------

LABELS = Stage(name="labels", loss="labels", data="train", epochs=3.0, lr=1e-2)


class Judge:
    """Scores of dev by a script; keeps a copy of all parameters that it was shown."""

    def __init__(self, script: Iterable[float | None]) -> None:
        self.script, self.shown = list(script), []

    def __call__(self, params: Any) -> dict[str, Any]:
        self.shown.append(jax.tree.map(np.array, jax.device_get(params)))
        return {"macro_f1": self.script[len(self.shown) - 1], "per_language": {}}


def run_labels(folder: Any, script: Iterable[float], **fields: Any):
    """Nine steps at most, judged before the first and after every step."""
    stage = Stage(**{**LABELS.__dict__, **fields})
    judge = Judge(script)
    plan = make_plan((stage,), folder, evaluate=judge, eval_every=1)
    (outcome,) = run_plan(plan, init_params(make_bilstm()))
    return outcome, judge


def test_the_best_parameters_are_handed_on(tmp_path):
    outcome, judge = run_labels(tmp_path, [0.1, 0.2, 0.5, 0.3, 0.5, 0.4, 0.1, 0.1, 0.1, 0.1])
    assert same(outcome.params, judge.shown[2])
    assert not same(outcome.params, judge.shown[-1])
    (record,) = outcome.stages
    assert (record["best"], record["best_step"]) == (0.5, 2)
    assert record["dev"]["macro_f1"] == 0.5
    assert record["monitor"] == "dev macro_f1"


def test_what_a_stage_starts_from_counts_as_its_first_best(tmp_path):
    outcome, judge = run_labels(tmp_path, [0.9, *[0.1] * 9])
    assert same(outcome.params, init_params(make_bilstm()))
    assert same(outcome.params, judge.shown[0])
    assert outcome.stages[0]["best_step"] == 0
    assert outcome.stages[0]["dev"]["macro_f1"] == 0.9


def test_the_last_parameters_are_handed_on_where_the_stage_says_so(tmp_path):
    outcome, judge = run_labels(tmp_path, [0.9, *[0.1] * 20], keep="last")
    assert same(outcome.params, judge.shown[-1])
    (record,) = outcome.stages
    assert record["best_step"] == record["steps"] == record["limit"] == len(judge.shown)
    assert record["dev"]["macro_f1"] == 0.1


@pytest.mark.parametrize(("patience", "steps"), [(1, 2), (2, 5), (3, 6), (0, 9)])
def test_patience_counts_evaluations_without_a_better_one(tmp_path, patience, steps):
    """Better at steps 1 and 3; an equal score is no better one."""
    script = [0.1, 0.3, 0.3, 0.4, 0.4, 0.2, 0.1, 0.1, 0.1, 0.1]
    outcome, judge = run_labels(tmp_path, script, patience=patience)
    assert outcome.stages[0]["steps"] == steps
    assert outcome.stages[0]["limit"] == 9
    assert outcome.stages[0]["best_step"] == (1 if patience == 1 else 3)
    assert len(judge.shown) == steps + 1


def test_an_undefined_score_is_the_worst(tmp_path):
    """Dev without an entity: the score is None."""
    judge = Judge([None, None, 0.2, *[None] * 7])
    plan = make_plan((LABELS,), tmp_path, evaluate=judge, eval_every=1)
    (outcome,) = run_plan(plan, init_params(make_bilstm()))
    assert outcome.stages[0]["best_step"] == 2


def test_stages_without_labels_watch_their_own_loss(tmp_path):
    """And are scored on dev once, at their end, for the table."""
    stage = Stage(name="logits", loss="logits", epochs=2.0, lr=3e-2)
    judge = Judge([0.25])
    plan = make_plan((stage,), tmp_path, teacher=make_teacher(), evaluate=judge)
    (outcome,) = run_plan(plan, init_params(make_bilstm()))
    (record,) = outcome.stages
    assert record["monitor"] == "dev loss"
    assert record["dev"]["macro_f1"] == 0.25
    assert same(judge.shown[0], outcome.params)
    monitors = [line["monitor"] for line in read_lines(tmp_path) if line["event"] == "evaluation"]
    assert record["best"] == min(monitors)
    assert len(judge.shown) == 1


@pytest.mark.parametrize("loss", ["labels", "logits"])
def test_a_stage_may_watch_its_worst_languages(tmp_path, loss):
    """Whose score rises once and then falls, while that of all languages does the opposite."""
    shown = []

    def judge(params: Any) -> dict[str, Any]:
        shown.append(jax.tree.map(np.array, jax.device_get(params)))
        worst = [0.1, 0.3, 0.2, 0.2][len(shown) - 1]
        return {"macro_f1": 0.8 - worst, "worst_10": worst, "per_language": {}}

    data = "train" if loss == "labels" else "transfer"
    stage = Stage(name="watched", loss=loss, data=data, lr=1e-2, keep="worst", patience=2)
    stage.epochs = 3.0
    teacher = make_teacher()
    plan = make_plan((stage,), tmp_path, teacher=teacher, evaluate=judge, eval_every=1)
    (outcome,) = run_plan(plan, init_params(make_bilstm()))
    (record,) = outcome.stages
    assert (record["monitor"], record["best"]) == ("dev worst_10", 0.3)
    assert (record["best_step"], record["steps"]) == (1, 3)
    assert record["dev"]["macro_f1"] == 0.5
    assert same(outcome.params, shown[1])


def test_a_rate_that_diverges_hands_on_what_it_started_from(tmp_path):
    stage = Stage(name="logits", loss="logits", epochs=1.0, lr=100.0, schedule="constant")
    plan = make_plan((stage,), tmp_path, teacher=make_teacher())
    params = init_params(make_bilstm())
    (outcome,) = run_plan(plan, params)
    assert same(outcome.params, params)


# --- plans ----------------------------------------------------------------------------------------


def test_each_sub_stage_starts_from_the_best_of_the_one_before(tmp_path):
    stage = Stage(**{**LABELS.__dict__, "unfreeze": "gradual", "epochs": 1.0})
    judge = Judge([0.1, 0.9, 0.2, 0.3] + [0.5, 0.1, 0.1, 0.1] + [0.1] * 8)
    plan = make_plan((stage,), tmp_path, evaluate=judge, eval_every=1)
    outcomes = run_plan(plan, init_params(make_bilstm()))
    names = [record["name"] for record in outcomes[-1].stages]
    assert names == [f"labels/{g}" for g in ("head", "projection", "bilstm", "embeddings")]
    assert [len(outcome.stages) for outcome in outcomes] == [1, 2, 3, 4]
    assert same(outcomes[0].params, judge.shown[1])
    assert same(judge.shown[4], judge.shown[1])  # the second one's start
    assert same(outcomes[1].params, judge.shown[4])


def test_a_sub_stage_changes_nothing_that_it_does_not_train(tmp_path):
    stage = Stage(**{**LABELS.__dict__, "unfreeze": "gradual", "epochs": 1.0, "keep": "last"})
    plan = make_plan((stage,), tmp_path, train_embeddings=False)
    before = init_params(make_bilstm())
    for outcome, stage_run in zip(run_plan(plan, before), plan.stages, strict=True):
        trainable = stage_run.trainable
        assert same(*(split_params(p, trainable)[1] for p in (before, outcome.params)))
        assert not same(*(split_params(p, trainable)[0] for p in (before, outcome.params)))
        assert outcome.stages[-1]["groups"] == list(trainable)
        before = outcome.params


def test_side_projections_learn_and_are_not_handed_on(tmp_path, monkeypatch):
    stages = (
        Stage(
            name="both",
            loss="representation+attention",
            hidden_loss="mse",
            hidden_map="last",
            epochs=1.0,
            lr=1e-2,
            keep="last",
        ),
    )
    student = make_encoder(hidden_size=4, intermediate_size=8, layers=1)
    plan = make_plan(stages, tmp_path, student, make_teacher())
    states = []
    real = training.train_step

    def spy(state, *arguments, **settings):
        state, metrics = real(state, *arguments, **settings)
        states.append(jax.device_get(state.trainable.get(SIDE_PROJECTIONS)))
        return state, metrics

    monkeypatch.setattr(training, "train_step", spy)
    params = init_params(student)
    (outcome,) = run_plan(plan, params)
    assert set(outcome.params) == set(params)
    assert outcome.params["encoder"].keys() == params["encoder"].keys()
    assert set(states[0]) == {"0", "1"}
    assert not np.array_equal(states[0]["0"]["kernel"], states[-1]["0"]["kernel"])
    lines = [line for line in read_lines(tmp_path) if line["event"] == "train"]
    assert {"loss_representation", "loss_attention"} <= set(lines[0])


def run_seed(folder: Any, name: str, seed: int, dropout: float, batch_size: int) -> np.ndarray:
    """f32[n] every parameter after the labels stage."""
    (folder / name).mkdir()
    stage = Stage(**{**LABELS.__dict__, "keep": "last"})
    model = make_bilstm(dropout=dropout)
    plan = make_plan((stage,), folder / name, model, seed=seed, batch_size=batch_size)
    params = run_plan(plan, init_params(model))[0].params
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])


@pytest.mark.parametrize(("dropout", "batch_size"), [(0.0, 8), (0.5, 1000)])
def test_the_seed_decides_the_order_of_batches_and_the_dropout(tmp_path, dropout, batch_size):
    """Without dropout the order alone; with everything in one batch the dropout alone."""
    first, again, other = (
        run_seed(tmp_path, name, seed, dropout, batch_size)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 1e-3


# --- metrics --------------------------------------------------------------------------------------


def read_lines(folder: Any) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in metrics.jsonl")

    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_metrics_have_a_line_an_interval_and_an_evaluation(tmp_path):
    stage = Stage(
        name="sum", loss="logits+labels", data="train", epochs=3.0, lr=1e-2, schedule="linear",
        warmup=0.3, keep="last",
    )  # fmt: skip
    plan = make_plan(
        (stage,), tmp_path, teacher=make_teacher(), eval_every=4, log_every=3,
        evaluate=lambda params: {"macro_f1": 0.5, "micro_f1": 0.6, "per_language": {}},
    )  # fmt: skip
    run_plan(plan, init_params(make_bilstm()))
    lines = read_lines(tmp_path)
    assert [(line["event"], line["step"]) for line in lines] == [
        ("train", 3),
        ("train", 4),
        ("evaluation", 4),
        ("train", 6),
        ("train", 8),
        ("evaluation", 8),
        ("train", 9),
        ("evaluation", 9),
    ]
    rates = plan.stages[0].schedule_rates(9)
    for line in lines:
        assert (line["plan"], line["stage"]) == ("student", "sum")
        if line["event"] == "train":
            assert set(line) == {
                "plan", "stage", "step", "event", "loss_logits", "loss_labels", "lr",
                "gradient_norm", "tokens_per_second",
            }  # fmt: skip
            assert line["lr"] == pytest.approx(float(rates[line["step"] - 1]))
            assert min(line["gradient_norm"], line["tokens_per_second"], line["loss_labels"]) > 0
        else:
            assert (line["monitor"], line["dev_macro_f1"], line["dev_micro_f1"]) == (0.5, 0.5, 0.6)


def test_an_interval_averages_over_what_was_counted(tmp_path):
    """One line for all steps of an epoch equals the tallies of its steps, summed and divided."""
    tallies = []
    real = training.train_step
    stage = Stage(**{**LABELS.__dict__, "epochs": 1.0, "lr": 1e-6, "keep": "last"})
    plan = make_plan((stage,), tmp_path, log_every=1000, eval_every=1000)
    with pytest.MonkeyPatch.context() as patch:

        def spy(*arguments, **settings):
            result = real(*arguments, **settings)
            tallies.append(jax.device_get(result[1].losses["labels"]))
            return result

        patch.setattr(training, "train_step", spy)
        run_plan(plan, init_params(make_bilstm()))
    assert len({float(tally.count) for tally in tallies}) > 1
    expected = sum(t.sum for t in tallies) / sum(t.count for t in tallies)
    (line,) = (line for line in read_lines(tmp_path) if line["event"] == "train")
    assert line["loss_labels"] == pytest.approx(float(expected), rel=1e-5)
    subwords = plan.stages[0].train.subwords
    assert sum(t.count for t in tallies) == subwords.label_mask.sum()
