"""`xdistil sweep`: runs that differ in some fields, one after another or several at once.

Exit codes: 0 all runs are done; 1 a run failed, or a file cannot be written; 2 a mistake in the
arguments; 75 stopped by SIGTERM or SIGINT with everything saved, so that the same command resumes.
"""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdistil.cli.overrides import (
    list_overrides,
    make_experiment,
    read_sweep,
    read_switch,
    read_workdir,
    split_arguments,
)
from xdistil.errors import InputError, StoppedError
from xdistil.evaluation.formatting import align
from xdistil.experiment.live_page import show_sweep
from xdistil.experiment.slurm_jobs import FOLDER, Queue
from xdistil.experiment.sweep import (
    SHARED,
    VARIANT,
    PlannedRun,
    combine_settings,
    describe_sweep,
    is_done,
    keep_names,
    name_run,
    refuse_equal,
    write_manifest,
)
from xdistil.experiment.sweep_processes import Failure, list_devices, run_processes
from xdistil.runtime.process import UNWRITTEN, silence_transformers, write_out
from xdistil.runtime.workdir import holds_run, lock_workdir, open_workdir

USAGE = """\
xdistil sweep runs an experiment several times, with other values of some fields:

  xdistil sweep --config=configs/ner.py:d4.2 --config.data.folder=FOLDER \\
      --config.teacher.model=MODEL --sweep='plan=d1,d2,d4.2' --sweep='seed=0,1,2' \\
      --workdir=runs/table

  --sweep=FIELD=V1,V2  the values of a field; those that hold a comma are separated by ;
                       FIELD is any field of --config.FIELD, `plan` for a named plan, or `variant`
                       for the text after the colon of --config. Several --sweep are combined.
  --jobs=N             runs at once (default: as many as there are GPUs, or 1; with --slurm all)
  --slurm=NAME=VALUE,  each run is a SLURM job with these parameters of sbatch, such as
                       partition=gpu,time=240,gpus_per_node=1 (time in minutes)
  --dry-run            lists the runs, and which are done

A config file may have a function sweep() that yields {"FIELD": VALUE, ...} for each run. Every run
has its own folder in --workdir. The same command resumes. xdistil table shows the results."""

_FAILED, _STOPPED = 1, 75
_PLAIN = ("config", "sweep", "workdir", "jobs", "slurm", "dry-run", "help")
_SHARED_FIELD = "teacher.shared_folder"


@dataclass(frozen=True)
class Command:
    """What the command line asks for."""

    runs: tuple[PlannedRun, ...]
    workdir: Path
    jobs: int
    slurm: Mapping[str, str | int]  # parameters of jobs; empty: runs are processes
    dry_run: bool


def main(arguments: list[str], program: str = "xdistil sweep") -> int:
    """Runs the command line; returns the exit code."""
    if not arguments or arguments in (["--help"], ["-h"]):
        write_out(USAGE)
        return 0
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.INFO, stream=sys.stderr)
    silence_transformers()
    environment = dict(os.environ)
    # What is done is checked here without the GPU, whose memory belongs to the runs.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    workdir = "--workdir"
    try:
        command = parse_sweep(arguments)
        workdir = str(command.workdir)
        if command.dry_run:
            done, failures = find_done(command)
            rows = describe_sweep(command.workdir, command.runs, done)
            write_out("\n".join(align(rows, (0, 1))))
            if not done:
                write_out("\nTime and disk space are estimated when a run is done.")
            return _report(program, failures, len(command.runs))
        open_workdir(command.workdir)
        with lock_workdir(command.workdir):
            write_manifest(command.workdir, command.runs)
            done, failures = find_done(command)
            lost = {failure.name for failure in failures}
            left = [run for run in command.runs if run.name not in {*done, *lost}]
            logging.info("%d runs, %d of them done", len(command.runs), len(done))
            show_sweep(command.workdir)
            queue = Queue(command.workdir / FOLDER, command.slurm) if command.slurm else None
            failures += run_processes(left, command.workdir, command.jobs, environment, queue=queue)
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except StoppedError as error:
        print(f"{program}: stopped by {error}: the same command resumes.", file=sys.stderr)
        return _STOPPED
    except OSError as error:
        where = error.filename or workdir
        print(f"{program}: {where}: {error.strerror or error}.", file=sys.stderr)
        return UNWRITTEN
    if not failures:
        logging.info("all %d runs are done: xdistil table %s", len(command.runs), workdir)
    return _report(program, failures, len(command.runs))


