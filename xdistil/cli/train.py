"""train.py, and `xdistil train`: distils a student.

Exit codes: 0 done; 1 a file cannot be written, as on a full disk; 2 a mistake in the arguments,
files or data; 3 a loss became NaN or infinite; 4, or an abort by JAX, another process of the run is
gone; 75 stopped by SIGTERM or SIGINT, all saved: the same command goes on; 130 a second Ctrl-C,
nothing saved.
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
        # Not before: JAX takes seconds to import, and the mistakes above are told at once.
        from xdistil.experiment.dry_run import describe
        from xdistil.experiment.run import run

        if command.dry_run:
            print(describe(command.experiment, command.verbose))
        else:
            words = [*program.split(), *arguments]
            run(command.experiment, command.workdir, words, command.verbose)
    except InputError as error:
        return _tell(program, str(error), 2)
    except DivergenceError as error:
        return _tell(program, str(error), 3)
    except LostProcessError as error:
        return _tell(program, str(error), 4)
    except StoppedError as error:
        return _tell(program, f"stopped by {error}; the same command resumes.", 75)
    except KeyboardInterrupt:  # before the run listens, as while JAX is imported
        return _tell(program, "interrupted before the run started.", 130)
    except OSError as error:
        where = f"{error.filename or command.workdir}: " if error.strerror else ""
        sentence = f"{where}{error.strerror or error}; the same command resumes once that is fixed."
        return _tell(program, sentence, UNWRITTEN)
    return 0


def _tell(program: str, sentence: str, code: int) -> int:
    print(f"{program}: {sentence}", file=sys.stderr)
    return code
