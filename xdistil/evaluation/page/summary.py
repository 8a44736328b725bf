"""The beginning of a page: what came out, or how far the run is."""

from xdistil.evaluation.formatting import (
    format_bytes,
    format_count,
    format_ratio,
    format_score,
)
from xdistil.evaluation.metrics import MAIN_SCORE
from xdistil.evaluation.page.analysis import Analysis, find_difference
from xdistil.evaluation.page.course import list_plans
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.markup import Markup, element, join
from xdistil.evaluation.page.wording import format_difference, format_interval, get_score
from xdistil.evaluation.report import (
    describe_outcome,
    describe_run,
    name_score,
)
from xdistil.evaluation.results import (
    HELD_OUT,
    Results,
    find_scores,
    name_other,
    scored_split,
)


def render_summary(run: RunFiles, analysis: Analysis | None) -> Markup:
    """What came out, in sentences and a few large numbers."""
    results = run.results
    if results is None:
        return _render_progress(run)
    parts = [element("p", describe_run(results), class_="lead")]
    if outcome := " ".join(describe_outcome(results)):
        parts.append(element("p", outcome))
    tiles = [
        element(
            "div",
            element("dt", name),
            element("dd", value, element("small", note) if note else Markup("")),
        )
        for name, value, note in _list_tiles(results, analysis)
    ]
    return join([*parts, element("dl", *tiles, class_="tiles")])


def _render_progress(run: RunFiles) -> Markup:
    """How far a run is that has not ended."""
    plans = list_plans(run)
    done = sum(stage.steps for stages in plans.values() for stage in stages)
    planned = sum(stage.planned for stages in plans.values() for stage in stages)
    parts = [
        element(
            "p",
            "The run has not ended. This page is written again while it is in progress: reload it.",
            class_="lead",
        )
    ]
    if run.metrics:
        last = run.metrics[-1]
        told = f"The last logged step is {last['step']:,} of {last['plan']}, stage {last['stage']}."
        parts.append(element("p", told))
    if planned:
        label = f"{done:,} of at most {planned:,} steps"
        parts.append(
            element(
                "p", element("progress", value=done, max=planned, aria_label=label), f" {label}"
            )
        )
    return join(parts)


def _list_tiles(results: Results, analysis: Analysis | None) -> list[tuple[str, str, str]]:
    """(name, value, note) of the numbers that matter most."""
    split, main = scored_split(results), MAIN_SCORE[results["task"]]
    other = name_other(results)
    tiles = []
    student = get_score(find_scores(results, "student", split), main)
    before = get_score(find_scores(results, other, split), main)
    what = name_score(results, split)
    tiles.append(("student", format_score(student), what))
    if before is not None and split != HELD_OUT:
        tiles.append((other, format_score(before), what))
    if (mean := find_difference(analysis, "")) is not None:
        note = f"95% {format_interval(mean.low, mean.high)}, mean of languages"
        tiles.append(("difference", format_difference(mean.second - mean.first), note))
    if split != HELD_OUT:
        tiles += [
            (each["name"], format_score(get_score(each[split], main)), what)
            for each in results["baselines"]
        ]
    model = results["student"]
    if (parameters := model["parameters"]) is not None:
        ratio = results["compression"]
        note = format_ratio(ratio, "fewer", "more", "as many") if ratio else ""
        tiles.append(("parameters", format_count(parameters["total"]), note))
    if (sizes := model["bytes"]) is not None:
        tiles.append(("model file", format_bytes(sizes["model"]), ""))
    if (speedup := results["timing"]["speedup"]) is not None:
        batch = speedup["batch_32"]
        tiles.append(("speedup", f"{batch['median']:.1f} ×", "batch of 32"))
    return tiles