def parse_sweep(arguments: Sequence[str]) -> Command:
    """Reads the arguments, and makes the experiment of every run.

    Raises:
        InputError: any mistake in them, in the sentences of `xdistil train`.
    """
    given = split_arguments(arguments, _PLAIN)
    values = dict(given)
    config, overrides = values.get("config", ""), list_overrides(given)
    axes = _read_axes([value for name, value in given if name == "sweep"])
    configured = read_sweep(config, overrides)
    if not axes and not configured:
        raise InputError(
            "--sweep is missing: name the values of a field, such as --sweep='seed=0,1,2'."
        )
    workdir = read_workdir(values)
    if holds_run(workdir):
        raise InputError(f"--workdir={workdir} is the workdir of one run: name another folder.")
    slurm = _read_slurm(values["slurm"]) if "slurm" in values else {}
    jobs = values.get("jobs", str(sys.maxsize if slurm else max(len(list_devices(os.environ)), 1)))
    if not jobs.isdecimal() or int(jobs) < 1:
        raise InputError(f"--jobs is {jobs!r}: it must be a whole number, 1 or more.")
    shared = str(workdir.absolute() / SHARED)
    runs = tuple(
        _plan_run(config, overrides, settings, shared)
        for settings in combine_settings(configured, axes)
    )
    refuse_equal(runs)
    runs = keep_names(runs, workdir)
    return Command(runs, workdir, int(jobs), slurm, read_switch(values, "dry-run"))


def find_done(command: Command) -> tuple[list[str], list[Failure]]:
    """The names of the runs that are done, and those whose folder belongs to another run."""
    done, failures, known = list[str](), list[Failure](), dict[str, dict]()
    log = logging.getLogger("xdistil")
    level = log.level
    log.setLevel(logging.WARNING)  # what is found in the inputs was told by the runs
    try:
        for run in command.runs:
            try:
                if is_done(run, command.workdir, known):
                    done.append(run.name)
            except InputError as error:
                failures.append(Failure(run.name, str(error)))
    finally:
        log.setLevel(level)
    return done, failures


def _plan_run(
    config: str, overrides: Sequence[tuple[str, str]], settings: dict[str, str], shared: str
) -> PlannedRun:
    """A run of the sweep, which shares its teacher in the folder `shared` if it names no other."""
    own = [(path, value) for path, value in settings.items() if path != VARIANT]
    if VARIANT in settings:
        config = _choose_variant(config, settings[VARIANT])
    every = [*overrides, *own]
    experiment = make_experiment(config, every)
    if not experiment.teacher.shared_folder and _SHARED_FIELD not in dict(every):
        every = [*overrides, (_SHARED_FIELD, shared), *own]
        experiment = make_experiment(config, every)
    arguments = (f"--config={config}", *(f"--config.{path}={value}" for path, value in every))
    return PlannedRun(name_run(settings), settings, experiment, arguments)


def _read_slurm(text: str) -> dict[str, str | int]:
    """The parameters of --slurm by name."""
    parameters: dict[str, str | int] = {}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not (name and equals and value) or name in parameters:
            raise InputError(
                f"--slurm={text}: write parameters of sbatch, each once, such as "
                "--slurm=partition=gpu,time=240,gpus_per_node=1."
            )
        parameters[name] = int(value) if value.isdecimal() else value
    return parameters


def _choose_variant(config: str, variant: str) -> str:
    """`FILE:VARIANT` or `xdistil:RECIPE:VARIANT`."""
    parts = config.split(":")
    source = parts[:2] if parts[0] == "xdistil" else parts[:1]
    return ":".join([*source, variant])


def _read_axes(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The values of each --sweep by field."""
    axes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, values = _read_axis(text)
        if field in axes:
            raise InputError(
                f"--sweep={text}: another --sweep names {field}: write all its values in one."
            )
        axes[field] = values
    return axes


def _read_axis(text: str) -> tuple[str, tuple[str, ...]]:
    """The field and the values of a --sweep."""
    field, equals, listed = text.partition("=")
    field = field.strip().removeprefix("--").removeprefix("config.")
    values = tuple(each.strip() for each in listed.split(";" if ";" in listed else ","))
    if not field or not equals or not all(values):
        raise InputError(
            f"--sweep={text}: write a field and its values, such as --sweep='seed=0,1,2' or "
            "--sweep='data.languages=de,en;fr'."
        )
    if len(set(values)) < len(values):
        twice = next(each for each in values if values.count(each) > 1)
        raise InputError(f"--sweep={text} names {twice} twice: name each value once.")
    return field, values


def _report(program: str, failures: Sequence[Failure], runs: int) -> int:
    if not failures:
        return 0
    lines = [f"{failure.name}: {failure.sentence}" for failure in failures]
    told = "\n".join([f"{program}: {len(failures)} of {runs} runs failed:", *lines])
    print(told, file=sys.stderr)
    return _FAILED
