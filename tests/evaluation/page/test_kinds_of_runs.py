"""The page of every kind of run: in progress, classification, several labels, without labels."""

import copy
import json
from pathlib import Path

import pytest

from tests.evaluation.page.parsing import parse, read_data, read_tables
from tests.evaluation.page.sample_run import METRICS, OUTLINE, examples
from tests.evaluation.test_report import RESULTS, without_labels
from xdistil.data.examples import Example, Task, write_tsv
from xdistil.evaluation import metrics
from xdistil.evaluation.page.analysis import analyse
from xdistil.evaluation.page.files import Predictions, RunFiles, parse_predictions
from xdistil.evaluation.page.render import render_page

ROOT = Path(__file__).parents[3]


def test_a_run_in_progress_shows_how_far_it_is():
    run = RunFiles("run", None, OUTLINE, METRICS, times={"preparation": 3.0, "teacher": 9.0})
    page = parse(render_page(run))
    (summary,) = page.find("section", id="summary")
    assert "The run has not ended." in summary.text
    assert "130 of at most 190 steps" in summary.text  # 20 + 100 + 10 of 40 + 100 + 50
    tables = read_tables(page)
    assert tables["Stages so far"][1:] == [
        ["teacher 1", "train", "20", "40", "50.00"],
        ["student 1", "logits/bilstm", "100", "100", "-"],
        ["student 2", "labels", "10", "50", "-"],
    ]
    assert tables["Labelled sentences by language"][1:] == [["ar", "7", "2"], ["en", "4,321", "3"]]
    assert tables["Evaluations of student"] == [
        ["step", "stage", "loss: logits", "loss: labels", "dev score, %"],
        ["100", "logits/bilstm", "0.25", "-", "-"],
    ]
    assert [node.attributes["id"] for node in page.find("section")][:2] == ["summary", "training"]
    assert parse(render_page(RunFiles("empty", None)))


@pytest.mark.parametrize("kind", ["pairs", "one text"])
def test_classification_shows_classes(kind):
    inputs = ("a <b>", "c") if kind == "pairs" else ("a <b>",)
    labels = [("neg:food", "pos", "pos"), ("pos", "pos", "neg:food"), ("pos", "pos", "pos")]
    task = Task("classification", ("neg:food", "pos"))
    gold, teacher, student = (
        [Example(inputs, (row[place],), "und") for row in labels] for place in range(3)
    )
    results = copy.deepcopy(RESULTS) | {"task": "classification", "gazetteer": None}
    for name, found in (("teacher", teacher), ("student", student)):
        scores = metrics.score(task, gold, [each.labels for each in found])
        results[name] |= {"dev": scores, "test": scores}
    results |= {"baselines": [], "stages": []}
    found = {"gold": gold, "teacher": teacher, "student": student}
    predictions = Predictions(
        "test", student, {name: [each.labels for each in rows] for name, rows in found.items()}
    )
    page = parse(render_page(RunFiles("run", results, predictions=predictions)))
    assert read_tables(page)["Classes: gold in rows, student in columns"] == [
        ["", "neg:food", "pos"],
        ["neg:food", "0", "1"],
        ["pos", "1", "1"],
    ]
    assert read_data(page)["examples"] == [
        {
            "language": "und",
            "errors": ["student: wrong class"],
            "texts": list(inputs),
            "classes": {
                "gold": [["pos", ""]],
                "teacher": [["pos", ""]],
                "student": [["neg:food", "wrong class"]],
            },
        }
    ]
    (row,) = read_tables(page)["Languages, largest loss of the student first (test)"][1:]
    assert row[0] == "und"
    assert row[2] == "−33.33"


def test_labels_of_which_a_text_has_several_are_right_missed_or_invented():
    gold, student = [("a", "b"), (), ("a",)], [("b", "c"), (), ("a",)]
    texts = [Example(("t",), labels, "en") for labels in student]
    labels = {"gold": gold, "teacher": gold, "student": student}
    analysis = analyse(Predictions("test", texts, labels), "multilabel", "teacher")
    assert analysis.errors == {"teacher": {}, "student": {"missed": 1, "invented": 1}}
    assert analysis.confusions["student"] == {
        ("b", "b"): 1, ("a", "a"): 1, ("a", None): 1, (None, "c"): 1,
    }  # fmt: skip
    (example,) = analysis.examples
    assert example["classes"]["student"] == [("a", "missed"), ("b", ""), ("c", "invented")]
    mean = analysis.differences[0]
    assert (mean.first, mean.second) == (1.0, 2 * 2 / (3 + 3))
    text = '["one \\"quoted\\""]'
    read = parse_predictions(f'x\ten:["a","b"]\ny\t[]\nz\t{text}\n', "multilabel", {"en"})
    assert [each.labels for each in read] == [("a", "b"), (), ('one "quoted"',)]
    assert [each.language for each in read] == ["en", "und", "und"]


