"""Runs without labels on pairs of texts: with a gold dev file, and from one file of texts."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.experiment.ready_teacher import make_teacher, ready
from tests.experiment.tiny_run import CONFIG, FILLERS
from xdistil.cli.overrides import parse_command
from xdistil.config import Stage
from xdistil.data.examples import Task, read_file
from xdistil.errors import InputError
from xdistil.evaluation.metrics import score
from xdistil.experiment.build import Run, build
from xdistil.experiment.run import run

PAIRS = Task("classification", ("yes", "no", "perhaps"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """Pairs of texts from a file of one language, with a gold dev file that has two of the classes;
    the run has ended."""
    base = tmp_path_factory.mktemp("pairs")
    (base / "tiny.py").write_text(CONFIG, encoding="utf-8")
    make_teacher(base / "teacher", PAIRS)
    draw = random.Random(1)
    (base / "task").mkdir()

    def make(count: int, label: bool) -> str:
        texts = (
            " ".join(draw.choices(FILLERS["en"] + FILLERS["el"], k=6)) for _ in range(2 * count)
        )
        lines = ("\t".join(pair) for pair in zip(texts, texts, strict=True))
        return "".join(
            f"{line}\t{draw.randint(0, 1)}\n" if label else f"{line}\n" for line in lines
        )

    (base / "task" / "dev.tsv").write_text(make(12, True), encoding="utf-8")
    (base / "task" / "labels.tsv").write_text("no\nyes\n")
    (base / "english.txt").write_text(make(40, False), encoding="utf-8")
    more = (f"--config.data.transfer=en:{base / 'english.txt'}", "--config.data.dev_fraction=0.25")
    command = ready(base / "tiny.py", base / "task", base / "run", base / "teacher", *more)
    experiment = parse_command(command).experiment
    experiment.plan = (Stage(name="both", loss="logits+labels", data="train", epochs=1.0, lr=1e-2),)
    return base, run(experiment, base / "run")


def test_pairs_agree_and_a_gold_dev_is_scored_but_does_not_choose(pairs):
    base, results = pairs
    (stage,) = results["stages"]
    assert (stage["name"], stage["monitor"]) == ("both", "dev loss")
    agreement = results["student"]["agreement"]
    assert stage["dev"] == agreement["held_out"]
    assert agreement["held_out"]["per_language"].keys() == {"en"}
    assert agreement["held_out"]["per_language"]["en"]["sentences"] == 10
    assert agreement["dev"]["accuracy"] is not None
    gold = read_file(base / "task" / "dev.tsv", Task("classification", ("no", "yes")))
    predicted = read_file(base / "run" / "predictions" / "student.dev.tsv", PAIRS)
    again = score(PAIRS, gold, [each.labels for each in predicted])
    assert results["student"]["dev"] == json.loads(json.dumps(again))
    assert results["student"]["test"] is agreement["test"] is None


def build_pairs(base: Path, *more: str, folder: str = "") -> Run:
    command = ready(base / "tiny.py", folder, base / "new", base / "teacher", *more)
    return build(parse_command(command).experiment, base / "cache")


def test_texts_alone_suffice(pairs):
    base, _ = pairs
    built = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}")
    assert built.corpus.task == PAIRS
    assert (len(built.corpus.dev), len(built.corpus.transfer)) == (4, 36)
    assert {len(each.inputs) for each in built.corpus.dev} == {2}
    assert built.corpus.train == []
    assert built.corpus.test is built.corpus.gold_dev is None
    again = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}")
    assert again.corpus == built.corpus
    other = build_pairs(base, f"--config.data.transfer={base / 'english.txt'}", "--config.seed=1")
    assert other.corpus.dev != built.corpus.dev


def test_other_classes_under_the_same_weights_are_refused_when_a_run_goes_on(
    pairs, tmp_path, monkeypatch
):
    base, _ = pairs
    monkeypatch.setattr("xdistil.experiment.run.train_teacher", None)
    shutil.copytree(base / "teacher", tmp_path / "teacher")
    transfer = f"--config.data.transfer={base / 'english.txt'}"
    command = ready(base / "tiny.py", "", tmp_path / "run", tmp_path / "teacher", transfer)
    experiment = parse_command(command).experiment
    for _ in range(2):
        with pytest.raises(TypeError):  # it comes as far as its teacher
            run(experiment, tmp_path / "run")
    config = json.loads((tmp_path / "teacher" / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes", "2": "perhaps"}
    (tmp_path / "teacher" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"not the teacher\.labels that the run"):
        run(experiment, tmp_path / "run")
