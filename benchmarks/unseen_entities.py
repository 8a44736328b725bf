"""Does a student find entities whose words it has never read?

    python -m benchmarks.unseen_entities --run=runs/multilingual --data=manylang

predictions/ of a finished run is read, and the words of the training and transfer texts of the task
folder that it learnt from. An entity is seen if each of its words is among them, wherever it stands
there; texts that a run makes of others count as those. Precision, recall and F1 are over all
languages together, for the entities of one kind alone: those of the labels, and those of a model.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness
from xdistil.config import Data
from xdistil.data.corpus import read_corpus
from xdistil.data.examples import Example, read_file
from xdistil.data.spans import find_spans
from xdistil.errors import InputError

MODELS = ("teacher", "student")
KINDS = ("seen", "unseen")

Span = tuple[int, int, str]


def main() -> None:
    """Reads the command line and the files, prints a table and writes the scores."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="workdir of a finished run")
    parser.add_argument("--data", required=True, help="its task folder")
    flags = parser.parse_args()
    folder = flags.run / "predictions"
    if not (folder / "gold.test.tsv").exists():
        raise InputError(f"{folder} has no gold.test.tsv: name the workdir of a tagging run.")
    known = read_words(flags.data)
    gold = read_file(folder / "gold.test.tsv")
    scores = {}
    for model in MODELS:
        if (path := folder / f"{model}.test.tsv").exists():
            scores[model] = score(gold, read_file(path), known)
    counts = {kind: next(iter(scores.values()))[kind]["entities"] for kind in KINDS}
    header = ("entities", "in the labels", *(f"F1 of the {model}" for model in scores))
    rows = [
        (
            kind,
            f"{counts[kind]:,.0f}",
            *(f"{100 * found[kind]['f1']:.2f}" for found in scores.values()),
        )
        for kind in KINDS
    ]
    harness.print_table(header, rows)
    harness.write_result(flags.output, flags, {"scores": scores})


def read_words(folder: str) -> set[str]:
    """The words of the training and transfer texts, as a run reads them."""
    corpus = read_corpus(Data(folder=folder), seed=0)
    return {
        word for texts in (corpus.train, corpus.transfer) for each in texts for word in each.inputs
    }


def score(
    gold: Sequence[Example], predicted: Sequence[Example], known: set[str]
) -> dict[str, dict[str, float]]:
    """Entities of the labels, precision, recall and F1 of the seen and of the unseen ones."""
    labelled = {kind: set[tuple[int, Span]]() for kind in KINDS}
    found = {kind: set[tuple[int, Span]]() for kind in KINDS}
    for index, (example, guess) in enumerate(zip(gold, predicted, strict=True)):
        for spans, tags in ((labelled, example.labels), (found, guess.labels)):
            for span in find_spans(tags or ()):
                words = example.inputs[span[0] : span[1]]
                spans[KINDS[not known.issuperset(words)]].add((index, span))
    return {kind: _measure(labelled[kind], found[kind]) for kind in KINDS}


def _measure(labelled: set[tuple[int, Span]], found: set[tuple[int, Span]]) -> dict[str, float]:
    right = len(labelled & found)
    return {
        "entities": len(labelled),
        "precision": right / max(len(found), 1),
        "recall": right / max(len(labelled), 1),
        "f1": 2 * right / max(len(labelled) + len(found), 1),
    }


if __name__ == "__main__":
    main()
