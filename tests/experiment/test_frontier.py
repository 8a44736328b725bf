"""The search for students within a budget, and the command around it."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.deploy.folders import CLASSES, TAGGING, WORDS, draw_params, train_tokenizer
from tests.evaluation.test_report import RESULTS
from tests.student.test_shapes import make_bilstm, make_transformer
from xdistil.cli import frontier as command
from xdistil.cli import frontier_runs
from xdistil.cli.frontier import main
from xdistil.cli.overrides import parse_command
from xdistil.cli.sweep import parse_sweep
from xdistil.config import Data
from xdistil.data.examples import Example, Task
from xdistil.deploy.predictor import load
from xdistil.errors import InputError
from xdistil.experiment import frontier_search, latency
from xdistil.experiment.frontier_search import search
from xdistil.experiment.frontier_shapes import make_vocabularies, open_basis
from xdistil.experiment.latency import Latency, write_random
from xdistil.models.families.bilstm import BiLSTM, BiLSTMConfig
from xdistil.models.hf.folder import save_model
from xdistil.runtime.json_io import write_json
from xdistil.student.footprint import measure_footprint
from xdistil.student.shapes import Shape, find_largest, name_shape

CONFIG = """
from xdistil.config import Baseline, Experiment, Student, Teacher
from xdistil.plans import d42

def get_config(variant=""):
    experiment = Experiment(
        dtype="float32",
        teacher=Teacher(hidden_size=64, layers=2, heads=4, vocabulary_size=150),
        student=Student(embedding_size=8, hidden_size=6),
        plan=d42(),
        baselines=(Baseline(),),
    )
    experiment.data.folder = {folder!r}
    experiment.data.row_length = 32
    if variant == "attention":
        experiment.plan[0].loss = "attention"
    return experiment
