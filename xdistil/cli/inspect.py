"""`xdistil inspect FOLDER`: what a model folder holds, or how far a run is in its workdir.

Exit codes: 0 done, 2 a mistake in the arguments or the folder.
"""

import sys
from pathlib import Path

from xdistil.errors import InputError

USAGE = """\
xdistil inspect FOLDER

FOLDER is a model folder: its sizes, labels and languages are told; or the workdir of a run, also
while it is at work: how far it is, what was reached, and what the same command would do next."""


def main(arguments: list[str], program: str = "xdistil inspect") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return 0
    # Not before: the help needs none of it.
    from xdistil.experiment.inspection import inspect_folder

    try:
        if len(arguments) > 1:
            raise InputError(f"{arguments[1]!r} is one argument too many: name one folder.")
        print(inspect_folder(Path(arguments[0])))
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
