"""`xdistil sweep`: its arguments, its runs as processes, and what becomes of those that fail."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from xdistil.cli import sweep
from xdistil.cli.main import main
from xdistil.cli.overrides import parse_command
from xdistil.cli.sweep import parse_sweep
from xdistil.errors import InputError, StoppedError
from xdistil.experiment import sweep_processes
from xdistil.experiment.sweep import read_manifest
from xdistil.experiment.sweep_processes import place_process, run_processes
from xdistil.plans import PLANS

ROOT = Path(__file__).parents[2]
CONFIG = """
from xdistil.config import Experiment, Student
from xdistil.plans import d42, v3


def get_config(arg="small"):
    size = {"small": 8, "large": 16, "table": 8}[arg]
    experiment = Experiment(dtype="float32", plan=d42(), student=Student(embedding_size=size))
    experiment.data.folder = "somewhere"
    return experiment
"""
YIELDS = """

def sweep(arg="small"):
    if arg == "table":
        yield {"plan": "d1", "seed": 0}
        yield {"plan": "d2", "seed": 0, "student.dropout": 0.5}
"""
# In place of `xdistil train`: counts its starts, and does what a file beside the sweep says.
CHILD = """
import json, os, signal, sys, time
workdir = sys.argv[-1].partition("=")[2]
name = os.path.basename(workdir)
with open(os.path.join(workdir, "starts"), "a") as file:
    file.write("x")
starts = os.path.getsize(os.path.join(workdir, "starts"))
act = json.load(open(os.path.join(os.path.dirname(workdir), "acts.json"))).get(name, "")
if act == "fails":
    print("Traceback and more")
    print("xdistil train: data.folder is nowhere: name another.", file=sys.stderr)
    sys.exit(2)
if act == "killed" and starts < 4:
    os.kill(os.getpid(), signal.SIGKILL)
if act == "waits":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    open(os.path.join(workdir, "waits"), "w").close()
    time.sleep(20)
