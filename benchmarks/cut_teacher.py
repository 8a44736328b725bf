"""What does a teacher lose when it reads the subwords of a student that has fewer of them?

    python -m benchmarks.cut_teacher --model=runs/recipe/teacher --data=manylang --every=6

A fine-tuned model tags each `--every`-th sentence of dev in its own subwords, and in those that are
left when its vocabulary is cut to several sizes as `student.vocabulary_size` does it: that is what
a teacher reads with `teacher.subwords=student`. The texts that are counted are train and transfer.
"""

import tempfile
from pathlib import Path

from benchmarks import harness
from xdistil.config import Data, Student
from xdistil.data.corpus import read_corpus
from xdistil.data.segmentation import UNITS
from xdistil.data.tokenizer import load_tokenizer
from xdistil.deploy.predictor import load
from xdistil.evaluation.metrics import LANGUAGE_SCORE, score
from xdistil.models.hf.trim_folder import open_whole, save_trimmed
from xdistil.student.vocabulary import choose_vocabulary, count_texts


def main() -> None:
    """Reads the command line, scores the model in each vocabulary, and writes the result."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned tagger")
    parser.add_argument("--data", type=Path, required=True, help="task folder")
    parser.add_argument("--sizes", default="60000,40000,25000,16000")
    parser.add_argument("--every", type=int, default=1, help="sentences of dev: 1 is all of them")
    flags = parser.parse_args()
    corpus = read_corpus(Data(folder=str(flags.data)), seed=0)
    tokenizer = load_tokenizer(str(flags.model))
    whole = open_whole(flags.model, tokenizer)
    gold = corpus.dev[:: flags.every]
    sizes = [int(size) for size in flags.sizes.split(",")]
    counts = count_texts(
        Student(vocabulary="seen", vocabulary_size=sizes[0]), corpus, tokenizer, UNITS
    )
    cases, rows = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for size in (tokenizer.vocabulary_size, *sizes):
            folder = flags.model
            if size != tokenizer.vocabulary_size:
                folder = Path(scratch) / str(size)
                student = Student(vocabulary="seen", vocabulary_size=size)
                save_trimmed(whole, choose_vocabulary(student, tokenizer, counts), folder)
            predictor = load(str(folder)).predictor
            predicted = [each.labels for each in predictor.predict([each.inputs for each in gold])]
            found = score(corpus.task, gold, predicted)
            languages = {
                name: round(scores[LANGUAGE_SCORE[corpus.task.name]] or 0.0, 4)
                for name, scores in sorted(found["per_language"].items())
            }
            macro = found["macro_f1"] or 0.0
            cases.append({"subwords": size, "macro_f1": macro, "f1": languages})
            rows.append((f"{size:,}", f"{100 * macro:.2f}"))
    harness.print_table(("subwords", "macro-F1"), rows)
    harness.write_result(flags.output, flags, {"sentences": len(gold), "cases": cases})


if __name__ == "__main__":
    main()
