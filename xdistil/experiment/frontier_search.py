"""The largest shapes within a limit of seconds, of which few are measured."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xdistil.errors import InputError
from xdistil.evaluation.formatting import format_duration
from xdistil.student.shapes import KINDS, Shape, find_largest, name_shape

_PILOTS = 4  # shapes of each kind that are measured first
_SLACK = 1.1  # times the limit, within which an estimate is worth a measurement


def search(
    shapes: Sequence[Shape],
    limit: float,
    most: int,
    measure: Callable[[Sequence[Shape]], Sequence[float]],
) -> tuple[list[Shape], int]:
    """The largest shapes within a limit of seconds, and how many more may be among them.

    A few shapes of each kind are measured first. From what was measured, the others are estimated;
    those whose estimate makes them one of the largest are measured in turn, until all of these are.

    Args:
        most: shapes that are measured.
        measure: the seconds of some shapes.

    Raises:
        InputError: none that was measured is within the limit.
    """
    seconds: dict[str, float] = {}

    def add(chosen: Sequence[Shape]) -> None:
        seconds.update(zip(map(name_shape, chosen), measure(chosen), strict=True))

    if math.isfinite(limit):
        add(_choose_pilots(shapes)[:most])
    while True:
        guess = _estimate(shapes, seconds)
        near = [
            shape
            for shape in shapes
            if seconds.get(name_shape(shape), guess(shape) / _SLACK) <= limit
        ]
        fresh = [shape for shape in find_largest(near) if name_shape(shape) not in seconds]
        if not fresh or len(seconds) >= most:
            break
        add(spread(fresh, most - len(seconds)))
    measured = [shape for shape in shapes if name_shape(shape) in seconds]
    within = [shape for shape in measured if seconds[name_shape(shape)] <= limit]
    if not within:
        name, fastest = min(seconds.items(), key=lambda pair: pair[1])
        raise InputError(
            f"--max-ms={1000 * limit:g}: none of {len(seconds)} shapes that were measured is so "
            f"fast; the fastest, {name}, takes {format_duration(fastest)} for a text."
        )
    return find_largest(within), len(fresh)


def _choose_pilots(shapes: Sequence[Shape]) -> list[Shape]:
    """Some of each kind, from the least arithmetic to the most."""
    pilots: list[Shape] = []
    for kind in KINDS:
        own = [shape for shape in shapes if shape.student.kind == kind]
        pilots += spread(sorted(own, key=lambda shape: shape.footprint.flops), _PILOTS)
    return pilots


def spread(shapes: Sequence[Shape], count: int) -> list[Shape]:
    """So many of them at equal distances, the first and the last among them."""
    places = np.unique(np.linspace(0, len(shapes) - 1, min(count, len(shapes))).round().astype(int))
    return [shapes[place] for place in places]


def _estimate(shapes: Sequence[Shape], seconds: Mapping[str, float]) -> Callable[[Shape], float]:
    """Seconds of a shape by least squares over its kind: a constant, arithmetic and layers.

    Without measurements nothing is too slow.
    """
    fits: dict[str, np.ndarray] = {}
    for kind in KINDS:
        known = [s for s in shapes if s.student.kind == kind and name_shape(s) in seconds]
        if known:
            times = np.array([seconds[name_shape(shape)] for shape in known])
            causes = np.array([_list_causes(shape) for shape in known])
            # Divided by the times, so that errors count in proportion.
            fits[kind] = np.linalg.lstsq(causes / times[:, None], np.ones(len(times)), rcond=None)[
                0
            ]

    def guess(shape: Shape) -> float:
        fit = fits.get(shape.student.kind)
        return 0.0 if fit is None else float(fit @ np.array(_list_causes(shape)))

    return guess


def _list_causes(shape: Shape) -> tuple[float, float, float]:
    return 1.0, shape.footprint.flops / 1e6, shape.model.config.own_layers
