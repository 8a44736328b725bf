"""predict.py, `xdistil predict` and `xdistil evaluate`: labels texts, or scores a model folder.

Exit codes: 0 success, 2 a mistake in the arguments, files or texts, 130 Ctrl-C.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from xdistil.cli.answers import Answers, BlankLines, take_ready
from xdistil.cli.files import STANDARD, open_output, read_lines, refuse_same_file
from xdistil.cli.parser import Parser
from xdistil.config import CHOICES
from xdistil.data.text_columns import parse_columns
from xdistil.data.text_stream import FORMATS, check_ending, name_format, read_stream
from xdistil.deploy.predictor import BACKENDS, load
from xdistil.errors import InputError
from xdistil.runtime.process import drop_output, silence_transformers

_WRITTEN = ("tsv", "csv", "conll", "jsonl", "json")  # formats of the output


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
    except KeyboardInterrupt:  # as at the end of a session with typed lines
        return 130
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        drop_output()
        return 0
    return 0


def _parse(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(
        program,
        "Labels texts with a trained model, or scores the model on a file with gold labels.",
    )
    parser.add_argument(
        "--model", help="folder of a student or teacher, workdir of a run, or a hub id"
    )
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a hub id")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="jax",
        help="jax (default), or ONNX Runtime with the folder's float32 (onnx) or int8 file",
    )
    home = os.path.expanduser
    parser.add_argument("--input", type=home, help="file of texts (default: standard input)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="format of the input: text (one per line), tsv (a task file, or one text per line), "
        "csv (with a header), conll, jsonl, json (an array of records) or parquet; by default from "
        "its extension (.tsv, .csv, .conll, .jsonl, .json, .parquet, all but the last also with "
        ".gz), else text",
    )
    parser.add_argument(
        "--columns",
        default="",
        help="columns or fields that hold the text: text:2, or text_a:1,text_b:2, or words:1; by "
        "number from 1 or by the name in the first line of .tsv and .csv, by name elsewhere",
    )
    parser.add_argument("--output", type=home, help="file to write (default: standard output)")
    parser.add_argument(
        "--output-format",
        choices=_WRITTEN,
        help="by default from the extension of --output, else jsonl (also for parquet), json and "
        "csv for an input in the same format, else tsv; jsonl and json have offsets and scores",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        help="of a multi-label model: the probability above which a text has a class "
        "(default: 0.5)",
    )
    parser.add_argument("--evaluate", type=home, help="file with gold labels to score the model on")
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
    if options.evaluate and (options.format or options.output_format or options.columns):
        raise InputError(
            "--format, --columns and --output-format are for texts to label: leave them out with "
            "--evaluate."
        )
    parse_columns(options.columns)
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
    refuse_same_file(options)
    if options.input and not options.format:
        check_ending(options.input, "--input")
    if _input_format(options) == "parquet" and not options.input:
        raise InputError("--format=parquet reads a file and no pipe: name it with --input.")
    if options.columns and _input_format(options) in ("text", "conll"):
        raise InputError(
            "--columns is for .tsv, .csv, .jsonl, .json and .parquet files: name the format with "
            "--format."
        )
    if options.output and not options.output_format:
        check_ending(options.output, "--output")
        ending = name_format(options.output)
        if options.evaluate and ending not in ("text", "json"):
            raise InputError(
                f"--output={options.output}: scores are written as JSON and not as {ending}: name "
                "a .json file."
            )
    return options


def _input_format(options: argparse.Namespace) -> str:
    return options.format or name_format(options.input or "")


def _output_format(options: argparse.Namespace) -> str:
    name = (options.output or "").removesuffix(".gz")
    if options.output_format:
        return options.output_format
    if (written := name_format(name)) != "text":
        return written
    read = _input_format(options)
    read = "jsonl" if read == "parquet" else read
    return read if read in ("jsonl", "json", "csv") and not Path(name).suffix else "tsv"


def _predict(options: argparse.Namespace) -> None:
    model = load(options.model, options.backend, options.revision, threshold=options.threshold)
    kind = model.predictor.task.kind
    written = _output_format(options)
    if written == "conll" and kind == "classification":
        raise InputError("CoNLL columns hold tags of words: for classes write tsv or jsonl.")
    where = options.input or STANDARD
    form = _input_format(options)
    answers = Answers(model, written, where, form in ("tsv", "csv"))
    blank = BlankLines(where)
    with read_lines(options, form) as (lines, ready), open_output(options.output) as write:
        texts = read_stream(
            lines,
            where,
            form,
            kind,
            labels=model.predictor.task.labels,
            columns=options.columns,
            ready=ready,
            split=model.predictor.split,
        )
        count = cut = 0
        for chunk in take_ready(blank.leave_out(texts), ready):
            predictions, chunk_cut = model.predictor.predict_and_count(
                [text.inputs for text in chunk]
            )
            count, cut = count + sum(bool(text.inputs) for text in chunk), cut + chunk_cut
            for text, prediction in zip(chunk, predictions, strict=True):
                write(answers.render(text, prediction).encode())
            if not options.output:
                sys.stdout.flush()
        write(answers.finish().encode())
        model.predictor.warn_if_cut(cut, count)
        blank.warn()


def _evaluate(options: argparse.Namespace) -> None:
    from xdistil.data.examples import gold_task, read_file
    from xdistil.evaluation.metrics import score
    from xdistil.evaluation.report import render_scores

    model = load(options.model, options.backend, options.revision, threshold=options.threshold)
    predictor = model.predictor
    task, scheme = predictor.task, options.scheme or predictor.scheme
    gold = read_file(options.evaluate, gold_task(task), scheme, predictor.repair)
    predictions = predictor.predict([example.inputs for example in gold])
    scores = score(task, gold, [prediction.labels for prediction in predictions])
    if options.output:
        with open_output(options.output) as write:
            content = {"format": 1, "task": task.name, **scores}
            write(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())
    with open_output(None) as write:
        write(render_scores(task.name, scores).encode())
