"""How fast are reading, tokenising and packing a task file beside its bare tokenisation?

    python -m benchmarks.reading --model=MINILM --file=wikiann5/train.tsv --output=reading.json
    python -m benchmarks.reading --model=MINILM --file=wikiann5/train.tsv \\
        --grow=100000,1000000 --output=growth.json

Ours goes from the file to packed rows of 64 subwords, with every label checked and words cut into
units; each of the three steps is timed alone as well. The peer is the tokenizer alone: one call of
`tokenizers.Tokenizer.encode_batch` on the texts of the same file, which are in memory already, and
one of `encode_batch_fast`, which leaves out the offsets. For tagging there are two of each: words
joined by spaces, and words as a list (`is_pretokenized`), which is what tagging needs. All are
timed in the same rounds, with the cores that the process has. The last column of the table is our
rate for all three steps over that of the line.

With --grow, `train.py --config=configs/ner.py:large --dry-run` is run in a fresh process for each
number of transfer texts, on the task folder of the file. Their lengths and words are drawn from its
transfer.txt, and one word in 30 is glued from two, so that new words keep coming as in real text.
Measured are seconds, seconds of the CPU, peak RssAnon and the disk that its packed texts take.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, programs, timing
from benchmarks.timing import MATRIX_PRODUCT, Action, Counts
from xdistil.data.examples import Example, Task, read_file
from xdistil.data.packing import pack
from xdistil.data.segmentation import SPACES, UNITS
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tag_schemes import is_tag
from xdistil.data.tokenizer import Tokenizer, load_tokenizer

ROW_LENGTH = 64
OURS = "xdistil, file to rows"


def find_task(examples: Sequence[Example]) -> Task:
    """The task of a file's labels."""
    labels = sorted({label for example in examples for label in example.labels or ()})
    return Task("tagging" if all(map(is_tag, labels)) else "classification", tuple(labels))


def list_ours(
    path: Path, examples: Sequence[Example], task: Task, tokenizer: Tokenizer
) -> dict[str, Callable[[], object]]:
    """All three steps, and each alone."""
    cutting = Cutting(ROW_LENGTH, UNITS if task.kind == "tagging" else SPACES)
    cut = partial(tokenize, task=task, tokenizer=tokenizer, cutting=cutting)
    subwords = cut(examples)
    return {
        OURS: lambda: pack(cut(read_file(path, task)), ROW_LENGTH, 0),
        "xdistil, reading alone": lambda: read_file(path, task),
        "xdistil, tokenising alone": lambda: cut(examples),
        "xdistil, packing alone": lambda: pack(subwords, ROW_LENGTH, 0),
    }


def list_peers(
    examples: Sequence[Example], task: Task, tokenizer: Tokenizer
) -> dict[str, Callable[[], object]]:
    """The bare tokenizer in every way that it takes the file's texts."""
    texts: dict[str, list[Any]]
    if task.kind == "tagging":
        texts = {
            "joined words": [" ".join(example.inputs) for example in examples],
            "lists of words": [list(example.inputs) for example in examples],
        }
    elif len(examples[0].inputs) == 1:
        texts = {"texts": [example.inputs[0] for example in examples]}
    else:
        texts = {"pairs of texts": [example.inputs for example in examples]}
    calls: dict[str, Callable[[], object]] = {}
    for way, given in texts.items():
        for name in ("encode_batch", "encode_batch_fast"):
            encode, split = getattr(tokenizer.backend, name), way == "lists of words"
            calls[f"{name}, {way}"] = partial(encode, given, is_pretokenized=split)
    return calls


def count_sentences(call: Callable[[], object], sentences: int) -> Action:
    """A call as an action that counts the sentences of the file."""

    def act() -> Counts:
        call()
        return {"sentences": sentences}

    return act


def write_texts(source: Path, target: Path, count: int) -> None:
    """A task folder with as many transfer texts, drawn from those of another."""
    target.mkdir()
    for name in ("train.tsv", "dev.tsv", "test.tsv", "labels.tsv"):
        shutil.copyfile(source / name, target / name)
    lines = (source / "transfer.txt").read_text("utf-8").removesuffix("\n").split("\n")
    sentences = [line.split(" ") for line in lines]
    words = np.array([word for sentence in sentences for word in sentence], object)
    lengths = np.array(list(map(len, sentences)))
    generator = np.random.default_rng(0)
    with (target / "transfer.txt").open("w", encoding="utf-8", newline="\n") as file:
        for first in range(0, count, 10_000):
            ends = np.cumsum(generator.choice(lengths, min(10_000, count - first))).tolist()
            drawn = words[generator.integers(len(words), size=ends[-1])].tolist()
            for i in np.flatnonzero(generator.random(ends[-1]) < 1 / 30).tolist():
                drawn[i] += drawn[i - 1]
            for begin, end in zip([0, *ends], ends, strict=False):
                file.write(" ".join(drawn[begin:end]) + "\n")


def grow(flags: argparse.Namespace) -> dict[str, Any]:
    """A dry run with more and more transfer texts."""
    runs = []
    for count in map(int, flags.grow.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            write_texts(flags.file.parent, Path(folder) / "data", count)
            command = [
                *(sys.executable, "train.py", "--config=configs/ner.py:large", "--dry-run"),
                f"--config.data.folder={folder}/data",
                f"--config.teacher.model={flags.model.absolute()}",
                f"--workdir={folder}/workdir",
            ]
            cost = programs.run_watched(command, Path(folder) / "output.log")
        runs.append({"transfer_sentences": count, **asdict(cost)})
        print(f"{count:,}: {cost.seconds:.0f} s", flush=True)
    rows = [
        (
            f"{run['transfer_sentences']:,}",
            *(f"{run[name]:,.0f}" for name in ("seconds", "cpu_seconds")),
            *(f"{run[name] / 2**20:,.0f}" for name in ("peak_rss_anon", "peak_rss", "peak_disk")),
        )
        for run in runs
    ]
    header = ("transfer", "seconds", "CPU seconds", "RssAnon, MiB", "RSS, MiB", "disk, MiB")
    harness.print_table(header, rows)
    return {"runs": runs}


def main() -> None:
    """Measures one file, or how a dry run grows."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an HF folder with its tokenizer")
    parser.add_argument("--file", type=Path, required=True, help="a labelled file of a task folder")
    parser.add_argument("--seconds", type=float, default=30.0, help="to spend, at least")
    parser.add_argument("--grow", default="", help="numbers of transfer texts, with commas")
    flags = parser.parse_args()
    if flags.grow:
        harness.write_result(flags.output, flags, grow(flags))
        return
    tokenizer = load_tokenizer(str(flags.model))
    examples = read_file(flags.file)
    task = find_task(examples)
    calls = list_ours(flags.file, examples, task, tokenizer) | list_peers(examples, task, tokenizer)
    actions = {name: count_sentences(call, len(examples)) for name, call in calls.items()}
    actions[MATRIX_PRODUCT] = timing.multiply_in_jax()
    turns = timing.time_rounds(actions, flags.seconds, warm_up=1)
    described = timing.describe_comparison(turns, OURS, "sentences")
    result = {"sentences": len(examples), "row_length": ROW_LENGTH, "candidates": described}
    harness.write_result(flags.output, flags, result)
    timing.print_comparison(flags.file.name, described, OURS, "sentences")


if __name__ == "__main__":
    main()
