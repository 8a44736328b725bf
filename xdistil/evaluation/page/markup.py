"""HTML as strings: every text is escaped unless it is markup already."""

import html
import json
from collections.abc import Sequence
from typing import Any

_VOID = {"meta", "input", "br", "hr"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Text as HTML. Control characters, which HTML forbids, become visible signs for them; what is
    no text, as in names of files that are not UTF-8, becomes U+FFFD."""
    return Markup(html.escape("".join(map(_show_control, text)), quote=True))


def element(name: str, /, *children: str, **attributes: Any) -> Markup:
    """An element; children are escaped unless they are Markup.

    Args:
        attributes: `_` in a name stands for `-`, a trailing `_` is dropped (`class_`). True is an
            attribute without a value; None and False leave it out.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_').replace('_', '-')}")
        if value is not True:
            parts.append(f'="{escape(str(value))}"')
    parts.append(">")
    if name not in _VOID:
        parts += [join(children), f"</{name}>"]
    return Markup("".join(parts))


def join(children: Sequence[str]) -> Markup:
    """Texts and elements one after another."""
    return Markup(
        "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    )


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: Sequence[int] = (0,),
    **attributes: Any,
) -> Markup:
    """A table in a box that scrolls on narrow screens; the first cell of a row is its heading.

    Args:
        header, rows: texts or elements.
        texts: columns aligned to the left; the others hold numbers.
        attributes: of the table.
    """

    def align(column: int) -> str | None:
        return None if column in texts else "number"

    heads = [
        element("th", cell, scope="col", class_=align(column)) for column, cell in enumerate(header)
    ]
    body = []
    for row in rows:
        first, *rest = row
        cells = [element("th", first, scope="row", class_=align(0))]
        cells += [element("td", cell, class_=align(column)) for column, cell in enumerate(rest, 1)]
        body.append(element("tr", *cells))
    content = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
        **attributes,
    )
    # What scrolls must be reachable by keyboard, and so needs a name.
    return element("div", content, class_="scroll", tabindex=0, role="group", aria_label=caption)


def data_block(name: str, content: Any) -> Markup:
    """JSON for a script to read; nothing in it can end the block."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{text}</script>')


def _show_control(character: str) -> str:
    code = ord(character)
    if code < 32 and character not in "\t\n":
        return chr(0x2400 + code)
    return "\ufffd" if 127 <= code < 160 or 0xD800 <= code < 0xE000 else character
