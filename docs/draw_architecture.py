"""Draws the components of the package in layers, from its imports: docs/images/architecture.svg.

    python docs/draw_architecture.py

A component is a folder of the package, or a module beside these folders. It is drawn one layer
above the highest component that it imports, so that every arrow points down. Implied arrows are
left out: where a imports b and c, and b imports c, there is no arrow from a to c. Components that
import one another in a cycle share a layer and are joined by a dashed line.

Imports inside functions count; imports for type checkers alone do not. The package's own
`__init__` and `__main__` are not drawn.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "xdistil"
PICTURE = Path(__file__).parent / "images" / "architecture.svg"

Graph = dict[str, set[str]]  # component -> the components that it imports

_TITLE, _TEXT, _LINE = 15, 11.5, 16  # sizes of letters, and the height of a line of text
_LETTER = 6.3  # width of a letter of text, on average
_WIDEST = 220  # of the text in a box
_PADDING, _GAP, _LAYER_GAP = 12, 28, 46  # inside a box, between boxes, between layers


@dataclass
class Box:
    """A component in the picture, or a point through which an arrow passes a layer."""

    name: str
    lines: list[str] = field(default_factory=list)
    width: float = 10.0
    height: float = 0.0
    x: float = 0.0  # of its middle
    y: float = 0.0  # of its upper edge
    is_component: bool = False


def list_components(package: Path) -> dict[str, list[Path]]:
    """The Python files of every component."""
    components: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        first = path.relative_to(package).parts[0].removesuffix(".py")
        if not first.startswith("__"):
            components.setdefault(first, []).append(path)
    return components


def read_imports(package: Path) -> Graph:
    """Which components of the package import which others of it."""
    components = list_components(package)
    graph: Graph = {component: set() for component in components}
    for component, paths in components.items():
        for path in paths:
            folder = (package.name, *path.relative_to(package).parts[:-1])
            for name in _list_modules(ast.parse(path.read_text(encoding="utf-8")), folder):
                root, _, rest = name.partition(".")
                imported = rest.partition(".")[0]
                if root == package.name and imported in graph and imported != component:
                    graph[component].add(imported)
    return graph


def _list_modules(tree: ast.AST, folder: tuple[str, ...]) -> Iterator[str]:
    """Absolute names of what a file in a folder imports; each is a module or something in one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)
        yield from _list_modules(node, folder)


def find_cycles(graph: Graph) -> dict[str, frozenset[str]]:
    """The import cycle that each component is in; the component alone where there is none."""
    reached = {component: _reach(graph, component) for component in graph}
    return {
        component: frozenset(
            {component} | {other for other in reached[component] if component in reached[other]}
        )
        for component in graph
    }


def _reach(graph: Graph, component: str) -> set[str]:
    found: set[str] = set()
    left = [component]
    while left:
        for other in graph[left.pop()] - found:
            found.add(other)
            left.append(other)
    return found


def place_layers(graph: Graph) -> dict[str, int]:
    """The layer of every component: 0 imports nothing; others stand above all that they import."""
    cycles = find_cycles(graph)
    layers: dict[frozenset[str], int] = {}

    def find_layer(cycle: frozenset[str]) -> int:
        if cycle not in layers:
            below = {cycles[other] for component in cycle for other in graph[component]} - {cycle}
            layers[cycle] = 1 + max(map(find_layer, below), default=-1)
        return layers[cycle]

    return {component: find_layer(cycles[component]) for component in sorted(graph)}


def drop_implied(graph: Graph) -> Graph:
    """The same graph without the arrows that other arrows imply, and without those in cycles."""
    cycles = find_cycles(graph)
    kept: Graph = {}
    for component, imported in graph.items():
        outside = {other for other in imported if other not in cycles[component]}
        implied = set().union(*(_reach(graph, other) - cycles[other] for other in outside))
        kept[component] = outside - implied
    return kept


def draw(package: Path) -> str:
    """The picture as SVG."""
    graph = read_imports(package)
    layers, arrows, cycles = place_layers(graph), drop_implied(graph), find_cycles(graph)
    contents = {
        component: _name_files(package, paths)
        for component, paths in list_components(package).items()
    }
    boxes = {component: _make_box(component, contents[component]) for component in graph}
    paths = _route_arrows(arrows, layers, boxes)
    rows = _order_rows(boxes, layers, paths)
    width, height = _place_boxes(rows)
    joined = {cycle for cycle in cycles.values() if len(cycle) > 1}
    parts = [
        *(_draw_arrow([boxes[name] for name in path]) for path in paths),
        *(
            _draw_cycle([boxes[component] for component in sorted(cycle)])
            for cycle in sorted(joined, key=sorted)
        ),
        *(_draw_box(box) for row in rows for box in row if box.is_component),
    ]
    return _FRAME.format(width=width, height=height, body="\n".join(parts))


_FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" \
font-family="Helvetica, Arial, sans-serif">
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" \
orient="auto-start-reverse"><path d="M0 1 L10 5 L0 9 z" fill="#7f9bb3"/></marker></defs>
<rect width="100%" height="100%" rx="8" fill="#ffffff"/>
{body}
</svg>
"""


def _name_files(package: Path, paths: Iterable[Path]) -> list[str]:
    """What lies in a component: its modules, and its folders with a slash."""
    names = [path.relative_to(package).parts[1:] for path in paths]
    folders = sorted({f"{parts[0]}/" for parts in names if len(parts) > 1})
    modules = sorted(parts[0].removesuffix(".py") for parts in names if len(parts) == 1)
    return [name for name in (*folders, *modules) if name != "__init__"]


def _make_box(component: str, names: list[str]) -> Box:
    lines = [""] if names else []
    for name in names:
        longer = f"{lines[-1]}, {name}" if lines[-1] else name
        if len(longer) * _LETTER <= _WIDEST:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(name)
    letters = max(map(len, lines), default=0)
    return Box(
        name=component,
        lines=lines,
        width=max(letters * _LETTER, len(component) * 9.5) + 2 * _PADDING,
        height=_TITLE + _LINE * len(lines) + 2 * _PADDING,
        is_component=True,
    )


def _route_arrows(arrows: Graph, layers: dict[str, int], boxes: dict[str, Box]) -> list[list[str]]:
    """The names of the boxes that each arrow passes, from top to bottom.

    An arrow passes a layer through a point, which is added to the boxes and to the layers.
    """
    paths = []
    for component in sorted(arrows):
        for other in sorted(arrows[component]):
            path = [component]
            for layer in range(layers[component] - 1, layers[other], -1):
                point = f"{component}>{other}@{layer}"
                boxes[point], layers[point] = Box(point), layer
                path.append(point)
            paths.append([*path, other])
    return paths


def _order_rows(
    boxes: dict[str, Box], layers: dict[str, int], paths: list[list[str]]
) -> list[list[Box]]:
    """The boxes of every layer from the top one down, each beside those that it is joined with."""
    rows = [
        [boxes[name] for name in sorted(boxes) if layers[name] == layer]
        for layer in range(max(layers.values(), default=-1), -1, -1)
    ]
    neighbours: dict[str, list[str]] = {name: [] for name in boxes}
    for path in paths:
        for upper, lower in pairwise(path):
            neighbours[upper].append(lower)
            neighbours[lower].append(upper)
    place = {box.name: index / len(row) for row in rows for index, box in enumerate(row)}
    for turn in range(12):
        for row in rows if turn % 2 else reversed(rows):
            row.sort(
                key=lambda box: _mean([place[n] for n in neighbours[box.name]], place[box.name])
            )
            place |= {box.name: (index + 0.5) / len(row) for index, box in enumerate(row)}
    return rows


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _place_boxes(rows: list[list[Box]]) -> tuple[float, float]:
    """Gives every box its place; returns the width and the height of the picture."""
    widths = [sum(box.width for box in row) + _GAP * (len(row) - 1) for row in rows]
    width = max(widths, default=0) + 2 * _GAP
    y = float(_GAP)
    for row, taken in zip(rows, widths, strict=True):
        x, height = (width - taken) / 2, max(box.height for box in row)
        for box in row:
            box.x, box.y = x + box.width / 2, y + (height - box.height) / 2
            if not box.is_component:
                box.y, box.height = y, height
            x += box.width + _GAP
        y += height + _LAYER_GAP
    return width, y - _LAYER_GAP + _GAP


def _draw_box(box: Box) -> str:
    left, top = box.x - box.width / 2, box.y
    parts = [
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        'rx="6" fill="#f4f6f8" stroke="#444444"/>',
        f'<text x="{box.x:.1f}" y="{top + _PADDING + _TITLE - 3:.1f}" text-anchor="middle" '
        f'font-size="{_TITLE}" font-weight="bold" fill="#1d1d1d">{escape(box.name)}</text>',
    ]
    for number, line in enumerate(box.lines, 1):
        y = top + _PADDING + _TITLE + _LINE * number - 2
        parts.append(
            f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{_TEXT}" '
            f'fill="#444444">{escape(line)}</text>'
        )
    return "\n".join(parts)


def _draw_arrow(path: list[Box]) -> str:
    """A curve from the lower edge of the first box through the points to the last one's upper."""
    first, *points, last = path
    x, y = first.x, first.y + first.height
    drawn = f"M{x:.1f} {y:.1f}"
    for box in (*points, last):
        half = (box.y - y) / 2
        drawn += f" C{x:.1f} {y + half:.1f} {box.x:.1f} {box.y - half:.1f} {box.x:.1f} {box.y:.1f}"
        x, y = box.x, box.y
        if box is not last:
            y += box.height
            drawn += f" L{x:.1f} {y:.1f}"
    style = 'fill="none" stroke="#7f9bb3" stroke-width="1.6" marker-end="url(#head)"'
    return f'<path d="{drawn}" {style}/>'


def _draw_cycle(boxes: list[Box]) -> str:
    places = " ".join(f"{box.x:.1f},{box.y + box.height / 2:.1f}" for box in boxes)
    return f'<polyline points="{places}" fill="none" stroke="#c8442c" stroke-dasharray="5 4"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(PACKAGE), encoding="utf-8")
