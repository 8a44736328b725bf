"""Entities as an answer names them -> spans of the text that the answer is about.

Each entity stands where its words do:

1. Offsets that are right are kept. Offsets without words are believed if they lie in the text.
2. Words with wrong offsets stand where they occur nearest to these.
3. Words without offsets that occur once stand there. If they occur more often than the answer names
   them, an answer in text order means the next place behind the entity before; an answer without an
   order (types with lists of words) means every place; in marked text, the place with the same
   neighbours is meant.

A place that another entity of the answer took is taken again only if there is no other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xdistil.annotators.answers import Span
from xdistil.annotators.prompting.occurrences import Place, Quoted

# What is repaired, and why an entity is lost.
OFFSETS, WRITING, SEVERAL = "wrong offsets", "written otherwise", "several places"
NOWHERE, UNKNOWN, OUTSIDE = "not in the text", "unknown type", "offsets outside of the text"
WORDLESS, TWICE = "no words", "named twice"
REPAIRED = (OFFSETS, WRITING, SEVERAL)


class Said(NamedTuple):
    """An entity as an answer names it."""

    words: str  # "": only offsets
    type: str | None  # None: it is not asked for
    start: int | None = None
    end: int | None = None
    score: float = 1.0
    before: str = ""  # the text around it, in marked text
    after: str = ""
    called: str = ""  # what the answer calls its type


@dataclass
class Located:
    """The spans of an answer, and what was repaired and lost."""

    spans: list[Span] = field(default_factory=list)
    notes: list[tuple[str, Said]] = field(default_factory=list)  # reason, entity


def locate_entities(text: str, entities: Sequence[Said], is_ordered: bool = True) -> Located:
    """The spans of entities.

    Args:
        is_ordered: whether the answer names them in text order, each as often as it occurs.
    """
    quoted, located = Quoted(text), Located()
    taken: Counter[Place] = Counter()
    chosen: dict[int, list[Place]] = {}
    left: list[tuple[int, Said, list[Place], bool]] = []
    for index, said in enumerate(entities):
        if said.type is None:
            located.notes.append((UNKNOWN, said))
            continue
        offsets = _read_offsets(said)
        inside = offsets is not None and 0 <= offsets[0] < offsets[1] <= len(text)
        if offsets and inside and text[slice(*offsets)] == (said.words or text[slice(*offsets)]):
            chosen[index] = [offsets]
            taken[offsets] += 1
        elif not said.words.strip():
            located.notes.append((OUTSIDE if offsets else WORDLESS, said))
        else:
            places, is_exact = quoted.find(said.words)
            if places:
                left.append((index, said, places, is_exact))
            else:
                located.notes.append((NOWHERE, said))
    asked = Counter(places[0] for _, _, places, _ in left)  # entities with the same places
    behind = 0  # where the entity before ends
    for index, said, places, is_exact in left:
        if not is_exact:
            located.notes.append((WRITING, said))
        free = [place for place in places if not taken[place]] or places
        offsets = _read_offsets(said)
        if offsets:
            place = min(free, key=lambda each: abs(each[0] - offsets[0]))
            chosen[index] = [place]
            if place != offsets:
                located.notes.append((OFFSETS, said))
        elif said.before or said.after:
            chosen[index] = [_find_alike(quoted, said, free)]
        elif len(places) > asked[places[0]]:
            located.notes.append((SEVERAL, said))
            chosen[index] = free if not is_ordered else [_find_next(free, behind)]
        else:
            chosen[index] = [_find_next(free, behind)]
        for place in chosen[index]:
            taken[place] += 1
        behind = chosen[index][0][1]
    _keep(entities, chosen, located)
    return located


def _keep(entities: Sequence[Said], chosen: dict[int, list[Place]], located: Located) -> None:
    seen: set[tuple[int, int, str]] = set()
    for index in sorted(chosen):
        said = entities[index]
        for start, end in chosen[index]:
            if (start, end, said.type or "") in seen:
                located.notes.append((TWICE, said))
                continue
            seen.add((start, end, said.type or ""))
            located.spans.append(Span(start, end, said.type or "", said.score))
    located.spans.sort()


def _read_offsets(said: Said) -> Place | None:
    if said.start is None:
        return None
    return said.start, said.end if said.end is not None else said.start + len(said.words)


def _find_next(free: Sequence[Place], behind: int) -> Place:
    return next((place for place in free if place[0] >= behind), free[0])


def _find_alike(quoted: Quoted, said: Said, free: Sequence[Place]) -> Place:
    if len(free) == 1:
        return free[0]
    return max(
        free, key=lambda each: (quoted.measure_context(each, said.before, said.after), -each[0])
    )
