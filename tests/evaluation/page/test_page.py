"""The page of a run: its numbers, its safety, its shape, and every kind of run."""

import base64
import copy
import hashlib
import itertools
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.page.parsing import Node, parse, read_tables
from tests.evaluation.test_report import RESULTS, without_labels
from xdistil.data.examples import Example, Task, write_tsv
from xdistil.evaluation import metrics
from xdistil.evaluation.comparison import compare_systems
from xdistil.evaluation.page.analysis import MOST_EXAMPLES, analyse
from xdistil.evaluation.page.charts import Curve, Scale, StepScale, draw_panel, thin_out
from xdistil.evaluation.page.course import StageCourse, place_borders
from xdistil.evaluation.page.files import Predictions, RunFiles, parse_predictions, read_run
from xdistil.evaluation.page.render import render_page, write_page

ROOT = Path(__file__).parents[3]
TASK = Task("tagging", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
EVIL = "</script><script>alert(1)</script>"
# (words, gold, teacher, student, language)
TEXTS = [
    ("Anna Lee saw Rome", "B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", "B-PER O O B-LOC", "en"),
    ("Rome is old", "B-LOC O O", "B-PER O O", "B-LOC O O", "en"),
    ("he left Oslo", "O O B-LOC", "O O B-LOC", "O O B-LOC", "en"),
    ("ذهبت آنا إلى روما", "O B-PER O B-LOC", "O B-PER O B-LOC", "O O O B-LOC", "ar"),
    (f'x{EVIL} & "q" \x07 said', "B-PER O O O O", "O O O O O", "B-PER O O O B-LOC", "ar"),
]  # fmt: skip
OUTLINE = {
    "format": 1,
    "task": "tagging",
    "stages": [
        {"plan": "teacher", "name": "train", "steps": 40},
        {"plan": "student", "name": "logits/bilstm", "steps": 100},
        {"plan": "student", "name": "labels", "steps": 50},
    ],
    "sentences": {"train": {"ar": 7, "en": 4321}, "dev": {"ar": 2, "en": 3}},
    "transfer": 9876,
}
METRICS = [
    {"plan": plan, "stage": stage, "step": step, "event": event, **numbers}
    for plan, stage, step, event, numbers in (
        ("teacher", "train", 20, "train", {"loss_labels": 1.5}),
        ("teacher", "train", 20, "evaluation", {"monitor": 0.5, "dev_macro_f1": 0.5}),
        ("student", "logits/bilstm", 50, "train", {"loss_logits": 0.5}),
        ("student", "logits/bilstm", 100, "train", {"loss_logits": 0.25}),
        ("student", "logits/bilstm", 100, "evaluation", {"monitor": 0.3}),
        ("student", "labels", 10, "train", {"loss_labels": 0.125}),
    )
]


def examples(column: int) -> list[Example]:
    return [
        Example(tuple(text[0].split(" ")), tuple(text[column].split(" ")), text[4])
        for text in TEXTS
    ]


def tagging_run() -> RunFiles:
    """A finished run whose scores are those of TEXTS."""
    results = copy.deepcopy(RESULTS)
    gold, teacher, student = map(examples, (1, 2, 3))
    for name, found in (("teacher", teacher), ("student", student)):
        results[name]["test"] = metrics.score(TASK, gold, [each.labels for each in found])
    labels = {
        name: [each.labels for each in found]
        for name, found in (("gold", gold), ("teacher", teacher), ("student", student))
    }
    return RunFiles(
        name="run",
        results=results,
        outline=OUTLINE,
        metrics=METRICS,
        predictions=Predictions("test", student, labels),
    )


@pytest.fixture(scope="module")
def page() -> Node:
    return parse(render_page(tagging_run()))


def read_data(page: Node) -> dict:
    (block,) = page.find("script", id="data")
    return json.loads(block.text)


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


# --- every kind of run ----------------------------------------------------------------------------


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


# --- files ----------------------------------------------------------------------------------------


def test_predictions_are_read_as_they_were_written(tmp_path):
    texts = [*examples(3), Example(("\ufefffirst",), ("O",), "und")]
    texts = [texts[-1], *texts[:-1]]
    write_tsv(tmp_path / "a.tsv", texts, [each.labels for each in texts])
    text = (tmp_path / "a.tsv").read_text(encoding="utf-8")
    assert parse_predictions(text, "tagging", {"en", "ar"}) == texts
    pairs = [Example(("a", "b"), ("en:x",), "de"), Example(("a", "c"), ("neg:food",), "und")]
    write_tsv(tmp_path / "b.tsv", pairs, [each.labels for each in pairs])
    text = (tmp_path / "b.tsv").read_text(encoding="utf-8")
    assert parse_predictions(text, "classification", {"de", "en"}) == pairs


def write_workdir(folder: Path) -> Path:
    run = tagging_run()
    (folder / "predictions").mkdir(parents=True)
    for column, name in ((1, "gold"), (2, "teacher"), (3, "student")):
        found = examples(column)
        labels = [each.labels for each in found]
        write_tsv(folder / "predictions" / f"{name}.test.tsv", found, labels)
    (folder / "outline.json").write_text(json.dumps(OUTLINE))
    lines = "".join(json.dumps(line) + "\n" for line in METRICS)
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "results.json").write_text(json.dumps(run.results))
    return folder


