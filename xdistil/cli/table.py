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
from xdistil.evaluation.sweep_differences import add_differences, compare_rows, explain
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
    parser.add_argument(
        "--against",
        metavar="ROW",
        help="the value of --rows in one row: adds each row's difference to it in the score, with "
        "interval, p and verdict, paired over texts and seeds",
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
        lines = ""
        if options.against is not None:
            spread = [name for name in options.columns if name not in COLUMNS]
            if spread:
                raise InputError(
                    f"--against compares rows, and --columns={spread[0]} makes columns of a "
                    "setting: name it in --rows."
                )
            differences = compare_rows(workdir, runs, options.rows, options.against)
            table = add_differences(table, differences, separate)
            lines = f"\n{explain(differences)}\n" if options.format == "text" else ""
        with open_output(options.output) as write:
            write(f"{render_table(table, options.format)}{lines}".encode())
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
