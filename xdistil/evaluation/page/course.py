"""The course of training: losses and dev scores over steps, stage by stage."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdistil.evaluation.formatting import UNKNOWN, format_score
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.page.charts import WIDTHS, Curve, draw_panel, draw_sample
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.report import AGREEMENT, SCORE_NAMES
from xdistil.evaluation.results import ScoreName, has_gold, name_other

_MOST_ROWS = 200  # of the table behind a chart


@dataclass(frozen=True)
class StageCourse:
    """What metrics.jsonl says about one stage."""

    name: str
    planned: int  # steps that it may take at most; 0: unknown
    lines: list[dict[str, Any]]

    @property
    def steps(self) -> int:
        """Steps taken, as far as metrics.jsonl says."""
        return max((line["step"] for line in self.lines), default=0)


def list_plans(run: RunFiles) -> dict[str, list[StageCourse]]:
    """The stages of each plan, in order: those that are planned, else those that have begun."""
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in run.metrics:
        lines.setdefault((line["plan"], line["stage"]), []).append(line)
    planned = {}
    if run.outline:
        planned = {(each["plan"], each["name"]): each["steps"] for each in run.outline["stages"]}
    plans: dict[str, list[StageCourse]] = {}
    for plan, name in dict.fromkeys([*planned, *lines]):
        stage = StageCourse(name, planned.get((plan, name), 0), lines.get((plan, name), []))
        plans.setdefault(plan, []).append(stage)
    return plans


def find_metric(run: RunFiles) -> ScoreName:
    """The main score of the run's task."""
    task = run.results or run.outline
    return MAIN_SCORE[task["task"]] if task else "macro_f1"


def render_plan(run: RunFiles, plan: str, stages: Sequence[StageCourse]) -> Markup:
    """The charts of one plan, with their numbers in a table."""
    borders = place_borders(stages, run.results is not None)
    placed = [
        (border + line["step"], line)
        for border, stage in zip(borders, stages, strict=False)
        for line in stage.lines
    ]
    if not placed:
        return element("p", "No step has been logged yet.")
    losses = list(
        dict.fromkeys(name for _, line in placed for name in line if name.startswith("loss_"))
    )
    curves = [
        Curve(
            name.removeprefix("loss_"),
            f"loss-{number % 6 + 1}",
            [(x, line[name]) for x, line in placed if line.get(name) is not None],
        )
        for number, name in enumerate(losses)
    ]
    score = f"dev_{find_metric(run)}"
    style = "teacher" if plan == "teacher" else "student" if plan == "student" else "baseline"
    during = Curve(
        "during a stage",
        style,
        [(x, 100 * line[score]) for x, line in placed if line.get(score) is not None],
        marks=True,
    )
    shown = [
        _draw_both(
            [c for c in curves if c.points], borders, None, 250, _tell_losses(plan, curves), True
        )
    ]
    name = _name_dev_score(run)
    scores = [during, *_after_stages(run, plan, borders)]
    if any(curve.points for curve in scores):
        label = f"{name}, in percent, over the steps of {plan}"
        heading = element("h4", f"{name}, %")
        level = _find_level(run, plan)
        scores = [curve for curve in scores if curve.points]
        shown += [heading, _draw_both(scores, borders, level, 190, label, False)]
        if len(scores) > 1:
            shown.append(_render_legend([(c.name, f"{c.style}", False) for c in scores]))
    legend = _render_legend([(curve.name, curve.style, True) for curve in curves])
    return join(
        [
            element("h4", "Loss, logarithmic"),
            legend,
            *shown,
            _render_numbers(plan, placed, losses, score),
        ]
    )


def place_borders(stages: Sequence[StageCourse], finished: bool) -> list[int]:
    """The steps of a plan at which its stages begin, and the last one ends.

    A stage that may go on takes the steps that are planned.
    """
    begun = [bool(stage.lines) for stage in stages]
    lengths = [
        stage.steps if finished or any(begun[place + 1 :]) else max(stage.steps, stage.planned)
        for place, stage in enumerate(stages)
    ]
    return [0, *itertools.accumulate(lengths)]


