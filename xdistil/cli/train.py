"""train.py and `xdistil train`: distils a student.

Exit codes: 0 success; 1 a file cannot be written, for example on a full disk; 2 a mistake in the
arguments, files or data; 3 a loss became NaN or infinite; 4, or an abort by JAX, another process of
the run is gone; 75 stopped by SIGTERM or SIGINT with everything saved, so that the same command
resumes; 130 a second Ctrl-C, nothing saved.
"""

import sys

from xdistil.cli.overrides import USAGE, parse_command
from xdistil.errors import DivergenceError, InputError, LostProcessError, StoppedError
from xdistil.runtime.process import UNWRITTEN, silence_transformers


def main(arguments: list[str], program: str = "train.py") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    if not arguments or arguments in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    silence_transformers()
    try:
        command = parse_command(arguments)
        # Imported late: JAX takes seconds, and mistakes in the arguments are reported at once.
        from xdistil.experiment.dry_run import describe
        from xdistil.experiment.run import run

        if command.dry_run:
            print(describe(command.experiment, command.verbose))
        else:
            words = [*program.split(), *arguments]
            run(command.experiment, command.workdir, words, command.verbose)
    except InputError as error:
        return _report(program, str(error), 2)
    except DivergenceError as error:
        return _report(program, str(error), 3)
    except LostProcessError as error:
        return _report(program, str(error), 4)
    except StoppedError as error:
        return _report(program, f"stopped by {error}: the same command resumes.", 75)
    except KeyboardInterrupt:  # before the run handles signals, as while JAX is imported
        return _report(program, "interrupted before the run started.", 130)
    except OSError as error:
        where = f"{error.filename or command.workdir}: " if error.strerror else ""
        sentence = f"{where}{error.strerror or error}: the same command resumes when this is fixed."
        return _report(program, sentence, UNWRITTEN)
    return 0


def _report(program: str, sentence: str, code: int) -> int:
    print(f"{program}: {sentence}", file=sys.stderr)
    return code
