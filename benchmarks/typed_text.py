"""Are entities found in text as people type it, and in long texts?

    python -m benchmarks.typed_text --model=runs/quickstart/student --gold=test.tsv \\
        --output=typed.json

Every sentence of a labelled file is given to the model in words, as the file has it, and as text:
stops, commas and closing brackets stand on the word before them, opening ones on the word after
them, quotation marks on what they enclose. Languages without blanks get one only between words of
Latin letters or digits, which would run together. F1 counts entities whose type and characters are
right, by language.

Long texts are ten sentences of a language in a row, joined as they are typed, and the same without
the stops between them, so that they are one long sentence. They are predicted with several overlaps
of windows; 0 is none, and does not cut between sentences either. Beside F1 stands its share of that
on single sentences, how many subwords the model reads over the number without overlap, and the
seconds it takes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xdistil
from benchmarks import harness
from xdistil.config import split_names
from xdistil.data.examples import Example, read_file
from xdistil.data.segmentation import find_units
from xdistil.data.spans import find_spans
from xdistil.data.subwords import Cutting, cut_and_count
from xdistil.deploy.predictor import BACKENDS, Predictor, Tagger

UNSPACED = frozenset(("zh", "ja", "th", "lo", "km", "my"))
TOGETHER = 10  # sentences of a long text
OVERLAPS = (0.0, 0.125, 0.25, 0.375, 0.5)  # shares of a window
_CLOSING = frozenset(".,;:!?)]}%»”’…।॥؟،؛。，、！？；：）」』】》")
_OPENING = frozenset("([{«“‘¿¡（「『【《„")

Spans = set[tuple[int, int, str]]


@dataclass(frozen=True)
class Typed:
    """A text with the characters of its gold entities."""

    text: str
    entities: Spans


def type_words(example: Example) -> Typed:
    """The words of a labelled sentence as a person types them."""
    spaced = example.language not in UNSPACED
    text, spans, quoted, glued = "", [], False, True
    for word in example.inputs:
        mark = word == '"'
        closes = word in _CLOSING or (mark and quoted)
        if not (glued or closes) and (spaced or len(find_units(text[-1] + word[0])) == 1):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
        quoted ^= mark
        glued = word in _OPENING or (mark and quoted)
    found = find_spans(example.labels or ())
    entities = {(spans[first][0], spans[end - 1][1], type_) for first, end, type_ in found}
    return Typed(text, entities)


def join_typed(texts: Sequence[Typed], blank: str) -> Typed:
    """Texts one behind the other."""
    text = ""
    entities: Spans = set()
    for each in texts:
        text += blank if text else ""
        moved = {(start + len(text), end + len(text), t) for start, end, t in each.entities}
        text, entities = text + each.text, entities | moved
    return Typed(text, entities)


def measure_f1(gold: Sequence[Spans], found: Sequence[Spans]) -> float:
    """F1 over all texts; 0 where there is nothing to find."""
    right = sum(len(a & b) for a, b in zip(gold, found, strict=True))
    total = sum(map(len, gold)) + sum(map(len, found))
    return 2 * right / total if total else 0.0


def find_typed(tagger: Tagger, texts: Sequence[Typed]) -> list[Spans]:
    """The entities that a model finds, in characters."""
    tagged = tagger.tag([each.text for each in texts])
    return [{(e.start, e.end, e.type) for e in each.entities} for each in tagged]


def score_language(tagger: Tagger, examples: Sequence[Example]) -> dict[str, Any]:
    """F1 on words and on typed text."""
    gold = [set(find_spans(example.labels or ())) for example in examples]
    predicted = tagger.predictor.predict([example.inputs for example in examples])
    words = measure_f1(gold, [set(find_spans(each.labels)) for each in predicted])
    texts = [type_words(example) for example in examples]
    typed = measure_f1([each.entities for each in texts], find_typed(tagger, texts))
    return {
        "sentences": len(examples),
        "words": words,
        "typed": typed,
        "share": typed / words if words else None,
    }


def drop_stop(example: Example) -> Example:
    """A sentence without the stop at its end."""
    if example.inputs[-1] not in _CLOSING or len(example.inputs) == 1 or example.labels is None:
        return example
    return replace(example, inputs=example.inputs[:-1], labels=example.labels[:-1])


def join_sentences(by_language: dict[str, list[Example]]) -> tuple[list[Typed], list[Typed]]:
    """(single sentences, the same ten by ten), typed; a last few of a language are left out."""
    singles: list[Typed] = []
    joined: list[Typed] = []
    for language, examples in by_language.items():
        texts = [type_words(example) for example in examples]
        for first in range(0, len(texts) - TOGETHER + 1, TOGETHER):
            ten = texts[first : first + TOGETHER]
            singles += ten
            joined.append(join_typed(ten, "" if language in UNSPACED else " "))
    return singles, joined


def count_subwords(predictor: Predictor, texts: Sequence[Typed]) -> int:
    """The subwords that the model reads."""
    split = [predictor.split(each.text)[0] for each in texts]
    words = [Example(each, None, "und") for each in split]
    subwords, _ = cut_and_count(
        words,
        predictor.task,
        predictor.tokenizer,
        Cutting(predictor.max_length, predictor.segmentation, predictor.overlap),
    )
    return len(subwords.tokens)


def score_long(tagger: Tagger, by_language: dict[str, list[Example]]) -> dict[str, Any]:
    """F1 on single sentences and on ten together, by overlap."""
    singles, joined = join_sentences(by_language)
    single = measure_f1([each.entities for each in singles], find_typed(tagger, singles))
    gold = [each.entities for each in joined]
    rows, least = [], 0
    for overlap in OVERLAPS:
        predictor = tagger.predictor
        changed = replace(predictor, overlap=round(overlap * predictor.max_length))
        subwords = count_subwords(changed, joined)
        least = least or subwords
        find_typed(Tagger(changed), joined)  # compiles
        began = time.perf_counter()
        found = find_typed(Tagger(changed), joined)
        seconds = time.perf_counter() - began
        f1 = measure_f1(gold, found)
        rows.append(
            {
                "overlap": overlap,
                "f1": f1,
                "share": f1 / single if single else None,
                "subwords": subwords / least,
                "seconds": seconds,
            }
        )
    return {"single": single, "texts": len(joined), "overlaps": rows}


def main() -> None:
    """The command line."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--model", required=True, help="a folder or hub id")
    parser.add_argument("--gold", required=True, type=Path, help="a labelled file")
    parser.add_argument("--languages", default="", help="separated by commas; empty: all")
    parser.add_argument("--backend", choices=BACKENDS, default="jax")
    flags = parser.parse_args()
    tagger = xdistil.load(flags.model, backend=flags.backend)
    assert isinstance(tagger, Tagger)
    wanted = split_names(flags.languages)
    by_language: dict[str, list[Example]] = {}
    for example in read_file(flags.gold, repair=True):
        if not wanted or example.language in wanted:
            by_language.setdefault(example.language, []).append(example)
    languages = {name: score_language(tagger, by_language[name]) for name in sorted(by_language)}
    apart = {name: list(map(drop_stop, examples)) for name, examples in by_language.items()}
    long = {
        "with stops": score_long(tagger, by_language),
        "without stops": score_long(tagger, apart),
    }
    rows = []
    for name, row in languages.items():
        share = "" if row["share"] is None else f"{row['share']:.3f}"
        rows.append((name, str(row["sentences"]), *_show(row, "words", "typed"), share))
    harness.print_table(("language", "sentences", "words", "typed", "share"), rows)
    for title, each in long.items():
        print(f"\n{each['texts']} long texts {title}; single sentences {each['single']:.4f}")
        rows = [
            (f"{row['overlap']:g}", *_show(row, "f1", "share", "subwords", "seconds"))
            for row in each["overlaps"]
        ]
        harness.print_table(("overlap", "F1", "share", "subwords", "seconds"), rows)
    harness.write_result(flags.output, flags, {"languages": languages, "long": long})


def _show(row: dict[str, Any], *names: str) -> tuple[str, ...]:
    return tuple("" if row[name] is None else f"{row[name]:.4f}" for name in names)


if __name__ == "__main__":
    main()
