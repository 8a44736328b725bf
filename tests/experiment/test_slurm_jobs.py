"""Runs as SLURM jobs, with a small SLURM in place of the real one: its four commands are scripts.

sbatch starts the script of a job and prints its number; srun runs what stands behind its options;
scancel sends SIGTERM to all processes of a job; sacct says which jobs have ended, and how.
"""

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from xdistil.config import Experiment
from xdistil.errors import InputError, StoppedError
from xdistil.experiment import sweep_processes
from xdistil.experiment.slurm_jobs import Queue
from xdistil.experiment.sweep import PlannedRun
from xdistil.experiment.sweep_processes import run_processes

SBATCH = """
import os, subprocess, sys
home = os.environ["FAKE_SLURM"]
number = str(len(os.listdir(home)) + 1)
os.mkdir(os.path.join(home, number))
script = os.path.join(home, number, "script")
open(script, "w").write(open(sys.argv[-1]).read().replace("%j", number))
own = dict(SLURM_JOB_ID=number, SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1", SLURM_NODEID="0")
own |= dict(SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_JOB_NODELIST="here")
wait = "import subprocess, sys; code = subprocess.call(['bash', sys.argv[1]]); " \\
    "open(sys.argv[1] + '.code', 'w').write(str(code))"
job = subprocess.Popen(
    [sys.executable, "-S", "-c", wait, script],
    env={**os.environ, **own}, start_new_session=True,
    stdout=open(script + ".out", "w"), stderr=subprocess.STDOUT,
)
open(script + ".group", "w").write(str(job.pid))
print("Submitted batch job", number)
"""
SRUN = """
import os, subprocess, sys
command = [each for each in sys.argv[1:] if not each.startswith("--")]
command = command[[os.path.basename(each)[:6] for each in command].index("python"):]
sys.exit(subprocess.call(command))
"""
SCANCEL = """
import os, signal, sys
group = int(open(os.path.join(os.environ["FAKE_SLURM"], sys.argv[1], "script.group")).read())
os.killpg(group, signal.SIGTERM)
"""
SACCT = """
import os
home = os.environ["FAKE_SLURM"]
print("JobID|State|NodeList")
for number in os.listdir(home):
    code = os.path.join(home, number, "script.code")
    state = "RUNNING"
    if os.path.exists(code):
        state = "COMPLETED" if open(code).read() == "0" else "OUT_OF_MEMORY"
    print(f"{number}|{state}|here")
"""
# In place of `xdistil train`: does what the file `act` of its workdir says, once.
CHILD = """
import os, signal, sys, time
workdir = sys.argv[-1].partition("=")[2]
act = os.path.join(workdir, "act")
todo = open(act).read() if os.path.exists(act) else ""
print("xdistil train: platforms", os.environ.get("JAX_PLATFORMS"), flush=True)
if todo:
    os.remove(act)
if todo == "waits":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    open(os.path.join(workdir, "waits"), "w").close()
    time.sleep(20)
if todo == "fails":
    sys.exit("xdistil train: data.folder is nowhere: name another.")
if todo == "dies":
    os.kill(os.getppid(), signal.SIGKILL)
open(os.path.join(workdir, "results.json"), "w").write("{}")
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """A folder with a folder for each job."""
    commands, home = tmp_path / "bin", tmp_path / "cluster"
    commands.mkdir()
    home.mkdir()
    for name, code in {"sbatch": SBATCH, "srun": SRUN, "scancel": SCANCEL, "sacct": SACCT}.items():
        path = commands / name
        path.write_text(f"#!{sys.executable} -S\n{code}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # of the sweep's own process
    monkeypatch.setattr(sweep_processes, "_SECONDS", 0.02)
    monkeypatch.setattr(sweep_processes, "show_sweep", lambda workdir: None)
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 0)  # of a slow file system
    return home


def start(tmp_path: Path, acts: dict[str, str]) -> list[tuple[str, str]]:
    """Runs a sweep of one run for each act; returns what failed."""
    runs = []
    for name, act in acts.items():
        folder = tmp_path / "table" / name
        folder.mkdir(parents=True, exist_ok=True)
        if act:
            (folder / "act").write_text(act)
        runs.append(PlannedRun(name, {}, Experiment(), ()))
    queue = Queue(tmp_path / "table/slurm", {"partition": "gpu", "time": 3})
    environment = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    command = (sys.executable, "-S", "-c", CHILD)
    failures = run_processes(runs, tmp_path / "table", 9, environment, command, queue)
    return [(each.name, each.sentence) for each in failures]


def wait_for(path: Path) -> None:
    until = time.monotonic() + 20
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)


def test_each_run_is_a_job_and_one_that_is_stopped_is_submitted_again(tmp_path, cluster):
    """The warning of the time limit stops it, which is SIGUSR2 to the process of the job."""

    def warn() -> None:
        wait_for(tmp_path / "table/a/waits")
        group = int((cluster / "1/script.group").read_text())
        os.killpg(group, signal.SIGUSR2)

    thread = threading.Thread(target=warn)
    thread.start()
    failures = start(tmp_path, {"a": "waits", "b": "fails", "c": ""})
    thread.join()
    assert failures == [("b", "data.folder is nowhere: name another.")]
    assert (tmp_path / "table/a/results.json").exists()
    assert (tmp_path / "table/c/results.json").exists()
    assert len(list(cluster.iterdir())) == 4  # two of them for a
    script = (cluster / "1/script").read_text()
    assert "#SBATCH --partition=gpu" in script
    assert "#SBATCH --time=3" in script
    console = (tmp_path / "table/c/console.log").read_text()
    assert console == "xdistil train: platforms None\n"


def test_a_signal_cancels_the_jobs(tmp_path, cluster):
    def stop() -> None:
        wait_for(tmp_path / "table/a/waits")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(StoppedError, match="SIGTERM"):
        start(tmp_path, {"a": "waits"})
    thread.join()
    assert not (tmp_path / "table/a/results.json").exists()
    assert start(tmp_path, {"a": ""}) == []


def test_a_job_that_dies_is_a_failure_with_its_state(tmp_path, cluster):
    ((name, sentence),) = start(tmp_path, {"a": "dies"})
    assert name == "a"
    assert sentence.startswith("SLURM job 1 ended with OUT_OF_MEMORY; see ")


def test_parameters_that_jobs_do_not_have_are_refused(tmp_path, cluster):
    with pytest.raises(InputError, match="'gpus' is no parameter of a job; there are account, "):
        Queue(tmp_path, {"gpus": 1})


def test_a_machine_without_slurm_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no srun on PATH"):
        Queue(tmp_path, {"partition": "gpu"})
