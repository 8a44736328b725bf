"""Charts as inline SVG: coordinates and elements. Colours and fonts are in page.css."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdistil.evaluation.page.markup import Markup, element, join

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 22, 26  # margins of a panel
_MOST_POINTS = 300  # of a curve
_LEAST_SHARE = 0.06  # of the width, for a stage
# A chart is drawn twice; page.css shows the one that fits.
WIDTHS = {"wide": 880, "narrow": 344}


@dataclass(frozen=True)
class Scale:
    """Numbers from low to high -> places from begin to end."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.begin + share * (self.end - self.begin), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Round numbers within the scale."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                values = [step * 10.0**decade for decade in decades for step in steps]
                inside = [value for value in values if self.low <= value <= self.high]
                if len(inside) <= count + 1:
                    break
            return inside
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


class StepScale:
    """Steps -> places, where every stage has at least a small share of the width.

    Within a stage places are proportional to steps.
    """

    def __init__(self, borders: Sequence[float], begin: float, end: float) -> None:
        self._borders = list(borders)
        lengths = [after - before for before, after in itertools.pairwise(borders)]
        least = min(_LEAST_SHARE, 1 / max(len(lengths), 1))
        whole = sum(lengths) or 1
        shares = [max(length / whole, least) if length else 0.0 for length in lengths]
        free = [share if share > least else 0.0 for share in shares]
        fixed = sum(shares) - sum(free)
        if sum(free):  # the long stages share what the short ones leave
            shares = [
                share if share <= least else each * (1 - fixed) / sum(free)
                for share, each in zip(shares, free, strict=True)
            ]
        total = sum(shares) or 1
        self._places = [begin]
        for share in shares:
            self._places.append(self._places[-1] + share / total * (end - begin))

    def __call__(self, step: float) -> float:
        last = len(self._borders) - 2
        for place, (before, after) in enumerate(itertools.pairwise(self._borders)):
            if step <= after or place == last:
                left, right = self._places[place : place + 2]
                share = (step - before) / (after - before) if after > before else 0.0
                return round(left + share * (right - left), 1)
        return round(self._places[0], 1)


@dataclass(frozen=True)
class Curve:
    """A line through points; `style` is a class of page.css."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    marks: bool = False  # a dot at each point


@dataclass(frozen=True)
class Point:
    """A model in a chart of score against size or time."""

    name: str
    style: str
    x: float
    y: float


def draw_panel(
    curves: Sequence[Curve],
    borders: Sequence[float],
    level: tuple[str, float] | None,
    width: int,
    height: int,
    label: str,
    logarithmic: bool = False,
) -> Markup:
    """Curves over steps, with stage borders.

    Args:
        borders: the steps at which stages begin and end, from 0 on.
        level: the name and height of a horizontal line.
        label: what the chart shows, for whoever cannot see it.
    """
    values = [y for curve in curves for _, y in curve.points if not logarithmic or y > 0]
    values += [level[1]] if level else []
    if not values:
        return Markup("")
    y = _scale_values(values, height - _BOTTOM, _TOP, logarithmic)
    x = StepScale(borders, _LEFT, width - _RIGHT)
    ticks = Scale(0, max(borders[-1], 1), 0, 1).ticks(9 if width > 500 else 4)
    parts = _draw_frame(x, ticks, y, width, height)
    parts += _draw_borders(x, borders, height)
    if level:
        at = y(level[1])
        parts.append(
            element("line", x1=x(0), x2=width - _RIGHT, y1=at, y2=at, class_="level curve teacher")
        )
        parts.append(element("text", level[0], x=_LEFT + 4, y=at - 5, class_="direct teacher"))
    for curve in curves:
        points = [(x(a), y(b)) for a, b in thin_out(curve.points) if not logarithmic or b > 0]
        coordinates = " ".join(f"{a:g},{b:g}" for a, b in points)
        parts.append(element("polyline", points=coordinates, class_=f"curve {curve.style}"))
        if curve.marks or len(points) == 1:  # a line of one point is none
            parts += [draw_mark(curve.style, a, b, 2.5) for a, b in points]
    return _picture(parts, width, height, label)


def draw_points(points: Sequence[Point], width: int, height: int, label: str) -> Markup:
    """Models by score, over a logarithmic axis of size or time."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    x = Scale(min(xs) / 2, max(xs) * 2.2, _LEFT, width - _RIGHT, logarithmic=True)
    y = _scale_values(ys, height - _BOTTOM, _TOP, False)
    parts = _draw_frame(x, x.ticks(5), y, width, height)
    places: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: y(point.y)):
        near = [there for at, there in places if abs(at - x(point.x)) < width / 3]
        here = max(y(point.y) + 4, *(there + 14 for there in near), 0)  # none covers another
        places.append((x(point.x), here))
        parts.append(draw_mark(point.style, x(point.x), y(point.y), 6))
        end = x(point.x) > width * 0.62
        parts.append(
            element(
                "text",
                point.name,
                x=x(point.x) + (-11 if end else 11),
                y=here,
                class_=f"direct {point.style}{' end' if end else ''}",
            )
        )
    return _picture(parts, width, height, label)


