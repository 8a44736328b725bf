"""train.py's arguments: every mistake is one sentence with the nearest name, and exit code 2."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import train
from xdistil.cli.overrides import parse_command
from xdistil.config import Stage
from xdistil.errors import InputError

ROOT = Path(train.__file__).parent
CONFIG = """
from xdistil.config import Baseline, Experiment, Student
from xdistil.errors import InputError
from xdistil.plans import d42


def get_config(arg="d4.2"):
    if arg != "d4.2":
        raise InputError(f"no variant {arg!r}: it takes d4.2.")
    experiment = Experiment(
        dtype="float32",
        plan=d42(), student=Student(embedding_size=16), baselines=(Baseline(),)
    )
    experiment.data.folder = "somewhere"
    return experiment
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path) -> str:
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return f"--config={path}"


def parse(*arguments: str):
    return parse_command(list(arguments))


def test_overrides_reach_their_fields(config, tmp_path):
    command = parse(
        f"{config}:d4.2",
        f"--workdir={tmp_path / 'run'}",
        "--config.plan[1].lr=3e-4",
        "--config.plan[2].unfreeze",
        "all",
        "--config.data.repair=True",
        "--config.data.folder",
        "elsewhere",
        "--config.batch_size=7",
        "--config.teacher.plan[0].epochs=2",
        "--config.baselines[0].lrs=1e-3",
    )
    experiment = command.experiment
    assert command.workdir == tmp_path / "run"
    assert not command.dry_run
    assert [stage.lr for stage in experiment.plan] == [2e-3, 3e-4, 5e-4]
    assert experiment.plan[2].unfreeze == "all"
    assert experiment.data.repair is True
    assert experiment.data.folder == "elsewhere"
    assert experiment.batch_size == 7
    assert experiment.teacher.plan[0].epochs == 2.0
    assert experiment.baselines[0].lrs == "1e-3"


def test_baselines_can_be_left_out(config):
    assert parse(config, "--workdir=x").experiment.baselines
    assert parse(config, "--workdir=x", "--config.baselines=").experiment.baselines == ()


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("plan[1].thaw_epochs", "plan[1].unfreeze_epochs", 3.0),
        ("plan[0].representation", "plan[0].hidden_loss", "mse"),
        ("plan[0].layers", "plan[0].hidden_map", "2"),
        ("plan[0].attention", "plan[0].attention_map", "uniform"),
        ("plan[0].relations", "plan[0].relation_map", "last"),
        ("plan[2].logits", "plan[2].logits_loss", "kl"),
        ("teacher.plan[0].logits", "teacher.plan[0].logits_loss", "kl"),
        ("student.least_count", "student.min_count", 4),
    ],
)
def test_old_names_of_fields_are_accepted_with_a_warning(config, caplog, old, new, value):
    more = ("--workdir=x", "--config.student.vocabulary=seen")
    experiment = parse(config, *more, f"--config.{old}={value}").experiment
    (warning,) = caplog.messages
    assert warning.startswith(f"--config.{old} is now --config.{new}; the old name is accepted")
    assert experiment != parse(config, *more).experiment
    assert experiment == parse(config, *more, f"--config.{new}={value}").experiment
    assert len(caplog.messages) == 1


def test_other_parts_have_fields_of_these_names(config, caplog):
    given = ("--config.teacher.layers=3", "--config.student.layers=2")
    experiment = parse(config, "--workdir=x", *given).experiment
    assert (experiment.teacher.layers, experiment.student.layers) == (3, 2)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("--dry-run", True),
        ("--dry_run", True),
        ("--dry-run=false", False),
        ("--dry-run=True", True),
    ],
)
def test_dry_run_is_a_switch(config, switch, expected):
    assert parse(config, switch, "--workdir=x").dry_run is expected
    assert parse(switch, config, "--workdir=x").dry_run is expected