def test_several_labels_are_judged_one_by_one(tmp_path):
    """Gold, teacher and student of each text."""
    labels = [((), (), ("a",)), (("a", "b"), ("a", "b"), ("b",)), (("b",), ("b",), ("b",))]
    task = Task("classification", ("a", "b"), multilabel=True)
    results = copy.deepcopy(RESULTS) | {"task": "multilabel", "gazetteer": None}
    rows = {
        name: [Example(("a text",), row[place], "en") for row in labels]
        for place, name in enumerate(("gold", "teacher", "student"))
    }
    for name in ("teacher", "student"):
        scores = metrics.score(task, rows["gold"], [each.labels for each in rows[name]])
        results[name] |= {"dev": scores, "test": scores}
    results |= {"baselines": [], "stages": []}
    found = {}
    for name, examples_ in rows.items():
        given = [each.labels for each in examples_]
        write_tsv(tmp_path / name, examples_, given, multilabel=True)
        read = parse_predictions((tmp_path / name).read_text(), "multilabel", {"en"})
        assert read == examples_
        found[name] = [each.labels for each in read]
    predictions = Predictions("test", rows["student"], found)
    page = parse(render_page(RunFiles("run", results, predictions=predictions)))
    tables = read_tables(page)
    assert tables["Labels: gold in rows, student in columns"] == [
        ["", "a", "b", "None"],
        ["a", "0", "0", "1"],
        ["b", "0", "2", "0"],
        ["None", "1", "0", "-"],
    ]
    (caption,) = [name for name in tables if name.startswith("Labels that differ")]
    assert [row[:3] for row in tables[caption][1:]] == [
        ["missed", "0", "1"],
        ["invented", "0", "1"],
    ]
    shown = [each["classes"] for each in read_data(page)["examples"]]
    assert {"gold": [], "teacher": [], "student": [["a", "invented"]]} in shown
    assert [["a", "missed"], ["b", ""]] in [each["student"] for each in shown]
    (row,) = tables["Languages, largest loss of the student first (test)"][1:]
    assert row[2] == "−33.33"  # 2 * 2 / (3 + 3)


def test_many_classes_are_a_list_of_confusions():
    names = [f"c{number:02}" for number in range(20)]
    texts = [Example(("t",), (name,), "und") for name in names]
    labels = {
        "gold": [(name,) for name in names],
        "teacher": [(name,) for name in names],
        "student": [("c00",)] * 19 + [("c01",)],
    }
    analysis = analyse(Predictions("test", texts, labels), "classification", "teacher")
    assert analysis.errors["student"] == {"wrong class": 19}
    run = RunFiles("run", copy.deepcopy(RESULTS) | {"task": "classification", "gazetteer": None})
    for name in ("teacher", "student"):
        run.results[name] |= {
            split: {"accuracy": 0.5, "macro_f1": 0.5, "per_language": {}}
            for split in ("dev", "test")
        }
    run.results.update(baselines=[], stages=[])
    run = RunFiles("run", run.results, predictions=Predictions("test", texts, labels))
    caption = "Classes: gold in rows, student in columns: the most frequent confusions"
    assert len(read_tables(parse(render_page(run)))[caption]) == 20  # a header, 19 confusions


@pytest.mark.parametrize("gold", [True, False])
def test_a_run_without_labels_is_judged_by_its_teacher(gold):
    results = without_labels(test=gold)
    texts = examples(3)
    labels = {"teacher": [e.labels for e in examples(2)], "student": [e.labels for e in texts]}
    split = "test" if gold else "held_out"
    page = parse(
        render_page(RunFiles("run", results, predictions=Predictions(split, texts, labels)))
    )
    assert read_data(page)["models"] == ["teacher", "student"]
    assert "the student differs from the teacher" in page.text
    assert "Entity types: teacher in rows, student in columns" in read_tables(page)


def list_results() -> list[tuple[str, dict]]:
    """The results of runs that benchmarks/results holds, but for those of earlier formats."""
    found = []
    for path in sorted(ROOT.glob("benchmarks/results/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "timing" in content and "labels" in content["student"]:
            found.append((path.stem, content))
    return found


@pytest.mark.parametrize(
    ("name", "results"), list_results(), ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_results_of_real_runs_have_a_page(name, results):
    page = parse(render_page(RunFiles(name, results)))
    assert "Models" in read_tables(page)
    assert "None" not in page.find("main")[0].text
