"""The page of a run: its numbers, its safety and its shape."""

import base64
import hashlib
import itertools
import json
import re

import numpy as np
import pytest

from tests.evaluation.page.parsing import Node, parse, read_data, read_tables
from tests.evaluation.page.sample_run import EVIL, METRICS, TASK, TEXTS, examples, tagging_run
from xdistil.evaluation import metrics
from xdistil.evaluation.comparison import compare_systems
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.render import render_page


@pytest.fixture(scope="module")
def page() -> Node:
    return parse(render_page(tagging_run()))


# --- numbers --------------------------------------------------------------------------------------


def test_the_tables_hold_the_numbers_of_the_results(page):
    tables = read_tables(page)
    results = tagging_run().results
    rows = {row[0]: row for row in tables["Models"][1:]}
    for name in ("teacher", "student"):
        assert rows[name][2:5] == [
            f"{100 * results[name]['dev']['macro_f1']:.2f}",
            f"{100 * results[name]['test']['macro_f1']:.2f}",
            f"{100 * results[name]['test']['micro_f1']:.2f}",
        ]
    assert rows["labels only (lr 0.001)"][3] == "58.11"
    (stage,) = tables["The student after each stage"][1:]
    assert stage == [
        *("1", "logits/bilstm", "head, projection, bilstm", "1,234"),
        *("dev loss", "0.04567", "77.77", "1.6 min"),
    ]
    speed = tables[next(name for name in tables if name.startswith("Speed"))]
    assert speed[1] == ["batch of 32", "32", "250 ms", "10 ms", "20.1 / 25.2 / 31.0"]


def test_languages_have_gaps_train_sizes_and_intervals(page):
    header, *rows = read_tables(page)["Languages, largest loss of the student first (test)"]
    results = tagging_run().results
    gold, teacher, student = map(examples, (1, 2, 3))
    counts = [
        metrics.count_matches(TASK, gold, [each.labels for each in found])[np.newaxis]
        for found in (teacher, student)
    ]
    expected = {row.language: row for row in compare_systems([t[4] for t in TEXTS], *counts)}
    gaps = []
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        name = cells["language"]
        before, after = (
            results[m]["test"]["per_language"][name]["f1"] for m in ("teacher", "student")
        )
        assert (cells["teacher"], cells["student"]) == (f"{100 * before:.2f}", f"{100 * after:.2f}")
        gap = 100 * (after - before)
        assert cells["difference"] == f"{gap:+.2f}".replace("-", "−")
        interval = f"{100 * expected[name].low:+.2f} to {100 * expected[name].high:+.2f}"
        assert cells["95% interval"] == interval.replace("-", "−")
        assert cells["verdict"] == expected[name].verdict
        assert cells["train texts"] == {"ar": "7", "en": "4,321"}[name]
        assert cells["test texts"] == {"ar": "2", "en": "3"}[name]
        assert cells["entities"] == {"ar": "3", "en": "4"}[name]
        gaps.append(gap)
    assert gaps == sorted(gaps)
    assert {row[0] for row in rows} == {"ar", "en"}


def test_errors_and_confusions_are_those_counted_by_hand(page):
    tables = read_tables(page)
    kinds = {row[0]: row[1:3] for row in tables["Entities that differ from the gold labels (test)"]}
    # (teacher, student). Student: Anna alone, آنا, and one of nothing. Teacher: Rome, x.
    assert kinds["missed"] == ["1", "1"]
    assert kinds["invented"] == ["0", "1"]
    assert kinds["wrong type"] == ["1", "0"]
    assert kinds["wrong edge"] == ["0", "1"]
    assert tables["Entity types: gold in rows, student in columns"] == [
        ["", "LOC", "PER", "None"],
        ["LOC", "4", "0", "0"],
        ["PER", "0", "2", "1"],
        ["None", "1", "0", "-"],
    ]
    assert tables["Entity types: gold in rows, teacher in columns"] == [
        ["", "LOC", "PER", "None"],
        ["LOC", "3", "1", "0"],
        ["PER", "0", "2", "1"],
        ["None", "0", "0", "-"],
    ]


