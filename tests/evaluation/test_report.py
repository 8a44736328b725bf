"""The tables of the report, of results that are complete and of results with values missing."""

import copy
import json
from dataclasses import replace

import pytest

from xdistil.config import Experiment, Stage, Student, Teacher
from xdistil.deploy.model_card import render_card
from xdistil.evaluation.figures import draw_course, draw_languages, draw_trade_off
from xdistil.evaluation.report import (
    describe_outcome,
    describe_run,
    render_console,
    render_markdown,
    render_scores,
    summarise,
)
from xdistil.plans import d42


def _tags(macro: float, **languages: float | None) -> dict:
    per_language = {
        name: {"f1": f1, "precision": f1, "recall": f1, "entities": 12, "sentences": 1500}
        for name, f1 in languages.items()
    }
    return {"macro_f1": macro, "micro_f1": macro - 0.01, "per_language": per_language}


ENVIRONMENT = {
    "packages": dict.fromkeys(("jax", "flax", "optax"), "1"),
    "data": {},
    "cpu": "a processor",
    "cpu_cores": 2,
    "devices": ["cpu"],
    "command": "xdistil train",
    "licenses": {"teacher": {}, "student": {}},
}
RESULTS = {
    "format": 1,
    "task": "tagging",
    "seed": 3,
    "gold": True,
    "selected_on": "dev",
    "teacher": {
        "labels": 10_000,
        "parameters": {"total": 22_700_000, "embeddings": 11_720_000},
        "bytes": {"model": 90_900_000, "tokenizer": 711_000, "folder": 91_700_000},
        "dev": _tags(0.9),
        "test": _tags(0.88, de=0.9, en=0.8, fr=0.94, my=None),
    },
    "student": {
        "labels": 1_000,
        "parameters": {"total": 2_270_000, "embeddings": 900},
        "bytes": {"model": 9_090_000, "tokenizer": 711_000, "folder": 9_900_000},
        "dev": _tags(0.85),
        "test": _tags(0.8123, de=0.85, en=0.6123, fr=0.95, my=None),
    },
    "retention": 0.923,
    "compression": 10.0,
    "stages": [
        {
            "name": "logits/bilstm",
            "groups": ["head", "projection", "bilstm"],
            "steps": 1234,
            "limit": 2000,
            "best_step": 1200,
            "monitor": "dev loss",
            "best": 0.04567,
            "dev": _tags(0.7777),
        }
    ],
    "baselines": [
        {
            "name": "labels only",
            "labels": 10_000,
            "lr": 1e-3,
            "steps": 99,
            "limit": 120,
            "dev": _tags(0.6),
            "test": _tags(0.5811),
        }
    ],
    "gazetteer": {"dev": _tags(0.31), "test": _tags(0.3)},
    "timing": {
        "stages": {"logits/bilstm": 95.0},
        "speedup": {
            "batch_32": {
                **{"min": 20.1, "median": 25.2, "max": 31.0},
                "teacher_seconds": {"min": 0.1, "median": 0.25, "max": 0.3},
                "student_seconds": {"min": 0.009, "median": 0.01, "max": 0.02},
                "row_length": 32,
                "rounds": 9,
            },
            "single": {
                **{"min": 7.0, "median": 8.0, "max": 9.0},
                "teacher_seconds": {"min": 0.01, "median": 0.02, "max": 0.03},
                "student_seconds": {"min": 0.001, "median": 0.0025, "max": 0.003},
                "row_length": 64,
                "rounds": 12,
            },
            "dtype": "float32",
            "threads": 2,
            "device": "cpu",
        },
        "total": 700.0,
    },
}


