"""The `xdistil` command and its subcommands."""

import difflib
import sys
from typing import NoReturn

from xdistil.runtime.process import leave, request_huge_pages, write_out

USAGE = """\
xdistil COMMAND ...

  train      distils a student, as train.py does
  sweep      runs an experiment with several values of some fields
  table      shows the results of a sweep as a table
  predict    labels texts with a model folder, as predict.py does
  evaluate   scores a model folder on a file with gold labels (--evaluate=FILE)
  label      writes prompts for a language model, and reads its answers as labels of texts
  compare    compares the predictions of two systems on the same labelled texts
  frontier   says which student to train under a budget of megabytes and milliseconds
  export     writes a model folder's ONNX files, in float32 and int8, and uploads the folder
  trim       reduces the vocabulary of a model folder to the subwords of given texts
  inspect    shows what a model folder holds, or the state of a run in its workdir

xdistil COMMAND --help shows the options of a command."""

COMMANDS = (
    "train",
    "sweep",
    "table",
    "predict",
    "evaluate",
    "label",
    "compare",
    "frontier",
    "export",
    "trim",
    "inspect",
)


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code, which is 2 for an unknown command."""
    if not arguments or arguments[0] in ("--help", "-h"):
        write_out(USAGE)
        return 0
    command, *rest = arguments
    program = f"xdistil {command}"
    try:
        # Imported one by one: some commands work where JAX is not installed.
        if command == "train":
            from xdistil.cli import train

            return train.main(rest, program)
        if command == "sweep":
            from xdistil.cli import sweep

            return sweep.main(rest, program)
        if command == "table":
            from xdistil.cli import table

            return table.main(rest, program)
        if command in ("predict", "evaluate"):
            from xdistil.cli import predict

            return predict.main(rest, program, evaluates=command == "evaluate")
        if command == "label":
            from xdistil.cli import label

            return label.main(rest, program)
        if command == "compare":
            from xdistil.cli import compare

            return compare.main(rest, program)
        if command == "frontier":
            from xdistil.cli import frontier

            return frontier.main(rest, program)
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
            f"{program}: it needs {error.name}, which is not installed: install xdistil with its "
            "dependencies (without JAX, predict works with --backend=onnx).",
            file=sys.stderr,
        )
        return 2
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(COMMANDS)}"
    print(f"xdistil: {command!r} is not a command ({hint}).", file=sys.stderr)
    return 2


def run() -> NoReturn:
    """The console script."""
    if sys.argv[1:2] == ["train"]:  # the other commands gain nothing by it
        request_huge_pages()
    leave(main(sys.argv[1:]))
