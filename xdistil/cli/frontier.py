"""`xdistil frontier`: which student to train under a budget of size and latency.

Exit codes: 0 success; 1 a run of --train failed, and the same command tries it again; 2 a mistake
in the arguments or files, or a budget that no student meets; 75 stopped while runs train, with
everything saved.
"""

import argparse
import logging
import math
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from xdistil.cli.overrides import Command, list_overrides, parse_command, split_arguments
from xdistil.cli.parser import Parser
from xdistil.config import expand_paths, split_paths
from xdistil.deploy.predictor import BACKENDS
from xdistil.errors import InputError
from xdistil.runtime.process import count_cores, silence_transformers, write_out
from xdistil.runtime.workdir import holds_run, open_workdir

if TYPE_CHECKING:
    from xdistil.experiment.frontier import Front
    from xdistil.experiment.frontier_shapes import Basis

_SHARE = 0.2  # of a plan's epochs, in short runs


def main(arguments: list[str], program: str = "xdistil frontier") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    logging.getLogger("xdistil").setLevel(logging.INFO)
    silence_transformers()
    try:
        options, overrides = _parse(arguments, program)
        command = parse_command(
            [f"--config={options.config}", f"--workdir={options.workdir}", *overrides]
        )
        return _find(options, overrides, command)
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2


def _parse(arguments: list[str], program: str) -> tuple[argparse.Namespace, list[str]]:
    """The options of this command, and those of the config."""
    parser = Parser(
        program,
        "Computes sizes of hundreds of students for the data, teacher and plan of a config, "
        "measures the latency of those near the budget, and says which to train and how. Takes "
        "--config.FIELD=VALUE as `xdistil train` does.",
    )
    parser.add_argument("--config", required=True, help="as of `xdistil train`")
    parser.add_argument(
        "--workdir", required=True, help="folder for frontier.csv, .md, .json, .svg"
    )
    parser.add_argument(
        "--max-mb", type=float, default=math.inf, help="limit in megabytes for model and tokenizer"
    )
    parser.add_argument(
        "--max-ms",
        type=float,
        default=math.inf,
        help="limit in milliseconds for a text on its own, from words to labels",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="jax",
        help="how the student will be used, as --backend of `xdistil predict`",
    )
    parser.add_argument(
        "--threads",
        help="numbers of cores to measure with; --max-ms is for the first (default: 1,2, as far as "
        "there are two)",
    )
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="student.FIELD=VALUE,VALUE",
        help="values of a field of the shape, in place of those that are tried; may be repeated",
    )
    parser.add_argument(
        "--measure",
        type=int,
        default=24,
        help="shapes to measure at most (default: %(default)s)",
    )
    parser.add_argument(
        "--results",
        type=expand_paths,
        help="workdirs of finished runs, separated by commas: which of their students to use, by "
        "size, latency and score on dev; no other shapes are considered",
    )
    parser.add_argument(
        "--train",
        type=int,
        default=0,
        metavar="N",
        help="train so many of the best shapes in short runs, and compare them by score on dev too",
    )
    parser.add_argument(
        "--share",
        type=float,
        help=f"share of the plan's epochs in these runs (default: {_SHARE:g})",
    )
    own, overrides = _split_overrides(arguments)
    options = parser.parse(own)
    for name in ("max_mb", "max_ms"):
        if not getattr(options, name) > 0:
            raise InputError(
                f"--{name.replace('_', '-')} is {getattr(options, name):g}: it must be above 0."
            )
    if math.isinf(options.max_mb) and math.isinf(options.max_ms) and not options.results:
        raise InputError("There is no budget: set --max-mb, --max-ms or both.")
    if options.measure < 1:
        raise InputError(f"--measure is {options.measure}: it must be 1 or more.")
    if options.share is not None and not options.train:
        raise InputError("--share is for short runs: set --train to their number.")
    options.share = _SHARE if options.share is None else options.share
    if options.train < 0 or not 0 < options.share <= 1:
        raise InputError(
            f"--train={options.train} --share={options.share:g}: write a number of runs, and a "
            "share of their epochs in (0, 1]."
        )
    if options.train and options.results:
        raise InputError("--train and --results are both set: keep one of them.")
    return options, overrides


def _split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """(other options, --config.FIELD=VALUE or --config.FIELD VALUE)."""
    own: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--config."):
            own.append(argument)
            continue
        overrides.append(argument)
        if "=" not in argument and rest:
            overrides.append(rest.pop(0))
    return own, overrides


def _read_threads(text: str | None) -> tuple[int, ...]:
    cores = count_cores()
    if text is None:
        return (1, 2)[:cores]
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= cores for part in parts):
        raise InputError(f"--threads={text}: write numbers of cores, from 1 to {cores}.")
    return tuple(dict.fromkeys(map(int, parts)))


def _find(options: argparse.Namespace, flags: list[str], command: Command) -> int:
    """Prints and writes the front; returns the exit code."""
    import jax

    # A GPU is for the processes that measure and train.
    jax.config.update("jax_platforms", "cpu")
    if options.backend != "jax":
        from xdistil.deploy.onnx_export import check_packages

        check_packages()
    from xdistil.cli.frontier_runs import run_sweep, write_config
    from xdistil.experiment.frontier import Budget, find_front
    from xdistil.experiment.frontier_scores import add_scores, score_front
    from xdistil.experiment.frontier_search import spread
    from xdistil.experiment.frontier_shapes import open_basis
    from xdistil.student.shapes import read_axes

    axes = read_axes(options.sweep)
    threads = _read_threads(options.threads)
    budget = Budget(1e6 * options.max_mb, options.max_ms / 1e3, options.backend, threads)
    workdir = command.workdir
    if holds_run(workdir):
        raise InputError(f"--workdir={workdir} is the workdir of one run: name another folder.")
    open_workdir(workdir)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        basis = open_basis(command.experiment, folder)
        if options.results:
            workdirs = list(map(Path, split_paths(options.results)))
            _tell(score_front(basis, workdirs, budget, folder), basis, options, flags)
            return 0
        front = find_front(basis, axes, budget, options.measure, folder)
        _tell(front, basis, options, flags)
        if options.train:
            chosen = spread(front.front, options.train)
            given = list_overrides(split_arguments(flags))
            workdirs = write_config(
                workdir, chosen, basis.student, options.config, given, options.share
            )
            if code := run_sweep(workdir):
                return code
            add_scores(front, chosen, basis, workdirs, folder / "scored")
            print()
            _tell(front, basis, options, flags)
    return 0


def _tell(front: "Front", basis: "Basis", options: argparse.Namespace, flags: list[str]) -> None:
    """Prints and writes a front, with the commands that train what it proposes."""
    from xdistil.evaluation.frontier_figure import draw_frontier
    from xdistil.evaluation.frontier_table import render_table, write_files
    from xdistil.experiment.frontier import tabulate

    workdir = Path(options.workdir).expanduser()
    table = tabulate(front, basis)
    write_files(workdir, table)
    draw_frontier(table).savefig(workdir / "frontier.svg")
    write_out("\n".join(render_table(table)))
    if front.unmeasured:
        write_out(f"\n{front.unmeasured} more may belong here: a larger --measure tells.")
    for row in table.choices:
        place = f"--workdir={workdir / row.shape}"
        words = ["xdistil", "train", f"--config={options.config}", *flags, *row.overrides, place]
        write_out(f"\nThis trains {row.shape}:\n  {shlex.join(words)}")
