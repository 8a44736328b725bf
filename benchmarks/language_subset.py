"""Writes a task folder with some of the languages of another.

    python -m benchmarks.language_subset --data=manylang --languages=bn,el,te --output=runs/three

The rows of train.tsv, dev.tsv and test.tsv say their language; the texts of transfer.txt do not. A
naive Bayes model on the character trigrams of all of train.tsv says which language each is in. It
prints how many sentences there are, and how often the model is right on dev.tsv.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks import harness
from xdistil.errors import InputError

SMOOTHING = 0.1  # added to the count of each trigram
SPLITS = ("train.tsv", "dev.tsv", "test.tsv")


class Trigrams(NamedTuple):
    """The logarithms of the probabilities of a language's character trigrams."""

    seen: dict[str, float]
    unseen: float  # of each other one


def main() -> None:
    """Reads the command line and the folder, writes the other one and prints its sizes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a task folder for tagging")
    parser.add_argument("--languages", required=True, help="separated by commas")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    flags = parser.parse_args()
    languages = flags.languages.split(",")
    rows = {name: _read_lines(flags.data / name) for name in SPLITS}
    model = count_trigrams(rows["train.tsv"])
    if missing := [each for each in languages if each not in model]:
        raise InputError(f"--languages has {missing[0]}, which {flags.data}/train.tsv does not.")
    right = sum(guess(model, _text(row)) == _language(row) for row in rows["dev.tsv"])
    print(f"the language of {100 * right / len(rows['dev.tsv']):.1f}% of dev.tsv is recognised")
    texts = _read_lines(flags.data / "transfer.txt")
    kept = {
        name: [row for row in found if _language(row) in languages] for name, found in rows.items()
    }
    kept["transfer.txt"] = [text for text in texts if guess(model, text) in languages]
    kept["labels.tsv"] = _read_lines(flags.data / "labels.tsv")
    flags.output.mkdir(parents=True, exist_ok=True)
    for name, lines in kept.items():
        (flags.output / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    harness.print_table(
        ("file", "sentences"), [(name, str(len(kept[name]))) for name in (*SPLITS, "transfer.txt")]
    )


def count_trigrams(rows: Iterable[str]) -> dict[str, Trigrams]:
    """The trigrams of each language, from labelled sentences."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[_language(row)].update(_trigrams(_text(row)))
    different = len(set().union(*counts.values()))
    model = {}
    for language, found in counts.items():
        whole = found.total() + SMOOTHING * different
        seen = {each: math.log((count + SMOOTHING) / whole) for each, count in found.items()}
        model[language] = Trigrams(seen, math.log(SMOOTHING / whole))
    return model


def guess(model: dict[str, Trigrams], text: str) -> str:
    """The most probable language of a text, where all have the same prior (naive Bayes)."""

    def score(language: str) -> float:
        seen, unseen = model[language]
        return sum(seen.get(each, unseen) for each in _trigrams(text))

    return max(model, key=score)


def _trigrams(text: str) -> list[str]:
    padded = f" {text} "
    return [padded[start : start + 3] for start in range(len(padded) - 2)]


def _text(row: str) -> str:
    return row.split("\t")[0]


def _language(row: str) -> str:
    return row.split("\t")[1].split(":")[0]


def _read_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    main()
