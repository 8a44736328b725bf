"""What does it gain to predict the most probable legal tags, and how long does that take?

    python -m benchmarks.decoding --model=runs/recipe/student --data=manylang

A tagger predicts the test sentences with each decoding: `argmax`, where the most probable tag of
each word is repaired to be legal, and `viterbi`, the most probable legal tags of a sentence. The
texts are those of test.tsv in the order of the file. The time is that of all of prediction, from
words to tags and their probabilities.
"""

import time
from dataclasses import replace
from pathlib import Path

from benchmarks import harness
from xdistil.data.decoding import DECODINGS
from xdistil.data.examples import read_file
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
    inputs = [example.inputs for example in gold]
    predictor.predict(inputs[:64])  # compiles
    cases, rows, counts = [], [], []
    for decoding in DECODINGS:
        begin = time.perf_counter()
        predicted = replace(predictor, decoding=decoding).predict(inputs)
        seconds = time.perf_counter() - begin
        labels = [each.labels for each in predicted]
        counts.append(count_matches(task, gold, labels)[None])
        found = score(task, gold, labels)
        cases.append({"decoding": decoding, "seconds": seconds, "scores": found})
        worst = f"{100 * found['worst_10']:.2f}" if "worst_10" in found else ""
        rows.append((decoding, f"{100 * (found['macro_f1'] or 0.0):.2f}", worst, f"{seconds:.1f}"))
    gain = compare_systems([example.language for example in gold], counts[0], counts[1])[0]
    low, high = 100 * gain.low, 100 * gain.high
    harness.print_table(("decoding", "macro-F1", "worst 10", "seconds"), rows)
    print(f"gain: {100 * (gain.second - gain.first):.2f} points ({low:.2f} to {high:.2f})")
    result = {"sentences": len(gold), "gain_in_points": [low, high], "cases": cases}
    harness.write_result(flags.output, flags, result)


if __name__ == "__main__":
    main()
