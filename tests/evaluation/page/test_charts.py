"""The charts of a page: scales, borders of stages, and curves."""

from functools import partial

import pytest

from tests.evaluation.page.parsing import parse
from xdistil.evaluation.page.charts import Curve, Scale, StepScale, draw_panel, thin_out
from xdistil.evaluation.page.course import StageCourse, place_borders


def test_scales_are_linear_or_logarithmic():
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert [Scale(1, 100, 0, 20, True)(value) for value in (1, 10, 100)] == [0, 10, 20]
    assert Scale(0, 1000, 0, 1).ticks(4) == [0, 500, 1000]
    assert Scale(0.02, 3, 0, 1, True).ticks() == pytest.approx([0.03, 0.1, 0.3, 1.0, 3.0])
    assert Scale(5, 5, 0, 10)(5) == 5


def test_every_stage_has_room_and_steps_within_it_are_linear():
    scale = StepScale([0, 10, 1000, 1010], 0, 100)
    borders = [scale(step) for step in (0, 10, 1000, 1010)]
    assert borders == [0, 6, 94, 100]
    assert scale(5) == 3
    assert scale(505) == 50
    assert StepScale([0, 0], 0, 100)(0) == 0


def test_borders_are_steps_that_were_taken_or_that_are_planned():
    def line(step: int) -> dict:
        return {"step": step}

    stages = [
        StageCourse("a", 100, [line(60)]),
        StageCourse("b", 100, [line(30)]),
        StageCourse("c", 50, []),
    ]
    assert place_borders(stages, finished=False) == [0, 60, 160, 210]  # a has stopped early
    assert place_borders(stages, finished=True) == [0, 60, 90, 90]


def test_a_curve_of_one_point_is_a_mark():
    panel = partial(draw_panel, borders=[0, 10], level=None, width=344, height=200, label="loss")
    one = parse(panel([Curve("labels", "loss-1", [(5, 0.5)])]))
    assert len(one.find("circle", class_="mark loss-1")) == 1
    two = parse(panel([Curve("labels", "loss-1", [(5, 0.5), (6, 0.4)])]))
    assert not two.find("circle")


def test_long_curves_are_thinned_out_with_their_ends():
    points = [(float(x), 1.0) for x in range(10_000)]
    thin = thin_out(points)
    assert len(thin) == 300
    assert (thin[0], thin[-1]) == (points[0], points[-1])
    assert thin_out(points[:300]) == points[:300]
