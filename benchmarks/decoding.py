"""What does it gain to predict the most probable legal tags, and how long does that take?

    python -m benchmarks.decoding --model=runs/recipe/student --data=manylang

A tagger predicts the test sentences with each decoding: `argmax`, where the most probable tag of
each word is repaired to be legal, and `viterbi`, the most probable legal tags of a sentence. The
texts are those of test.tsv in the order of the file. The time of decoding is that of all sentences
together, from the logits of their words.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from xdistil.data.decoding import DECODINGS
from xdistil.data.examples import read_file
from xdistil.data.segmentation import UNITS
from xdistil.data.word_alignment import label_words
from xdistil.deploy.predictor import load
from xdistil.evaluation.comparison import compare_systems
from xdistil.evaluation.metrics import count_matches, score


def main() -> None:
    """Reads the command line, predicts with each decoding, and writes the result."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a tagger")
    parser.add_argument("--data", type=Path, required=True, help="task folder")
    parser.add_argument("--every", type=int, default=1, help="sentences of test: 1 is all of them")
    flags = parser.parse_args()
    predictor = load(str(flags.model)).predictor
    task = predictor.task
    gold = read_file(flags.data / "test.tsv", task)[:: flags.every]
    begin = time.perf_counter()
    predictions = predictor.predict([example.inputs for example in gold])
    total = time.perf_counter() - begin
    scores = np.concatenate([each.scores for each in predictions])
    known = np.asarray(scores.any(axis=1))
    logits = np.log(np.maximum(scores, 1e-30))
    joins = predictor.segmentation == UNITS
    cases, rows, counts = [], [], []
    for decoding in DECODINGS:
        begin = time.perf_counter()
        labels = label_words(logits, known, gold, task, decoding, joins)
        seconds = time.perf_counter() - begin
        counts.append(count_matches(task, gold, labels)[None])
        found = score(task, gold, labels)
        cases.append({"decoding": decoding, "seconds": seconds, "scores": found})
        worst = f"{100 * found['worst_10']:.2f}" if "worst_10" in found else ""
        rows.append((decoding, f"{100 * (found['macro_f1'] or 0.0):.2f}", worst, f"{seconds:.2f}"))
    gain = compare_systems([example.language for example in gold], counts[0], counts[1])[0]
    low, high = 100 * gain.low, 100 * gain.high
    harness.print_table(("decoding", "macro-F1", "worst 10", "seconds"), rows)
    print(f"gain: {100 * (gain.second - gain.first):.2f} points ({low:.2f} to {high:.2f})")
    print(f"all of prediction: {total:.1f} seconds")
    result = {"sentences": len(gold), "seconds": total, "gain_in_points": [low, high], "cases": cases}
    harness.write_result(flags.output, flags, result)


if __name__ == "__main__":
    main()