def _draw_both(
    curves: Sequence[Curve],
    borders: Sequence[int],
    level: tuple[str, float] | None,
    height: int,
    label: str,
    logarithmic: bool,
) -> Markup:
    """A chart for wide and for narrow screens, of which one is shown."""
    drawn = [
        element(
            "div",
            draw_panel(curves, borders, level, width, height, label, logarithmic),
            class_=f"chart {name}",
        )
        for name, width in WIDTHS.items()
    ]
    return join(drawn)


def _after_stages(run: RunFiles, plan: str, borders: Sequence[int]) -> list[Curve]:
    """The student's score after each stage, which results.json has of every one."""
    if plan != "student" or run.results is None:
        return []
    main = find_metric(run)
    points = [
        (float(end), 100 * value)
        for end, stage in zip(borders[1:], run.results["stages"], strict=False)
        if stage["dev"] is not None and (value := stage["dev"].get(main)) is not None
    ]
    return [Curve("after a stage, its best parameters", "after", points, marks=True)]


def _find_level(run: RunFiles, plan: str) -> tuple[str, float] | None:
    """The teacher's score on dev, beside that of the student and its baselines."""
    if plan == "teacher":
        return None
    main = find_metric(run)
    if run.results is not None:
        if not has_gold(run.results):
            return None
        other = name_other(run.results)
        dev = run.results[other]["dev"]
        value = dev.get(main) if dev else None
        return None if value is None else (other, 100 * value)
    values = [
        line[f"dev_{main}"]
        for line in run.metrics
        if line["plan"] == "teacher" and line.get(f"dev_{main}") is not None
    ]
    return ("teacher", 100 * values[-1]) if values else None


def _name_dev_score(run: RunFiles) -> str:
    if run.results is not None and not has_gold(run.results):
        return AGREEMENT.capitalize()
    name = SCORE_NAMES[find_metric(run)]
    return f"{name[0].upper()}{name[1:]} on dev"


def _tell_losses(plan: str, curves: Sequence[Curve]) -> str:
    """The chart of the losses in a sentence."""
    told = [
        f"{curve.name} from {curve.points[0][1]:.3g} to {curve.points[-1][1]:.3g}"
        for curve in curves
        if curve.points
    ]
    return f"Training losses of {plan} over its steps, logarithmic: {', '.join(told)}"


def _render_legend(entries: Sequence[tuple[str, str, bool]]) -> Markup:
    items = [element("li", draw_sample(style, line), " ", name) for name, style, line in entries]
    return element("ul", *items, class_="legend")


def _render_numbers(
    plan: str,
    placed: Sequence[tuple[int, dict[str, Any]]],
    losses: Sequence[str],
    score: str,
) -> Markup:
    """The evaluations of a plan, each with the losses before it."""
    rows = []
    stage, latest = "", dict[str, float]()
    for step, line in placed:
        if line["stage"] != stage:  # its losses may be others
            stage, latest = line["stage"], {}
        latest |= {name: line[name] for name in losses if line.get(name) is not None}
        if line["event"] == "evaluation":
            cells = [f"{latest[name]:.4g}" if name in latest else UNKNOWN for name in losses]
            rows.append([f"{step:,}", stage, *cells, format_score(line.get(score))])
    apart = max(1, -(-len(rows) // _MOST_ROWS))
    kept = rows[::-apart][::-1]  # with the last one
    caption = f"Evaluations of {plan}" + (f", one of {apart}" if apart > 1 else "")
    names = [f"loss: {name.removeprefix('loss_')}" for name in losses]
    numbers = table(caption, ["step", "stage", *names, "dev score, %"], kept, texts=(1,))
    return element("details", element("summary", "The numbers of these charts"), numbers)
