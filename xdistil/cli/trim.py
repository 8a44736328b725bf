"""`xdistil trim`: reduces the vocabulary of a model folder to the subwords of given texts.

Exit codes: 0 success, 2 a mistake in the arguments, files or texts.
"""

import argparse
import glob
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xdistil.cli.parser import Parser
from xdistil.config import split_names
from xdistil.data.examples import UNKNOWN_LANGUAGE, Example, Task, read_file
from xdistil.data.layouts import guess_kind
from xdistil.data.lines import read_lines
from xdistil.errors import InputError, show
from xdistil.runtime.json_io import read_json
from xdistil.runtime.process import silence_transformers, write_out


def main(arguments: list[str], program: str = "xdistil trim") -> int:
    """Runs the command line; returns the exit code. `program` is its name in messages."""
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    silence_transformers()
    try:
        write_out(_trim(_parse(arguments, program)))
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(arguments: list[str], program: str) -> argparse.Namespace:
    parser = Parser(
        program, "Writes a copy of a model folder with a smaller vocabulary, chosen by given texts."
    )
    parser.add_argument("--model", help="Hugging Face folder or hub id")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a hub id")
    parser.add_argument(
        "--texts",
        help="files or globs, separated by commas: .txt (one text per line), .tsv, .conll or "
        ".jsonl, each also with .gz",
    )
    parser.add_argument(
        "--languages", default="", help="use only texts in these languages (default: all)"
    )
    parser.add_argument(
        "--output", type=os.path.expanduser, help="folder to write, which must not exist"
    )
    parser.add_argument(
        "--least-count",
        type=int,
        default=1,
        help="drop subwords that occur less often (default: 1)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=0,
        help="keep at most this number of subwords, the most frequent (default: 0, all)",
    )
    options = parser.parse(arguments)
    for name, example in (("model", "a folder"), ("texts", "files"), ("output", "a new folder")):
        if not getattr(options, name):
            raise InputError(f"--{name} is missing: name {example}.")
    if options.least_count < 1:
        raise InputError(f"--least-count is {options.least_count}; it must be 1 or more.")
    if options.limit < 0:
        raise InputError(f"--limit is {options.limit}; it must be 1 or more, or 0 for all.")
    output = Path(options.output)
    if os.path.lexists(output):
        raise InputError(f"--output={output} exists: name a new folder.")
    if not output.absolute().parent.is_dir():
        raise InputError(
            f"--output={output} is in a folder that does not exist: create {output.parent}."
        )
    return options


def _find_files(patterns: str) -> list[Path]:
    files: list[Path] = []
    for pattern in map(os.path.expanduser, split_names(patterns)):
        exists = os.path.exists(pattern)
        found = [pattern] if exists else sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise InputError(f"--texts: no file matches {pattern!r}.")
        files += map(Path, found)
    if not files:
        raise InputError(f"--texts is {patterns!r}: name files, separated by commas.")
    return list(dict.fromkeys(files))


def _trim(options: argparse.Namespace) -> str:
    # Writes the folder; returns a table of its sizes before and after.
    texts = _read_texts(_find_files(options.texts), split_names(options.languages))
    # Imported late: it takes a second, and mistakes are reported before.
    from xdistil.data.tokenizer import load_tokenizer
    from xdistil.data.trim_tokenizer import choose_subwords
    from xdistil.models.hf.hub import find_folder, find_student
    from xdistil.models.hf.trim_folder import measure_folder, open_whole, save_trimmed

    name, output = find_student(options.model), Path(options.output)
    folder = find_folder(name, options.revision)
    whole = open_whole(folder, load_tokenizer(str(folder)))
    counts = _count_subwords(folder, texts, whole.tokenizer.vocabulary_size)
    if not counts.any():
        raise InputError(f"--texts={options.texts} has no subword that the tokenizer knows.")
    kept = choose_subwords(
        whole.tokenizer, counts, options.least_count, options.limit, whole.special, "--limit"
    )
    save_trimmed(whole, kept, output)
    before, after = vars(measure_folder(folder)), vars(measure_folder(output))
    lines = [f"{'':16}{'before':>15}{'after':>15}"]
    for name, number in before.items():
        lines.append(f"{name.replace('_', ' '):16}{number:>15,}{after[name]:>15,}")
    lost = counts.sum() - counts[kept].sum()
    lines.append(f"{lost:,} of {counts.sum():,} subwords in the texts are now split further")
    written = {path.name for path in output.iterdir()}
    left = sorted(path.name for path in folder.iterdir() if path.name not in written)
    if left:
        lines.append(f"not copied: {', '.join(left)}")
    return "\n".join(lines)


def _read_texts(files: Sequence[Path], languages: Sequence[str]) -> dict[str, list[Example]]:
    # By the kind of task, without labels: sentences of words, and single texts.
    texts: dict[str, list[Example]] = {"tagging": [], "classification": []}
    known: set[str] = set()
    for path in files:
        if Path(path.name.removesuffix(".gz")).suffix == ".txt":
            kind, columns = "classification", [line.split("\t") for line in read_lines(path)]
            examples = [Example(tuple(texts), None, UNKNOWN_LANGUAGE) for texts in columns]
        else:
            kind, examples = (
                guess_kind(path, read_lines(path)),
                read_file(path, scheme="auto", repair=True),
            )
        known |= {example.language for example in examples}
        if languages:
            examples = [example for example in examples if example.language in languages]
        if kind == "tagging":
            texts["tagging"] += [replace(example, labels=None) for example in examples]
        else:
            found = ((each, text) for each in examples for text in each.inputs)
            texts["classification"] += [
                Example((text,), None, each.language) for each, text in found
            ]
    for language in languages:
        if language not in known:
            raise InputError(
                f"--languages names {show(language)}, but the texts are in "
                f"{', '.join(sorted(known))}."
            )
    return texts


def _count_subwords(folder: Path, texts: dict[str, list[Example]], size: int) -> np.ndarray:
    # How often each of `size` subwords occurs; 0 for special ones: i64[size].
    from xdistil.data.tokenizer import load_tokenizer
    from xdistil.data.trim_tokenizer import count_ids
    from xdistil.deploy.preprocessing import read_segmentation

    segmentation = read_segmentation(read_json(folder / "config.json"), str(folder))
    counts = np.zeros(size, np.int64)
    for kind, examples in texts.items():
        if examples:
            tokenizer = load_tokenizer(str(folder), words=kind == "tagging")
            counts += count_ids(examples, Task(kind, ()), tokenizer, segmentation)
            counts[tokenizer.wrapper.all_special_ids] = 0
    return counts
