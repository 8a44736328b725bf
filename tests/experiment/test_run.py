"""What a whole run of the tiny task leaves in its workdir."""

import hashlib
import json
import re
from collections import Counter

import pytest
from huggingface_hub import ModelCard
from matplotlib.image import imread

import train
from tests.evaluation.shapes import check_shape
from tests.experiment.tiny_run import LABELS, PARTS, TASK, arguments, read_json, read_lines
from xdistil.data.decoding import VITERBI
from xdistil.data.examples import read_file
from xdistil.deploy.predictor import load
from xdistil.evaluation.metrics import score
from xdistil.evaluation.page.files import Outline, read_run
from xdistil.evaluation.page.render import render_page
from xdistil.evaluation.report import render_console
from xdistil.evaluation.results import Results
from xdistil.experiment.inspection import inspect_folder


def test_the_log_says_what_is_drawn_more_often(finished):
    """The gaps of 1 + 2 gap / mean gap have a mean of 3, of two languages that both have one."""
    log = (finished[0] / "train.log").read_text()
    (told,) = re.findall(r"labels: languages weigh by their gap to the teacher on dev: (.*)", log)
    assert (
        "languages of plan[2]: drawn 1 + 2 gap / mean gap times as often (teacher less student, "
        "on dev)\n" in log
    )
    assert "texts of plan[2]: half of an epoch is drawn by the student's doubts\n" in log
    found = re.findall(r"labels: the student's doubt is (\S+) in the mean and (\S+) at most; ", log)
    ((mean, largest),) = found
    assert 0 < float(mean) < float(largest) < 1
    weights = dict(part.split() for part in told.split(", "))
    assert weights.keys() == {"en", "el"}
    assert sum(map(float, weights.values())) == pytest.approx(6.0, abs=0.02)


