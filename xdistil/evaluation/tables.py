"""A table of texts, written as aligned lines, Markdown, CSV or LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from xdistil.evaluation.formatting import align

FORMATS = ("text", "markdown", "csv", "latex")

_LATEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """Rows of cells, all strings."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)  # columns aligned to the left; the others hold numbers


def render_table(table: Table, kind: str = "text") -> str:
    """Header and rows, without the title; every line ends in a newline.

    Args:
        kind: one of FORMATS.
    """
    lines = [table.header, *table.rows]
    if kind == "csv":
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(lines)
        return file.getvalue()
    if kind == "markdown":
        sides = ["---" if i in table.texts else "---:" for i in range(len(table.header))]
        cells = [[cell.replace("|", "\\|") for cell in line] for line in (lines[0], *lines[1:])]
        cells.insert(1, sides)
        return "".join(f"| {' | '.join(line)} |\n" for line in cells)
    if kind == "latex":
        sides = ["l" if i in table.texts else "r" for i in range(len(table.header))]
        rows = [" & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in x) for x in lines]
        first, *rest = (f"{row} \\\\" for row in rows)
        parts = [f"\\begin{{tabular}}{{{''.join(sides)}}}", "\\hline", first, "\\hline", *rest]
        return "\n".join([*parts, "\\hline", "\\end{tabular}"]) + "\n"
    return "".join(f"{line}\n" for line in align(lines, table.texts))
