"""`xdistil export`: a model folder's ONNX files, checked on labelled sentences; and its upload.

Exit codes: 0 done, 1 a file failed its check and was not written, 2 a mistake in the arguments or
files, or a hub that refuses or cannot be reached.
"""

import argparse
import logging
import math
import os
import sys
from pathlib import Path

from xdistil.cli.parser import Parser
from xdistil.errors import InputError, RefusedError
from xdistil.runtime.process import silence_transformers


def main(arguments: list[str], program: str = "xdistil export") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    logging.getLogger("xdistil").setLevel(logging.INFO)
    silence_transformers()
    try:
        _export(_parse(arguments, program))
    except (InputError, RefusedError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


def _parse(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(
        program,
        "Writes onnx/model.onnx, and onnx/model_quantized.onnx, into a model folder, and uploads "
        "the folder to a hub.",
    )
    parser.add_argument("--model", required=True, help="folder of a student or teacher")
    parser.add_argument(
        "--dev",
        help="file with gold labels that the files are checked on; where --push is given it may be "
        "left out, and no file is written",
    )
    parser.add_argument("--test", help="another, on which an int8 file must hold as well")
    parser.add_argument("--int8", action="store_true", help="write model_quantized.onnx too")
    parser.add_argument(
        "--max-mb",
        type=float,
        default=0.0,
        help="megabytes that model_quantized.onnx, tokenizer and config.json may have together",
    )
    parser.add_argument(
        "--push",
        metavar="ORG/NAME",
        help="upload the whole folder, at the end, to this model repository of the hub",
    )
    parser.add_argument(
        "--private", action="store_true", help="make that repository private, if it is new"
    )
    options = parser.parse(arguments)
    if not os.path.isdir(options.model):
        raise InputError(f"--model={options.model} is no folder: the files are written into it.")
    if not math.isfinite(options.max_mb) or options.max_mb < 0:
        raise InputError(f"--max-mb={options.max_mb} must be a number above 0.")
    if not options.int8 and (options.max_mb or options.test):
        raise InputError("--max-mb and --test are about the int8 file: ask for it with --int8.")
    if not options.dev and (options.int8 or options.push is None):
        raise InputError(
            "--dev is missing: name a file with gold labels that the files are checked on."
        )
    if options.private and options.push is None:
        raise InputError("--private is about a repository of the hub: name it with --push.")
    return options


def _export(options: argparse.Namespace) -> None:
    folder = Path(options.model)
    if options.push is None:
        _write_files(options, folder)
        return
    from xdistil.deploy.hub_upload import check_folder, check_name, check_token, push_folder

    check_name(options.push)
    check_token()
    if options.dev:
        check_folder(folder)  # before the minutes that the files may take
        _write_files(options, folder)
    print(push_folder(folder, options.push, options.private))


def _write_files(options: argparse.Namespace, folder: Path) -> None:
    from xdistil.data.examples import read_file
    from xdistil.deploy.jax_backend import open_model
    from xdistil.deploy.onnx_card import tell_files
    from xdistil.deploy.onnx_export import check_packages, export_onnx

    check_packages()
    opened = open_model(options.model)
    dev, test = (
        read_file(path, opened.task, opened.scheme, opened.repair) if path else None
        for path in (options.dev, options.test)
    )
    try:
        path = export_onnx(opened, folder, dev or [])
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
        if options.int8:
            from xdistil.deploy.quantize import quantize_onnx, render_outcome

            outcome = quantize_onnx(opened, folder, dev or [], test, round(options.max_mb * 1e6))
            print(f"{outcome.path}: {outcome.trials[-1].bytes / 1e6:.2f} MB\n")
            print(render_outcome(outcome))
    finally:
        tell_files(folder)  # those that are gone too