score = 0.01 * len(name)
scores = {"macro_f1": score, "micro_f1": score, "per_language": {}}
student = {"parameters": None, "bytes": None, "dev": scores, "test": scores}
unknown = {"retention": None, "compression": None, "stages": [], "baselines": [], "timing": {}}
results = {"task": "tagging", "student": student, **unknown}
json.dump(results, open(os.path.join(workdir, "results.json"), "w"))
"""


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_processes, "_SECONDS", 0.005)


@pytest.fixture
def config(tmp_path) -> str:
    (tmp_path / "small.py").write_text(CONFIG)
    return f"--config={tmp_path / 'small.py'}"


def parse(*arguments: str):
    return parse_sweep([*arguments, "--workdir=table"])


def start(tmp_path: Path, runs, acts: dict[str, str], jobs: int = 1):
    """`run_processes` with the processes of CHILD."""
    workdir = tmp_path / "table"
    workdir.mkdir(exist_ok=True)
    (tmp_path / "child.py").write_text(CHILD)
    (workdir / "acts.json").write_text(json.dumps(acts))
    command = (sys.executable, "-S", "-E", str(tmp_path / "child.py"))
    left = [run for run in runs if not (workdir / run.name / "results.json").exists()]
    return run_processes(left, workdir, jobs, dict(os.environ), command)


# --- arguments ------------------------------------------------------------------------------------


def test_each_run_is_what_train_makes_of_its_values(config):
    """Also of a base with overrides, and whatever the field."""
    command = parse(
        config,
        "--config.batch_size=8",
        "--sweep=plan[1].lr=1e-3,1e-2",
        "--sweep=student.embeddings=svd,pca",
        "--sweep=data.languages=de,en;fr",
    )
    assert len(command.runs) == 8
    run = command.runs[1]
    assert run.name == "plan.1.lr=1e-3,student.embeddings=svd,data.languages=fr"
    alone = parse_command(
        [
            config,
            "--config.batch_size=8",
            "--config.plan[1].lr=1e-3",
            "--config.student.embeddings=svd",
            "--config.data.languages=fr",
            f"--config.teacher.shared_folder={Path('table/shared').absolute()}",
            "--workdir=x",
        ]
    )
    assert run.experiment == alone.experiment
    assert parse_command([*run.arguments, "--workdir=x"]).experiment == run.experiment


def test_runs_share_a_teacher_where_the_config_or_the_command_says(tmp_path):
    """Nowhere, if the command says that; in the workdir of the sweep, if nobody says anything."""
    path = tmp_path / "sharing.py"
    path.write_text(
        "from xdistil.plans import ner\n\n\ndef get_config(folder=''):\n    experiment = ner()\n"
        "    experiment.teacher.shared_folder, experiment.data.folder = folder, 'task'\n"
        "    return experiment\n"
    )

    def find(folder: str, *flags: str) -> str:
        (run,) = parse(f"--config={path}:{folder}", "--sweep=seed=0", *flags).runs
        return run.experiment.teacher.shared_folder

    assert find("there") == "there"
    assert find("there", "--config.teacher.shared_folder=here") == "here"
    assert find("there", "--config.teacher.shared_folder=") == ""
    assert find("") == str(Path("table/shared").absolute())


def test_plans_have_names_and_variants_stand_behind_the_colon(config):
    command = parse(config, "--sweep=variant=small,large", "--sweep=plan=d2,v3")
    found = [(run.name, run.experiment.student.embedding_size) for run in command.runs]
    assert found == [
        ("variant=small,plan=d2", 8),
        ("variant=small,plan=v3", 8),
        ("variant=large,plan=d2", 16),
        ("variant=large,plan=v3", 16),
    ]
    assert command.runs[1].experiment.plan == PLANS["v3"]()
    command = parse("--config=xdistil:ner:v3", "--sweep=variant=d4.2,v3", "--config.data.folder=x")
    assert [run.arguments[0] for run in command.runs] == [
        "--config=xdistil:ner:d4.2",
        "--config=xdistil:ner:v3",
    ]


def test_a_plan_is_replaced_before_its_fields_are_read(config):
    (run, _) = parse(config, "--config.plan[1].lr=5", "--sweep=plan=d1,d2").runs
    assert [stage.name for stage in run.experiment.plan] == ["transfer", "labels"]
    assert run.experiment.plan[1].lr == 5


def test_a_config_file_yields_runs_and_the_command_line_adds_values(tmp_path, config):
    (tmp_path / "small.py").write_text(CONFIG + YIELDS)
    names = [run.name for run in parse(f"{config}:table").runs]
    assert names == ["plan=d1,seed=0", "plan=d2,seed=0,student.dropout=0.5"]
    runs = parse(f"{config}:table", "--sweep=seed=3,4").runs
    assert [(run.name, run.experiment.seed) for run in runs] == [
        ("plan=d1,seed=3", 3),
        ("plan=d1,seed=4", 4),
        ("plan=d2,student.dropout=0.5,seed=3", 3),
        ("plan=d2,student.dropout=0.5,seed=4", 4),
    ]


def test_a_config_file_yields_runs_from_the_fields_of_the_command_line(tmp_path, config):
    halves = """

