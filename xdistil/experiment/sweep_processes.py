"""The runs of a sweep as processes or jobs: some at once, all stopped when the sweep is.

A process that is killed leaves no lock behind, so whatever was killed, the same command resumes.
"""

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from xdistil.errors import StoppedError
from xdistil.experiment.live_page import show_sweep
from xdistil.experiment.slurm_jobs import Queue
from xdistil.experiment.sweep import PlannedRun

log = logging.getLogger("xdistil")

CONSOLE = "console.log"  # in the workdir of a run: what its processes print

_PROGRAM = "xdistil train: "  # begins the sentence with which a run ends
_STOPPED = 75  # the exit code of a run that has saved its state
_SECONDS = 0.2  # between two looks at the processes
_TOLD_EVERY = 300.0  # seconds between two lines about runs that are waited for
_ASK = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_MEMORY = 0.9  # of a GPU, for the processes that share it


@dataclass(frozen=True)
class Failure:
    """A run that ended without results."""

    name: str
    sentence: str


class _Handle(Protocol):
    returncode: int

    def poll(self) -> int | None: ...
    def send_signal(self, sig: int, /) -> None: ...


@dataclass
class _Process:
    run: PlannedRun
    slot: int
    popen: _Handle
    console: Path
    offset: int  # of what this process prints there
    began: float


class _Stop:
    """Whether SIGTERM or SIGINT has come; the processes of the runs are told at once."""

    def __init__(self, processes: Sequence[_Process]) -> None:
        self.name = ""
        self._processes = processes

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        before = {each: signal.signal(each, self._note) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # A second Ctrl-C ends a run without saving, as it does when the run is alone.
        forwarded = signal.SIGINT if self.name and number == signal.SIGINT else signal.SIGTERM
        self.name = signal.Signals(number).name
        for process in self._processes:
            process.popen.send_signal(forwarded)


def run_processes(
    runs: Sequence[PlannedRun],
    workdir: Path,
    jobs: int,
    environment: Mapping[str, str],
    command: Sequence[str] = (sys.executable, "-m", "xdistil", "train"),
    queue: Queue | None = None,
) -> list[Failure]:
    """Runs everything that is left of a sweep; returns what failed, in the order of the runs.

    Args:
        jobs: processes at once.
        environment: of the processes.
        command: what trains, with the arguments of a run behind it.
        queue: takes the runs as jobs, and again where they were stopped; None: they are processes
            of this machine.

    Raises:
        StoppedError: SIGTERM or SIGINT came; every run has saved its state.
    """
    left, processes, failures = list(runs), list[_Process](), dict[str, str]()
    devices = [] if queue else list_devices(environment)
    stop = _Stop(processes)
    told = 0.0
    with stop.listening():
        while processes or (left and not stop.name):
            for process in list(processes):
                if process.popen.poll() is None:
                    continue
                processes.remove(process)
                if queue and process.popen.returncode == _STOPPED and not stop.name:
                    log.info("%s: stopped, its state is saved: submitted again", process.run.name)
                    left.append(process.run)
                elif sentence := _tell_end(process, workdir, bool(stop.name)):
                    failures[process.run.name] = sentence
                show_sweep(workdir)
            while left and len(processes) < jobs and not stop.name:
                free = next((run for run in left if _is_free(workdir / run.name)), None)
                if free is None:
                    if time.monotonic() - told > _TOLD_EVERY:
                        log.info("waiting: another process uses %s", workdir / left[0].name)
                        told = time.monotonic()
                    break
                left.remove(free)
                taken = {each.slot for each in processes}
                slot = next(each for each in itertools.count() if each not in taken)
                done = "submitted" if queue else "started"
                log.info("%d/%d %s: %s", len(runs) - len(left), len(runs), free.name, done)
                own = {**environment, **place_process(slot, jobs, devices, environment)}
                processes.append(_start(free, workdir, slot, own, command, queue))
                if stop.name:  # it came while the process was started
                    processes[-1].popen.send_signal(signal.SIGTERM)
            time.sleep(_SECONDS)
    if stop.name:
        raise StoppedError(stop.name)
    return [Failure(run.name, failures[run.name]) for run in runs if run.name in failures]


def list_devices(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, or else those of the machine."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [each for each in environment["CUDA_VISIBLE_DEVICES"].split(",") if each.strip()]
    found = [path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")]
    return sorted(found, key=int)


def place_process(
    slot: int, jobs: int, devices: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables that give a process its GPU, and its part of the memory where several processes
    share one; none where there is no GPU, or one run at a time."""
    if not devices or jobs == 1:
        return {}
    own = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}
    shared_by = -(-jobs // len(devices))
    if shared_by > 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in environment:
        own["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_MEMORY / shared_by:.2f}"
    return own


def _start(
    run: PlannedRun,
    workdir: Path,
    slot: int,
    environment: Mapping[str, str],
    command: Sequence[str],
    queue: Queue | None,
) -> _Process:
    folder = workdir / run.name
    folder.mkdir(parents=True, exist_ok=True)
    console = folder / CONSOLE
    whole = [*command, *run.arguments, f"--workdir={folder}"]
    with console.open("ab") as output:
        offset, began = output.tell(), time.monotonic()
        popen: _Handle
        if queue:
            popen = queue.submit(whole, console, environment)
        else:
            popen = subprocess.Popen(
                [*_stop_with_parent(), *whole],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                # Ctrl-C reaches the sweep alone, which tells its runs.
                start_new_session=True,
            )
    return _Process(run, slot, popen, console, offset, began)


def _stop_with_parent() -> list[str]:
    """What stands before a command, so that Linux sends it SIGTERM when the sweep dies: it then
    saves its state.

    A program that replaces itself by the command, because this process, in which JAX may have
    threads, must not run Python between fork and exec.
    """
    if sys.platform != "linux":
        return []
    return [sys.executable, "-S", "-E", "-c", _ASK, str(os.getpid())]


def _is_free(folder: Path) -> bool:
    """Whether no process uses a workdir; one of a killed sweep may still save its state."""
    import filelock

    if not folder.exists():
        return True
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    lock.release()
    return True


def _tell_end(process: _Process, workdir: Path, stopped: bool) -> str:
    """Logs how a process ended; returns why it failed, empty if it did not.

    Args:
        stopped: the processes were asked to stop.
    """
    code, name = process.popen.returncode, process.run.name
    minutes = (time.monotonic() - process.began) / 60
    if code == 0 and (workdir / name / "results.json").exists():
        log.info("%s: done in %.1f min", name, minutes)
        return ""
    if code == _STOPPED and stopped:
        log.info("%s: stopped, its state is saved", name)
        return ""
    with process.console.open("rb") as file:
        file.seek(process.offset)
        lines = [line.strip() for line in file.read().decode(errors="replace").split("\n")]
    # The sentence of `xdistil train`, or the last line of what it did not expect.
    told = [line for line in lines if line.startswith(_PROGRAM)] or list(filter(None, lines))
    last = told[-1].removeprefix(_PROGRAM) if told else ""
    sentence = last or f"it ended with exit code {code} and printed nothing"
    if code < 0:
        after = f", after {last!r}" if last else ""
        sentence = f"killed by {signal.Signals(-code).name}{after}"
    log.info("%s: failed after %.1f min: %s", name, minutes, sentence)
    return sentence
