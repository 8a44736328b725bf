"""`xdistil label`: prompts for a language model, and its answers as a file of annotators.

Exit codes: 0 success, 2 a mistake in the arguments or files.
"""

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from xdistil import config
from xdistil.annotators.answers import digest_text
from xdistil.annotators.prompting.batches import (
    FORMATS,
    MOST_MEGABYTES,
    MOST_REQUESTS,
    Sampling,
    make_request,
)
from xdistil.annotators.prompting.gather import gather_answers, write_answers
from xdistil.annotators.prompting.pieces import (
    MOST_RUNS,
    Texts,
    cut_pieces,
    list_identifiers,
    read_typed_texts,
)
from xdistil.annotators.prompting.prompts import (
    STYLES,
    digest_example,
    write_example,
    write_instructions,
    write_question,
)
from xdistil.annotators.prompting.types import Types, read_types
from xdistil.cli.files import open_output
from xdistil.cli.label_summary import summarise_answers, summarise_prompts
from xdistil.cli.parser import Parser
from xdistil.data.corpus import draw_evenly, find_paths
from xdistil.data.gold import find_file, read_gold
from xdistil.data.text_stream import check_ending
from xdistil.errors import InputError, suggest
from xdistil.runtime.process import write_out

USAGE = """\
xdistil label prompts|read ...

  prompts  writes prompts for texts: a file for the batch API of a language model, or for a program
           of your own
  read     reads the answers, repairs them, and writes a file for teacher.labels

xdistil label prompts --help and xdistil label read --help show the options."""

_log = logging.getLogger("xdistil")
KINDS = ("tagging", "classification")
_LONGEST = 2000  # characters of a piece


def main(arguments: list[str], program: str = "xdistil label") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    if not arguments or arguments[0] in ("--help", "-h"):
        write_out(USAGE)
        return 0
    command, *rest = arguments
    try:
        if command == "prompts":
            _write_prompts(_parse_prompts(rest, f"{program} prompts"))
        elif command == "read":
            _read_answers(_parse_read(rest, f"{program} read"))
        else:
            raise InputError(
                f"{command!r} is not a part of {program}{suggest(command, ('prompts', 'read'))}."
            )
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


def _add_common(parser: Parser) -> None:
    home = os.path.expanduser
    parser.add_argument(
        "--texts",
        required=True,
        type=home,
        help="file of texts: plain (one a line), .tsv, .csv, .conll, .jsonl, .json or .parquet",
    )
    parser.add_argument(
        "--types",
        required=True,
        type=home,
        help="file of the types of entities, or of the classes, one a line: NAME<TAB>what it is, "
        "and perhaps <TAB>other names separated by commas, which answers may call it",
    )
    parser.add_argument("--task", choices=KINDS, default="tagging", help="default: tagging")
    parser.add_argument("--output", required=True, type=home, help="file to write")


