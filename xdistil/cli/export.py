"""`xdistil export`: writes and tests a model folder's ONNX files, and uploads the folder.

Exit codes: 0 success, 1 a file failed its test and was not written, 2 a mistake in the arguments or
files, or a hub that cannot be reached or refuses the upload.
"""

import argparse
import logging
import math
import os
import sys
from pathlib import Path

from xdistil.cli.parser import Parser
from xdistil.errors import InputError, RefusedError
from xdistil.models.hf.hub import find_student
from xdistil.runtime.process import silence_transformers, write_out


def main(arguments: list[str], program: str = "xdistil export") -> int:
    """Runs the command line; returns the exit code. `program` is its name in messages."""
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
        type=os.path.expanduser,
        help="file with gold labels that the ONNX files are tested on; optional with --push, which "
        "then uploads the folder as it is",
    )
    parser.add_argument(
        "--test",
        type=os.path.expanduser,
        help="another file with gold labels, for the int8 file",
    )
    parser.add_argument("--int8", action="store_true", help="also write model_quantized.onnx")
    parser.add_argument(
        "--allow-small-dev",
        action="store_true",
        help="write the int8 file although dev has fewer than 100 gold entities, or texts",
    )
    parser.add_argument(
        "--max-mb",
        type=float,
        default=0.0,
        help="limit in megabytes for model_quantized.onnx, tokenizer and config.json together",
    )
    parser.add_argument(
        "--push",
        metavar="ORG/NAME",
        help="finally upload the whole folder to this model repository of the Hugging Face hub",
    )
    parser.add_argument(
        "--private", action="store_true", help="create the repository as private, if it is new"
    )
    options = parser.parse(arguments)
    options.model = find_student(options.model)
    if not os.path.isdir(options.model):
        raise InputError(f"--model={options.model}: no such folder: name the folder of a model.")
    if not math.isfinite(options.max_mb) or options.max_mb < 0:
        raise InputError(f"--max-mb is {options.max_mb}; it must be a number above 0.")
    if not options.int8 and (options.max_mb or options.test or options.allow_small_dev):
        raise InputError(
            "--max-mb, --test and --allow-small-dev are for the int8 file: add --int8."
        )
    if not options.dev and (options.int8 or options.push is None):
        raise InputError(
            "--dev is missing: name a file with gold labels to test the ONNX files on."
        )
    if options.private and options.push is None:
        raise InputError("--private is for a repository of the hub: name it with --push.")
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
        check_folder(folder)  # before the export, which may take minutes
        _write_files(options, folder)
    write_out(push_folder(folder, options.push, options.private))


def _write_files(options: argparse.Namespace, folder: Path) -> None:
    from xdistil.data.examples import read_file
    from xdistil.deploy.jax_backend import open_model
    from xdistil.deploy.onnx_card import update_card
    from xdistil.deploy.onnx_export import check_packages, export_onnx
    from xdistil.deploy.quality_gate import check_dev

    check_packages()
    opened = open_model(options.model)
    dev, test = (
        read_file(path, opened.task, opened.scheme, opened.repair) if path else None
        for path in (options.dev, options.test)
    )
    if options.int8:
        check_dev(opened.task, dev or [], options.allow_small_dev)
    try:
        path = export_onnx(opened, folder, dev or [])
        write_out(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
        if options.int8:
            from xdistil.deploy.quantize import quantize_onnx, render_outcome

            outcome = quantize_onnx(opened, folder, dev or [], test, round(options.max_mb * 1e6))
            write_out(f"{outcome.path}: {outcome.trials[-1].bytes / 1e6:.2f} MB\n")
            write_out(render_outcome(outcome))
    finally:
        update_card(folder)  # also where files were removed
