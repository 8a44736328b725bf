"""results.json: the shapes that its types describe, and which split and scores are compared."""

import copy
import json

import pytest

from tests.evaluation.shapes import check_shape
from tests.evaluation.test_report import RESULTS, without_labels
from xdistil.data.examples import Example, Task
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.evaluation.results import (
    Results,
    Scores,
    find_scores,
    name_other,
    read_results,
    scored_split,
)


def test_results_are_read_where_a_run_has_ended(tmp_path):
    assert read_results(tmp_path) is None
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    assert read_results(tmp_path) == RESULTS
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(
        InputError, match=r"results.json is not valid JSON.*: remove it, and the same"
    ):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        (dict.fromkeys(RESULTS), "task"),
        ({"task": "tags"}, "task"),
        ({"student": None}, "student"),
        ({"student": {"parameters": None, "bytes": None, "dev": None}}, "student.test"),
        ({"stages": 5}, "stages"),
        ({"timing": None}, "timing"),
    ],
)
def test_results_that_no_run_writes_are_refused(tmp_path, changes, missing):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**RESULTS, **changes}))
    with pytest.raises(InputError) as caught:
        read_results(tmp_path)
    assert str(caught.value) == (
        f"{path} has no {missing} of a run: remove it, and the same command writes it again."
    )


@pytest.mark.parametrize("kind", ["tagging", "classification"])
def test_scores_have_the_shape_of_their_type(kind):
    task = Task(kind, ("O", "B-PER", "I-PER") if kind == "tagging" else ("O", "B-PER"))
    gold = [Example(("Anna",), ("B-PER",), "en"), Example(("a",), ("O",), "de")]
    scores = score(task, gold, [("B-PER",), ("O",)])
    check_shape(scores, Scores)
    tagging_alone = {"micro_f1", "f1", "precision", "recall", "entities"}
    found = scores.keys() | scores["per_language"]["de"].keys()
    assert bool(found & tagging_alone) == (kind == "tagging")


@pytest.mark.parametrize(
    "results", [RESULTS, without_labels(test=True), without_labels(test=False)]
)
def test_results_have_the_shape_of_their_type(results):
    check_shape(results, Results)


@pytest.mark.parametrize(
    "damage",
    [
        lambda results: results.pop("student"),
        lambda results: results.update(more=1),
        lambda results: results.update(task=results.pop("task")),
        lambda results: results["student"].update(labels="ten"),
        lambda results: results["timing"]["speedup"].pop("single"),
        lambda results: results["stages"][0].update(dev={"macro_f1": 0.1}),
        lambda results: results["teacher"].update(
            bytes={"model": 1.5, "tokenizer": 1, "folder": 3}
        ),
    ],
)
def test_another_shape_fails(damage):
    results = copy.deepcopy(RESULTS)
    damage(results)
    with pytest.raises(AssertionError):
        check_shape(results, Results)


def test_models_are_compared_on_test_then_on_dev_then_on_held_out_transfer():
    results = copy.deepcopy(RESULTS)
    assert scored_split(results) == "test"
    assert find_scores(results, "student", "test") is results["student"]["test"]
    results["student"]["test"] = None
    assert scored_split(results) == "dev"
    results = without_labels(test=False)
    assert scored_split(results) == "held_out"
    agreement = results["student"]["agreement"]["held_out"]
    assert find_scores(results, "student", "held_out") is agreement
    assert find_scores(results, "teacher", "held_out") is None


def test_without_a_teacher_the_student_is_compared_with_itself_before():
    results = copy.deepcopy(RESULTS)
    assert name_other(results) == "teacher"
    results["before"] = results.pop("teacher")
    assert name_other(results) == "before"
    assert find_scores(results, "teacher", "test") is None
