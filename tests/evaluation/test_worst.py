"""The worst languages beside the mean: by hand, in scores, reports and tables of sweeps."""

import copy

import pytest

from tests.evaluation.test_report import RESULTS, _line, _tags
from xdistil.data.examples import Example, Task
from xdistil.evaluation.metrics import score
from xdistil.evaluation.report import render_console, render_markdown
from xdistil.evaluation.sweep_table import tabulate_sweep
from xdistil.evaluation.worst import average_worst, compare_worst

NAMES = [f"l{i:02}" for i in range(20)]
# The teacher is as good everywhere; the student loses a hundredth more in each language.
TEACHER = _tags(0.8, **dict.fromkeys(NAMES, 0.8))
STUDENT = _tags(0.7, **{name: 0.795 - i / 100 for i, name in enumerate(NAMES)}, none=None)


def make_results() -> dict:
    results = copy.deepcopy(RESULTS)
    results["teacher"]["test"], results["student"]["test"] = TEACHER, STUDENT
    results["baselines"][0]["test"] = _tags(0.5, **{name: 0.5 for name in NAMES})
    return results


def test_ten_of_twenty_languages_are_the_worst():
    # 0.695, 0.685, ..., 0.605: mean 0.65, of 0.8 in the teacher.
    worst = compare_worst(TEACHER["per_language"], STUDENT["per_language"], "f1")
    assert worst["languages"] == NAMES[:9:-1]
    assert worst["student"] == pytest.approx(0.65)
    assert worst["teacher"] == pytest.approx(0.8)
    assert worst["retention"] == pytest.approx(0.8125)
    assert average_worst(STUDENT["per_language"], "f1") == pytest.approx(0.65)
    few = {name: STUDENT["per_language"][name] for name in [*NAMES[1:], "none"]}
    assert average_worst(few, "f1") is None
    assert compare_worst(TEACHER["per_language"], few, "f1") is None


def test_scores_of_many_languages_have_the_worst():
    names = [*NAMES, "zz"]
    gold = [Example((f"text {i}",), ("a",), name) for i, name in enumerate(names)]
    predicted = [("b",)] * 4 + [("a",)] * 17
    scores = score(Task("classification", ("a", "b")), gold, predicted)
    assert scores["worst_10"] == pytest.approx(0.6)
    assert "worst_10" not in score(Task("classification", ("a", "b")), gold[:19], predicted[:19])


def test_reports_have_the_worst_of_every_model():
    console, page = render_console(make_results()), render_markdown(make_results())
    told = "The mean of its 10 worst languages (l19, l18, l17, l16, l15, l14, l13, l12, l11, l10) "
    assert f"{told}is 65.00, 81.3% of the teacher's there." in console
    assert "| worst 10 test |" in page
    cells = {name: _line(console, f"{name} ")[4].strip() for name in ("teacher", "student")}
    assert cells == {"teacher": "80.00", "student": "65.00"}
    assert _line(console, "labels only")[4].strip() == "50.00"
    assert "worst" not in render_markdown(RESULTS)


def test_a_table_of_a_sweep_has_the_worst():
    runs = {seed: ({"seed": seed}, make_results()) for seed in "01"}
    table = tabulate_sweep(runs, columns=["score", "worst"])
    assert table.header == ("macro-F1 test", "worst 10 test")
    assert table.rows == [("70.00 ± 0.00", "65.00 ± 0.00")]
    few = {"0": ({"seed": "0"}, RESULTS)}
    assert tabulate_sweep(few, columns=["worst"]).rows == [("-",)]
