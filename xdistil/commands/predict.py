"""predict.py, and `xdistil predict` and `evaluate`: labels texts with a model folder, or scores it.

Exit codes: 0 done, 2 a mistake in the arguments, files or texts.
"""

import argparse
import contextlib
import difflib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from xdistil.config import CHOICES
from xdistil.errors import InputError

_OPTIONS = ("--model", "--revision", "--input", "--output", "--evaluate", "--scheme", "--help")


class _Parser(argparse.ArgumentParser):
    """Its mistakes are InputErrors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[0].upper()}{message[1:]}.")


def main(arguments: list[str], program: str = "predict.py", evaluates: bool = False) -> int:
    """Runs the command line; returns the exit code.

    Args:
        program: names it in messages.
        evaluates: whether a file with gold labels must be given.
    """
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    # transformers would say at its import that it finds no PyTorch; it only brings tokenizers.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        options = _parse(arguments, program)
        if evaluates and not options.evaluate:
            raise InputError("--evaluate is missing: name a file with gold labels.")
        if options.evaluate:
            _evaluate(options)
        else:
            _predict(options)
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _parse(arguments: list[str], program: str) -> argparse.Namespace:
    parser = _Parser(
        prog=program,
        description="One labelled line for each line of text.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", help="folder of a student or teacher, or a hub id")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a hub id")
    parser.add_argument("--input", help="file of texts, one a line; standard input by default")
    parser.add_argument("--output", help="file to write; standard output by default")
    parser.add_argument("--evaluate", help="file with gold labels: print scores instead")
    parser.add_argument(
        "--scheme",
        choices=CHOICES["data.scheme"],
        help="how the gold tags are written; by default as in the model's training",
    )
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        name = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(name, _OPTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(_OPTIONS)}"
        raise InputError(f"{name!r} is no option of {program} ({hint}).")
    if not options.model:
        raise InputError("--model is missing: name a folder such as runs/quickstart/student.")
    if options.evaluate and options.input:
        raise InputError("--input and --evaluate were both given: the gold file holds the texts.")
    if options.scheme and not options.evaluate:
        raise InputError("--scheme says how gold tags are written: give their file in --evaluate.")
    for name in ("--input", "--evaluate"):
        path = getattr(options, name[2:])
        if path and not os.path.exists(path):
            raise InputError(f"{name}={path} does not exist.")
        if path and os.path.isdir(path):
            raise InputError(f"{name}={path} is a folder: name a file.")
    if options.output:
        path = Path(options.output)
        if path.is_dir():
            raise InputError(f"--output={path} is a folder: name a file.")
        if not path.parent.is_dir():
            raise InputError(f"--output={path} has no folder to stand in: make {path.parent}.")
    return options


def _predict(options: argparse.Namespace) -> None:
    from xdistil.results.tagger import open_tagger  # jax takes a second: mistakes come before

    tagger = open_tagger(options.model, options.revision)
    lines = _read_lines(options.input)
    with _open_output(options.output) as write:
        for line in tagger.label_lines(lines, options.input or "standard input"):
            write(f"{line}\n".encode())


def _evaluate(options: argparse.Namespace) -> None:
    from xdistil.data.examples import gold_task, read_file
    from xdistil.results.report import render_scores
    from xdistil.results.scores import score
    from xdistil.results.tagger import open_tagger

    tagger = open_tagger(options.model, options.revision)
    scheme = options.scheme or tagger.scheme
    gold = read_file(options.evaluate, gold_task(tagger.task), scheme, tagger.repair)
    scores = score(tagger.task, gold, tagger.label([example.inputs for example in gold]))
    if options.output:
        with _open_output(options.output) as write:
            content = {"format": 1, "task": tagger.task.kind, **scores}
            write(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
    with _open_output(None) as write:
        write(render_scores(tagger.task.kind, scores).encode())


def _read_lines(path: str | None) -> Iterator[bytes]:
    """The lines of a file or of standard input, with their ends."""
    try:
        if path is None:
            yield from sys.stdin.buffer
            return
        with open(path, "rb") as file:
            yield from file
    except OSError as error:
        name = "standard input" if path is None else f"--input={path}"
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error


@contextlib.contextmanager
def _open_output(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes; a file appears under its name when all of them are written."""
    if path is None:
        with _tell_write_errors("standard output"):
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        return
    final = os.path.realpath(path)
    # A pipe or a device is written as it is: there is nothing to put in its place.
    replaces = os.path.isfile(final) or not os.path.exists(final)
    place = f"{final}.{os.getpid()}.partial" if replaces else final
    try:
        with _tell_write_errors(f"--output={path}"):
            with open(place, "wb") as file:
                yield file.write
            if replaces:
                os.replace(place, final)
    finally:
        if replaces:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)


@contextlib.contextmanager
def _tell_write_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be written ({error.strerror}).") from error
