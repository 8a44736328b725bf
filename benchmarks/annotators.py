"""How good are annotators of spans, and their votes combined, against gold?

    python -m benchmarks.annotators --data=annotators_ncbi --output=annotators.json

The folder has `labels.tsv` and, for each split, `SPLIT.annotators.jsonl` with the answers and
`SPLIT.gold.jsonl` with the gold spans, in the formats of docs/annotators.md. Votes are combined on
each split alone, without its gold. Rows named `calibrated` have temperatures that were fitted to
the gold of dev, so their numbers on train and test alone are of texts not seen. A span is right if
its units and its type are. Alpha is Krippendorff's, over the tags of units. NLL is the mean
negative log-likelihood of the gold tags of units with votes.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from xdistil.annotators.agreement import (
    calibrate_votes,
    compare_with_gold,
    measure_alpha,
    measure_likelihood,
)
from xdistil.annotators.answers import AnsweredText, read_answers
from xdistil.annotators.calibration import Calibration
from xdistil.annotators.settle import settle_spans
from xdistil.annotators.votes import collect_votes, find_text_units
from xdistil.data.examples import Example, Task
from xdistil.data.label_names import read_labels
from xdistil.errors import InputError

SPLITS = ("train", "dev", "test")


def label_units(text: AnsweredText) -> Example:
    """A text with gold spans as an example, whose words are its units."""
    units = find_text_units(text, "tagging")
    (answer,) = text.answers.values()
    assert isinstance(answer, tuple)
    tags = ["O"] * len(units)
    for first, after, type_, _ in settle_spans(answer, units)[0]:
        tags[first:after] = [f"B-{type_}"] + [f"I-{type_}"] * (after - first - 1)
    words = tuple(text.inputs[0][start:end] for start, end in units)
    return Example(words, tuple(tags), text.language)


def read_split(folder: Path, split: str, task: Task) -> tuple[list[AnsweredText], list[Example]]:
    """The answers, and the gold."""
    texts = read_answers([folder / f"{split}.annotators.jsonl"], task)
    gold = read_answers([folder / f"{split}.gold.jsonl"], task)
    return texts, [label_units(text) for text in gold]


def measure_split(
    texts: list[AnsweredText],
    gold: list[Example],
    task: Task,
    calibrations: dict[str, Calibration],
) -> dict[str, Any]:
    """Scores of the annotators and of their votes, by name."""
    began = time.perf_counter()
    annotators, combined = compare_with_gold(texts, gold, task, calibrations)
    seconds = time.perf_counter() - began
    votes, settlement = collect_votes(texts, task)
    best = max(annotators, key=lambda name: annotators[name].whole.f1 or 0)
    return {
        "texts": len(texts),
        "alpha": measure_alpha(votes),
        "settled": dict(settlement.reasons),
        "best": best,
        "annotators": {name: each.as_json() for name, each in annotators.items()},
        "votes": {name: each.as_json() for name, each in combined.items()},
        "nll": measure_likelihood(texts, gold, task, calibrations),
        "seconds": seconds,
    }


def main() -> None:
    """The command line."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a folder, see above")
    flags = parser.parse_args()
    labels = read_labels(flags.data / "labels.tsv")
    if labels is None:
        raise InputError(f"{flags.data} has no labels.tsv.")
    task = Task("tagging", labels)
    files = {
        split: read_split(flags.data, split, task)
        for split in SPLITS
        if (flags.data / f"{split}.annotators.jsonl").exists()
    }
    calibrations = calibrate_votes(*files["dev"], task) if "dev" in files else {}
    splits = {split: measure_split(*each, task, calibrations) for split, each in files.items()}
    for split, found in splits.items():
        alpha = "" if found["alpha"] is None else f", alpha {found['alpha']:.3f}"
        print(f"\n{split}: {found['texts']:,} texts{alpha}, spans settled: {found['settled']}")
        rows = [
            (
                name + (" (best)" if name == found["best"] else ""),
                *_show(score),
                f"{found['nll'][name]:.4f}" if name in found["nll"] else "",
            )
            for name, score in {**found["annotators"], **found["votes"]}.items()
        ]
        harness.print_table(("", "F1", "precision", "recall", "spans", "NLL"), rows)
    for name, each in calibrations.items():
        told = ", ".join(
            f"{label} {value:.2f}" for label, value in each.as_json()["temperatures"].items()
        )
        print(f"temperatures of {name}: {told}")
    harness.write_result(flags.output, flags, splits)


def _show(score: dict[str, Any]) -> tuple[str, ...]:
    numbers = (score[name] for name in ("f1", "precision", "recall"))
    return *("" if number is None else f"{number:.4f}" for number in numbers), str(score["found"])


if __name__ == "__main__":
    main()
