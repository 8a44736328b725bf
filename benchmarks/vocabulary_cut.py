"""How much longer do the texts of each language become when a vocabulary is cut?

    python -m benchmarks.vocabulary_cut --model=XLMR --data=manylang --output=vocabulary-cut.json
    python -m benchmarks.vocabulary_cut --model=XLMR --data=manylang --transfer=news

The vocabulary of the model's tokenizer is cut to several sizes as `student.vocabulary_size` does
it, by both values of `student.vocabulary_cut`. Train and transfer texts are counted; `--transfer`
is a folder with more of them, a file for each language such as de.txt. The texts of test are
tokenised with what is left. For each language: the rise of the number of subwords against the whole
vocabulary, and the share of words that hold an unknown subword.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import harness
from xdistil.config import Data, Student
from xdistil.data.corpus import Corpus, read_corpus
from xdistil.data.segmentation import UNITS
from xdistil.data.subword_counts import LanguageCount, count_subwords
from xdistil.data.subwords import Cutting, tokenize
from xdistil.data.tokenizer import Tokenizer, load_tokenizer
from xdistil.data.trim_tokenizer import trim_tokenizer
from xdistil.student.vocabulary import choose_vocabulary, count_texts

UNLIMITED = 1 << 30  # a length in subwords that no text reaches
WORST = 10


def main() -> None:
    """Reads the command line, measures, prints a table and writes the result."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with the tokenizer")
    parser.add_argument("--data", type=Path, required=True, help="task folder")
    parser.add_argument("--transfer", type=Path, help="folder with a file for each language")
    parser.add_argument("--sizes", default="20000,30000,40000")
    flags = parser.parse_args()
    tokenizer = load_tokenizer(str(flags.model))
    files = sorted(flags.transfer.glob("*.txt")) if flags.transfer else []
    more = [f"{path.stem}:{path}" for path in files]
    transfer = ",".join([f"{flags.data}/transfer.txt", *more])
    corpus = read_corpus(Data(folder=str(flags.data), transfer=transfer), seed=0)
    whole = _count(corpus, tokenizer)
    cases, rows = [], []
    for cut in ("frequent", "even"):
        student = Student(vocabulary="seen", vocabulary_size=1, vocabulary_cut=cut)
        counts = count_texts(student, corpus, tokenizer, UNITS)
        for size in map(int, flags.sizes.split(",")):
            kept = choose_vocabulary(replace(student, vocabulary_size=size), tokenizer, counts)
            found = _count(corpus, trim_tokenizer(tokenizer, kept))
            rises = {name: each.subwords / whole[name].subwords - 1 for name, each in found.items()}
            unknown = {name: each.unknown for name, each in found.items()}
            means = [_average(values.values()) for values in (rises, unknown)]
            cases.append({"cut": cut, "subwords": size, "rises": rises, "unknown": unknown})
            most = max(unknown, key=lambda name: unknown[name])
            rows.append(
                (
                    cut,
                    f"{size:,}",
                    *(f"{100 * value:.2f}%" for mean in means for value in mean),
                    most,
                )
            )
    header = (
        "cut",
        "subwords",
        "rise",
        f"worst {WORST}",
        "most",
        "unknown",
        f"worst {WORST}",
        "most",
        "",
    )
    harness.print_table(header, rows)
    result = {"languages": len(whole), "cases": cases}
    harness.write_result(flags.output, flags, result)


def _count(corpus: Corpus, tokenizer: Tokenizer) -> dict[str, LanguageCount]:
    test = corpus.test or corpus.dev
    subwords = tokenize(test, corpus.task, tokenizer, Cutting(UNLIMITED, UNITS))
    return count_subwords(test, corpus.task, subwords, tokenizer)


def _average(values: Iterable[float]) -> tuple[float, float, float]:
    """The mean, the mean of the highest ten, and the highest."""
    ordered = sorted(values, reverse=True)
    return float(np.mean(ordered)), float(np.mean(ordered[:WORST])), ordered[0]


if __name__ == "__main__":
    main()
