"""Tables of sweeps: means and deviations computed by hand, what is missing, and four formats."""

import copy
import csv
import io
from typing import Any

import pytest

from tests.evaluation.test_report import RESULTS, _tags
from xdistil.errors import InputError
from xdistil.evaluation.sweep_table import COLUMNS, tabulate_sweep
from xdistil.evaluation.tables import FORMATS, Table, render_table


def make(macro: float, **languages: float | None) -> Any:
    results: Any = copy.deepcopy(RESULTS)
    results["student"]["test"] = _tags(macro, **languages)
    return results


RUNS = {
    "a": ({"plan": "d1", "seed": "0"}, make(0.80, de=0.9, en=0.7)),
    "b": ({"plan": "d1", "seed": "1"}, make(0.84, de=0.9, en=0.78)),
    "c": ({"plan": "d2", "seed": "0"}, make(0.90, de=0.9, en=None)),
    "d": ({"plan": "d2", "seed": "1"}, None),
    "e": ({"plan": "d3", "seed": "0"}, None),
}


def test_means_and_deviations_over_seeds():
    """0.80 and 0.84: mean 0.82, deviation of the sample 0.02 * sqrt(2)."""
    table = tabulate_sweep(RUNS, columns=["score", "languages"])
    assert table.header == ("plan", "macro-F1 test", "de", "en")
    assert table.rows == [
        ("d1", "82.00 ± 2.83", "90.00 ± 0.00", "74.00 ± 5.66"),
        ("d2", "90.00 (1 of 2)", "90.00 (1 of 2)", "- (1 of 2)"),
        ("d3", "- (0 of 1)", "- (0 of 1)", "- (0 of 1)"),
    ]


def test_a_setting_may_be_the_columns():
    table = tabulate_sweep(RUNS, rows=["seed"], columns=["plan"])
    assert table.header == ("seed", "plan=d1", "plan=d2", "plan=d3")
    assert table.rows == [("0", "80.00", "90.00", "- (0 of 1)"), ("1", "84.00", "- (0 of 1)", "-")]


def test_numbers_stand_alone_where_columns_are_separate():
    table = tabulate_sweep(RUNS, columns=["score", "parameters"], separate=True)
    text = render_table(table, "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["macro-F1 test"] == "82.00"
    assert rows[0]["macro-F1 test sd"] == "2.83"
    assert rows[0]["parameters"] == "2270000"
    assert [row["macro-F1 test runs"] for row in rows] == ["2/2", "1/2", "0/1"]
    assert rows[2]["macro-F1 test"] == ""


def test_models_of_one_language_each_are_one_system():
    """Their macro-F1 is over all languages, and their parameters add up."""
    runs: Any = {"x": ({"plan": "d2", "seed": "0"}, make(0.9, de=0.9, en=0.9, fr=0.9))}
    for seed in ("0", "1"):
        own = {"plan": "d0", "teacher.finetune": "False", "seed": seed}
        runs[f"{seed}de"] = ({**own, "data.languages": "de"}, make(0.6, de=0.6))
        others = make(0.75, en=0.9, fr=0.6) if seed == "0" else None
        runs[f"{seed}en"] = ({**own, "data.languages": "en,fr"}, others)
    table = tabulate_sweep(runs, rows=["plan"], columns=["score", "parameters", "languages"])
    some = [f"{number} (1 of 2)" for number in ("70.00", "4.54M", "60.00", "90.00", "60.00")]
    assert table.rows == [
        ("d2", "90.00", "2.27M", "90.00", "90.00", "90.00"),
        ("d0", *some),  # (60 + 90 + 60) / 3
    ]


def test_every_column_is_made_of_results():
    table = tabulate_sweep(RUNS, columns=list(COLUMNS))
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["teacher"] == "88.00 ± 0.00"
    assert cells["retention"] == "92.30 ± 0.00"
    assert cells["labels only"] == "58.11 ± 0.00"
    assert cells["dev after logits/bilstm"] == "77.77 ± 0.00"
    assert cells["model file"] == "9.1 MB"
    assert cells["x smaller"] == "10.0"
    assert cells["teacher passes"] == "-"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": ["plans"]}, "--rows=plans: the runs do not differ in it (did you mean plan?)."),
        ({"columns": ["scor"]}, "--columns=scor: there is no such column (did you mean score?)."),
        ({"rows": ["seed"]}, "Runs of one cell differ in plan: name it in --rows or --columns"),
    ],
)
def test_what_makes_no_table_is_refused(changes, words):
    with pytest.raises(InputError) as caught:
        tabulate_sweep(RUNS, **changes)
    assert words in str(caught.value)


@pytest.mark.parametrize("languages", [("de", "de,en"), ("de", "")])
def test_models_of_the_same_language_are_no_system(languages):
    runs = {each: ({"seed": "0", "data.languages": each}, make(0.5, de=0.5)) for each in languages}
    with pytest.raises(InputError, match=r"overlap in data\.languages"):
        tabulate_sweep({**runs, "x": ({"seed": "1"}, None)})


def test_one_writer_has_four_formats():
    table = Table("", ("plan", "F1_a"), [("a|b", "1 ± 2"), ("c & d", "-")])
    found = {kind: render_table(table, kind) for kind in FORMATS}
    assert found == {
        "text": "plan    F1_a\na|b    1 ± 2\nc & d      -\n",
        "markdown": "| plan | F1_a |\n| --- | ---: |\n| a\\|b | 1 ± 2 |\n| c & d | - |\n",
        "csv": "plan,F1_a\na|b,1 ± 2\nc & d,-\n",
        "latex": "\\begin{tabular}{lr}\n\\hline\nplan & F1\\_a \\\\\n\\hline\n"
        "a|b & 1 $\\pm$ 2 \\\\\nc \\& d & - \\\\\n\\hline\n\\end{tabular}\n",
    }
