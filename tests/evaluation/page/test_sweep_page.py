"""The page of a sweep: the numbers of `xdistil table`, the state of its runs, links to pages."""

import pytest

from tests.evaluation.page.parsing import parse, read_tables
from tests.evaluation.test_sweep_table import RUNS, make
from xdistil.evaluation.page.sweep import SweepFiles, render_sweep

SWEEP = SweepFiles(
    "table", RUNS, frozenset({"a", "b", "c", "d"}), {"a": "a/report.html", "d": "d/report.html"}
)


def test_systems_have_means_deviations_and_pictures():
    """0.80 and 0.84: mean 0.82, deviation of the sample 0.02 * sqrt(2), as in the table."""
    page = parse(render_sweep(SWEEP))
    header, *rows = read_tables(page)["Systems"]
    assert header[:3] == ["plan", "macro-F1 test, 79.2 to 90.0", "macro-F1 test"]
    assert [row[:3] for row in rows] == [
        ["d1", "", "82.00 ± 2.83"],
        ["d2", "", "90.00 (1 of 2)"],
        ["d3", "-", "- (0 of 1)"],
    ]
    (systems,) = (t for t in page.find("table") if t.find("caption")[0].text == "Systems")
    first, second = systems.find("svg")
    (line,) = first.find("line")
    # 79.17 to 84.83 of 79.17 to 90, on 8 to 172
    assert float(line.attributes["x1"]) == 8
    assert float(line.attributes["x2"]) == pytest.approx(8 + 164 * 5.6569 / 10.8284, abs=0.1)
    (mark,) = second.find("circle")
    assert float(mark.attributes["cx"]) == 172


def test_languages_are_those_of_the_table():
    rows = read_tables(parse(render_sweep(SWEEP)))["Scores by language"]
    assert rows[:2] == [["plan", "de", "en"], ["d1", "90.00 ± 0.00", "74.00 ± 5.66"]]


def test_runs_have_a_state_and_a_link_to_their_page():
    page = parse(render_sweep(SWEEP))
    assert read_tables(page)["Runs and their pages"][1:] == [
        ["a", "done", "80.00", "11.7 min"],
        ["b", "done", "84.00", "11.7 min"],
        ["c", "done", "90.00", "11.7 min"],
        ["d", "begun", "-", "-"],
        ["e", "to do", "-", "-"],
    ]
    (section,) = page.find("section", id="runs")
    assert [each.attributes["href"] for each in section.find("a")] == [
        "a/report.html",
        "d/report.html",
    ]
    (summary,) = page.find("section", id="summary")
    assert "3 of 5 runs have ended." in summary.text
    assert "reload" in summary.text


def test_sizes_are_drawn_where_they_differ():
    assert not parse(render_sweep(SWEEP)).find("section", id="size")
    small, large = make(0.8), make(0.9)
    large["student"]["parameters"]["total"] = 5_000_000
    runs = {
        "s": ({"student.hidden_size": "8"}, small),
        "l": ({"student.hidden_size": "9"}, large),
    }
    (section,) = parse(render_sweep(SweepFiles("sizes", runs))).find("section", id="size")
    (picture,) = section.find("svg")
    assert "8: 80.00 at 2.27e+06, 9: 90.00 at 5e+06" in picture.attributes["aria-label"]
    names = [node for node in picture.find("text") if "direct" in node.attributes["class"]]
    assert [node.text for node in names] == ["9", "8"]


def test_nothing_is_done_yet_and_names_are_escaped():
    runs = {"<b>": ({"plan": "<i>"}, None)}
    page = parse(render_sweep(SweepFiles("<u>", runs)))
    assert read_tables(page)["Runs and their pages"][1:] == [["<b>", "to do", "-", "-"]]
    assert "0 of 1 runs have ended." in page.text


def test_settings_that_make_no_table_are_told():
    runs = {"f": ({"data.languages": "de", "plan": "d1"}, make(0.5)), "g": ({"plan": "d1"}, None)}
    page = parse(render_sweep(SweepFiles("x", runs)))
    assert "Runs of one cell overlap in data.languages" in page.text
    assert len(read_tables(page)["Runs and their pages"]) == 3