def test_the_page_of_a_workdir_is_always_the_same(tmp_path):
    workdir = write_workdir(tmp_path / "run")
    write_page(workdir)
    first = (workdir / "report.html").read_bytes()
    assert first.decode() == render_page(tagging_run())
    results = json.loads((workdir / "results.json").read_text())
    (workdir / "results.json").unlink()
    write_page(workdir, results)  # at the end of a run, before its results are written
    assert (workdir / "report.html").read_bytes() == first


def test_what_is_half_written_or_of_other_texts_is_left_out(tmp_path):
    workdir = write_workdir(tmp_path / "run")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write('{"plan": "student", "st')
    other = examples(1)[:3]
    write_tsv(workdir / "predictions/gold.test.tsv", other, [each.labels for each in other])
    run = read_run(workdir)
    assert run.metrics == METRICS
    assert sorted(run.predictions.labels) == ["student", "teacher"]
    assert parse(render_page(run))
    (workdir / "predictions/student.test.tsv").unlink()
    assert read_run(workdir).predictions is None


def test_a_page_stays_small_and_says_what_it_leaves_out():
    words = tuple(f"word{number}" for number in range(300))
    texts, gold = [], []
    for number in range(3000):
        tags = ["O"] * len(words)
        tags[200] = "B-PER"
        texts.append(Example(words, tuple(tags), f"l{number % 69:02}"))
        gold.append(("O",) * len(words))
    labels = {"gold": gold, "teacher": gold, "student": [each.labels for each in texts]}
    analysis = analyse(Predictions("test", texts, labels), "tagging", "teacher")
    assert analysis.differing == 3000
    assert len(analysis.examples) <= MOST_EXAMPLES
    assert len(json.dumps(analysis.examples)) < 500_000
    assert len({each["language"] for each in analysis.examples}) == 69
    example = analysis.examples[0]
    ((start, end, *_),) = example["spans"]["student"]
    assert example["words"][start:end] == ["word200"]
    assert (example["words"][0], example["words"][1], example["words"][-1]) == ("…", "word180", "…")


# --- charts ---------------------------------------------------------------------------------------


def test_scales_are_linear_or_logarithmic():
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [Scale(1, 100, 0, 20, True)(value) for value in (1, 10, 100)] == [0, 10, 20]
    assert Scale(0, 1000, 0, 1).ticks(4) == [0, 500, 1000]
    assert Scale(0.02, 3, 0, 1, True).ticks() == pytest.approx([0.03, 0.1, 0.3, 1.0, 3.0])
    assert Scale(5, 5, 0, 10)(5) == 5


def test_every_stage_has_room_and_steps_within_it_are_linear():
    scale = StepScale([0, 10, 1000, 1010], 0, 100)
    borders = [scale(step) for step in (0, 10, 1000, 1010)]
    assert borders == [0, 6, 94, 100]
    assert scale(5) == 3
    assert scale(505) == 50
    assert StepScale([0, 0], 0, 100)(0) == 0


def test_borders_are_steps_that_were_taken_or_that_are_planned():
    def line(step: int) -> dict:
        return {"step": step}

    stages = [
        StageCourse("a", 100, [line(60)]),
        StageCourse("b", 100, [line(30)]),
        StageCourse("c", 50, []),
    ]
    assert place_borders(stages, finished=False) == [0, 60, 160, 210]  # a has stopped early
    assert place_borders(stages, finished=True) == [0, 60, 90, 90]


def test_a_curve_of_one_point_is_a_mark():
    panel = partial(draw_panel, borders=[0, 10], level=None, width=344, height=200, label="loss")
    one = parse(panel([Curve("labels", "loss-1", [(5, 0.5)])]))
    assert len(one.find("circle", class_="mark loss-1")) == 1
    two = parse(panel([Curve("labels", "loss-1", [(5, 0.5), (6, 0.4)])]))
    assert not two.find("circle")


def test_long_curves_are_thinned_out_with_their_ends():
    points = [(float(x), 1.0) for x in range(10_000)]
    thin = thin_out(points)
    assert len(thin) == 300
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert thin_out(points[:300]) == points[:300]
