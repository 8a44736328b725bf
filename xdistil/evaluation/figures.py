"""The figures of a run: training curves, languages, and score against size and speed."""

import itertools
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xdistil.evaluation.metrics import LANGUAGE_SCORE, MAIN_SCORE
from xdistil.evaluation.report import (
    AGREEMENT,
    SCORE_NAMES,
    list_gaps,
    name_score,
)
from xdistil.evaluation.results import (
    HELD_OUT,
    Results,
    find_scores,
    has_gold,
    name_other,
    scored_split,
)

_TEACHER, _STUDENT, _BASELINE = "#444444", "#c8442c", "#7f9bb3"
_MOST_LANGUAGES = 80  # in one figure: those with the largest loss


def draw_figures(folder: Path, metrics: Path, results: Results) -> None:
    """Writes course.png, and languages.png and trade-off.png where they apply.

    Args:
        folder: is created if it does not exist.
        metrics: the metrics.jsonl of the run.
        results: the content of results.json.
    """
    folder.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figures = {
        "course": draw_course([line for line in lines if line["plan"] == "student"], results),
        "languages": draw_languages(results),
        "trade-off": draw_trade_off(results),
    }
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=130)


def draw_course(lines: list[dict[str, Any]], results: Results) -> Figure:
    """The student's losses on a logarithmic axis, and its scores on dev below.

    All stages have the same width, whatever their number of steps.

    Args:
        lines: those of metrics.jsonl that belong to the student.
    """
    main = MAIN_SCORE[results["task"]]
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    colours: dict[str, str] = {}
    during = []
    stages = [stage["name"] for stage in results["stages"]]
    for stage, group in itertools.groupby(lines, key=lambda line: line["stage"]):
        steps = list(group)
        begin, length = stages.index(stage), max(line["step"] for line in steps)
        trained = [line for line in steps if line["event"] == "train"]
        for name in [key for key in (trained or [{}])[0] if key.startswith("loss_")]:
            label = name.removeprefix("loss_")
            new = label not in colours
            above.plot(
                [begin + line["step"] / length for line in trained],
                [line[name] for line in trained],
                ".-",
                color=colours.setdefault(label, f"C{len(colours)}"),
                label=label if new else None,
                linewidth=1.2,
                markersize=3,
            )
        during += [
            (begin + line["step"] / length, 100 * line[f"dev_{main}"])
            for line in steps
            if line.get(f"dev_{main}") is not None
        ]
    after = [
        (end, 100 * value)
        for end, stage in enumerate(results["stages"], start=1)
        if stage["dev"] is not None and (value := stage["dev"][main]) is not None
    ]
    for axes in (above, below):
        for end in range(len(stages) + 1):
            axes.axvline(end, color="#cccccc", linewidth=0.8, zorder=0)
    above.set_xlim(0, len(stages) + 0.1)
    above.set_yscale("log")
    above.set_ylabel("loss")
    above.set_title("Training of the student, one column per stage", loc="left")
    if colours:
        above.legend(frameon=False)
    if during:
        below.plot(*zip(*during, strict=True), ".", color=_BASELINE, label="during the stage")
    if after:
        below.plot(*zip(*after, strict=True), "o", color=_STUDENT, label="after the stage")
    gold = has_gold(results)
    other = name_other(results)
    teacher = results[other]["dev"] if gold else None
    if teacher is not None and (reached := teacher[main]) is not None:
        below.axhline(100 * reached, color=_TEACHER, linestyle="--", label=other)
    below.set_ylabel(f"{SCORE_NAMES[main]} on dev, %" if gold else f"{AGREEMENT}, %")
    if below.get_legend_handles_labels()[0]:
        below.legend(frameon=False, loc="lower right")
    names = [f"{stage['name']}\n{stage['steps']:,} steps" for stage in results["stages"]]
    below.set_xticks([index + 0.5 for index in range(len(names))], names, rotation=30)
    below.tick_params(axis="x", length=0)
    for tick in below.get_xticklabels():
        tick.set_horizontalalignment("right")
    return figure


def draw_languages(results: Results) -> Figure | None:
    """The scores of the student and of its teacher by language, largest loss at the top.

    None for a single language.
    """
    split, score = scored_split(results), LANGUAGE_SCORE[results["task"]]
    other = name_other(results)
    teacher, student = find_scores(results, other, split), find_scores(results, "student", split)
    if teacher is None or student is None:
        return None
    gaps = list_gaps(teacher["per_language"], student["per_language"], score)[:_MOST_LANGUAGES]
    if len(gaps) < 2:
        return None
    figure = Figure(figsize=(7, 1.4 + 0.22 * len(gaps)), layout="constrained")
    axes = figure.subplots()
    places = range(len(gaps))
    names, *scores = zip(*gaps, strict=True)
    before, after = ([100 * value for value in values] for values in scores)
    axes.hlines(places, before, after, color="#cccccc", zorder=0)
    axes.scatter(before, places, color=_TEACHER, s=22, label=other)
    axes.scatter(after, places, color=_STUDENT, s=22, label="student")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{SCORE_NAMES.get(score, 'F1')} on {split}, %")
    axes.set_title("Languages, largest loss first", loc="left")
    axes.legend(frameon=False)
    return figure


def draw_trade_off(results: Results) -> Figure | None:
    """Score against parameters and, if it was measured, against the time per sentence.

    Baselines have the student's shape, and so its size and speed. None where there is no teacher or
    its size is unknown.
    """
    teacher, student = (
        results[name]["parameters"] if name in results else None for name in ("teacher", "student")
    )
    if teacher is None or student is None:
        return None
    speedup = results["timing"]["speedup"]
    figure = Figure(figsize=(10, 4) if speedup else (5.5, 4), layout="constrained")
    panels = figure.subplots(1, 2 if speedup else 1, squeeze=False)[0]
    sizes = [each["total"] / 1e6 for each in (teacher, student)]
    _draw_models(panels[0], results, sizes, "parameters, millions")
    if speedup:
        batch = speedup["batch_32"]
        times = [
            1000 * seconds["median"] / 32
            for seconds in (batch["teacher_seconds"], batch["student_seconds"])
        ]
        what = f"ms per sentence, batch of 32 ({speedup['device']}, {speedup['threads']} threads)"
        _draw_models(panels[1], results, times, what)
    return figure


def _draw_models(axes: Axes, results: Results, places: list[float], what: str) -> None:
    """One panel: `places` are the x values of teacher and student; baselines have the student's."""
    split, main = scored_split(results), MAIN_SCORE[results["task"]]
    points = [
        ("teacher", places[0], find_scores(results, "teacher", split), _TEACHER),
        ("student", places[1], find_scores(results, "student", split), _STUDENT),
        *(
            (baseline["name"], places[1], baseline[split], _BASELINE)
            for baseline in results["baselines"]
            if split != HELD_OUT
        ),
    ]
    for name, place, scores, colour in points:
        if scores is None or (value := scores[main]) is None:
            continue
        axes.scatter([place], [100 * value], color=colour, s=50)
        axes.annotate(name, (place, 100 * value), xytext=(7, -3), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:.3g}" for place in places])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel(what)
    axes.set_ylabel(f"{name_score(results, split)}, %")