def _parse_prompts(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(program, "Writes a prompt for each text, as JSON lines.")
    _add_common(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="plain",
        help="of the requests: openai (its batch API, and what is compatible), anthropic (message "
        "batches), or plain (lines with id, prompt and text; default)",
    )
    parser.add_argument("--model", default="", help="name of the model, which the APIs want")
    parser.add_argument("--description", default="", help="what the task is about, in a sentence")
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="json",
        help="how entities are answered: json (default), or as marked text",
    )
    parser.add_argument("--runs", type=int, default=1, help="answers to each text (default: 1)")
    parser.add_argument(
        "--longest",
        type=int,
        default=_LONGEST,
        help="characters of a piece; longer texts are cut between sentences, in tagging alone "
        f"(default: {_LONGEST:,})",
    )
    parser.add_argument(
        "--folder", type=os.path.expanduser, help="task folder from whose train examples are drawn"
    )
    parser.add_argument("--split", choices=("train", "dev"), default="train", help="of --folder")
    parser.add_argument(
        "--examples", type=int, default=4, help="how many are drawn from --folder (default: 4)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    parser.add_argument("--temperature", type=float, help="default: that of the API")
    parser.add_argument("--max-tokens", type=int, help="of an answer")
    options = parser.parse(arguments)
    if not 1 <= options.runs <= MOST_RUNS:
        raise InputError(f"--runs is {options.runs}: it must be from 1 to {MOST_RUNS}.")
    for name in ("longest", "examples", "seed"):
        if getattr(options, name) < (name != "seed"):
            least = int(name != "seed")
            raise InputError(f"--{name} is {getattr(options, name)}: it must be {least} or more.")
    if options.max_tokens is not None and options.max_tokens < 1:
        raise InputError(f"--max-tokens is {options.max_tokens}: it must be 1 or more.")
    if options.temperature is not None and not 0 <= options.temperature <= 2:
        raise InputError(f"--temperature is {options.temperature:g}: it must be from 0 to 2.")
    if options.runs > 1 and options.temperature == 0:
        _log.warning("--temperature=0 gives nearly the same answer in each of --runs.")
    if options.format == "plain":
        for name in ("model", "temperature", "max_tokens"):
            if getattr(options, name) not in ("", None):
                raise InputError(
                    f"--{name.replace('_', '-')} is written into the requests of an API: set "
                    "--format=openai or --format=anthropic."
                )
    elif not options.model:
        raise InputError(f"--model is missing: name the model, which {options.format} requests do.")
    _check_files(options)
    return options


def _parse_read(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(
        program,
        "Reads the answers to prompts and writes them as JSON lines, with annotators run1, run2 "
        "and so on, which teacher.labels reads.",
    )
    _add_common(parser)
    parser.add_argument(
        "--answers",
        required=True,
        help="files of results as the API returns them, or of lines with id and answer: paths and "
        "globs, separated by commas",
    )
    parser.add_argument(
        "--name", default="run", help="of the annotators, before their number (default: run)"
    )
    options = parser.parse(arguments)
    if not options.name.strip():
        raise InputError("--name is empty: name the annotators, such as --name=run.")
    _check_files(options)
    return options


def _check_files(options: argparse.Namespace) -> None:
    check_ending(options.texts, "--texts")
    for name in ("texts", "types"):
        path = getattr(options, name)
        if not os.path.isfile(path):
            what = "is a folder: name a file" if os.path.isdir(path) else "does not exist"
            raise InputError(f"--{name}={path} {what}.")
        _refuse_same(options.output, path)
    output = Path(options.output)
    if output.is_dir():
        raise InputError(f"--output={output} is a folder: name a file.")
    if not output.parent.is_dir():
        raise InputError(
            f"--output={output} is in a folder that does not exist: create {output.parent}."
        )
    if Path(output.name.removesuffix(".gz")).suffix != ".jsonl":
        raise InputError(
            f"--output={output} is written as JSON lines: give it a name that ends in .jsonl."
        )


def _refuse_same(output: str, path: str) -> None:
    if os.path.exists(output) and os.path.samefile(output, path):
        raise InputError(
            f"--output={output} is the file {path}, which would be lost: name another file."
        )


def _write_prompts(options: argparse.Namespace) -> None:
    types = read_types(Path(options.types), options.task)
    texts = read_typed_texts(Path(options.texts), options.task)
    examples = _draw_examples(options, types) if options.folder else {}
    shared = write_instructions(types, options.description, options.style, list(examples.values()))
    sampling = Sampling(options.model, options.temperature, options.max_tokens)
    pieces = requests = characters = size = 0
    with open_output(options.output) as write:
        for text in texts.by_number.values():
            instructions = shared
            if (key := digest_text(text.inputs, options.task)) in examples:
                others = [each for name, each in examples.items() if name != key]
                instructions = write_instructions(types, options.description, options.style, others)
            cut = [(0, len(text.content))]
            if options.task == "tagging":
                cut = cut_pieces(text.content, options.longest)
            pieces += len(cut)
            for identifier, piece in list_identifiers(text, cut, options.runs):
                question = write_question(piece, len(text.inputs))
                row = make_request(
                    options.format, identifier, instructions, question, piece, sampling
                )
                line = f"{json.dumps(row, ensure_ascii=False)}\n".encode()
                write(line)
                requests, size = requests + 1, size + len(line)
                characters += len(instructions) + len(question)
    lines = summarise_prompts(texts, pieces, options.runs, requests, characters, len(examples))
    most, megabytes = MOST_REQUESTS.get(options.format), MOST_MEGABYTES.get(options.format, 0)
    if most and (requests > most or size > megabytes * 1e6):
        lines.append(
            f"One batch of {options.format} takes at most {most:,} requests and {megabytes} MB, "
            f"and these are {requests:,} and {size / 1e6:,.0f} MB: cut the file between lines, as "
            "`split` does."
        )
    write_out("\n".join(lines))


def _draw_examples(options: argparse.Namespace, types: Types) -> dict[str, str]:
    """The examples as they stand in the prompt, by what their texts are found by."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(f"--folder={folder} is not a folder.")
    path = find_file(folder, options.split)
    if path is None:
        raise InputError(
            f"--folder={folder} has no {options.split} file: choose another --split, or leave "
            "--folder out to give no examples."
        )
    task, gold, _ = read_gold(config.Data(folder=str(folder)))
    if task.multilabel or task.kind != options.task:
        raise InputError(
            f"--folder={folder} is a folder of {task.name}, and --task is {options.task}: name "
            "another folder."
        )
    drawn = draw_evenly(gold[options.split], task, options.examples, options.seed)
    try:
        return {
            digest_example(example, options.task): write_example(example, types, options.style)
            for example in drawn
        }
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from None


def _read_answers(options: argparse.Namespace) -> None:
    types = read_types(Path(options.types), options.task)
    paths = find_paths("--answers", options.answers)
    if not paths:
        raise InputError("--answers is empty: name the files of results.")
    for path in paths:
        _refuse_same(options.output, str(path))
    texts: Texts = read_typed_texts(Path(options.texts), options.task)
    gathered = gather_answers(paths, texts, types)
    with open_output(options.output) as write:
        for line in write_answers(texts, gathered, options.name):
            write(f"{line}\n".encode())
    write_out("\n".join(summarise_answers(texts, gathered, options.name, types.kind)))
