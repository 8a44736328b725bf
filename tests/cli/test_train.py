"""train.py's arguments: every mistake is one sentence with the nearest name, and exit code 2."""

import re
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
    ("--config.plan[3].lr=1e-3", ["plan has no index 3", "0 to 2"]),
    ("--config.plan[-1].lr=1e-3", ["plan has no index -1", "0 to 2"]),
    ("--config.plan[x].lr=1e-3", ["plan has no index x"]),
    ("--config.plan[].lr=1e-3", ["plan has no index"]),
    ("--config.plan.lr=1e-3", ["plan is a list", "plan[0]"]),
    ("--config.plan=1", ["plan is a list"]),
    ("--config.plan[0]=1", ["plan[0] is a group of fields", "lr"]),
    ("--config.data[0].folder=x", ["data is no list"]),
    ("--config.data=x", ["data is a group of fields", "folder"]),
    ("--config.seed.x=1", ["seed is a value and has no fields"]),
    ("--config.batch_size=many", ["batch_size=many", "whole number"]),
    ("--config.batch_size=1.5", ["batch_size=1.5", "whole number"]),
    ("--config.batch_size=-4", ["batch_size is -4"]),
    ("--config.batch_size=0", ["batch_size is 0"]),
    ("--config.batch_size=", ["batch_size=", "whole number"]),
    ("--config.seed=nan", ["seed=nan", "whole number"]),
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
        ("--workdir=x", ["--config names no file"]),
        ("--config=", ["--config names no file"]),
        ("--config={folder}/smal.py", ["smal.py does not exist", "small.py?"]),
        ("--config={folder}/nowhere/x.py", ["nowhere/x.py does not exist"]),
        ("--config={folder}", ["does not exist"]),
        ("--config={folder}/small.py:d9", ["no variant 'd9'", "d4.2"]),
        ("--config={folder}/broken.py", ["broken.py", "cannot be read as a config"]),
        ("--config={folder}/undefined.py", ["undefined.py", "cannot be read as a config"]),
        ("--config={folder}/failing.py", ["failing.py", "cannot be read as a config"]),
        ("--config={folder}/empty.py", ["empty.py", "get_config"]),
        ("--config={folder}/other.py", ["other.py", "Experiment"]),
        ("--config={folder}/notes.txt", ["notes.txt"]),
    ],
)
def test_a_bad_config_is_reported(config, tmp_path, argument, words, capsys):
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    (tmp_path / "undefined.py").write_text("def get_config():\n    return Experiment()\n")
    (tmp_path / "failing.py").write_text("def get_config():\n    return {}['x']\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "other.py").write_text("def get_config():\n    return {}\n")
    (tmp_path / "notes.txt").write_text("nothing")
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


@pytest.mark.parametrize(
    "name", ["d4.2", "v3", "layers", "relations", "labels", "continue", "smoke"]
)
@pytest.mark.parametrize("config", ["ner", "classify"])
def test_a_config_takes_the_variants_that_it_names(config, name):
    path = f"{ROOT}/configs/{config}.py"
    more = ("--config.data.folder=somewhere", "--config.teacher.model=something")
    if name == "continue":
        more = (more[0], "--config.student.checkpoint=something")
    command = parse(f"--config={path}:{name}", "--workdir=x", *more)
    assert command.experiment.plan
    assert f"  {name}" in Path(path).read_text(encoding="utf-8")
    sentence = rf"{config} has no variant {name + 'x'!r} \(did you mean {name}\?\)\."
    with pytest.raises(InputError, match=sentence):
        parse(f"--config={path}:{name}x", "--workdir=x")


@pytest.mark.parametrize("config", ["quickstart", "manylang"])
def test_a_config_with_one_variant_takes_it_and_no_other(config):
    path, more = f"{ROOT}/configs/{config}.py", ["--workdir=x"]
    if config == "manylang":
        more.append("--config.data.folder=somewhere")
    whole, smoke = (parse(f"--config={path}{name}", *more).experiment for name in ("", ":smoke"))
    assert [stage.name for stage in whole.plan] == [stage.name for stage in smoke.plan]
    assert smoke.speed_seconds < whole.speed_seconds
    with pytest.raises(InputError, match="no variant 'small': it takes none, or smoke"):
        parse(f"--config={path}:small", *more)


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
    assert (second.unfreeze, second.thaw_epochs) == ("gradual", 1.0)


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
        "xdistil.experiment.run.run", lambda _, workdir, command: begun.append(command)
    )
    assert train.main(given, program) == 0
    assert begun == [[*told, *given]]
