"""Rows of a sweep beside one of them: the numbers of `xdistil compare`, pairs, and refusals."""

import copy
import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.test_report import RESULTS
from xdistil.cli.main import main
from xdistil.data.examples import Example, Task, write_tsv
from xdistil.evaluation import comparison
from xdistil.evaluation.comparison import adjust
from xdistil.evaluation.metrics import score

CLASSES, TAGS = Task.of("classification", ()), Task.of("tagging", ())


def make_gold(kind: str = "tagging", texts: int = 60) -> list[Example]:
    """Texts in two languages, a quarter of them English."""
    chosen = random.Random(1)
    labels = [("B-PER", "I-PER", "O"), ("O", "B-LOC", "O"), ("O", "O", "B-ORG")]
    if kind == "classification":
        labels = [("good",), ("bad",)]
    return [
        Example(
            (f"Anna{n}", "went", "home") if kind == "tagging" else (f"Anna{n} went",),
            chosen.choice(labels),
            "de" if n % 4 else "en",
        )
        for n in range(texts)
    ]


def add_run(
    workdir: Path,
    settings: dict[str, str],
    gold: list[Example],
    errors: float,
    task: Task = TAGS,
    ends: bool = True,
) -> str:
    """A run whose share of wrong texts is `errors`; returns its name."""
    name = ",".join(f"{key}={value}" for key, value in settings.items())
    chosen = random.Random(name)
    wrong = ("O", "O", "O") if task.kind == "tagging" else ("bad",)
    answers = [wrong if chosen.random() < errors else each.labels or () for each in gold]
    folder = workdir / name
    (folder / "predictions").mkdir(parents=True)
    if ends:
        write_tsv(folder / "predictions/gold.test.tsv", gold, [each.labels or () for each in gold])
        write_tsv(folder / "predictions/student.test.tsv", gold, answers)
        results: Any = copy.deepcopy(RESULTS)
        results["task"] = task.name
        results["student"]["test"] = score(task, gold, answers)
        (folder / "results.json").write_text(json.dumps(results))
    path = workdir / "sweep.json"
    known = json.loads(path.read_text())["runs"] if path.exists() else []
    known.append({"name": name, "settings": settings})
    path.write_text(json.dumps({"format": 1, "runs": known}))
    return str(folder)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(comparison, "RESAMPLES", 500)


