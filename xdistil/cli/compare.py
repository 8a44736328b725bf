"""`xdistil compare FIRST SECOND`: is one system better than another, and in which languages?

Exit codes: 0 success, 2 a mistake in the arguments or files.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from xdistil.cli.parser import Parser
from xdistil.config import expand_paths, split_paths
from xdistil.data.examples import Task
from xdistil.errors import InputError
from xdistil.evaluation.comparison import LEVEL, Difference, compare_systems
from xdistil.evaluation.formatting import align, format_score
from xdistil.evaluation.prediction_files import count_file, read_gold
from xdistil.runtime.process import write_out

# Of a workdir:
PREDICTIONS = Path("predictions") / "student.test.tsv"
GOLD = Path("predictions") / "gold.test.tsv"


def main(arguments: list[str], program: str = "xdistil compare") -> int:
    """Runs the command line; returns the exit code. `program` names it in messages."""
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    parser = Parser(
        program,
        "Compares the predictions of two systems on the same labelled texts: scores by language, "
        "intervals of their differences, and which differences are significant.",
    )
    parser.add_argument(
        "first",
        nargs="?",
        type=expand_paths,
        help="a file of predictions in any format of a task file, or the workdir of a run, whose "
        f"{PREDICTIONS} is read; several separated by commas are seeds of one system",
    )
    parser.add_argument("second", nargs="?", type=expand_paths, help="likewise, as many")
    parser.add_argument(
        "--gold",
        type=os.path.expanduser,
        help=f"file with the gold labels of these texts (default: {GOLD} of the first workdir)",
    )
    parser.add_argument(
        "--output", type=os.path.expanduser, help="JSON file to write the comparison to"
    )
    try:
        options = parser.parse(arguments)
        if not options.second:
            raise InputError("Name two systems: files of predictions, or workdirs.")
        paths = [_find_predictions(text) for text in (options.first, options.second)]
        if len(paths[0]) != len(paths[1]):
            raise InputError(
                f"{options.first} are {len(paths[0])} and {options.second} {len(paths[1])} "
                "predictions: name as many seeds of both systems."
            )
        gold_path = (
            Path(options.gold) if options.gold else _find_gold((options.first, options.second))
        )
        gold = read_gold(gold_path)
        first, second = (np.stack([count_file(path, gold) for path in each]) for each in paths)
        languages = [example.language for example in gold.examples]
        try:
            rows = compare_systems(languages, first, second)
        except ValueError as error:
            raise InputError(f"{gold_path}: {error}, so nothing can be compared.") from None
        if options.output:
            _refuse_input(options.output, [gold_path, *paths[0], *paths[1]])
            _write(Path(options.output), paths, gold_path, rows)
        write_out("\n".join(_render(gold.task, rows, len(paths[0]))))
    except InputError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


def _refuse_input(output: str, read: Sequence[Path]) -> None:
    for path in read:
        if os.path.exists(output) and os.path.samefile(output, path):
            raise InputError(
                f"--output={output} is the file {path}, which would be lost: name another file."
            )


def _find_predictions(text: str) -> list[Path]:
    """The files of predictions of one system, a file for each seed."""
    found = []
    for name in split_paths(text):
        path = Path(name)
        if path.is_dir():
            path = path / PREDICTIONS
            if not path.exists():
                raise InputError(
                    f"{name} has no {PREDICTIONS}: finish its run, or name a file of predictions."
                )
        elif not path.exists():
            raise InputError(f"{name} does not exist.")
        found.append(path)
    if not found:
        raise InputError(f"{text!r} names no predictions.")
    return found


def _find_gold(systems: Sequence[str]) -> Path:
    """The gold labels in the first workdir of the systems."""
    folders = [Path(name) for text in systems for name in split_paths(text) if Path(name).is_dir()]
    if not folders:
        raise InputError(
            "Files of predictions have no gold labels beside them: name a file with gold labels, "
            "--gold=FILE."
        )
    path = folders[0] / GOLD
    if not path.exists():
        raise InputError(f"There is no {path}: name a file with gold labels, --gold=FILE.")
    return path


def _render(task: Task, rows: Sequence[Difference], seeds: int) -> list[str]:
    name = {"tagging": "F1", "multilabel": "micro-F1"}.get(task.name, "accuracy")
    table = [("", "texts", "first", "second", "difference", f"{LEVEL:.0%} interval", "p", "second")]
    for row in rows:
        table.append(
            (
                row.language or "mean of languages",
                f"{row.texts:,}",
                format_score(row.first),
                format_score(row.second),
                f"{100 * (row.second - row.first):+.2f}",
                f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
                f"{row.p:.4f}",
                row.verdict,
            )
        )
    counted = {
        verdict: sum(row.verdict == verdict for row in rows[1:])
        for verdict in ("better", "worse", "undecided")
    }
    told = ", ".join(f"{verdict} in {count}" for verdict, count in counted.items())
    of = f"{name}, mean of {seeds} seeds. " if seeds > 1 else f"{name}. "
    return [
        *align(table, (0, 7)),
        "",
        f"{of}The second system is {told} of {len(rows) - 1} languages (Holm's correction).",
    ]


def _write(
    path: Path, systems: Sequence[Sequence[Path]], gold: Path, rows: Sequence[Difference]
) -> None:
    first, second = (list(map(str, files)) for files in systems)
    content = {
        "format": 1,
        "first": first,
        "second": second,
        "gold": str(gold),
        "differences": [asdict(row) for row in rows],
    }
    try:
        path.write_text(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--output={path} cannot be written ({error.strerror}).") from error