def _line(text: str, start: str) -> list[str]:
    """The cells of the only line that begins with `start`."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return [cell for cell in line.strip().split("  ") if cell]


def test_models_are_rows_with_scores_in_percent_and_sizes():
    text = render_console(RESULTS)
    cells = [cell.strip() for cell in _line(text, "teacher ")]
    assert cells == ["teacher", "10,000", "90.00", "88.00", "87.00", "22.7M", "11.7M", "90.9 MB"]
    cells = [cell.strip() for cell in _line(text, "student ")]
    assert cells == ["student", "1,000", "85.00", "81.23", "80.23", "2.27M", "900", "9.1 MB"]
    baseline = [cell.strip() for cell in _line(text, "labels only")]
    assert baseline[:4] == ["labels only (lr 0.001)", "10,000", "60.00", "58.11"]
    assert [cell.strip() for cell in _line(text, "gazetteer")][1:5] == [
        "-",
        "31.00",
        "30.00",
        "29.00",
    ]


def test_the_outcome_is_in_words():
    text = render_console(RESULTS)
    assert "The student retains 92.3% of the teacher's macro-F1 on test." in text
    assert (
        "It has 10.0 times fewer parameters and a 10.0 times smaller model file.\n"
        "It is 25.2 times faster in a batch of 32 and 8.0 times faster on a single sentence."
        in text
    )


def test_a_larger_or_slower_student_is_told_as_such():
    results = copy.deepcopy(RESULTS) | {"task": "multilabel", "compression": 0.5}
    results["student"]["bytes"]["model"] = 3 * results["teacher"]["bytes"]["model"]
    results["timing"]["speedup"]["single"]["median"] = 0.8
    results["timing"]["speedup"]["batch_32"]["median"] = 1.04
    assert describe_run(results) == "Multi-label classification, seed 3, selected on dev"
    told = " ".join(describe_outcome(results | {"task": "tagging"}))
    assert "It has 2.0 times more parameters and a 3.0 times larger model file." in told
    assert "It is as fast in a batch of 32 and 1.2 times slower on a single sentence." in told
    results["compression"] = 0.97
    results["student"]["bytes"] = results["teacher"]["bytes"]
    told = " ".join(describe_outcome(results | {"task": "tagging"}))
    assert "It has as many parameters and a model file of the same size." in told


def test_languages_are_sorted_by_loss_and_one_without_entities_is_left_out():
    text = render_console(RESULTS)
    rows = [line.split() for line in text.splitlines() if line.strip()[:3] in ("de ", "en ", "fr ")]
    assert rows == [
        ["en", "80.00", "61.23", "-18.77", "1,500"],
        ["de", "90.00", "85.00", "-5.00", "1,500"],
        ["fr", "94.00", "95.00", "+1.00", "1,500"],
    ]
    assert "my" not in text.split()


def test_the_console_shows_five_languages_and_the_page_all():
    results = copy.deepcopy(RESULTS)
    for model, step in (("teacher", 0.0), ("student", 0.01)):
        languages = {f"l{i}": 0.9 - step * i for i in range(8)}
        results[model]["test"] = _tags(0.8, **languages)
    console, page = render_console(results), render_markdown(results)
    assert [f"l{i}" in console.split() for i in range(8)] == [False] * 3 + [True] * 5
    assert all(f"| l{i} |" in page for i in range(8))
    assert "The 5 of 8 languages with the largest loss (test)" in console


def test_stages_show_what_trained_and_the_dev_score_after_it():
    cells = [cell.strip() for cell in _line(render_console(RESULTS), "logits/bilstm")]
    assert cells == [
        *("logits/bilstm", "head, projection, bilstm", "1,234"),
        *("dev loss", "0.04567", "77.77", "1.6 min"),
    ]


def test_speed_gives_medians_and_the_spread():
    text = render_console(RESULTS)
    cells = [cell.strip() for cell in _line(text, "batch of 32  ")]
    assert cells == ["batch of 32", "32", "250 ms", "10 ms", "20.1 / 25.2 / 31.0"]
    assert "float32, 2 threads, cpu" in text


def test_columns_of_a_console_table_line_up():
    lines = render_console(RESULTS).splitlines()
    start = lines.index("Models")
    ends = {len(line) for line in lines[start + 1 : start + 4]}
    assert len(ends) == 1


def test_rows_of_a_markdown_table_have_the_same_number_of_cells():
    blocks = [b for b in render_markdown(RESULTS).split("\n\n") if b.startswith("| ")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_without_test_speed_and_baselines_the_report_is_about_dev():
    results = copy.deepcopy(RESULTS)
    for model in ("teacher", "student"):
        results[model]["test"] = None
        results[model]["dev"] = _tags(0.8, en=0.8, fr=0.9)
    results.update(baselines=[], gazetteer=None, retention=None, stages=[])
    results["timing"]["speedup"] = None
    text = render_console(results)
    assert "There is no test set" in text
    assert "(dev)" in text
    assert "Speed" not in text
    assert "None" not in text + render_markdown(results)
    assert [cell.strip() for cell in _line(text, "student ")][3:5] == ["-", "-"]


def test_classification_is_reported_by_accuracy():
    scores = {
        "accuracy": 0.75,
        "macro_f1": 0.7,
        "per_language": {"en": {"accuracy": 0.75, "macro_f1": 0.7, "sentences": 4}},
    }
    results = copy.deepcopy(RESULTS) | {"task": "classification", "gazetteer": None}
    for model in ("teacher", "student"):
        results[model] |= {"dev": scores, "test": scores}
    results |= {"baselines": [], "stages": []}
    text = render_console(results)
    assert "accuracy dev" in text
    assert [cell.strip() for cell in _line(text, "student ")][2:5] == ["75.00", "75.00", "70.00"]
    assert "retains 92.3% of the teacher's accuracy" in text


def test_results_read_back_from_json_give_the_same_report():
    assert render_markdown(json.loads(json.dumps(RESULTS))) == render_markdown(RESULTS)


def test_a_score_table_has_one_line_per_language_and_the_averages():
    text = render_scores("tagging", RESULTS["teacher"]["test"])
    assert _line(text, "my")[0] == "my"
    assert text.splitlines()[2].split() == ["en", "80.00", "80.00", "80.00", "12", "1,500"]
    assert text.endswith("macro-F1 88.00, micro-F1 87.00\n")


def without_labels(test: bool) -> dict:
    """The results of a tagging run without labels, with or without a gold test file."""
    results = copy.deepcopy(RESULTS)
    results.update(gold=False, selected_on="agreement", baselines=[], gazetteer=None)
    results["teacher"]["dev"] = results["student"]["dev"] = None
    agreement = {"dev": None, "test": _tags(0.9333), "held_out": _tags(0.9512, de=0.97, en=0.91)}
    if not test:
        results["teacher"]["test"] = results["student"]["test"] = agreement["test"] = None
        results["retention"] = None
    results["student"]["agreement"] = agreement
    return results


def test_without_labels_agreement_is_shown_with_the_gold_scores():
    text = render_console(without_labels(test=True))
    assert (
        "without labels, selected by agreement with the teacher on held-out transfer texts" in text
    )
    (header,) = (line for line in text.splitlines() if line.strip().startswith("model "))
    assert [cell.strip() for cell in header.split("  ") if cell] == [
        "model",
        "agreement with the teacher, held-out transfer",
        "agreement with the teacher, test",
        "macro-F1 gold test",
        "parameters",
        "embeddings",
        "model file",
    ]
    cells = [cell.strip() for cell in _line(text, "student ")]
    assert cells[:4] == ["student", "95.12", "93.33", "81.23"]
    cells = [cell.strip() for cell in _line(text, "teacher ")]
    assert cells[:4] == ["teacher", "-", "-", "88.00"]
    assert "The student retains 92.3% of the teacher's macro-F1 on test." in text
    assert "labels only" not in text


def test_without_labels_and_gold_no_table_mentions_f1():
    results = without_labels(test=False)
    page = render_markdown(results)
    tables = [line for line in page.splitlines() if line.startswith(("|", "#"))]
    assert not [line for line in tables if "F1" in line or "dev |" in line or "test" in line]
    assert sum("agreement with the teacher" in line for line in tables) == 4  # title, three tables
    assert "is 95.12 (macro-F1 with the teacher's predictions as gold labels)" in page
    rows = [line for line in tables if line.startswith(("| de ", "| en "))]
    assert rows == ["| en | 91.00 | 1,500 |", "| de | 97.00 | 1,500 |"]


@pytest.mark.parametrize("which", ["teacher", "student"])
def test_a_card_without_labels_and_gold_reports_agreement(which, tmp_path):
    experiment = Experiment(plan=d42())
    experiment.data.transfer, experiment.teacher.finetune = "texts.txt", False
    (tmp_path / "config.json").write_text("{}")
    card = render_card(tmp_path, which, without_labels(test=False), experiment, ENVIRONMENT)
    assert "labels: labels on train" not in card
    assert "generated" not in card
    if which == "student":
        assert "Agreement with the teacher on held-out transfer texts: 95.12." in card
        assert "metric_name" not in card or "agreement" in card
        assert "Its worst languages on held-out transfer texts: en 91.00, de 97.00." in card
    else:
        assert "fine-tuned before this run" in card
    card = render_card(tmp_path, which, without_labels(test=True), experiment, ENVIRONMENT)
    assert {"student": "Macro-F1 on test: 81.23.", "teacher": "Macro-F1 on test: 88.00."}[
        which
    ] in card


@pytest.mark.parametrize(("layers", "text"), [(1, "200 units"), (2, "2 layers of 200 units")])
def test_a_card_describes_a_bilstm(layers, text, tmp_path):
    experiment = Experiment(student=Student(embedding_size=50, layers=layers), plan=d42())
    (tmp_path / "config.json").write_text("{}")
    card = render_card(tmp_path, "student", copy.deepcopy(RESULTS), experiment, ENVIRONMENT)
    assert f"a BiLSTM with {text} per direction and word embeddings of size 50" in card


@pytest.mark.parametrize("which", ["student", "teacher"])
@pytest.mark.parametrize(
    ("kinds", "sentences"),
    [({}, False), ({"labels_loss": "crf"}, True), ({"logits_loss": "crf"}, True)],
)
def test_a_card_warns_of_pipelines_where_sentences_were_learned(which, kinds, sentences, tmp_path):
    """By the plan of the model itself; a BERT, whose config.json names no decoding."""
    other = Stage(name="x", loss="labels", data="train")
    learned = replace(other, **kinds)
    plans = {"student": (learned, other), "teacher": (other, learned)}[which]
    experiment = Experiment(plan=(plans[0],), teacher=Teacher(plan=(plans[1],)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    card = render_card(tmp_path, which, copy.deepcopy(RESULTS), experiment, ENVIRONMENT)
    assert ("from transformers import pipeline" in card) != sentences
    assert ("most tags of its pipeline would be wrong" in card) == sentences


def test_figures_without_labels_and_gold_show_only_agreement():
    results = without_labels(test=False)
    below = draw_course([], results).axes[1]
    assert below.get_ylabel() == "agreement with the teacher, %"
    assert draw_languages(results) is None
    panel = draw_trade_off(results).axes[0]
    assert panel.get_ylabel() == "agreement with the teacher on held-out transfer texts, %"
    assert [text.get_text() for text in panel.texts] == ["student"]
    results["teacher"]["dev"] = _tags(0.5)
    assert not [
        line for line in draw_course([], results).axes[1].lines if line.get_label() == "teacher"
    ]


def test_a_summary_has_the_main_scores():
    assert summarise(RESULTS) == {
        "retention": 0.923,
        "compression": 10.0,
        "seconds": RESULTS["timing"].get("total"),
        "teacher/dev_macro_f1": 0.9,
        "teacher/test_macro_f1": 0.88,
        "student/dev_macro_f1": 0.85,
        "student/test_macro_f1": 0.8123,
    }
    untested = copy.deepcopy(RESULTS)
    untested["student"]["test"] = None
    assert summarise(untested)["student/test_macro_f1"] is None