def draw_span(
    scale: Scale,
    marks: Sequence[tuple[str, float]],
    ends: tuple[float, float],
    zero: bool = False,
) -> Markup:
    """One row of a table: a line between two numbers, and marks (style, value) on it.

    The table says the same in words, so it is hidden from screen readers.
    """
    width, middle = scale.end + scale.begin, 10
    low, high = map(scale, ends)
    parts = []
    if zero:
        parts.append(element("line", x1=scale(0), x2=scale(0), y1=0, y2=20, class_="zero"))
    parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"))
    parts += [draw_mark(style, scale(value), middle, 4.5) for style, value in marks]
    return element(
        "svg",
        *parts,
        width=f"{width:g}",
        height=20,
        viewBox=f"0 0 {width:g} 20",
        aria_hidden="true",
    )


def draw_bar(share: float, style: str, width: int = 160) -> Markup:
    """One row of a table: a bar; hidden from screen readers."""
    bar = element(
        "rect", x=0, y=4, width=f"{max(1.0, share * width):.1f}", height=12, class_=f"bar {style}"
    )
    return element(
        "svg", bar, width=width, height=20, viewBox=f"0 0 {width} 20", aria_hidden="true"
    )


def draw_mark(style: str, x: float, y: float, radius: float) -> Markup:
    """The sign of a model: a ring is the teacher, a disc the student, a diamond a baseline."""
    if style.startswith("baseline"):
        r = radius * 1.2
        path = f"M{x:g} {y - r:g}L{x + r:g} {y:g}L{x:g} {y + r:g}L{x - r:g} {y:g}Z"
        return element("path", d=path, class_=f"mark {style}")
    return element("circle", cx=f"{x:g}", cy=f"{y:g}", r=f"{radius:g}", class_=f"mark {style}")


def draw_sample(style: str, line: bool = False) -> Markup:
    """The sign of a model or curve in a legend."""
    parts = []
    if line:
        parts.append(element("polyline", points="0,8 28,8", class_=f"curve {style}"))
    else:
        parts.append(draw_mark(style, 14, 8, 5))
    return element("svg", *parts, width=28, height=16, viewBox="0 0 28 16", aria_hidden="true")


def thin_out(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most _MOST_POINTS of the points, evenly, first and last among them."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    last = len(points) - 1
    chosen = (round(i * last / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS))
    return [points[i] for i in chosen]


def format_tick(value: float) -> str:
    """A number on an axis, short."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _scale_values(values: Sequence[float], begin: float, end: float, logarithmic: bool) -> Scale:
    low, high = min(values), max(values)
    if logarithmic:
        return Scale(low / 1.15, high * 1.15, begin, end, True)
    margin = 0.08 * (high - low) or max(0.5, 0.05 * abs(high))
    return Scale(low - margin, high + margin, begin, end)


def _draw_frame(
    x: Scale | StepScale, ticks: Sequence[float], y: Scale, width: int, height: int
) -> list[Markup]:
    """The grid of values, the axis, and the numbers on both."""
    parts = []
    for value in y.ticks():
        at = y(value)
        parts.append(element("line", x1=_LEFT, x2=width - _RIGHT, y1=at, y2=at, class_="grid"))
        parts.append(element("text", format_tick(value), x=_LEFT - 6, y=at + 4, class_="tick end"))
    floor = height - _BOTTOM
    parts.append(element("line", x1=_LEFT, x2=width - _RIGHT, y1=floor, y2=floor, class_="axis"))
    free = -math.inf
    for value in ticks:
        at, text = x(value), format_tick(value)
        if at - 4 * len(text) < free or at + 4 * len(text) > width:
            continue
        free = at + 4 * len(text) + 6
        parts.append(element("line", x1=at, x2=at, y1=floor, y2=floor + 4, class_="axis"))
        parts.append(element("text", text, x=at, y=height - 7, class_="tick middle"))
    return parts


def _draw_borders(x: StepScale, borders: Sequence[float], height: int) -> list[Markup]:
    """Lines between stages, and the number of each stage that has the room."""
    parts = []
    for border in borders:
        at = x(border)
        parts.append(
            element("line", x1=at, x2=at, y1=_TOP - 6, y2=height - _BOTTOM, class_="border")
        )
    free = -math.inf
    for number, (begin, end) in enumerate(itertools.pairwise(borders), 1):
        middle = (x(begin) + x(end)) / 2
        if x(end) - x(begin) > 6 * len(str(number)) and middle > free:
            parts.append(element("text", str(number), x=f"{middle:g}", y=12, class_="tick middle"))
            free = middle + 7 * len(str(number)) + 2
    return parts


def _picture(parts: Sequence[Markup], width: int, height: int, label: str) -> Markup:
    return element(
        "svg",
        join(parts),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def _round_step(step: float) -> float:
    if step <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(step))
    return next(size * decade for size in (1, 2, 5, 10) if size * decade >= step * 0.999)