MISTAKES = [
    ("--config.plan[0].learning_rate=1", ["no field plan[0].learning_rate"]),
    ("--config.plan[0].lrr=1", ["plan[0].lrr", "did you mean lr?"]),
    ("--config.data.foldr=x", ["no field data.foldr", "did you mean folder?"]),
    ("--config.batchsize=8", ["no field batchsize", "did you mean batch_size?"]),
    ("--config.zzzzz=8", ["no field zzzzz", "batch_size"]),
    ("--config.thaw_epochs=2", ["no field thaw_epochs"]),
    ("--config.plan[0].thaw_epochs=x", ["thaw_epochs=x", "finite number"]),
    ("--config.plan[0].layers[0]=x", ["plan[0].hidden_map is not a list"]),
    ("--config.plan[3].layers=2", ["plan has no index 3"]),
    ("--config.plan[3].lr=1e-3", ["plan has no index 3", "0 to 2"]),
    ("--config.plan[-1].lr=1e-3", ["plan has no index -1", "0 to 2"]),
    ("--config.plan[x].lr=1e-3", ["plan has no index x"]),
    ("--config.plan[].lr=1e-3", ["plan needs an index", "0 to 2"]),
    ("--config.replaced=3", ["no field replaced (there is data.replaced)"]),
    ("--config.keep=best", ["no field keep (there is plan[0].keep"]),
    ("--config.plan.lr=1e-3", ["plan is a list", "plan[0]"]),
    ("--config.plan=1", ["plan is a list"]),
    ("--config.baselines=none", ["baselines is a list", "baselines[0]", "--config.baselines= for"]),
    ("--config.plan[0]=1", ["plan[0] is a group of fields", "lr"]),
    ("--config.data[0].folder=x", ["data is not a list"]),
    ("--config.data=x", ["data is a group of fields", "folder"]),
    ("--config.seed.x=1", ["seed is a value and has no fields"]),
    ("--config.batch_size=many", ["batch_size=many", "whole number"]),
    ("--config.batch_size=1.5", ["batch_size=1.5", "whole number"]),
    ("--config.batch_size=-4", ["batch_size is -4"]),
    ("--config.batch_size=0", ["batch_size is 0"]),
    ("--config.batch_size=", ["batch_size=", "whole number"]),
    ("--config.seed=nan", ["seed=nan", "whole number"]),
    ("--config.seed=" + "9" * 5000, ["--config.seed=9"]),
    ("--config.plan[0].lr=nan", ["plan[0].lr=nan", "finite number"]),
    ("--config.plan[0].lr=inf", ["plan[0].lr=inf", "finite number"]),
    ("--config.plan[0].lr=-1", ["plan[0].lr is -1"]),
    ("--config.plan[0].lr=small", ["plan[0].lr=small", "finite number"]),
    ("--config.data.repair=maybe", ["data.repair=maybe", "True or False"]),
    ("--config.student.kind=lstm", ["student.kind is 'lstm'", "bilstm"]),
    ("--config.plan[0].loss=logit", ["plan[0].loss is 'logit'", "logits"]),
    ("--config.student.layers=-1", ["student.layers is -1"]),
    ("--config.=1", ["there is no field"]),
    ("--workdri=x", ["--workdri is no option", "did you mean --workdir?"]),
    ("--quickly", ["--quickly is no option"]),
    ("x.py", ["'x.py' is no option"]),
    ("--dry-run=perhaps", ["--dry-run is 'perhaps'", "true or false"]),
    ("--config.seed", ["--config.seed has no value"]),
]


