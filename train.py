"""Distils a student: `python train.py --config=configs/quickstart.py --workdir=runs/quickstart`.

Exit codes: 0 done (or already done), 2 a mistake in the arguments, files or data.
"""

import sys

from xdistil.command import USAGE, parse_command
from xdistil.errors import InputError


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code."""
    if not arguments or arguments in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    try:
        command = parse_command(arguments)
        # Not before: JAX takes seconds to import, and the mistakes above are told at once.
        from xdistil.describe import describe
        from xdistil.flow import run

        if command.dry_run:
            print(describe(command.experiment))
        else:
            run(command.experiment, command.workdir, [sys.argv[0], *arguments])
    except InputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