def test_the_workdir_holds_what_is_promised(finished):
    workdir, _ = finished
    names = {path.name for path in workdir.iterdir()}
    assert {
        "config.json", "environment.json", "train.log", "metrics.jsonl", "checkpoints", "cache",
        "teacher", "student", "predictions", "results.json", "results.md", "outline.json",
        "report.html", "times.json",
    } <= names  # fmt: skip
    assert {path.name for path in (workdir / "predictions").iterdir()} == {
        f"{name}.{split}.tsv"
        for name in ("gold", "teacher", "student")
        for split in ("dev", "test")
    }
    for model in ("teacher", "student"):
        here = {path.name for path in (workdir / model).iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= here
    assert not [path for path in workdir.rglob("*") if ".partial" in path.name]


def test_no_json_file_holds_a_number_that_is_none(finished):
    workdir, _ = finished
    paths = [*workdir.glob("*.json"), *workdir.glob("*/config.json")]
    assert len(paths) >= 5
    for path in paths:
        read_json(path)
    for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        assert not {"NaN", "Infinity", "-Infinity"} & set(line.replace(",", " ").split())


def test_results_are_those_of_the_file(finished):
    workdir, results = finished
    assert read_json(workdir / "results.json") == json.loads(json.dumps(results))
    assert (results["format"], results["task"], results["selected_on"]) == (1, "tagging", "dev")
    assert results["seed"] == 0
    check_shape(results, Results)


def test_the_outline_names_the_stages_and_the_texts(finished, data):
    workdir, _ = finished
    outline = read_json(workdir / "outline.json")
    check_shape(outline, Outline)
    planned = {(each["plan"], each["name"]): each["steps"] for each in outline["stages"]}
    taken: dict[tuple[str, str], int] = {}
    for line in read_lines(workdir):
        taken[line["plan"], line["stage"]] = line["step"]
    assert list(planned) == list(taken)
    assert planned == taken  # no stage of this run stops early
    for split in ("train", "dev", "test"):
        lines = (data / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        counted = Counter(line.partition("\t")[2][:2] for line in lines)
        assert outline["sentences"][split] == counted
    assert (outline["task"], outline["transfer"]) == ("tagging", 40)


def test_the_time_is_divided_into_phases(finished):
    workdir, results = finished
    phases = results["timing"]["phases"]
    assert list(phases) == [
        "preparation", "teacher", "signals", "student", "baselines", "evaluation",
    ]  # fmt: skip
    assert phases == read_json(workdir / "times.json")
    assert sum(results["timing"]["stages"].values()) < phases["student"]
    assert 0.8 * results["timing"]["total"] < sum(phases.values()) < results["timing"]["total"]


def test_the_page_is_that_of_the_finished_workdir(finished):
    workdir, _ = finished
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page == render_page(read_run(workdir))
    assert all(f'id="{name}"' in page for name in ("languages", "training", "errors", "time"))


def test_sizes_are_of_what_is_exported(finished):
    workdir, results = finished
    for name in ("teacher", "student"):
        sizes = results[name]["bytes"]
        assert sizes["model"] == (workdir / name / "model.safetensors").stat().st_size
        files = [path for path in (workdir / name).rglob("*") if path.is_file()]
        files.remove(workdir / name / "README.md")
        assert sizes["folder"] == sum(path.stat().st_size for path in files)
        assert sizes["tokenizer"] >= (workdir / name / "tokenizer.json").stat().st_size
        parameters = results[name]["parameters"]
        assert 4 * parameters["total"] < sizes["model"] < 4 * parameters["total"] + 8000
        assert 0 < parameters["embeddings"] < parameters["total"]
    counts = [results[name]["parameters"]["total"] for name in ("teacher", "student")]
    assert results["compression"] == pytest.approx(counts[0] / counts[1])


@pytest.mark.parametrize("model", ["teacher", "student"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_what_is_scored_is_what_is_written(finished, data, model, split):
    workdir, results = finished
    gold = read_file(data / f"{split}.tsv", TASK)
    assert read_file(workdir / "predictions" / f"gold.{split}.tsv", TASK) == gold
    predicted = read_file(workdir / "predictions" / f"{model}.{split}.tsv", TASK)
    assert [example.inputs for example in predicted] == [example.inputs for example in gold]
    assert [example.language for example in predicted] == [example.language for example in gold]
    again = score(TASK, gold, [example.labels for example in predicted])
    assert results[model][split] == json.loads(json.dumps(again))


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_the_folders_predict_what_was_scored(finished, data, model):
    """With the decoding in their config.json."""
    workdir, _ = finished
    gold = read_file(data / "test.tsv", TASK)
    inputs = [example.inputs for example in gold]
    scored = read_file(workdir / "predictions" / f"{model}.test.tsv", TASK)
    predictor = load(str(workdir / model)).predictor
    assert predictor.decoding == VITERBI
    predicted = [each.labels for each in predictor.predict(inputs)]
    assert predicted == [example.labels for example in scored]


def test_retention_is_of_the_test_set(finished):
    _, results = finished
    teacher, student = (results[name]["test"]["macro_f1"] for name in ("teacher", "student"))
    assert teacher > 0.3  # it has learnt something, so that the ratio means something
    assert results["retention"] == pytest.approx(student / teacher)


def test_every_sub_stage_is_in_the_table_with_its_score_on_dev(finished):
    _, results = finished
    stages = results["stages"]
    assert tuple(stage["name"] for stage in stages) == PARTS
    assert [stage["groups"] for stage in stages] == [
        ["projection", "bilstm"],
        ["head"],
        ["head", "projection"],
        ["head", "projection", "bilstm"],
        ["head", "projection", "bilstm"],
    ]
    for stage in stages:
        assert 0 < stage["steps"] <= stage["limit"]
        assert 0 <= stage["dev"]["macro_f1"] <= 1
        assert stage["best"] is not None
    assert set(results["timing"]["stages"]) == set(PARTS)
    assert min(results["timing"]["stages"].values()) > 0
    assert results["timing"]["total"] > sum(results["timing"]["stages"].values())


def test_the_student_is_the_one_that_was_best_on_dev(finished):
    _, results = finished
    reached = [stage["dev"]["macro_f1"] for stage in results["stages"][1:]]
    assert results["student"]["dev"]["macro_f1"] == max(reached)


def test_the_baseline_stands_beside_it(finished):
    _, results = finished
    (baseline,) = results["baselines"]
    assert (baseline["name"], baseline["labels"], baseline["lr"]) == ("labels only", 30, 1e-2)
    assert baseline["dev"]["per_language"].keys() == {"el", "en"}
    assert baseline["test"]["per_language"].keys() == {"el", "en"}
    assert "params" not in baseline


def test_metrics_tell_stage_step_losses_rate_norm_and_speed(finished):
    workdir, _ = finished
    lines = read_lines(workdir)
    told = list(dict.fromkeys((line["plan"], line["stage"]) for line in lines))
    assert told == [
        ("teacher", "train"),
        *(("student", part) for part in PARTS),
        ("baseline-0-0", "labels"),
    ]
    for line in lines:
        assert line["step"] >= 1
        if line["event"] == "train":
            (loss,) = (name for name in line if name.startswith("loss_"))
            kind = "labels" if line["stage"] == "train" else line["stage"].split("/")[0]
            assert loss == f"loss_{kind}"
            assert min(line[loss], line["gradient_norm"], line["tokens_per_second"]) > 0
            assert line["lr"] > 0
        else:
            assert isinstance(line["monitor"], float)


def test_the_log_tells_data_plan_and_table(finished, data):
    workdir, _ = finished
    text = (workdir / "train.log").read_text(encoding="utf-8")
    for words in (
        "subwords per word",
        "student 3/5 logits/projection",
        "teacher 1/1 train",
        f"xdistil predict --model={workdir / 'student'}",
    ):
        assert words in text
    environment = read_json(workdir / "environment.json")
    assert environment["command"] == "train.py --config=tiny.py"
    digest = hashlib.sha256((data / "dev.tsv").read_bytes()).hexdigest()
    assert environment["data"]["dev"] == digest
    assert set(environment["data"]) == {"train", "dev", "test", "labels", "transfer[0]"}


def test_a_hopeless_teacher_still_comes_to_its_table_with_a_warning(config, data, tmp_path, capsys):
    """Random weights, never fine-tuned: what is undefined is null, and nothing is NaN."""
    more = ("--config.teacher.finetune=False", "--config.plan[2].epochs=0.5")
    assert train.main(arguments(config, data, tmp_path, *more)) == 0
    printed = capsys.readouterr().err
    found = re.search(
        r"no help: its macro_f1 on dev is (\S+), that of the gazetteer of train (\S+)\. Is", printed
    )
    assert found is not None, printed
    assert float(found[1]) <= float(found[2])
    assert read_json(tmp_path / "results.json")["retention"] is None  # of nothing
    assert "retains" not in printed
    details = "hidden 1 from 1"  # they are in the log alone, unless --verbose asks for them
    assert details in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert details not in printed
    for path in tmp_path.rglob("*.json"):
        read_json(path)


def test_the_cards_hold_scores_that_hubs_can_read(finished):
    workdir, results = finished
    for model in ("teacher", "student"):
        card = ModelCard.load(workdir / model / "README.md")
        scores = results[model]["test"]
        assert {each.dataset_config: each.metric_value for each in card.data.eval_results} == {
            "all": scores["macro_f1"],
            **{language: each["f1"] for language, each in scores["per_language"].items()},
        }
        assert (card.data.language, card.data.pipeline_tag) == (
            ["el", "en"],
            "token-classification",
        )
        assert "train.py --config=tiny.py" in card.text
        digest = read_json(workdir / "environment.json")["data"]["train"]
        assert digest[:16] in card.text
        # Only the teacher, a BERT, is for transformers' pipeline, which decodes otherwise.
        assert ("The pipeline takes the most probable tag of each" in card.text) == (
            model == "teacher"
        )


def test_the_pictures_are_drawn(finished):
    workdir, _ = finished
    for name in ("course", "languages", "trade-off"):
        picture = imread(workdir / "figures" / f"{name}.png")
        assert picture.shape[0] > 150
        assert picture.shape[1] > 500
        assert len({tuple(colour) for colour in picture.reshape(-1, 4)[::7]}) > 20  # not blank


def test_a_finished_folder_tells_its_table_and_a_model_its_parts(finished):
    workdir, results = finished
    assert render_console(results) in inspect_folder(workdir)
    told = inspect_folder(workdir / "student")
    assert "B-LOC, I-PER" not in told  # in their order
    assert ", ".join(LABELS) in told
    assert f"{results['student']['bytes']['model'] / 1e3:.1f} kB" in told
    for language, each in results["student"]["test"]["per_language"].items():
        assert re.search(rf"{language} +test +f1 +{100 * each['f1']:.2f}", told)
