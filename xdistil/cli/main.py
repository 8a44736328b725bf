"""The `xdistil` command: what train.py and predict.py do, and what else is done with folders."""

import difflib
import sys
from typing import NoReturn

from xdistil.runtime.process import leave, request_huge_pages

USAGE = """\
xdistil COMMAND ...

  train      distils a student, as train.py does
  predict    labels texts with a model folder, as predict.py does
  evaluate   scores a model folder on a file with gold labels (--evaluate=FILE)
  export     writes a model folder's ONNX file, and a small one in int8
  trim       drops what texts never need from a model folder's vocabulary
  inspect    tells what a model folder holds, or how far a run is in its workdir

xdistil COMMAND --help tells the options of a command."""

COMMANDS = ("train", "predict", "evaluate", "export", "trim", "inspect")


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code: that of the command, 2 if there is no such."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return 0
    command, *rest = arguments
    program = f"xdistil {command}"
    try:
        # Each when it is asked for: where JAX is not installed, some work without it.
        if command == "train":
            from xdistil.cli import train

            return train.main(rest, program)
        if command in ("predict", "evaluate"):
            from xdistil.cli import predict

            return predict.main(rest, program, evaluates=command == "evaluate")
        if command == "export":
            from xdistil.cli import export

            return export.main(rest, program)
        if command == "trim":
            from xdistil.cli import trim

            return trim.main(rest, program)
        if command == "inspect":
            from xdistil.cli import inspect

            return inspect.main(rest, program)
    except ModuleNotFoundError as error:
        print(
            f"{program}: it needs {error.name}, which is not installed: install xdistil with what "
            "it depends on (without JAX, predict works with --backend=onnx).",
            file=sys.stderr,
        )
        return 2
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(COMMANDS)}"
    print(f"xdistil: {command!r} is no command ({hint}).", file=sys.stderr)
    return 2


def run() -> NoReturn:
    """The console script."""
    if sys.argv[1:2] == ["train"]:  # the others gain nothing, and would start later
        request_huge_pages()
    leave(main(sys.argv[1:]))