def tabulate(workdir: Path, capsys, *arguments: str) -> list[dict[str, str]]:
    assert main(["table", str(workdir), "--rows=plan", "--format=csv", *arguments]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_every_row_has_the_numbers_of_compare_and_holms_correction(tmp_path, capsys):
    gold = make_gold()
    folders = {
        plan: [add_run(tmp_path, {"plan": plan, "seed": seed}, gold, errors) for seed in "01"]
        for plan, errors in (("d1", 0.6), ("d2", 0.35), ("d3", 0.3))
    }
    rows = tabulate(tmp_path, capsys, "--against=d2")
    alone = {}
    for plan in ("d1", "d3"):
        output = tmp_path / f"{plan}.json"
        pair = [",".join(folders[each]) for each in ("d2", plan)]
        assert main(["compare", *pair, f"--output={output}"]) == 0
        alone[plan] = json.loads(output.read_text())["differences"][0]
    capsys.readouterr()
    corrected = adjust([each["p"] for each in alone.values()])
    for row, (plan, one), p in zip([rows[0], rows[2]], alone.items(), corrected, strict=True):
        assert row["plan"] == plan
        assert row["difference"] == f"{100 * (one['second'] - one['first']):+.2f}"
        assert (row["low"], row["high"]) == tuple(f"{100 * one[x]:+.2f}" for x in ("low", "high"))
        assert row["p (Holm)"] == f"{p:.4f}"
        assert row["seeds"] == "2/2"
        scores = [float(each["macro-F1 test"]) for each in (rows[1], row)]
        assert float(row["difference"]) == pytest.approx(scores[1] - scores[0], abs=0.011)
    assert [row["verdict"] for row in rows] == ["worse", "reference", "undecided"]
    assert rows[1]["difference"] == ""


def test_models_of_one_language_each_are_paired_with_a_model_of_all(tmp_path, capsys):
    """Also as the reference: differences turn their signs."""
    gold = make_gold()
    add_run(tmp_path, {"plan": "d2", "seed": "0"}, gold, 0.1)
    for language in ("en", "de"):
        own = [each for each in gold if each.language == language]
        add_run(tmp_path, {"plan": "d0", "data.languages": language, "seed": "0"}, own, 0.5)
    (_, d0) = tabulate(tmp_path, capsys, "--against=d2")
    (d2, _) = tabulate(tmp_path, capsys, "--against=d0")
    assert d0["verdict"] == "worse"
    assert d2["verdict"] == "better"
    assert float(d0["difference"]) == -float(d2["difference"]) < -10


def test_only_seeds_that_both_rows_have_ended_count(tmp_path, capsys):
    gold = make_gold()
    for plan, seeds in (("d1", "012"), ("d2", "02"), ("d3", "")):
        for seed in "012":
            add_run(tmp_path, {"plan": plan, "seed": seed}, gold, 0.3, ends=seed in seeds)
    assert main(["table", str(tmp_path), "--against=d1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "(2 of 3)" in lines[2].replace("(2 of 3)", "", 1)  # of its score, and of the difference
    assert lines[3].split() == ["d3", "-", "(0", "of", "3)", "-", "-", "-", "-"]
    assert lines[-1].startswith("Differences to d1 on 60 texts, with the same seeds")
    assert lines[-1].endswith("correction for 1 row.")


def test_accuracy_is_over_all_texts_whatever_their_languages(tmp_path, capsys):
    gold = make_gold("classification")
    for plan, errors in (("d1", 0.9), ("d2", 0.2)):
        add_run(tmp_path, {"plan": plan}, gold, errors, CLASSES)
    for language in ("en", "de"):
        own = [each for each in gold if each.language == language]
        add_run(tmp_path, {"plan": "d0", "data.languages": language}, own, 0.9, CLASSES)
    rows = tabulate(tmp_path, capsys, "--against=d2")
    scores = [float(row["accuracy test"]) for row in rows]
    for row, value in ((rows[0], scores[0]), (rows[2], scores[2])):
        assert float(row["difference"]) == pytest.approx(value - scores[1], abs=0.011)


def test_a_table_has_columns_for_people_and_for_papers(tmp_path, capsys):
    for plan in ("d1", "d2"):
        add_run(tmp_path, {"plan": plan}, make_gold(), 0.3)
    output = tmp_path / "table.tex"
    given = ["table", str(tmp_path), "--against=d2", "--format=latex", f"--output={output}"]
    assert main(given) == 0
    first, *_ = (line for line in output.read_text().splitlines() if "plan" in line)
    assert first == r"plan & macro-F1 test & difference & 95\% interval & p (Holm) & verdict \\"


def _lose(workdir: Path, name: str) -> None:
    (workdir / "plan=d1,seed=0/predictions" / name).unlink()


@pytest.mark.parametrize(
    ("arguments", "change", "words"),
    [
        (["--against=d4"], None, "--against=d4: there is no such row (did you mean d5?)."),
        (["--against=d1", "--rows=seed"], None, "Runs of one cell differ in plan"),
        (["--against=d1", "--columns=seed"], None, "--columns=seed makes columns of a setting"),
        (["--against=d5"], None, "--against=d5: no run of it has ended"),
        (["--against=d2"], None, "d3 and d2 have no seed in common"),
        (["--against=d1"], "gold.test.tsv", "There is no {folder}/plan=d1,seed=0/predictions/gold"),
        (
            ["--against=d1"],
            "texts",
            "plan=d2,seed=0 have other texts or gold labels in {language}.",
        ),
        (["--against=d1"], "languages", "plan=d2,seed=0 has no scored texts in de."),
    ],
)
def test_what_cannot_be_paired_is_refused(tmp_path, capsys, arguments, change, words):
    gold = make_gold()
    other = gold
    if change == "texts":
        other = [*gold[:-4], replace(gold[-4], inputs=("Bob", "went", "home")), *gold[-3:]]
    if change == "languages":
        other = [each for each in gold if each.language == "en"]
    add_run(tmp_path, {"plan": "d1", "seed": "0"}, gold, 0.3)
    add_run(tmp_path, {"plan": "d2", "seed": "0"}, other, 0.3)
    add_run(tmp_path, {"plan": "d5", "seed": "0"}, other, 0.3, ends=False)
    if "seed in" in words:
        add_run(tmp_path, {"plan": "d3", "seed": "1"}, gold, 0.3)
    if change == "gold.test.tsv":
        _lose(tmp_path, change)
    assert main(["table", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert words.format(folder=tmp_path, language=gold[-4].language) in error
    assert error.count("\n") == 1


def test_one_row_is_compared_with_nothing(tmp_path, capsys):
    for seed in "01":
        add_run(tmp_path, {"seed": seed}, make_gold(), 0.3)
    assert main(["table", str(tmp_path), "--against=d1"]) == 2
    assert "there is one row, and nothing to compare it with" in capsys.readouterr().err
