"""`xdistil table WORKDIR`: the results of a sweep as a table.

Exit codes: 0 success, 2 a mistake in the arguments or files.
"""

import os
import sys
from pathlib import Path

from xdistil.cli.files import open_output
from xdistil.cli.parser import Parser
from xdistil.config import expand_paths, split_names
from xdistil.errors import InputError
from xdistil.evaluation.results import read_results
from xdistil.evaluation.sweep_table import COLUMNS, tabulate_sweep
from xdistil.evaluation.tables import FORMATS, render_table
from xdistil.experiment.sweep import read_manifest


def main(arguments: list[str], program: str = "xdistil table") -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(
        program,
        "Shows the results of a sweep: mean and standard deviation over seeds. Where runs of a "
        "cell have not ended, it says how many have.",
    )
    parser.add_argument("workdir", nargs="?", type=expand_paths, help="--workdir of the sweep")
    parser.add_argument(
        "--rows",
        type=split_names,
        default=(),
        help="settings, such as plan,student.hidden_size (default: all that differ but the seed)",
    )
    parser.add_argument(
        "--columns",
        type=split_names,
        default=(),
        help=f"of {', '.join(COLUMNS)}, or a setting whose values become columns (default: score)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--output", type=os.path.expanduser, help="file to write the table to")
    try:
        options = parser.parse(arguments)
        if not options.workdir:
            raise InputError("Name the --workdir of a sweep: xdistil table runs/table.")
        workdir = Path(options.workdir)
        runs = {
            name: (settings, read_results(workdir / name))
            for name, settings in read_manifest(workdir).items()
        }
        separate = options.format == "csv"
        table = tabulate_sweep(runs, options.rows, options.columns, separate)
        with open_output(options.output) as write:
            write(render_table(table, options.format).encode())
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
