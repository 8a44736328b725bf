"""train.py and `xdistil train`: distils a student.

Exit codes: 0 success; 1 a file cannot be written, for example on a full disk; 2 a mistake in the
arguments, files or data; 3 a loss became NaN or infinite; 4, or an abort by JAX, another process of
the run is gone; 75 stopped by SIGTERM or SIGINT with everything saved, so that the same command
resumes; 130 a second Ctrl-C, nothing saved.
"""

import sys

from xdistil.cli.overrides import USAGE, parse_command
from xdistil.config import Experiment
from xdistil.errors import DivergenceError, InputError, LostProcessError, StoppedError
from xdistil.models.hf.hub import check_name
from xdistil.runtime.process import UNWRITTEN, silence_transformers, write_out


def main(arguments: list[str], program: str = "train.py") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    if not arguments or arguments in (["--help"], ["-h"]):
        write_out(USAGE)
        return 0
    silence_transformers()
    try:
        command = parse_command(arguments)
        _check_models(command.experiment)
        # Imported late: JAX takes seconds, and mistakes in the arguments are reported at once.
        from xdistil.experiment.dry_run import describe
        from xdistil.experiment.run import run

        if command.dry_run:
            write_out(describe(command.experiment, command.verbose))
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


def _check_models(experiment: Experiment) -> None:
    # Before JAX is imported, and before the hub's client waits for a hub that cannot be reached.
    for group in ("teacher", "student"):
        for field in ("model", "checkpoint", "tokenizer"):
            if name := getattr(getattr(experiment, group), field, ""):
                try:
                    check_name(name)
                except InputError as error:
                    raise InputError(f"{group}.{field}={error}") from None


def _report(program: str, sentence: str, code: int) -> int:
    print(f"{program}: {sentence}", file=sys.stderr)
    return code