def sweep(arg, experiment):
    yield {"seed": len(arg), "data.limit": experiment.data.limit // 2}
"""
    (tmp_path / "small.py").write_text(CONFIG + halves)
    (run,) = parse(f"{config}:large", "--config.data.limit=100").runs
    assert (run.experiment.seed, run.experiment.data.limit) == (5, 50)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plan[7].lr", "1"),
        ("student.hiden_size", "8"),
        ("seed", "one"),
        ("student.kind", "lstm"),
        ("plan", "d5"),
        ("data", "x"),
    ],
)
def test_mistakes_are_told_in_the_sentences_of_train(config, field, value):
    with pytest.raises(InputError) as alone:
        parse_command([config, f"--config.{field}={value}", "--workdir=x"])
    with pytest.raises(InputError) as swept:
        parse(config, f"--sweep={field}={value}")
    assert str(swept.value) == str(alone.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--sweep is missing"),
        (("--sweep=seed",), "--sweep=seed: write a field and its values"),
        (("--sweep=seed=1,,2",), "write a field and its values"),
        (("--sweep=seed=1,1",), "names 1 twice"),
        (("--sweep=seed=1", "--sweep=seed=2"), "--sweep=seed=2: another --sweep names seed"),
        (("--sweep=plan[0].lr=0.001,1e-3",), "plan.0.lr=0.001 and plan.0.lr=1e-3 are the same run"),
        (("--sweep=seed=1,2", "--jobs=0"), "--jobs is '0'"),
        (("--sweep=seed=1,2", "--slurm=gpu"), "--slurm=gpu: write parameters of sbatch"),
        (("--sweep=seed=1,2", "--slurm=time=1,time=2"), "each once"),
        (("--sweep=seed=1,2", "--config.distributed=auto"), "distributed is 'auto'"),
        (("--swep=seed=1,2",), "did you mean --sweep?"),
    ],
)
def test_what_is_no_sweep_is_refused(config, arguments, words):
    with pytest.raises(InputError) as caught:
        parse(config, *arguments)
    assert words in str(caught.value)


def test_slurm_jobs_have_the_parameters_of_the_command_line_and_run_at_once(config):
    given = (config, "--sweep=seed=0,1", "--slurm=partition=gpu,time=240")
    command = parse(*given)
    assert command.slurm == {"partition": "gpu", "time": 240}
    assert command.jobs >= 1000
    assert parse(*given, "--jobs=3").jobs == 3


def test_the_workdir_of_a_run_is_no_place_for_a_sweep(tmp_path, config, capsys):
    (tmp_path / "table").mkdir()
    (tmp_path / "table/config.json").write_text('{"plan": [], "teacher": {}, "student": {}}')
    assert main(["sweep", config, "--sweep=seed=1,2", "--workdir=table"]) == 2
    assert "is the workdir of one run" in capsys.readouterr().err


# --- processes ------------------------------------------------------------------------------------


def test_a_failed_run_is_told_and_stops_no_other(tmp_path, config):
    runs = parse(config, "--sweep=seed=0,1,2").runs
    (failure,) = start(tmp_path, runs, {"seed=1": "fails"})
    assert failure.name == "seed=1"
    assert failure.sentence == "data.folder is nowhere: name another."
    done = [run.name for run in runs if (tmp_path / "table" / run.name / "results.json").exists()]
    assert done == ["seed=0", "seed=2"]
    assert "Traceback and more" in (tmp_path / "table/seed=1/console.log").read_text()
    (failure,) = start(tmp_path, runs, {"seed=1": "killed"})
    assert failure.sentence == "killed by SIGKILL"  # what an earlier start said is another matter
    assert start(tmp_path, runs, {}) == []
    starts = [(tmp_path / f"table/seed={n}/starts").stat().st_size for n in range(3)]
    assert starts == [1, 3, 1]  # what was done is not done again


def test_a_sweep_whose_runs_are_killed_ends_with_the_same_table(tmp_path, config, capsys):
    runs = parse(config, "--sweep=seed=0,1,22").runs
    tables = []
    for folder, act in ((tmp_path / "alone", ""), (tmp_path / "killed", "killed")):
        folder.mkdir()
        failures = [None]
        while failures:
            failures = start(folder, runs, {run.name: act for run in runs}, jobs=2)
            assert all("killed by SIGKILL" in failure.sentence for failure in failures)
        sweep.write_manifest(folder / "table", runs)
        assert main(["table", str(folder / "table"), "--format=markdown"]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    assert "| 6.33 ± 0.58 |" in tables[0]


def test_a_signal_reaches_the_runs_and_they_are_resumed(tmp_path, config):
    runs = parse(config, "--sweep=seed=0,1,2").runs

    def stop() -> None:
        while len(list((tmp_path / "table").glob("*/waits"))) < 2:
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(StoppedError, match="SIGTERM"):
        start(tmp_path, runs, {run.name: "waits" for run in runs}, jobs=2)
    thread.join()
    assert not list((tmp_path / "table").glob("*/results.json"))
    assert not (tmp_path / "table/seed=2").exists()  # which had not begun
    assert start(tmp_path, runs, {}) == []


def test_runs_are_told_when_their_sweep_is_killed(tmp_path):
    """So that they save their state, and free their workdirs for the next sweep."""
    code = """
import subprocess, sys, time
from xdistil.experiment.sweep_processes import _stop_with_parent
child = "import time; print('child', flush=True); time.sleep(30)"
command = [*_stop_with_parent(), sys.executable, "-S", "-c", child]
subprocess.Popen(command)
time.sleep(30)
"""
    sweep = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert sweep.stdout.readline() == b"child\n"
    began = time.monotonic()
    sweep.kill()
    sweep.wait()
    assert sweep.stdout.read() == b""  # the child, which has it open, is gone too
    assert time.monotonic() - began < 20


def test_a_run_that_another_process_uses_is_waited_for(tmp_path, config):
    import filelock

    runs = parse(config, "--sweep=seed=0,1").runs
    (tmp_path / "table/seed=0").mkdir(parents=True)
    lock = filelock.FileLock(tmp_path / "table/seed=0/.lock", thread_local=False)
    lock.acquire()
    used, other = (tmp_path / f"table/seed={seed}" for seed in (0, 1))
    began = []

    def release() -> None:
        while not (other / "results.json").exists():
            pass
        began.append((used / "starts").exists())
        lock.release()

    thread = threading.Thread(target=release)
    thread.start()
    assert start(tmp_path, runs, {}) == []
    thread.join()
    assert began == [False]
    assert (used / "results.json").exists()


def test_the_list_of_runs_keeps_what_has_ended(tmp_path, config):
    workdir = tmp_path / "table"
    start(tmp_path, runs := parse(config, "--sweep=seed=0,1").runs, {"seed=1": "fails"})
    sweep.write_manifest(workdir, runs)
    sweep.write_manifest(workdir, parse(config, "--sweep=seed=2").runs)
    assert read_manifest(workdir) == {"seed=0": {"seed": "0"}, "seed=2": {"seed": "2"}}


def test_runs_keep_their_names_when_the_values_are_written_in_another_order(tmp_path, config):
    (tmp_path / "table").mkdir()
    axes = ("--sweep=seed=0,1", "--sweep=batch_size=8")
    sweep.write_manifest(tmp_path / "table", parse(config, *axes).runs)
    again = parse(config, *reversed(axes)).runs
    assert [run.name for run in again] == ["seed=0,batch_size=8", "seed=1,batch_size=8"]


def test_a_dry_run_lists_the_runs_and_leaves_nothing(config, capsys):
    assert main(["sweep", config, "--sweep=seed=0,1", "--workdir=table", "--dry-run"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [
        ["seed=0", "to", "do", "unknown", "unknown"],
        ["seed=1", "to", "do", "unknown", "unknown"],
        ["all", "2", "2", "to", "do", "unknown", "unknown"],
    ]
    assert lines[-1][:3] == ["Time", "and", "disk"]
    assert not Path("table").exists()


@pytest.mark.parametrize(
    ("slot", "jobs", "devices", "own"),
    [
        (0, 1, ["0", "1"], {}),  # alone: all GPUs, as a run of train
        (1, 2, ["0", "3"], {"CUDA_VISIBLE_DEVICES": "3"}),
        (3, 4, ["0", "3"], {"CUDA_VISIBLE_DEVICES": "3", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45"}),
        (1, 2, [], {}),
    ],
)
def test_every_process_has_a_gpu(slot, jobs, devices, own):
    assert place_process(slot, jobs, devices, {}) == own