def test_examples_are_the_texts_on_which_the_models_differ(page):
    data = read_data(page)
    assert data["models"] == ["gold", "teacher", "student"]
    by_text = {" ".join(each["words"]): each for each in data["examples"]}
    assert set(by_text) == {text[0] for text in TEXTS if text[2] != text[3]}
    first = by_text["Anna Lee saw Rome"]
    assert first["language"] == "en"
    assert first["errors"] == ["student: wrong edge"]
    assert first["spans"] == {
        "gold": [[0, 2, "PER", ""], [3, 4, "LOC", ""]],
        "teacher": [[0, 2, "PER", ""], [3, 4, "LOC", ""]],
        "student": [[0, 1, "PER", "wrong edge"], [3, 4, "LOC", ""]],
    }
    (section,) = page.find("section", id="examples")
    assert "On 4 of 5 texts of test the student and the teacher differ." in section.text
    assert "This page has all of them." in section.text
    (choice,) = section.find("select", name="error")
    assert [option.text for option in choice.find("option")] == [
        *("all", "student: invented", "student: missed", "student: wrong edge"),
        *("teacher: missed", "teacher: wrong type"),
    ]


def test_the_time_is_divided_into_phases_and_stages():
    run = tagging_run()
    run.results["timing"]["phases"] = {"preparation": 5.0, "student": 100.0, "evaluation": 95.0}
    rows = read_tables(parse(render_page(run)))[
        "Time by part of the run, and of the student by stage"
    ]
    assert [(row[0], row[2], row[3]) for row in rows[1:]] == [
        ("data and models", "2.5", "5.0 s"),
        ("student", "50.0", "1.7 min"),
        ("logits/bilstm", "47.5", "1.6 min"),
        ("scores and speed", "47.5", "1.6 min"),
    ]


# --- safety ---------------------------------------------------------------------------------------


def test_no_text_becomes_markup(page):
    assert len(page.find("script")) == 2  # the data and the page's own
    assert not [node for node in page.find("script") if "src" in node.attributes]
    words = [word for each in read_data(page)["examples"] for word in each["words"]]
    assert f"x{EVIL}" in words
    assert {"&", '"q"', "\x07"} <= set(words)


@pytest.mark.parametrize(
    "name", [EVIL, '" onload="alert(1)', "a&lt;b", "\x00\x1b", "\udcff", "‮x", "]]>"]
)
def test_names_of_runs_types_languages_and_stages_are_escaped(name):
    run = tagging_run()
    results = json.loads(json.dumps(run.results))
    results["stages"][0]["name"] = name
    results["baselines"][0]["name"] = name
    for model in ("teacher", "student"):
        languages = results[model]["test"]["per_language"]
        languages[name] = languages.pop("en")
    metrics = [{**line, "stage": name, f"loss_{name}": 0.5} for line in METRICS]
    page = parse(
        render_page(
            RunFiles(
                name, results, metrics=metrics, config={"a": name}, environment={"command": name}
            )
        )
    )
    assert len(page.find("script")) == 1
    for node in (*page.find("svg"), *page.find("td"), *page.find("th"), *page.find("h1")):
        assert not [key for key in node.attributes if key.startswith("on")]
    (heading,) = page.find("h1")
    shown = name.replace("\x00", "␀").replace("\x1b", "␛").replace("\udcff", "\ufffd")
    assert heading.text == shown
    assert shown in page.text


def test_only_the_style_and_script_of_the_page_are_allowed_and_nothing_is_loaded():
    text = render_page(tagging_run())
    page = parse(text)
    (policy,) = page.find("meta", http_equiv="Content-Security-Policy")
    for name in ("style", "script"):
        node = page.find(name)[-1]
        digest = base64.b64encode(hashlib.sha256(node.text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy.attributes["content"]
    assert "default-src 'none'" in policy.attributes["content"]
    assert not re.search(r"(src|href|action)=\"(?!#)|url\(|@import|https?:", text)


# --- shape ----------------------------------------------------------------------------------------


def test_a_screen_reader_finds_landmarks_headings_and_names(page):
    assert page.find("html")[0].attributes["lang"] == "en"
    for landmark in ("header", "nav", "main"):
        assert len(page.find(landmark)) == 1
    identifiers = [
        node.attributes["id"] for name in ("section", "h2", "ol", "form", "p", "select", "button")
        for node in page.find(name) if "id" in node.attributes
    ]  # fmt: skip
    assert len(identifiers) == len(set(identifiers))
    for section in page.find("section"):
        (heading,) = section.find("h2")
        assert section.attributes["aria-labelledby"] == heading.attributes["id"]
    for link in page.find("nav")[0].find("a"):
        assert page.find("section", id=link.attributes["href"][1:])
    for picture in page.find("svg"):
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or (picture.attributes["role"] == "img" and picture.attributes["aria-label"])
    for table in page.find("table"):
        assert all(head.attributes["scope"] in ("col", "row") for head in table.find("th"))
    (count,) = page.find("p", id="count")
    assert count.attributes["aria-live"] == "polite"
    levels = [int(name[1]) for name in re.findall(r"<(h[1-6])\b", render_page(tagging_run()))]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