"""
GRID = [make_bilstm(width, units) for width in range(10, 60, 10) for units in range(20, 120, 20)]
GRID += [make_transformer(width, layers) for width in (32, 64, 96, 128) for layers in range(1, 7)]


def take_seconds(shape: Shape) -> float:
    """Transformers have a price for each layer, BiLSTMs a larger one for arithmetic."""
    flops = shape.footprint.flops / 1e9
    if shape.student.kind == "bilstm":
        return 0.001 + 3 * flops
    return 0.0005 + 0.0004 * shape.model.config.layers + flops


@pytest.mark.parametrize("limit", [0.0021, 0.003, 0.004])
def test_the_front_of_a_search_is_that_of_measuring_everything(limit):
    asked: list[str] = []

    def measure(shapes):
        asked.extend(map(name_shape, shapes))
        return list(map(take_seconds, shapes))

    front, unmeasured = search(GRID, limit, 30, measure)
    expected = find_largest([shape for shape in GRID if take_seconds(shape) <= limit])
    assert sorted(map(name_shape, front)) == sorted(map(name_shape, expected))
    assert unmeasured == 0
    assert len(asked) == len(set(asked)) <= 20 < len(GRID)


def test_a_search_without_a_limit_measures_the_largest_alone():
    asked: list[Shape] = []
    front, _ = search(GRID, float("inf"), 30, lambda shapes: asked.extend(shapes) or [1.0] * 2)
    assert front == asked == [make_bilstm(50, 100), make_transformer(128, 6)]
    # What is not measured is not shown.
    front, unmeasured = search(GRID, float("inf"), 1, lambda shapes: [1.0])
    assert (front, unmeasured) == ([make_bilstm(50, 100)], 1)


def test_a_search_says_what_it_could_not_measure():
    front, unmeasured = search(GRID, 0.003, 9, lambda shapes: list(map(take_seconds, shapes)))
    assert unmeasured > 0
    assert all(take_seconds(shape) <= 0.003 for shape in front)


def test_a_limit_that_nothing_meets_names_the_fastest():
    with pytest.raises(InputError) as raised:
        search(GRID, 0.0001, 30, lambda shapes: list(map(take_seconds, shapes)))
    assert str(raised.value) == (
        "--max-ms=0.1: none of 8 shapes that were measured is so fast; the fastest, "
        "transformer-e32-h32-l1-a2-f128-v500, takes 1.16 ms for a text."
    )


@pytest.mark.parametrize("backend", ["onnx", "int8"])
@pytest.mark.parametrize("task", [TAGGING, CLASSES], ids=["tagging", "classification"])
def test_random_students_are_timed_as_they_are_loaded(backend, task, tmp_path):
    tokenizer = train_tokenizer(tmp_path / "tokenizer")
    model = BiLSTM(BiLSTMConfig(tokenizer.vocabulary_size, 32, 32, 40), len(task.labels))
    write_random(tmp_path / "model", model, tokenizer, task, Data(row_length=32), backend)
    found = measure_footprint(model.config, task.kind, len(task.labels), 9.0)
    (path,) = (tmp_path / "model" / "onnx").iterdir()
    assert path.stat().st_size == pytest.approx(found.count_bytes(backend), abs=1000)
    text = tuple(WORDS) if task is TAGGING else (" ".join(WORDS),)
    call = latency._make_call(load(str(tmp_path / "model"), backend))
    assert len(call([text, text * 2, text])) == 3
    (found,) = latency._time_models([str(tmp_path / "model")], [text, text * 2], backend, 1, 3)
    assert 0 < found.single < 1
    assert 0 < found.batch < 1


@pytest.fixture
def config(tmp_path: Path) -> str:
    folder = tmp_path / "task"
    folder.mkdir()
    for name in ("train", "dev", "test"):
        lines = ["Anna went to Berlin\ten:B-PER O O B-LOC\n", "Bob Lee slept\ten:B-PER I-PER O\n"]
        (folder / f"{name}.tsv").write_text("".join(20 * lines))
    (folder / "transfer.txt").write_text("Clara stayed in New York\n" * 20)
    (tmp_path / "config.py").write_text(CONFIG.replace("{folder!r}", repr(str(folder))))
    return f"--config={tmp_path / 'config.py'}"


@pytest.fixture
def measured(monkeypatch) -> list[tuple[int, int]]:
    """(shapes, threads) of every measurement; nothing is written or timed: the name says it all."""
    calls: list[tuple[int, int]] = []

    def measure(folders, examples: list[Example], backend, threads, rounds):
        assert len(examples) == latency.BATCH
        assert all(example.labels is None for example in examples)
        calls.append((len(folders), threads))
        units = [int(re.search(r"-h(\d+)-", folder.name)[1]) for folder in folders]
        return [Latency(each / 1e5 / threads, each / 2e5) for each in units]

    monkeypatch.setattr(command, "count_cores", lambda: 2)
    monkeypatch.setattr(latency, "measure_latency", measure)
    monkeypatch.setattr(latency, "write_random", lambda folder, *_: folder.mkdir())
    return calls


SWEEP = ("--sweep=student.hidden_size=32,64,96,128", "--sweep=student.embedding_size=16,32")
SMALL = (*SWEEP, "--sweep=student.layers=1,2", "--sweep=student.vocabulary_size=0")
LABELS = ("O", "B-PER", "I-PER", "B-LOC")
ENCODER = ("--config.student.kind=transformer", "--config.student.hidden_size=64")


def test_the_command_prints_and_writes_the_front(config, measured, tmp_path, capsys):
    workdir = tmp_path / "out"
    code = main(
        [config, *SMALL, "--max-ms=1", f"--workdir={workdir}", "--config.student.dropout", "0.1"]
    )
    printed = capsys.readouterr().out
    assert code == 0
    rows = list(csv.DictReader((workdir / "frontier.csv").open()))
    # By 4 widths, 2 of embeddings, 2 depths and of transformers 2 of feed-forward.
    assert len(rows) == 16 + 32
    assert {(row["kind"], row["layers"]) for row in rows} == {
        (kind, layers) for kind in ("bilstm", "transformer") for layers in "12"
    }
    front = [row for row in rows if row["front"] == "True"]
    vocabulary = front[0]["vocabulary_size"]
    names = [f"bilstm-e32-h96-l2-v{vocabulary}", f"transformer-e32-h96-l2-a3-f384-v{vocabulary}"]
    assert sorted(row["shape"] for row in front) == names
    assert [float(row["ms_single_1_threads"]) for row in front] == pytest.approx([0.96, 0.96])
    assert measured[-1] == (2, 2)  # the front alone with two threads
    table = printed.splitlines()
    assert [line.split()[0] for line in table[:3]] == ["shape", *names]
    assert table[1].split()[-4:] == ["0.96", "0.48", "0.48", "0.48"]
    assert f"This trains {names[0]}:\n  xdistil train {config} --config.student.dropout" in printed
    assert (
        "0.1 --config.student.kind=transformer --config.student.embedding_size=32 "
        "--config.student.hidden_size=96 --config.student.layers=2 --config.student.heads=3 "
        f"--config.student.intermediate_size=384 --workdir={workdir / names[1]}" in printed
    )
    written = json.loads((workdir / "frontier.json").read_text())
    assert [row["shape"] for row in written["front"]] == names
    assert (written["max_ms"], written["max_mb"], written["shapes"]) == (1.0, None, 48)
    assert "| shape | parameters |" in (workdir / "frontier.md").read_text()
    assert "<svg" in (workdir / "frontier.svg").read_text()
    assert len(list(workdir.iterdir())) == 4


def test_a_plan_limits_the_shapes(config, measured, tmp_path, capsys):
    arguments = [f"{config}:attention", *SMALL, "--max-ms=9", f"--workdir={tmp_path / 'out'}"]
    assert main(arguments) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "frontier.csv").open()))
    # Attention maps need a transformer with as many heads as the teacher.
    assert {(row["kind"], row["heads"]) for row in rows} == {("transformer", "4")}
    assert {row["hidden_size"] for row in rows} == {"32", "64", "96", "128"}
    assert main([*arguments, "--sweep=student.kind=bilstm"]) == 2
    assert "plan[0]" in capsys.readouterr().err


def write_run(workdir: Path, score: float | None, units: int = 32, labels=LABELS) -> Path:
    """The workdir of a finished run, with what the command reads of it."""
    tokenizer = train_tokenizer(workdir / "tokenizer")
    task = Task("tagging", labels)
    model = BiLSTM(BiLSTMConfig(tokenizer.vocabulary_size, 16, units, 64), len(labels))
    save_model(workdir / "student", model, draw_params(model), task, tokenizer, {})
    # Of an earlier version, which had a field more and built one BiLSTM whatever `layers` was.
    student = {"kind": "bilstm", "embedding_size": 16, "hidden_size": units, "retired": 1}
    student["layers"] = 4
    write_json(workdir / "config.json", {"student": student})
    scores = {"macro_f1": score, "micro_f1": 0.5, "per_language": {}}
    student = RESULTS["student"] | {"dev": scores, "test": scores}
    write_json(workdir / "results.json", RESULTS | {"student": student})
    return workdir


def test_finished_runs_are_compared_by_size_latency_and_score(config, measured, tmp_path, capsys):
    runs = [
        write_run(tmp_path / name, score, units)
        for name, score, units in (
            ("small", 0.3, 32),
            ("beaten", 0.5, 96),
            ("seed 0", 0.4, 64),
            ("seed 1", 0.8, 64),
            ("slow", 0.9, 128),
        )
    ]
    listed = ",".join(map(str, runs))
    arguments = [config, f"--results={listed}", f"--workdir={tmp_path / 'out'}", "--threads=1"]
    assert main([*arguments, "--max-ms=1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    # The mean of the seeds, 60%, is more than the 50% of a larger student.
    rows = [line.split() for line in printed[1:3]]
    assert [(row[0].rpartition("-v")[0], row[-1]) for row in rows] == [
        ("bilstm-e16-h64", "60.00"),
        ("bilstm-e16-h32", "30.00"),
    ]
    assert not printed[3]
    assert "--config.student.embedding_size=16 --config.student.hidden_size=64 --work" in printed[5]
    assert measured == [(4, 1)]
    written = list(csv.DictReader((tmp_path / "out" / "frontier.csv").open()))
    assert [float(row["score"]) for row in written] == pytest.approx([0.3, 0.5, 0.6, 0.9])
    files = runs[0] / "student"
    assert int(written[0]["float32_bytes"]) == pytest.approx(
        (files / "model.safetensors").stat().st_size, abs=500
    )
    names = ("tokenizer.json", "tokenizer_config.json")
    sizes = [(files / name).stat().st_size for name in names]
    assert int(written[0]["tokenizer_bytes"]) == sum(sizes)
    # A budget that no student meets.
    assert main([*arguments, "--max-ms=0.1"]) == 2
    assert "none of 4 students is so fast; the fastest, bilstm-e16-h32" in capsys.readouterr().err


def test_a_limited_vocabulary_of_the_config_is_one_of_those_tried(config, tmp_path):
    experiment = parse_command(
        [config, "--workdir=x", "--config.student.vocabulary=seen"]
    ).experiment

    def list_sizes(limit: int, axes: dict) -> dict[int, int]:
        experiment.student.vocabulary_size = limit
        folder = tmp_path / f"{limit} {axes}"
        found = make_vocabularies(open_basis(experiment, folder / "cache"), axes, folder)
        return {key: each.tokenizer.vocabulary_size for key, each in found.items()}

    ((key, size),) = list_sizes(0, {}).items()
    assert key == 0
    assert list_sizes(size - 1, {}) == {size - 1: size - 1}
    assert list_sizes(size + 1, {}) == {size + 1: size}  # there are no more
    # Asked for, the whole vocabulary is there as well.
    axes = {"vocabulary_size": (0, size - 2)}
    assert list_sizes(size - 1, axes) == {0: size, size - 2: size - 2}


def test_short_runs_add_scores(config, measured, tmp_path, capsys, monkeypatch):
    workdir = tmp_path / "out"

    def train(place: Path) -> int:
        """Instead of `xdistil sweep`, which reads the file that the command has written."""
        arguments = [f"--config={place / 'short_runs.py'}", f"--workdir={place / 'runs'}"]
        for run, units in zip(parse_sweep(arguments).runs, (32, 64), strict=True):
            assert run.name
            experiment = run.experiment
            assert [stage.epochs for stage in experiment.plan] == [2.5, 4.0, 2.0]
            assert [stage.unfreeze_epochs for stage in experiment.plan] == [0, 1.0, 1.0]
            assert not experiment.baselines
            assert experiment.student.dropout == 0.1
            assert experiment.student.hidden_size == units
            write_run(place / "runs" / run.name, units / 100, units)
        return 0

    monkeypatch.setattr(frontier_runs, "run_sweep", train)
    sweep = ("--sweep=student.kind=bilstm", "--sweep=student.embedding_size=16,32")
    # Two of the same width, for the runs that are written here.
    monkeypatch.setattr(frontier_search, "find_largest", lambda shapes: shapes[:3:2])
    arguments = [config, *sweep, "--sweep=student.hidden_size=64,32", "--max-ms=9", "--threads=1"]
    arguments += ["--train=2", "--share=0.5", "--config.student.dropout=0.1"]
    # The first shape is that of the config.
    arguments += ["--config.student.embedding_size=16", "--config.student.hidden_size=32"]
    assert main([*arguments, f"--workdir={workdir}"]) == 0
    before, after = capsys.readouterr().out.split("\n\nshape ")
    assert "macro-F1" not in before
    assert after.splitlines()[0].endswith("dev macro-F1")
    rows = list(csv.DictReader((workdir / "frontier.csv").open()))
    assert sorted(row["score"] for row in rows) == ["", "", "0.32", "0.64"]

    monkeypatch.setattr(frontier_runs, "run_sweep", lambda place: 75)
    assert main([*arguments, f"--workdir={workdir}"]) == 75


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (None, "has no results.json: name finished runs"),
        ({"score": None}, "has no score on dev"),
        ({"score": 0.5, "labels": ("O", "B-X")}, "has other labels than the data of the config"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(config, measured, run, says, tmp_path, capsys):
    if run is not None:
        write_run(tmp_path / "run", **run)
    arguments = [config, f"--results={tmp_path / 'run'}", f"--workdir={tmp_path / 'out'}"]
    assert main(arguments) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "There is no budget: set --max-mb, --max-ms or both."),
        (("--max-mb=0",), "--max-mb is 0: it must be above 0."),
        (("--max-ms=nan",), "--max-ms is nan: it must be above 0."),
        (("--max-mb=1", "--threads=0"), "--threads=0: write numbers of cores, from 1 to 2."),
        (("--max-mb=1", "--threads=3"), "--threads=3: write numbers of cores, from 1 to 2."),
        (("--max-mb=1", "--sweep=student.vocabulary_size=9"), "student.vocabulary_size is 9, but"),
        (("--max-mb=1", "--share=0.5"), "--share is for short runs: set --train"),
        (("--max-mb=1", "--train=1", "--share=0"), "--train=1 --share=0: write a number of runs"),
        (("--train=1", "--results=x"), "--train and --results are both set: keep one of them."),
        (("--max-mb=1", "--measure=0"), "--measure is 0: it must be 1 or more."),
        (("--max-mbb=1",), "'--max-mbb' is not an option of xdistil frontier (did you mean"),
        (("--max-mb=1", "--config.student.layer=1"), "there is no field student.layer (did you"),
        (("--max-mb=1", "--config.student.checkpoint=x", *ENCODER), "leave it empty to choose one"),
        (("--max-mb=0.001", *SMALL), "none of 48 shapes is so small; the smallest, bilstm-e16-h32"),
    ],
)
def test_mistakes_are_told_in_one_sentence(config, measured, arguments, says, tmp_path, capsys):
    assert main([config, f"--workdir={tmp_path / 'out'}", *arguments]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if says in each]
    assert line.startswith("xdistil frontier: ")
    assert not measured


def test_the_workdir_of_a_run_is_no_place_for_a_front(config, measured, tmp_path, capsys):
    write_json(tmp_path / "config.json", {"plan": [], "teacher": {}, "student": {}})
    assert main([config, *SMALL, "--max-mb=1", f"--workdir={tmp_path}"]) == 2
    assert f"--workdir={tmp_path} is the workdir of one run" in capsys.readouterr().err
    assert not measured