@pytest.mark.parametrize(("argument", "words"), MISTAKES)
def test_a_mistake_is_one_sentence_with_the_nearest_name(config, argument, words, capsys):
    assert train.main([config, "--workdir=never-made", argument]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("train.py: ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith(".\n")
    for word in words:
        assert word in printed.err
    assert not Path("never-made").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--workdir is missing"]),
        (["--workdir="], ["--workdir is missing"]),
        (["--workdir"], ["--workdir has no value"]),
        (["--workdir", "--dry-run"], ["--workdir has no value"]),
    ],
)
def test_a_missing_workdir_is_reported(config, arguments, words, capsys):
    assert train.main([config, *arguments]) == 2
    for word in words:
        assert word in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--workdir=x", ["--config is missing"]),
        ("--config=", ["--config is missing"]),
        ("--config={folder}/smal.py", ["smal.py does not exist", "small.py?"]),
        ("--config={folder}/nowhere/x.py", ["nowhere/x.py does not exist.\n"]),
        ("--config={folder}", ["does not exist"]),
        ("--config={folder}/small.py:d9", ["no variant 'd9'", "d4.2"]),
        ("--config={folder}/broken.py", ["broken.py", "cannot be read as a config"]),
        ("--config={folder}/undefined.py", ["undefined.py", "cannot be read as a config"]),
        ("--config={folder}/failing.py", ["failing.py", "cannot be read as a config"]),
        ("--config={folder}/empty.py", ["empty.py", "get_config"]),
        ("--config={folder}/other.py", ["other.py", "Experiment"]),
        ("--config={folder}/notes.txt", ["notes.txt"]),
        ("--config={folder}/old.py", ["Stage.thaw_epochs is now Stage.unfreeze_epochs"]),
        ("--config={folder}/reading.py", ["reading.py", "cannot be read as a config", "absent"]),
        ("--config=xdistil", ["there is no recipe '' (there is quickstart, ner, classify, manyl"]),
        (
            "--config=xdistil:paper:d2",
            ["it is a file of the repository: --config=configs/paper.py:d2"],
        ),
        ("--config=xdistil:nre:d4.2", ["there is no recipe 'nre' (did you mean ner?)"]),
        ("--config=xdistil:ner:d4", ["ner has no variant 'd4' (did you mean d4.2?)"]),
        ("--config=xdistil:quickstart:smok", ["quickstart has no variant 'smok' (did you mean sm"]),
        ("--config=xdistil:manylang:x", ["manylang has no variant 'x' (there is smoke)"]),
    ],
)
def test_a_bad_config_is_reported(config, tmp_path, argument, words, capsys):
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    (tmp_path / "undefined.py").write_text("def get_config():\n    return Experiment()\n")
    (tmp_path / "failing.py").write_text("def get_config():\n    return {}['x']\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "other.py").write_text("def get_config():\n    return {}\n")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "old.py").write_text(
        "from xdistil.plans import ner\n\ndef get_config():\n    experiment = ner()\n"
        "    experiment.plan[1].thaw_epochs = 1.0\n    return experiment\n"
    )
    (tmp_path / "reading.py").write_text("def get_config():\n    return open('absent')\n")
    assert train.main([argument.format(folder=tmp_path), "--workdir=never-made"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    for word in words:
        assert word in printed
    assert not Path("never-made").exists()


def test_an_input_error_of_a_config_is_reported_unchanged(config, capsys):
    assert train.main([f"{config}:d9", "--workdir=never-made"]) == 2
    assert capsys.readouterr().err == "train.py: no variant 'd9': it takes d4.2.\n"


def test_values_are_checked_after_the_overrides(config):
    with pytest.raises(InputError, match=r"data\.max_length is 70"):
        parse(config, "--workdir=x", "--config.data.max_length=70")
    command = parse(
        config, "--workdir=x", "--config.data.max_length=70", "--config.data.row_length=80"
    )
    assert command.experiment.data.max_length == 70


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_arguments_three_examples_are_printed(arguments, capsys):
    assert train.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("python train.py --config=") == 3
    assert printed.count("--workdir=") == 3


def test_the_program_exits_with_two_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "train.py", "--config=configs/nerr.py", f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "configs/ner.py" in done.stderr
    assert not (tmp_path / "run").exists()


VARIANTS = ["d4.2", "v3", "layers", "relations", "labels", "continue", "smoke"]
RECIPES = [
    *(("ner", name) for name in (*VARIANTS, "large")),
    *(("classify", name) for name in VARIANTS),
    ("quickstart", "smoke"),
    ("manylang", "smoke"),
    *(("multilingual", name) for name in ("classify", "english", "first3", "first6")),
    *(("multilingual", name) for name in ("large", "smoke")),
]


@pytest.mark.parametrize(("config", "name"), RECIPES)
def test_a_config_takes_the_variants_that_it_names(config, name):
    path = f"{ROOT}/configs/{config}.py"
    command = parse(f"--config={path}:{name}", "--workdir=x", *needed(config, name))
    assert command.experiment.plan
    assert f"  {name}" in Path(path).read_text(encoding="utf-8")
    sentence = rf"{config} has no variant {name + 'x'!r} \(did you mean {name}\?\)\."
    with pytest.raises(InputError, match=sentence):
        parse(f"--config={path}:{name}x", "--workdir=x")


def needed(config: str, name: str) -> list[str]:
    """What the command line has to name beside the config."""
    if config == "quickstart":
        return []
    given = ["--config.data.folder=somewhere"]
    if name == "continue":
        return [*given, "--config.student.checkpoint=something"]
    return given if config == "manylang" else [*given, "--config.teacher.model=something"]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        *RECIPES,
        ("ner", ""),
        ("classify", ""),
        ("quickstart", ""),
        ("manylang", ""),
        ("multilingual", ""),
    ],
)
def test_a_recipe_of_the_package_is_the_experiment_of_the_file(config, name):
    more = ["--workdir=x", "--config.seed=3", *needed(config, name)]
    variant = f":{name}" if name else ""
    ours = parse(f"--config=xdistil:{config}{variant}", *more).experiment
    assert ours == parse(f"--config={ROOT}/configs/{config}.py{variant}", *more).experiment
    assert ours.seed == 3


