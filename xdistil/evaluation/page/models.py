"""Scores, sizes and speed of all models."""

from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.page.charts import (
    WIDTHS,
    Point,
    draw_points,
)
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join, table
from xdistil.evaluation.page.wording import get_score
from xdistil.evaluation.report import (
    Table,
    name_score,
    tabulate_models,
    tabulate_speed,
)
from xdistil.evaluation.results import (
    HELD_OUT,
    ModelName,
    Results,
    Scores,
    find_scores,
    name_other,
    scored_split,
)


def render_models(run: RunFiles) -> Markup:
    """Scores, sizes and speed of all models: charts and tables."""
    results = run.results
    if results is None:
        return Markup("")
    speed = tabulate_speed(results)
    tables = [_render_table(each) for each in (tabulate_models(results), speed) if each]
    return join([_render_trade_off(results), *tables])


def _render_trade_off(results: Results) -> Markup:
    """Score against parameters, and against time where it was measured."""
    split, main = scored_split(results), MAIN_SCORE[results["task"]]
    named: tuple[ModelName, ...] = (name_other(results), "student")
    sizes: dict[str, float] = {
        name: parameters["total"]
        for name in named
        if (parameters := results[name]["parameters"]) is not None
    }
    models: list[tuple[str, str, Scores | None]] = [
        (name, name, find_scores(results, name, split)) for name in named
    ]
    if split != HELD_OUT:
        models += [(each["name"], "baseline", each[split]) for each in results["baselines"]]
    panels = [("Score against parameters", "parameters", sizes)]
    speedup = results["timing"]["speedup"]
    if speedup is not None:
        batch = speedup["batch_32"]
        seconds = {"teacher": batch["teacher_seconds"], "student": batch["student_seconds"]}
        times = {name: 1000 * each["median"] / 32 for name, each in seconds.items()}
        panels.append(("Score against time", "ms a sentence, batch of 32", times))
    drawn = []
    for title, unit, places in panels:
        points = [
            Point(name, "teacher" if style == "before" else style, float(places[key]), 100 * value)
            for name, style, scores in models
            if (key := "student" if style == "baseline" else style) in places
            and (value := get_score(scores, main)) is not None
        ]
        if not points:
            continue
        told = ", ".join(f"{point.name} {point.y:.2f} at {point.x:.3g}" for point in points)
        label = f"{name_score(results, split)}, in percent, over {unit}: {told}"
        chart = draw_points(points, WIDTHS["narrow"] + 76, 250, label)
        caption = element(
            "figcaption",
            element("strong", title),
            f": {name_score(results, split)}, %, over {unit} (logarithmic)",
        )
        drawn.append(element("figure", caption, chart))
    return element("div", *drawn, class_="figures") if drawn else Markup("")


def _render_table(found: Table) -> Markup:
    return table(found.title, found.header, found.rows, found.texts)
