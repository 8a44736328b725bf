"""Text in which a language model has marked entities -> the entities, with what is around them.

Marks are `<PER>Anna</PER>`, also with attributes (`<entity type="PER">`), `[PER]Anna[/PER]`,
`[Anna](PER)` and `[Anna|PER]`.
"""

import re
from typing import NamedTuple

from xdistil.annotators.prompting.entities import Said
from xdistil.annotators.prompting.types import Types

_TAG = re.compile(
    r"<(?P<closes>/?)(?P<name>[^<>/\s][^<>\n]{0,80})?>"
    r"|\[(?P<shut>/?)(?P<square>[^\[\]/|\n]{1,80})\](?!\()"
    r"|\[(?P<words>[^\[\]|\n]{1,400})(?:\]\((?P<link>[^()\n]{1,80})\)|\|(?P<bar>[^\[\]|\n]{1,80})\])"
)
_ATTRIBUTE = re.compile(r"(?:type|label|class|category)\s*=\s*[\"']?([^\"'>]+)", re.IGNORECASE)
_CONTEXT = 100  # characters on each side of an entity by which its place is found


class _Open(NamedTuple):
    name: str  # in the closing mark
    called: str
    at: int  # in the text without marks
    is_unknown: bool


def read_marked(answer: str, text: str, types: Types) -> list[Said] | None:
    """The entities that are marked in an answer; None: nothing is.

    Args:
        text: the text that was to be marked; what looks like a mark and stands there is none.
    """
    plain: list[str] = []
    length = at = 0
    spans: list[tuple[int, int, str]] = []
    stack: list[_Open] = []
    for mark in _TAG.finditer(answer):
        between = answer[at : mark.start()]
        kept = _keep(mark, answer, text, types)
        if kept is None:
            continue
        plain.append(between)
        length += len(between)
        at = mark.end()
        closes, called, words = kept
        if words:
            spans.append((length, length + len(words), called))
            plain.append(words)
            length += len(words)
        elif not closes:
            name = (called or "").split()[0] if called else ""
            attribute = _ATTRIBUTE.search(called)
            called = attribute[1].strip() if attribute else called
            stack.append(_Open(name.casefold(), called, length, types.find(called) is None))
        else:
            wanted = called.casefold()
            index = next(
                (i for i in range(len(stack) - 1, -1, -1) if wanted in ("", stack[i].name)), None
            )
            if index is not None:
                opened = stack[index]
                del stack[index:]
                if opened.at < length:
                    spans.append((opened.at, length, opened.called))
    if not spans:
        return None
    plain.append(answer[at:])
    whole = "".join(plain)
    return [
        Said(
            whole[start:end].strip(),
            types.find(called),
            before=whole[max(start - _CONTEXT, 0) : start] or " ",
            after=whole[end : end + _CONTEXT],
            called=called,
        )
        for start, end, called in sorted(spans)
        if whole[start:end].strip()
    ]


def _keep(
    mark: re.Match[str], answer: str, text: str, types: Types
) -> tuple[bool, str, str] | None:
    """(whether it closes, what it calls the type, words inside of it); None: it is text."""
    if mark[0] in text:
        return None
    if words := mark["words"]:
        called = mark["link"] or mark["bar"]
        return (False, called, words) if types.find(called) else None
    if square := mark["square"]:
        is_pair = f"[/{square}]" in answer and f"[{square}]" in answer
        return (bool(mark["shut"]), square, "") if is_pair and types.find(square) else None
    if not mark["closes"] and not mark["name"]:
        return None
    return bool(mark["closes"]), mark["name"] or "", ""
