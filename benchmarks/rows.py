"""Which row length is fastest for short texts and for long ones?

    python benchmarks/rows.py --model=MINILM --short=wikiann5 --long=nli4 --output=rows.json

Rows of 64, 128, 256 and 512 pieces, as many a batch as make 4,096 positions; all four take turns
in one run. Two workloads: the forward pass of a teacher of MiniLM's shape as the cache asks for it,
and a training step of the BiLSTM student 50/290 on labels, both with random weights and the pieces
of the model's tokenizer. A text longer than a row is cut to it, as a run does it, so that long
texts have fewer pieces in short rows: what a sentence keeps is in the table.

Tokens are real pieces; the share of padding is that of the positions of all rows.
"""

import argparse
from pathlib import Path
from typing import Any

import measure
import numpy as np
import steps

from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.runtime.process import ask_for_huge_pages
from xdistil.student.design import design_student

ROW_LENGTHS = (64, 128, 256, 512)


def start_workload(name: str, setting: steps.Setting) -> measure.Action:
    """The forward pass of the teacher, or the training step of the student."""
    texts = setting.texts
    teacher = steps.design_teacher("MiniLM", texts, setting.dtype)
    if name == "forward":
        return steps.start_forward(setting, teacher)
    student = design_student(
        steps.STUDENTS["BiLSTM 50/290"],
        teacher.config,
        texts.tokenizer,
        texts.task,
        setting.dtype,
    )
    return steps.start_training(setting, student, steps.OTHERS["labels"])


def measure_texts(folder: Path, tokenizer: Tokenizer, flags: argparse.Namespace) -> dict[str, Any]:
    """Both workloads on the texts of one task folder, in rows of every length."""
    corpus = read_corpus(Data(folder=str(folder), limit=flags.limit), 0)
    packed = {
        length: steps.pack_texts(corpus.train, corpus.task, tokenizer, length)
        for length in ROW_LENGTHS
    }
    result: dict[str, Any] = {}
    for workload in ("forward", "training"):
        actions = {}
        for length, texts in packed.items():
            rows = max(1, flags.positions // length)
            setting = steps.Setting(texts, rows, "float32", steps=1)
            actions[f"rows of {length}"] = start_workload(workload, setting)
        product = measure.multiply_in_jax()
        turns = measure.take_turns({**actions, measure.MATRIX_PRODUCT: product}, flags.seconds)
        result[workload] = {name: measure.describe(turns[name]) for name in turns}
        for name, length in zip(actions, ROW_LENGTHS, strict=True):
            texts, told = packed[length], result[workload][name]
            told["padding"] = float(np.mean(texts.rows.piece < 0))
            told["pieces_a_sentence"] = len(texts.pieces.tokens) / len(corpus.train)
            told["over_shortest_rows"] = measure.compare(
                turns[name], turns[next(iter(actions))], "tokens"
            )
    return result


def print_workload(title: str, told: dict[str, Any]) -> None:
    """A line a row length, then the machine's rate."""
    rows = [
        (
            name,
            f"{row['padding']:.1%}",
            f"{row['pieces_a_sentence']:.1f}",
            measure.show(row["tokens_per_second"]),
            measure.show(row["over_shortest_rows"], 2),
        )
        for name, row in told.items()
        if name != measure.MATRIX_PRODUCT
    ]
    header = (title, "padding", "pieces a sentence", "real tokens/s", "over the shortest rows")
    measure.print_table(header, rows)
    rate = told[measure.MATRIX_PRODUCT]["operations_per_second"]
    print(f"{measure.MATRIX_PRODUCT}: {measure.show(rate, 1, 1e-9)} GFLOP/s")


def main() -> None:
    """Measures the short texts, then the long ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="an HF folder with its tokenizer")
    parser.add_argument("--short", type=Path, required=True, help="a task folder of short texts")
    parser.add_argument("--long", type=Path, required=True, help="a task folder of long texts")
    parser.add_argument("--limit", type=int, default=4000, help="sentences of each, at most")
    parser.add_argument("--positions", type=int, default=4096, help="rows times length of a batch")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each workload, at least")
    measure.add_output(parser)
    flags = parser.parse_args()
    tokenizer = load_tokenizer(str(flags.model))
    result = {
        folder.absolute().name: measure_texts(folder, tokenizer, flags)
        for folder in (flags.short, flags.long)
    }
    measure.write_result(flags.output, flags, {"texts": result})
    for name, workloads in result.items():
        for workload, told in workloads.items():
            print_workload(f"{workload}, {name}", told)


if __name__ == "__main__":
    ask_for_huge_pages()
    main()
