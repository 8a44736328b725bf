"""The files of a run that its page is made of, and the size of the page."""

import json
from pathlib import Path

from tests.evaluation.page.parsing import parse
from tests.evaluation.page.sample_run import METRICS, OUTLINE, examples, tagging_run
from xdistil.data.examples import Example, write_tsv
from xdistil.evaluation.page.analysis import MOST_EXAMPLES, analyse
from xdistil.evaluation.page.files import Predictions, parse_predictions, read_run
from xdistil.evaluation.page.render import render_page, write_page


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
