"""predict.py, `xdistil predict` and `xdistil evaluate`: labels texts, or scores a model folder.

Exit codes: 0 success, 2 a mistake in the arguments, files or texts.
"""

import argparse
import contextlib
import gzip
import json
import logging
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from xdistil.cli.parser import Parser
from xdistil.config import CHOICES
from xdistil.data.text_stream import FORMATS, Text, name_format, read_stream
from xdistil.deploy.predictor import BACKENDS, Classifier, Prediction, Tagger, load
from xdistil.deploy.writers import write_conll, write_json, write_tsv
from xdistil.errors import InputError
from xdistil.runtime.process import silence_transformers

_CHUNK = 1024  # texts read, labelled and written together


def main(arguments: list[str], program: str = "predict.py", evaluates: bool = False) -> int:
    """Runs the command line; returns the exit code.

    Args:
        program: the name of the program in messages.
        evaluates: whether a file with gold labels is required.
    """
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    silence_transformers()
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
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def _parse(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(
        program,
        "Labels texts with a trained model, or scores the model on a file with gold labels.",
    )
    parser.add_argument("--model", help="folder of a student or teacher, or a hub id")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a hub id")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="jax",
        help="jax (default), or ONNX Runtime with the folder's float32 (onnx) or int8 file",
    )
    parser.add_argument("--input", help="file of texts (default: standard input)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the input: text (one per line), tsv (a task file), conll or jsonl; by "
        "default from its extension (.tsv, .conll, .jsonl, each also with .gz), else text",
    )
    parser.add_argument("--output", help="file to write (default: standard output)")
    parser.add_argument(
        "--output-format",
        choices=FORMATS[1:],
        help="by default from the extension of --output, else tsv; jsonl has offsets and scores",
    )
    parser.add_argument("--evaluate", help="file with gold labels to score the model on")
    parser.add_argument(
        "--scheme",
        choices=CHOICES["data.scheme"],
        help="tag scheme of the gold labels (default: that of the model's training data)",
    )
    options = parser.parse(arguments)
    if not options.model:
        raise InputError("--model is missing: name a folder such as runs/quickstart/student.")
    if options.evaluate and options.input:
        raise InputError(
            "--input and --evaluate are both given: the gold file of --evaluate holds the texts."
        )
    if options.scheme and not options.evaluate:
        raise InputError("--scheme is the scheme of gold tags: name their file with --evaluate.")
    if options.evaluate and (options.format or options.output_format):
        raise InputError(
            "--format and --output-format are for texts to label: leave them out with --evaluate."
        )
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
            raise InputError(
                f"--output={path} is in a folder that does not exist: create {path.parent}."
            )
    return options


def _predict(options: argparse.Namespace) -> None:
    model = load(options.model, options.backend, options.revision)
    kind = model.predictor.task.kind
    written = options.output_format or name_format(options.output or "")
    if written == "conll" and kind == "classification":
        raise InputError("CoNLL columns hold tags of words: for classes write tsv or jsonl.")
    form = options.format or name_format(options.input or "")
    where = options.input or "standard input"
    with _read_lines(options) as lines, _open_output(options.output) as write:
        texts = read_stream(lines, where, form, kind, model.predictor.segmentation)
        count = cut = 0
        while chunk := list(islice(texts, _CHUNK)):
            predictions, chunk_cut = model.predictor.predict_and_count(
                [text.inputs for text in chunk]
            )
            count, cut = count + sum(bool(text.inputs) for text in chunk), cut + chunk_cut
            for text, prediction in zip(chunk, predictions, strict=True):
                write(_render(model, text, prediction, written, where).encode())
        model.predictor.warn_if_cut(cut, count)


def _render(
    model: Tagger | Classifier, text: Text, prediction: Prediction, written: str, where: str
) -> str:
    if written == "conll":
        return write_conll(text, prediction.labels)
    if written != "jsonl":
        kind = model.predictor.task.kind
        return f"{write_tsv(text, prediction.labels, kind, where)}\n"
    if isinstance(model, Tagger):
        return f"{write_json(text, model.describe(text.raw, text.inputs, prediction))}\n"
    return f"{write_json(text, model.describe(prediction) if prediction.labels else None)}\n"


def _evaluate(options: argparse.Namespace) -> None:
    from xdistil.data.examples import gold_task, read_file
    from xdistil.evaluation.metrics import score
    from xdistil.evaluation.report import render_scores

    predictor = load(options.model, options.backend, options.revision).predictor
    task, scheme = predictor.task, options.scheme or predictor.scheme
    gold = read_file(options.evaluate, gold_task(task), scheme, predictor.repair)
    predictions = predictor.predict([example.inputs for example in gold])
    scores = score(task, gold, [prediction.labels for prediction in predictions])
    if options.output:
        with _open_output(options.output) as write:
            content = {"format": 1, "task": task.kind, **scores}
            write(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
    with _open_output(None) as write:
        write(render_scores(task.kind, scores).encode())


@contextlib.contextmanager
def _read_lines(options: argparse.Namespace) -> Iterator[Iterator[bytes]]:
    """The lines of a file, plain or .gz, or of standard input, with a progress bar.

    The bar is hidden if standard error is not a terminal or if the output goes to it.
    """
    from tqdm import tqdm

    path = options.input
    name = f"--input={path}" if path else "standard input"
    hidden = not sys.stderr.isatty() or (not options.output and sys.stdout.isatty())
    try:
        if path is None:
            with tqdm(sys.stdin.buffer, disable=hidden, unit=" lines") as bar:
                yield iter(bar)
            return
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            with tqdm(total=size, disable=hidden, unit="B", unit_scale=True) as bar:
                yield _follow(
                    gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file, file, bar
                )
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{name} is not a whole gzip file: compress it again.") from None
    except BrokenPipeError:  # that of the output
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}).") from error


def _follow(lines: Iterable[bytes], file: BinaryIO, bar: Any) -> Iterator[bytes]:
    for line in lines:
        yield line
        bar.update(file.tell() - bar.n)


@contextlib.contextmanager
def _open_output(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes; a file gets its name when it is complete."""
    if path is None:
        with _report_write_errors("standard output"):
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        return
    final = os.path.realpath(path)
    # A pipe or device is written directly: it cannot be replaced by a file.
    replaces = os.path.isfile(final) or not os.path.exists(final)
    place = f"{final}.{os.getpid()}.partial" if replaces else final
    try:
        with _report_write_errors(f"--output={path}"):
            with open(place, "wb") as file:
                yield file.write
            if replaces:
                os.replace(place, final)
    finally:
        if replaces:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)


@contextlib.contextmanager
def _report_write_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be written ({error.strerror}).") from error