def test_an_installed_package_has_its_recipes(tmp_path):
    """The package alone, and another working directory; the overrides reach the recipe."""
    shutil.copytree(ROOT / "xdistil", tmp_path / "site" / "xdistil")
    given = ["--config=xdistil:ner:d4.2", "--config.data.folder=x", "--workdir=run"]
    done = subprocess.run(
        [sys.executable, "-m", "xdistil", "train", *given, "--config.student.hidden_size=0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == "xdistil train: student.hidden_size is 0: it must be 1 or more.\n"
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.parametrize("config", ["quickstart", "manylang", "multilingual"])
def test_a_smoke_test_has_the_stages_of_the_whole(config):
    whole, smoke = (
        parse(f"--config=xdistil:{config}{name}", "--workdir=x", *needed(config, "")).experiment
        for name in ("", ":smoke")
    )
    assert [stage.name for stage in whole.plan] == [stage.name for stage in smoke.plan]
    assert smoke.speed_seconds < whole.speed_seconds


def test_a_config_is_run_once_and_may_hold_dataclasses(tmp_path):
    path = tmp_path / "counting.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from xdistil.plans import quickstart\n\n@dataclass\nclass Part:\n    size: int = 3\n\n"
        "def get_config():\n    with open('calls', 'a') as file:\n        file.write('x')\n"
        "    return quickstart()\n"
    )
    assert parse(f"--config={path}", "--workdir=x", "--config.seed=4").experiment.seed == 4
    assert Path("calls").read_text() == "x"


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.py")), ids=lambda path: path.stem)
def test_every_config_opens_with_its_launch_line(path):
    text = path.read_text(encoding="utf-8")
    assert "python train.py --config=configs/" + path.name in text.split('"""')[1]


def test_the_plan_in_the_docs_is_valid(tmp_path):
    page = (ROOT / "docs" / "plans.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_plan.py").write_text(shown, encoding="utf-8")
    more = ("--config.data.folder=somewhere", "--config.teacher.model=something")
    command = parse(f"--config={tmp_path / 'my_plan.py'}", "--workdir=x", *more)
    first, second = command.experiment.plan
    assert (first.loss, first.data, first.temperature) == ("representation+logits", "all", 2.0)
    assert (second.unfreeze, second.unfreeze_epochs) == ("gradual", 1.0)


def test_the_docs_name_every_field_of_a_stage():
    page = (ROOT / "docs" / "plans.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page.partition("## The fields")[2]))
    named = {field.name for field in fields(Stage)} - {"name", "projections", "relation_heads"}
    assert {name for name in named if not name.endswith("_weight")} <= told


@pytest.mark.parametrize(
    ("program", "told"), [("train.py", ["train.py"]), ("xdistil train", ["xdistil", "train"])]
)
def test_a_run_records_the_command_that_started_it(config, monkeypatch, program, told):
    given = [config, "--workdir=x"]
    begun = []
    monkeypatch.setattr(
        "xdistil.experiment.run.run", lambda _, workdir, command, *more: begun.append(command)
    )
    assert train.main(given, program) == 0
    assert begun == [[*told, *given]]


def test_a_mistyped_model_is_reported_with_its_field_before_jax_is_imported(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    given = [config, f"--workdir={tmp_path / 'run'}"]
    for field in ("teacher.model", "teacher.tokenizer", "student.checkpoint", "student.tokenizer"):
        more = ["--config.student.kind=transformer"] if field == "student.checkpoint" else []
        assert train.main([*given, f"--config.{field}=~/modle", *more]) == 2
        assert f"{field}='~/modle': no such folder." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
