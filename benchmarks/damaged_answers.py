"""How many entities survive the damage of a language model's answers?

    python -m benchmarks.damaged_answers --data=wikiann5/dev.tsv --output=damaged-answers.json

The gold entities of a file, as somebody would type its sentences, are written as answers, damaged
in one way after another, and read again. "Found" are gold entities with their exact characters and
type, "others" spans that are none. What has no offsets is settled by words alone.
"""

import json
import random
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from benchmarks import harness
from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.prompts import join_typed
from xdistil.annotators.prompting.replies import read_reply
from xdistil.annotators.prompting.types import Type, Types
from xdistil.data.examples import Example, read_file
from xdistil.data.spans import find_spans

Entities = list[dict[str, Any]]


def write(entities: Entities) -> str:
    """An answer without damage."""
    return json.dumps({"entities": entities}, ensure_ascii=False)


def move(text: str, spans: list[Span], generator: random.Random) -> str:
    """Offsets that are up to three characters wrong."""
    return write(
        [
            {**entity, "start": span.start + generator.randint(-3, 3), "end": span.end}
            for entity, span in zip(list_entities(text, spans), spans, strict=True)
        ]
    )


def count_bytes(text: str, spans: list[Span], generator: random.Random) -> str:
    """Offsets that count bytes."""
    return write(
        [
            {**entity, "start": len(text[: span.start].encode())}
            for entity, span in zip(list_entities(text, spans), spans, strict=True)
        ]
    )


def respell(text: str, spans: list[Span], generator: random.Random) -> str:
    """Other blanks, quotes, dashes and Unicode normalisation."""
    changes = str.maketrans({" ": "\u00a0", "'": "’", "-": "–"})
    entities = list_entities(text, spans)
    for entity in entities:
        form: Literal["NFD", "NFKC"] = generator.choice(("NFD", "NFKC"))
        entity["text"] = unicodedata.normalize(form, entity["text"].translate(changes))
    return write(entities)


def name_once(text: str, spans: list[Span], generator: random.Random) -> str:
    """Each name once, however often it occurs."""
    named = {(entity["text"], entity["label"]): entity for entity in list_entities(text, spans)}
    return write(list(named.values()))


def shuffle(text: str, spans: list[Span], generator: random.Random) -> str:
    """Entities in any order."""
    entities = list_entities(text, spans)
    generator.shuffle(entities)
    return write(entities)


def group(text: str, spans: list[Span], generator: random.Random) -> str:
    """Lists of words by type."""
    groups: dict[str, list[str]] = {}
    for entity in list_entities(text, spans):
        groups.setdefault(entity["label"], []).append(entity["text"])
    return json.dumps(groups, ensure_ascii=False)


def mark(text: str, spans: list[Span], generator: random.Random) -> str:
    """Marked text, with a sentence before it."""
    marked = text
    for span in reversed(spans):
        words = text[span.start : span.end]
        marked = f"{marked[: span.start]}<{span.type}>{words}</{span.type}>{marked[span.end :]}"
    return f"Here it is:\n{marked}" if spans else text


def lower(text: str, spans: list[Span], generator: random.Random) -> str:
    """Words in lower case."""
    return write([{**each, "text": each["text"].lower()} for each in list_entities(text, spans)])


def edit(change: Callable[[str], str]) -> Callable[[str, list[Span], random.Random], str]:
    """Damage to the JSON itself."""
    return lambda text, spans, generator: change(write(list_entities(text, spans)))


DAMAGES: dict[str, Callable[[str, list[Span], random.Random], str]] = {
    "none": edit(str),
    "offsets wrong by up to 3": move,
    "offsets in bytes": count_bytes,
    "other blanks, quotes, normalisation": respell,
    "lower case": lower,
    "marked text, a sentence before it": mark,
    "trailing and missing commas": edit(
        lambda said: said.replace("}]", "},]").replace('"}', '",}').replace("}, {", "} {")
    ),
    "typographic quotes": edit(lambda said: said.replace('"', "”")),
    "quotes in names not escaped": edit(lambda said: said.replace('\\"', '"')),
    "the last bracket missing": edit(lambda said: said[:-1]),
    "in any order": shuffle,
    "each name once": name_once,
    "lists of names by type": group,
}


def list_entities(text: str, spans: list[Span]) -> Entities:
    """The entities as an answer names them."""
    return [{"text": text[span.start : span.end], "label": span.type} for span in spans]


def type_example(example: Example) -> tuple[str, list[Span]]:
    """The sentence as somebody would type it, and its gold entities."""
    text, places = join_typed(example.inputs)
    found = find_spans(example.labels or ())
    return text, [Span(places[a][0], places[b - 1][1], type_) for a, b, type_ in found]


def measure(gold: list[tuple[str, list[Span]]], types: Types, damage: str) -> dict[str, Any]:
    """How many entities are found, how many spans are none, and answers a second."""
    generator, found, others, count, lost = random.Random(0), 0, 0, 0, 0
    answers = [DAMAGES[damage](text, spans, generator) for text, spans in gold]
    began = time.perf_counter()
    replies = [read_reply(said, text, types) for said, (text, _) in zip(answers, gold, strict=True)]
    seconds = time.perf_counter() - began
    for reply, (_, spans) in zip(replies, gold, strict=True):
        read = {each for each in reply.answer or () if isinstance(each, Span)}
        found += len(read & set(spans))
        others += len(read - set(spans))
        count += len(spans)
        lost += reply.answer is None
    return {
        "entities": count,
        "found": found,
        "others": others,
        "answers_lost": lost,
        "answers_per_second": len(gold) / seconds,
    }


def main() -> None:
    """The command line."""
    parser = harness.make_parser(__doc__)
    parser.add_argument("--data", required=True, type=Path, help="a file with gold tags")
    flags = parser.parse_args()
    gold = [type_example(example) for example in read_file(flags.data)]
    names = sorted({span.type for _, spans in gold for span in spans})
    types = Types("tagging", tuple(Type(name, "", ()) for name in names))
    results = {damage: measure(gold, types, damage) for damage in DAMAGES}
    rows = [
        (
            damage,
            f"{100 * found['found'] / found['entities']:.2f}%",
            f"{found['others']:,}",
            f"{found['answers_lost']:,}",
            f"{found['answers_per_second']:,.0f}",
        )
        for damage, found in results.items()
    ]
    print(f"{len(gold):,} sentences, {results['none']['entities']:,} entities")
    harness.print_table(("damage", "found", "others", "answers lost", "answers/s"), rows)
    harness.write_result(flags.output, flags, results)


if __name__ == "__main__":
    main()
