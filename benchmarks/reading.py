"""How fast are reading, tokenising and packing a task file beside its bare tokenisation?

    python benchmarks/reading.py --model=MINILM --file=wikiann5/train.tsv --output=reading.json

Ours goes from the file to packed rows of 64: `read_file`, `cut_pieces`, `pack`, with every label
checked; each of the three takes turns alone as well. The peer is the tokenizer alone: one call of
`tokenizers.Tokenizer.encode_batch` on the texts of the same file, which lie in memory already, and
one of `encode_batch_fast`, which leaves out the offsets. For tagging there are two of each: words
joined by spaces, and words as a list (`is_pretokenized`), which is what tagging needs. All take
turns in one run, with the cores that the process has. What is counted is sentences a second; the
table's last column is that of our whole way over that of the line.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
from measure import Action, Counts

from xdistil.data.examples import Example, Task, read_file
from xdistil.data.packing import pack
from xdistil.data.subwords import cut_pieces
from xdistil.data.tag_schemes import is_tag
from xdistil.data.tokenizer import Tokenizer, load_tokenizer

ROW_LENGTH = 64
WHOLE = "xdistil, reading to rows"


def find_task(examples: Sequence[Example]) -> Task:
    """The task of a file's labels."""
    labels = sorted({label for example in examples for label in example.labels or ()})
    return Task("tagging" if all(map(is_tag, labels)) else "classification", tuple(labels))


def list_ours(
    path: Path, examples: Sequence[Example], task: Task, tokenizer: Tokenizer
) -> dict[str, Action]:
    """The whole way and its three parts."""
    counts: Counts = {"sentences": len(examples)}
    pieces = cut_pieces(examples, task, tokenizer, ROW_LENGTH)

    def go_all_the_way() -> Counts:
        pack(cut_pieces(read_file(path, task), task, tokenizer, ROW_LENGTH), ROW_LENGTH, 0)
        return counts

    def read() -> Counts:
        read_file(path, task)
        return counts

    def cut() -> Counts:
        cut_pieces(examples, task, tokenizer, ROW_LENGTH)
        return counts

    def pack_rows() -> Counts:
        pack(pieces, ROW_LENGTH, 0)
        return counts

    return {
        WHOLE: go_all_the_way,
        "xdistil, reading alone": read,
        "xdistil, tokenising alone": cut,
        "xdistil, packing alone": pack_rows,
    }


def list_peers(examples: Sequence[Example], task: Task, tokenizer: Tokenizer) -> dict[str, Action]:
    """The bare tokenizer in every way that it takes the file's texts."""
    if task.kind == "tagging":
        ways: dict[str, tuple[list[Any], bool]] = {
            "joined words": ([" ".join(example.inputs) for example in examples], False),
            "lists of words": ([list(example.inputs) for example in examples], True),
        }
    elif len(examples[0].inputs) == 1:
        ways = {"texts": ([example.inputs[0] for example in examples], False)}
    else:
        ways = {"pairs of texts": ([example.inputs for example in examples], False)}

    def start(encode: Any, texts: list[Any], pretokenized: bool) -> Action:
        def act() -> Counts:
            encode(texts, is_pretokenized=pretokenized)
            return {"sentences": len(texts)}

        return act

    calls = {
        "encode_batch": tokenizer.backend.encode_batch,
        "encode_batch_fast": tokenizer.backend.encode_batch_fast,
    }
    return {
        f"{name}, {way}": start(encode, texts, pretokenized)
        for name, encode in calls.items()
        for way, (texts, pretokenized) in ways.items()
    }


def main() -> None:
    """Measures one file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="an HF folder with its tokenizer")
    parser.add_argument("--file", type=Path, required=True, help="a labelled file of a task folder")
    parser.add_argument("--seconds", type=float, default=30.0, help="to spend, at least")
    measure.add_output(parser)
    flags = parser.parse_args()
    tokenizer = load_tokenizer(str(flags.model))
    examples = read_file(flags.file)
    task = find_task(examples)
    ours = list_ours(flags.file, examples, task, tokenizer)
    peers = list_peers(examples, task, tokenizer)
    turns = measure.take_turns(
        {**ours, **peers, measure.MATRIX_PRODUCT: measure.multiply_in_jax()},
        flags.seconds,
        warm_up=1,
    )
    described = {name: measure.describe(turns[name]) for name in turns}
    rows = []
    for name in (*ours, *peers):
        told = described[name]
        told["whole_way_over_it"] = measure.compare(turns[WHOLE], turns[name], "sentences")
        rows.append(
            (
                name,
                measure.show(told["seconds"], 3),
                measure.show(told["sentences_per_second"]),
                measure.show(told["whole_way_over_it"], 2),
            )
        )
    result = {"sentences": len(examples), "row_length": ROW_LENGTH, "contestants": described}
    measure.write_result(flags.output, flags, result)
    measure.print_table((flags.file.name, "seconds", "sentences/s", "whole way over it"), rows)
    rate = described[measure.MATRIX_PRODUCT]["operations_per_second"]
    print(f"{measure.MATRIX_PRODUCT}: {measure.show(rate, 1, 1e-9)} GFLOP/s")


if __name__ == "__main__":
    main()
