"""Writes what a language model might answer: a tagger's entities with mistakes, in typed text.

    python -m benchmarks.simulated_answers --model=TEACHER --texts=wikiann5/transfer.txt \\
        --limit=10000 --repeats=3 --output=answers.jsonl

TEACHER tags the texts, which have blanks between words and are joined as somebody types them. Each
of the repeated answers, `run1`, `run2`, ..., then makes mistakes of its own: 15% of the entities
are left out, 5% get another type, and 5% lose or gain a word at one end. `--repeats=0` writes the
entities without mistakes, as one answer. The file is one for `teacher.labels`
(docs/annotators.md). It prints how many entities were changed in which way.
"""

import json
import random
from collections import Counter
from itertools import islice
from pathlib import Path

import xdistil
from benchmarks import harness
from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.prompts import join_typed
from xdistil.deploy.predictor import Tagger
from xdistil.runtime.json_io import write_atomically

DROPPED, RETYPED, MOVED = 0.15, 0.05, 0.05  # shares of the entities
BLOCK = 1000  # texts tagged at once

Word = tuple[int, int]


def make_mistakes(
    spans: list[Span], words: list[Word], types: list[str], generator: random.Random
) -> tuple[list[Span], Counter[str]]:
    """An answer of its own, and how many entities it changed."""
    answer, changes = [], Counter[str](entities=len(spans))
    for span in spans:
        draw = generator.random()
        if draw < DROPPED:
            changes["left out"] += 1
            continue
        if draw < DROPPED + RETYPED:
            changes["other type"] += 1
            other = generator.choice([each for each in types if each != span.type])
            span = span._replace(type=other)
        elif draw < DROPPED + RETYPED + MOVED:
            changes["other edge"] += 1
            span = move_edge(span, words, generator)
        answer.append(span)
    return answer, changes


def move_edge(span: Span, words: list[Word], generator: random.Random) -> Span:
    """The span with a word more or less at one end; as it is where there is no such word."""
    first = next(index for index, (_, end) in enumerate(words) if end > span.start)
    after = next((i for i, (start, _) in enumerate(words) if start >= span.end), len(words))
    choices = [(first - 1, after), (first, after + 1), (first + 1, after), (first, after - 1)]
    fitting = [(a, b) for a, b in choices if 0 <= a < b <= len(words)]
    first, after = generator.choice(fitting or [(first, after)])
    return span._replace(start=words[first][0], end=words[after - 1][1])


def tag(tagger: Tagger, texts: list[str]) -> list[list[Span]]:
    """The entities of every text."""
    return [
        [Span(each.start, each.end, each.type) for each in tagged.entities]
        for tagged in tagger.tag(texts)
    ]


def main() -> None:
    """The command line."""
    parser = harness.make_parser(__doc__)
    parser.set_defaults(output=Path("answers.jsonl"))
    parser.add_argument("--model", required=True, help="folder of a model that tags entities")
    parser.add_argument("--texts", required=True, type=Path, help="a text on each line")
    parser.add_argument("--limit", type=int, default=10_000, help="texts to read")
    parser.add_argument("--repeats", type=int, default=3, help="answers to each text")
    parser.add_argument("--seed", type=int, default=0, help="of the mistakes")
    flags = parser.parse_args()
    tagger = xdistil.load(flags.model)
    assert isinstance(tagger, Tagger)
    with flags.texts.open(encoding="utf-8") as file:
        lines = [line.split() for line in islice(file, flags.limit)]
    # An annotator has one answer to a text, and blanks do not tell texts apart.
    typed = [join_typed(words) for words in {"".join(words): words for words in lines}.values()]
    texts = [text for text, _ in typed]
    found: list[list[Span]] = []
    for first in range(0, len(texts), BLOCK):
        found += tag(tagger, texts[first : first + BLOCK])
    types = sorted({span.type for spans in found for span in spans})
    generator, changes = random.Random(flags.seed), Counter[str]()
    with write_atomically(flags.output) as temporary, temporary.open("w", encoding="utf-8") as out:
        for (text, words), spans in zip(typed, found, strict=True):
            answers = {"tagger": spans} if not flags.repeats else {}
            for repeat in range(flags.repeats):
                answers[f"run{repeat + 1}"], made = make_mistakes(spans, words, types, generator)
                changes += made
            written = {name: write(each) for name, each in answers.items()}
            line = {"text": text, "annotators": written}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"{len(texts):,} texts, {sum(map(len, found)):,} entities")
    for name, count in changes.items():
        print(f"{name}: {count:,}")


def write(spans: list[Span]) -> list[dict[str, object]]:
    """Spans as the file has them."""
    return [{"start": each.start, "end": each.end, "label": each.type} for each in spans]


if __name__ == "__main__":
    main()
