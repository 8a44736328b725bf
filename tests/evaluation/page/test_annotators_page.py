"""The annotators in the page of a run: their numbers, their examples, and what has no gold."""

import copy

from tests.annotators.test_agreement import GOLD, TASK
from tests.annotators.test_agreement import TEXTS as ANSWERED
from tests.evaluation.page.parsing import Node, parse, read_tables
from tests.evaluation.page.test_page import EVIL, tagging_run
from xdistil.annotators.agreement import summarise_answers
from xdistil.annotators.answers import AnsweredText, Span
from xdistil.data.examples import Example, Task
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.render import render_page

SCORES = "Annotators and their votes against the gold labels of 2 texts of dev"
TEXT = f"{EVIL} Unterwasser"
BEGIN = TEXT.index("Unter")
PARTS = (Span(BEGIN + 2, BEGIN + 3, "P"), Span(BEGIN, BEGIN + 8, "L"))


def annotated_run(gold=GOLD, texts=ANSWERED, task=TASK) -> RunFiles:
    """A finished run whose teacher is annotators."""
    run = tagging_run()
    found = summarise_answers(texts, gold, task)
    found |= {"votes": "share", "left_out": {"units": 1, "texts": 1}}
    run.results["annotators"] = found
    return run


def read_section(run: RunFiles) -> Node:
    (section,) = parse(render_page(run)).find("section", id="annotators")
    return section


def test_annotators_and_votes_have_their_scores_on_dev():
    third = Example(("Not", "in", "gold"), ("O", "O", "O"), "en")
    section = read_section(annotated_run([*GOLD, third]))
    (told, *_) = section.find("p")
    assert told.text.startswith(
        "3 annotators answered 3 texts; in 0 of them (0.0%) nobody marked anything. "
        "Krippendorff's alpha over the tags of words is 0."
    )
    assert told.text.endswith(
        "The targets are the share votes, without 1 units of too little agreement, in 1 texts."
    )
    run = annotated_run()
    run.results["annotators"]["calibration"] = {"units": 1234, "before": 0.5, "after": 0.25}
    (told, *_) = read_section(run).find("p")
    assert told.text.endswith(
        " They are calibrated on 1,234 units of dev, whose mean negative log-likelihood falls from "
        "0.5000 to 0.2500."
    )
    tables = read_tables(section)
    header, *rows = tables[SCORES.replace("2 texts", "3 texts")]
    assert header[1:5] == ["F1, %", "0 to 100", "precision, %", "recall, %"]
    assert rows[:3] == [
        ["a", "80.00", "", "66.67", "100.00", "3", "2", "3"],
        ["b", "0.00", "", "0.00", "0.00", "2", "2", "2"],
        ["c", "-", "", "-", "-", "0", "0", "1"],
    ]
    assert [row[0] for row in rows[3:]] == ["votes: majority", "votes: share", "votes: learned"]
    by_language = {row[0]: row[1:4] for row in tables["F1 by language, %"][1:]}
    assert by_language == {"de": ["100.00", "0.00", "-"], "en": ["0.00", "-", "-"]}
    assert {row[0] for row in tables["F1 by type, %"][1:]} == {"P", "L"}


def test_rejected_spans_are_counted_by_reason_and_shown_in_their_texts():
    texts = [*ANSWERED, AnsweredText((TEXT,), "und", "a:4", {"a": PARTS, "b": None})]
    section = read_section(annotated_run(texts=texts))
    assert read_tables(section)["Spans that were moved or rejected"] == [
        ["annotator", "spans", "moved", "blank", "part of a word", "rejected, %"],
        ["a", "5", "1", "0", "1", "20.00"],
        ["b", "3", "0", "1", "0", "33.33"],
        ["c", "0", "0", "0", "0", "-"],
    ]
    reasons = ["moved", "blank", "part of a word"]
    assert [each.text for each in section.find("h3")] == [f"Examples: {each}" for each in reasons]
    assert [each.text for each in section.find("mark")] == ["Unterwas", "U+0020", "t"]
    moved, blank, part = section.find("li")
    assert moved.text == f"a{TEXT}"
    assert blank.text == "bU+0020 in: So it is"
    assert part.text == f"at in: {TEXT}"
    assert not section.find("script")


def test_without_gold_there_are_spans_alone_and_other_runs_have_no_section():
    found = annotated_run(gold=[])
    found.results["annotators"] |= {"alpha": None}
    del found.results["annotators"]["votes"], found.results["annotators"]["left_out"]
    section = read_section(found)
    assert section.find("p")[0].text.endswith("is undefined: too few of them have two answers.")
    caption = "Spans by annotator (no text with answers has gold labels in dev)"
    assert read_tables(section)[caption][1:] == [["a", "3"], ["b", "3"], ["c", "0"]]
    assert "annotators" not in render_page(tagging_run())
    assert not parse(render_page(RunFiles("run", None))).find("section", id="annotators")


def test_classes_are_right_or_wrong():
    texts = [AnsweredText((name,), "en", name, {"x": {"good": 1.0}, "y": None}) for name in "tu"]
    gold = [Example(("t",), ("good",), "en"), Example(("u",), ("bad",), "en")]
    run = annotated_run(gold, texts, Task("classification", ("bad", "good")))
    run.results["task"] = "classification"
    for model in (run.results["teacher"], run.results["student"], *run.results["baselines"]):
        for split in ("dev", "test"):
            model[split] = copy.deepcopy(model[split]) | {"accuracy": 0.5, "per_language": {}}
    run.results["gazetteer"] = None
    run.results["stages"] = []
    section = read_section(RunFiles("run", run.results))
    header, *rows = read_tables(section)[SCORES]
    assert header == ["annotator", "right, %", "0 to 100", "texts answered"]
    assert rows[0] == ["x", "50.00", "", "2"]
    assert rows[1] == ["y", "-", "-", "-"]
