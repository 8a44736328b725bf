"""What is wrong in predictions: errors by kind, confusions, and examples of both.

An entity is (first word, word after the last, type). In classification a text has one class, or any
number of labels, each with a place of its own.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Span = tuple[int, int, str]
Judged = tuple[int, int, str, str]  # a span and its kind of error, "" if it is right

MISSED, INVENTED, WRONG_TYPE, WRONG_EDGE = "missed", "invented", "wrong type", "wrong edge"
WRONG_CLASS = "wrong class"
# In words of a model's entity beside those of the reference.
MEANINGS = {
    MISSED: "no predicted entity overlaps it",
    INVENTED: "it overlaps no entity",
    WRONG_TYPE: "the same words, another type",
    WRONG_EDGE: "it overlaps an entity, with another first or last word",
}


LABEL_MEANINGS = {  # likewise, of the labels of a text
    MISSED: "the model does not give it",
    INVENTED: "the model alone gives it",
}


@dataclass(frozen=True)
class Disagreement:
    """A text on which two models differ."""

    index: int
    language: str
    errors: frozenset[tuple[str, str]]  # (model, kind)


def judge_spans(wanted: Sequence[Span], found: Sequence[Span]) -> list[Judged]:
    """The found entities with their kind of error, and the wanted ones that are missed, in order.

    Args:
        wanted, found: entities that do not overlap each other.
    """
    judged: list[Judged] = []
    there = set(wanted)
    places = {(start, end) for start, end, _ in wanted}
    for span in found:
        if span in there:
            kind = ""
        elif span[:2] in places:
            kind = WRONG_TYPE
        elif any(_count_shared(span, each) for each in wanted):
            kind = WRONG_EDGE
        else:
            kind = INVENTED
        judged.append((*span, kind))
    judged += [
        (*span, MISSED) for span in wanted if not any(_count_shared(span, each) for each in found)
    ]
    return sorted(judged)


def count_confusions(
    wanted: Iterable[Sequence[Span]], found: Iterable[Sequence[Span]]
) -> Counter[tuple[str | None, str | None]]:
    """How often entities of a wanted type are found as another one; None: no entity.

    Each wanted entity is paired with the found one that shares most words with it, whatever the
    edges of both.
    """
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for here, there in zip(wanted, found, strict=True):
        pairs = [
            (-shared, i, j)
            for i, first in enumerate(here)
            for j, second in enumerate(there)
            if (shared := _count_shared(first, second))
        ]
        left, right = set(range(len(here))), set(range(len(there)))
        for _, i, j in sorted(pairs):
            if i in left and j in right:
                counts[here[i][2], there[j][2]] += 1
                left.remove(i)
                right.remove(j)
        counts.update((here[i][2], None) for i in left)
        counts.update((None, there[j][2]) for j in right)
    return counts


def find_disagreements(
    languages: Sequence[str],
    judged: Mapping[str, Sequence[Sequence[Judged]]],
) -> list[Disagreement]:
    """The texts on which the models differ; with one model, those with an error.

    Args:
        languages: of the texts.
        judged: by model, for each text what `judge_spans` returns.
    """
    different = []
    for index, language in enumerate(languages):
        each = [rows[index] for rows in judged.values()]
        # A missed entity is judged but not found.
        outcomes = {tuple(span for span in row if span[3] != MISSED) for row in each}
        errors = frozenset(
            (model, span[3]) for model, rows in judged.items() for span in rows[index] if span[3]
        )
        if errors and (len(outcomes) > 1 or len(each) == 1):
            different.append(Disagreement(index, language, errors))
    return different


def sample_evenly(disagreements: Sequence[Disagreement], seed: int = 0) -> Iterable[Disagreement]:
    """All of them in an order whose beginnings are even over languages, models and kinds of error.

    Each group of a language, a model and a kind gives one in turn, drawn at random.
    """
    groups: dict[tuple[str, str, str], list[Disagreement]] = defaultdict(list)
    for each in disagreements:
        for model, kind in each.errors:
            groups[each.language, model, kind].append(each)
    draw = random.Random(seed)
    queues = []
    for name in sorted(groups):
        queue = groups[name]
        draw.shuffle(queue)
        queues.append(queue)
    draw.shuffle(queues)
    taken: set[int] = set()
    while queues:
        for queue in queues:
            while queue and queue[-1].index in taken:
                queue.pop()
            if queue:
                each = queue.pop()
                taken.add(each.index)
                yield each
        queues = [queue for queue in queues if queue]


def _count_shared(first: Span, second: Span) -> int:
    return max(0, min(first[1], second[1]) - max(first[0], second[0]))
