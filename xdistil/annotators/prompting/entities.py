"""Entities as an answer names them -> spans of the text that the answer is about.

Each entity stands where its words do:

1. Offsets that are right are kept. Offsets without words are believed if they lie in the text.
2. Words with wrong offsets stand where they occur nearest to these.
3. Words without offsets that occur once stand there. If they occur more often than the answer names
   them, an answer in text order means the next place behind the entity before; an answer without an
   order (types with lists of words) means every place; in marked text, the place with the same
   neighbours is meant.

Entities with one place, or whose offsets are right, take theirs first. The others share characters
with them only where there is no other place.
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
    chosen: dict[int, list[Place]] = {}
    left: dict[int, list[Place]] = {}  # entities that may stand in several places
    for index, said in enumerate(entities):
        if said.type is None:
            located.notes.append((UNKNOWN, said))
            continue
        offsets = _read_offsets(said)
        inside = offsets is not None and 0 <= offsets[0] < offsets[1] <= len(text)
        if offsets and inside and text[slice(*offsets)] == (said.words or text[slice(*offsets)]):
            chosen[index] = [offsets]
            continue
        if not said.words.strip():
            located.notes.append((OUTSIDE if offsets else WORDLESS, said))
            continue
        places, is_exact = quoted.find(said.words)
        if not places:
            located.notes.append((NOWHERE, said))
            continue
        if not is_exact:
            located.notes.append((WRITING, said))
        (chosen if len(places) == 1 else left)[index] = places
    taken = [place for places in chosen.values() for place in places]
    asked = Counter(places[0] for places in left.values())  # entities with the same places
    for index, places in left.items():
        said = entities[index]
        free = _find_free(places, taken)
        offsets = _read_offsets(said)
        is_open = len(free) > asked[places[0]] and free[0] not in taken
        behind = max((at for at in chosen if at < index), default=-1)
        if offsets:
            chosen[index] = [min(free, key=lambda each: abs(each[0] - offsets[0]))]
        elif said.before or said.after:
            chosen[index] = [_find_alike(quoted, said, free)]
        elif is_open and not is_ordered:
            chosen[index] = free
        else:
            chosen[index] = [_find_next(free, chosen[behind][0][1] if behind >= 0 else 0)]
        if is_open and not (offsets or said.before or said.after):
            located.notes.append((SEVERAL, said))
        asked[places[0]] -= 1
        taken += chosen[index]
    _keep(entities, chosen, located)
    return located


def _find_free(places: list[Place], taken: Sequence[Place]) -> list[Place]:
    """The places that share no character with those that are taken, or else are none of them."""
    apart = [
        place
        for place in places
        if all(place[1] <= start or end <= place[0] for start, end in taken)
    ]
    return apart or [place for place in places if place not in taken] or places


def _keep(entities: Sequence[Said], chosen: dict[int, list[Place]], located: Located) -> None:
    seen: set[tuple[int, int, str]] = set()
    for index in sorted(chosen):
        said = entities[index]
        offsets = _read_offsets(said)
        if offsets and chosen[index] != [offsets]:
            located.notes.append((OFFSETS, said))
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
