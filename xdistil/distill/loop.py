"""The loop: sub-stages one after another, from wherever an earlier run of them came to.

It knows neither XtremeDistil nor tagging: what to learn is a plan, what to monitor a function.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from xdistil.distill.checkpoint import Checkpoints
from xdistil.distill.course import Course, without_projections
from xdistil.distill.plan import SIDE_PROJECTIONS, split_params
from xdistil.distill.step import TrainState, init_state
from xdistil.distill.trainer import Position, Training
from xdistil.models.types import Params
from xdistil.runtime.mesh import global_max, replicate
from xdistil.runtime.run_log import RunLog

log = logging.getLogger("xdistil")


@dataclass(frozen=True)
class Outcome:
    """What a finished sub-stage hands on."""

    records: list[dict[str, Any]]  # of this plan's sub-stages so far, this one last
    params: Params  # host arrays, without side projections


def run_plan(
    course: Course, params: Params, checkpoints: Checkpoints, run_log: RunLog
) -> Iterator[Outcome]:
    """Runs the legs that are not done yet; yields an outcome after each of them.

    A plan that was interrupted goes on behind its newest sound checkpoint. A leg that had ended
    there is yielded again, since what its reader makes of it may have been lost.

    Args:
        params: parameters before the first leg, host arrays.
    """
    position = _resume(course, params, checkpoints)
    lost = position is not None and not run_log.holds(position.cursor["metrics"])
    if global_max(int(lost)):
        # A plan before this one went back behind a damaged checkpoint, and wrote over them.
        log.warning("%s: its lines are gone from metrics.jsonl, so it begins anew", course.name)
        position = None
    records: list[dict[str, Any]] = []
    first = 0
    if position is None:
        run_log.drop_plan(course.name)
    else:
        first, records = position.cursor["leg"], position.cursor["records"]
        if not (position.cursor["done"] and first == len(course.legs) - 1):
            # Behind a plan that has ended stand the lines of those after it.
            run_log.truncate(position.cursor["metrics"])
        log.info(
            "%s: going on at %s, step %d",
            course.name,
            course.legs[first].planned.substage.name,
            position.cursor["step"],
        )
    for index in range(first, len(course.legs)):
        with course.stop.deferred():
            if position is None:
                position = _begin_leg(course, index, params, records, checkpoints)
            if not position.cursor["done"]:
                position = Training(course, index, position, checkpoints, run_log).run()
        params, records = without_projections(position.best), position.cursor["records"]
        yield Outcome(records, params)
        position = None


def _begin_leg(
    course: Course,
    index: int,
    params: Params,
    records: list[dict[str, Any]],
    checkpoints: Checkpoints,
) -> Position:
    """The position before a leg's first step."""
    cursor: dict[str, Any] = {
        "leg": index,
        "step": 0,
        "total_step": max(checkpoints.list_steps(), default=0),
        "evaluated": 0,  # the last step that was
        "best_step": 0,
        "patience_used": 0,
        "done": False,
        "records": records,
    }
    state = _start_state(course, index, params)
    return Position(state, _with_sides(course, index, params), cursor)


def _resume(course: Course, params: Params, checkpoints: Checkpoints) -> Position | None:
    for step in checkpoints.list_steps():
        cursor = checkpoints.read_cursor(step)
        if cursor is None:
            continue
        state = _start_state(course, cursor["leg"], params)
        best = course.place(course.mesh, _with_sides(course, cursor["leg"], params))
        items = checkpoints.restore(step, cursor, state, best)
        if items is not None:
            return Position(items[0], jax.device_get(items[1]), cursor)
    return None


def _leg_key(course: Course, index: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(course.seed), index)


def _with_sides(course: Course, index: int, params: Params) -> Params:
    """Adds the side projections of a leg: LeCun-normal kernels, zero biases."""
    sides = {}
    key = jax.random.fold_in(_leg_key(course, index), 1)
    for i, (width, target) in enumerate(course.legs[index].planned.sides):
        if width != target:
            kernel = jax.nn.initializers.lecun_normal()(jax.random.fold_in(key, i), (width, target))
            sides[str(i)] = {"kernel": np.asarray(kernel), "bias": np.zeros(target, np.float32)}
    return {**params, SIDE_PROJECTIONS: sides} if sides else params


def _start_state(course: Course, index: int, params: Params) -> TrainState:
    leg = course.legs[index]
    trainable, frozen = split_params(
        _with_sides(course, index, params), leg.planned.substage.trainable
    )
    key = jax.random.fold_in(_leg_key(course, index), 2)
    trainable = course.place(course.mesh, trainable)
    frozen = course.place(course.mesh, frozen)
    state = init_state(leg.planned.recipe, trainable, frozen, key)
    # Moments lie where their parameters lie; counters, made inside, would sit on one device.
    return jax.tree.map(
        lambda x: x if isinstance(x.sharding, NamedSharding) else replicate(course.mesh, x), state
    )
