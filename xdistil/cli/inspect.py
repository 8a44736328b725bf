"""`xdistil inspect FOLDER`: what a model folder holds, or the state of a run in its workdir.

Exit codes: 0 success, 2 a mistake in the arguments or the folder.
"""

import sys
from pathlib import Path

from xdistil.errors import InputError
from xdistil.runtime.process import write_out

USAGE = """\
xdistil inspect FOLDER

FOLDER is a model folder: prints its sizes, labels and scores. Or it is the workdir of a run, which
may be active: prints how far the run is, its scores, and what the same command would do next."""


def main(arguments: list[str], program: str = "xdistil inspect") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    if not arguments or arguments[0] in ("--help", "-h"):
        write_out(USAGE)
        return 0
    # Imported late: the help does not need it.
    from xdistil.experiment.inspection import inspect_folder

    try:
        if len(arguments) > 1:
            raise InputError(f"{arguments[1]!r} is one argument too many: name one folder.")
        write_out(inspect_folder(Path(arguments[0]).expanduser()))
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
